from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, insert, make_url, select
from typer.testing import CliRunner

from app.check.everything import everything
from app.cli.main import app
from app.db import Database
from app.main import create_app
from app.migrate import migrate
from app.services import Services
from app.tables import Bond, BondEvent, Character, KeyedCall, Message, Persona, Session, TurnRecord
from app.users import erase
from retrieval.cache import BankCache
from tests.app.users.left import SECRETS, WHO, escaped, found_in

Fixture = Any
Talk = Callable[..., Awaitable[httpx.Response]]


def bytes_of_the_files(services: Services) -> bytes:
    """All that an SQLite database has on the disk."""
    file = Path(make_url(services.db.url).database or "")
    return b"".join(part.read_bytes() for part in file.parent.glob(f"{file.name}*"))


@pytest.fixture
async def talked(client: httpx.AsyncClient, talk: Talk, services: Services, mira: dict[str, Any]) -> str:
    """Ana has told a secret, on two branches and in Chinese; Bo has not. Returns Ana's session."""
    assert (await client.post("/api/characters", json=mira)).status_code == 201
    first = await talk("mira", "I was born in zanzibar.", "In zanzibar!", user=WHO)
    await talk("mira", "I was born in zanzibar.", "Truly, zanzibar?", user=WHO)
    await talk("mira", "我在桑给巴尔长大。", "桑给巴尔很远。", user=WHO)
    await talk("mira", "I was born in Oslo.", "Cold!", user="bo")
    async with services.db.write() as db:
        answer = {"status": 200, "headers": [], "body": b"zanzibar"}
        bond = (await db.scalars(select(Bond).where(Bond.user == WHO))).one()
        scope = {"owner": bond.owner, "user": WHO, "character_id": bond.character_id}
        db.add(BondEvent(**scope, kind="event", name="zanzibar", numbers={"affinity": 3}, note="zanzibar"))
        db.add(Persona(owner=bond.owner, user=WHO, name="zanzibar"))
        db.add(KeyedCall(owner="local", key="k", digest="d", **answer))
        if not await db.scalar(select(func.count()).select_from(TurnRecord)):
            session = first.headers["x-session-id"]
            db.add(TurnRecord(id="t", owner="local", user=WHO, session_id=session, mode="say", text="zanzibar"))
    return first.headers["x-session-id"]


@pytest.mark.usefixtures("talked")
async def test_who_is_erased_is_in_no_column_of_any_table_and_the_others_are_as_they_were(
    client: httpx.AsyncClient, services: Services
) -> None:
    assert {
        "sessions",
        "messages",
        "memories",
        "traces",
        "bonds",
        "bond_events",
        "turns",
        "keyed_calls",
    } <= await found_in(services)
    others = (await client.get("/api/users/export?user=bo")).text.splitlines()[1:]
    answer = await client.delete(f"/api/users?user={WHO}")
    assert answer.status_code == 200, answer.text
    removed = answer.json()["removed"]
    assert removed["sessions"] == 2
    assert removed["bonds"] == 1
    assert removed["messages"] == removed["memories"] + 2, "one message was answered twice"
    assert await found_in(services) == set()
    assert await everything(services.db) == {}
    assert (await client.get("/api/users/export?user=bo")).text.splitlines()[1:] == others
    again = await client.delete(f"/api/users?user={WHO}")
    assert (again.status_code, again.json()["title"]) == (404, "user_not_found")


@pytest.mark.parametrize("late", [False, True])
async def test_a_turn_that_is_taken_while_its_user_is_erased_leaves_nothing(
    client: httpx.AsyncClient, talk: Talk, services: Services, talked: str, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Before the first step, and when nothing was left to find for any."""
    step, taken = erase._step, []

    async def meanwhile(db: Any, scope: Any, remove: Any) -> dict[str, int]:
        gone = {} if not late else await step(db, scope, remove)
        if not taken and (not late or (remove is erase._some_memories and not gone)):
            session = {} if late else {"session": talked}
            taken.append(await talk("mira", "Back in zanzibar.", "Again zanzibar.", user=WHO, **session))
        return gone if late else await step(db, scope, remove)

    monkeypatch.setattr(erase, "_step", meanwhile)
    assert (await client.delete(f"/api/users?user={WHO}")).status_code == 200
    assert taken
    assert await found_in(services) == set()


@pytest.mark.usefixtures("talked")
async def test_no_page_of_the_file_holds_what_was_erased(client: httpx.AsyncClient, services: Services) -> None:
    if services.db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's pages are its own affair; see the README")
    assert b"zanzibar" in bytes_of_the_files(services)
    assert (await client.delete(f"/api/users?user={WHO}")).status_code == 200
    left = bytes_of_the_files(services)
    assert b"Oslo" in left
    assert not [secret for secret in SECRETS if secret.encode() in left or escaped(secret).encode() in left]


async def test_an_export_has_everything_and_ends_with_the_counts(
    client: httpx.AsyncClient, services: Services, talked: str
) -> None:
    answer = await client.get(f"/api/users/export?user={WHO}")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    kinds = [line["kind"] for line in lines]
    assert (kinds[0], kinds[-1]) == ("export", "end")
    assert lines[-1]["counts"] == {kind: kinds.count(kind) for kind in kinds if kind != "end"}
    told = [line["text"] for line in lines if line["kind"] == "message" and line["session_id"] == talked]
    assert sorted(told) == ["I was born in zanzibar.", "In zanzibar!", "Truly, zanzibar?"]
    assert {line["slug"] for line in lines if line["kind"] == "character"} == {"mira"}
    assert all(line["character"] == "mira" for line in lines if line["kind"] in ("session", "memory", "bond"))
    memory = next(line for line in lines if line["kind"] == "memory")
    assert "joy" in memory["emotion"]
    assert not {"vector", "context", "terms", "encoder", "tagger"} & memory.keys()
    assert "Oslo" not in answer.text
    async with services.db.write() as db:
        row = {"session_id": talked, "role": "user", "path_hash": "", "active": False}
        rows = [row | {"id": f"{n:032x}", "depth": n // 3, "text": f"n{n}"} for n in range(700)]
        await db.execute(insert(Message), rows)
    more = [json.loads(line) for line in (await client.get(f"/api/users/export?user={WHO}")).text.splitlines()]
    pages = [line["text"] for line in more if line["kind"] == "message" and line["text"].startswith("n")]
    assert sorted(pages) == sorted(f"n{n}" for n in range(700)), "every row of every page, and once"


async def test_a_conversation_of_thousands_of_messages_is_erased(
    client: httpx.AsyncClient, services: Services, talked: str
) -> None:
    """Each is the parent of the next: a database that follows them all at once gives up."""
    async with services.db.write() as db:
        row = {"session_id": talked, "role": "user", "path_hash": "", "active": False, "text": ""}
        chain = [
            row | {"id": f"{n:032x}", "depth": n, "parent_id": f"{n - 1:032x}" if n else None} for n in range(2500)
        ]
        await db.execute(insert(Message), chain)
    assert (await client.delete(f"/api/users?user={WHO}")).status_code == 200
    async with services.db.read() as db:
        query = select(func.count()).select_from(Message).join(Session).where(Session.user == WHO)
        assert await db.scalar(query) == 0


async def test_another_owners_user_of_the_same_name_is_neither_listed_exported_nor_erased(
    as_owner: Fixture, talk: Talk, mira: dict[str, Any]
) -> None:
    ana, bo = await as_owner("ana", admin=True), await as_owner("bo")
    await ana.post("/api/characters", json=mira | {"shared": True})
    await talk("mira", "Hello.", user=WHO, http=ana)
    assert (await bo.get("/api/users")).json() == {"items": [], "next": None}
    theirs, none = await bo.get(f"/api/users/export?user={WHO}"), await bo.get("/api/users/export?user=nobody")
    assert theirs.status_code == none.status_code == 404
    assert theirs.text.replace(WHO, "nobody") == none.text
    assert (await bo.delete(f"/api/users?user={WHO}")).status_code == 404
    await talk("mira", "Hello.", user=WHO, http=bo)
    assert (await bo.delete(f"/api/users?user={WHO}")).status_code == 200
    assert (await ana.get("/api/users")).json()["items"][0]["messages"] == 2


async def test_any_name_a_client_sends_can_be_listed_exported_and_erased(
    client: httpx.AsyncClient, talk: Talk, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira)
    names = ["", "a/b", "x/export", "安娜", "50%", "a b?c#d", ".."]
    for name in names:
        await talk("mira", f"I am {name}.", user=name)
    listed = [user["user"] for user in (await client.get("/api/users")).json()["items"]]
    assert sorted(listed) == sorted(names)
    paged, after = [], None
    while True:
        more: dict[str, Any] = {} if after is None else {"after": after}
        page = (await client.get("/api/users", params={"limit": 2} | more)).json()
        paged += [user["user"] for user in page["items"]]
        if (after := page["next"]) is None:
            break
    assert paged == listed
    for name in names:
        exported = await client.get("/api/users/export", params={"user": name})
        assert exported.status_code == 200, (name, exported.text)
        assert json.loads(exported.text.splitlines()[0])["user"] == name
        assert (await client.delete("/api/users", params={"user": name})).json()["user"] == name
    assert (await client.get("/api/users")).json()["items"] == []
    assert (await client.delete("/api/users")).status_code == 422, "nobody is erased by leaving the name out"


@pytest.mark.usefixtures("talked")
async def test_who_comes_back_after_being_erased_is_a_stranger_to_every_process(
    client: httpx.AsyncClient, services: Services, talk: Talk
) -> None:
    """SQLite gives ids out again: the bank of a process that did not see the erasing must not fit the new rows."""
    elsewhere = replace(services, memories=BankCache(2**20))
    transport = httpx.ASGITransport(create_app(elsewhere), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as other:
        await talk("mira", "Where was I born?", user=WHO, http=other)
        assert len(elsewhere.memories) == 1
        assert (await client.delete(f"/api/users?user={WHO}")).status_code == 200
        for number in range(4):
            await talk("mira", f"A new thing, {number}.", user=WHO)
        answer = await talk("mira", "Where was I born, zan?", user=WHO, http=other)
        trace = (await other.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
        assert "zanzibar" not in json.dumps(trace)
        fresh = {f"{WHO}: A new thing, {number}.\nMira: Aye." for number in range(4)}
        assert trace["memories"], "the new memories are looked at"
        assert {memory["text"] for memory in trace["memories"]} <= fresh


def test_users_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"
    monkeypatch.setenv("MOODLINE_DATABASE_URL", url)
    monkeypatch.setenv("MOODLINE_HOME", str(tmp_path))
    migrate(url)

    async def fill() -> None:
        db = Database(url, 1)
        async with db.write() as session:
            session.add(Character(id="c", owner="app", slug="s", live_slug="app/s", document={}))
            await session.flush()
            session.add(Bond(owner="app", user="[ana]", character_id="c"))
        await db.close()

    asyncio.run(fill())
    run = CliRunner().invoke
    assert "[ana]" in run(app, ["users", "list", "--owner", "app"]).output
    assert "[ana]" not in run(app, ["users", "list"]).output
    file = tmp_path / "ana.jsonl"
    assert run(app, ["users", "export", "[ana]", str(file)]).exit_code == 1
    assert run(app, ["users", "export", "[ana]", str(file), "--owner", "app"]).exit_code == 0
    assert json.loads(file.read_text().splitlines()[-1])["counts"] == {"export": 1, "character": 1, "bond": 1}
    assert run(app, ["users", "erase", "[ana]", "--owner", "app"]).exit_code == 1, "nobody is here to confirm"
    erased = run(app, ["users", "erase", "[ana]", "--owner", "app", "--yes"])
    assert "1 bonds removed" in erased.output
    assert run(app, ["users", "erase", "[ana]", "--owner", "app", "--yes"]).exit_code == 1
