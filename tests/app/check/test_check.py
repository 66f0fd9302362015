from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select, text

from app.check.everything import everything
from app.check.tree import Node, places
from app.db import Database, schema_engine
from app.migrate import migrate
from app.reindex import embed_waiting
from app.services import Services
from app.sessions.tree import ROOT, step
from app.tables import Memory, Message

Talk = Callable[..., Awaitable[httpx.Response]]
LINES = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."


async def break_with(services: Services, *statements: str, **values: Any) -> None:
    """Change rows as a hand with the database's shell does, where nothing minds foreign keys."""
    engine = schema_engine(services.db.url)
    async with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SET session_replication_role = replica"))
        for statement in statements:
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            await connection.execute(text(statement), used)
    await engine.dispose()


async def texts(services: Services) -> list[str]:
    """What was said, and what is remembered of it."""
    async with services.db.read() as db:
        told = await db.execute(text("SELECT text FROM messages UNION ALL SELECT text FROM memories"))
        return sorted(told.scalars())


@pytest.fixture
async def full(client: httpx.AsyncClient, talk: Talk, services: Services, mira: dict[str, Any]) -> dict[str, Any]:
    """A character with lore, lines and two conversations, one of them with branches; nothing is wrong."""
    assert (await client.post("/api/characters", json=mira)).status_code == 201
    book = {"name": "Pets", "entries": [{"keys": ["Pickle"], "content": "Pickle is a cat.", "sticky": 2}]}
    assert (await client.post("/api/lorebooks", json=book)).status_code == 201
    etag = {"If-Match": "*"}
    changed = {"name": "Mira", "persona": "Mends nets."}
    assert (await client.put("/api/characters/mira", json=changed, headers=etag)).status_code == 200
    await client.post("/api/characters/mira/lines", content=LINES)
    first = await talk("mira", "My cat is Pickle.")
    history = [{"role": "user", "content": "My cat is Pickle."}, {"role": "assistant", "content": "Aye."}]
    for said in ("She is black.", "She is white."):
        await talk("mira", "", "Is she?", messages=[*history, {"role": "user", "content": said}])
    await talk("mira", "我的船在港口。", "好。", user="安娜")
    await embed_waiting(services)
    assert await everything(services.db) == {}
    return {"session": first.headers["x-session-id"], "turn": first.headers["x-moodline-turn"]}


GONE = "0" * 32
# What takes most away comes last.
BREAKS: dict[str, tuple[str, list[str]]] = {
    "a memory's session is gone": ("memories without their sessions", [f"UPDATE memories SET session_id = '{GONE}'"]),
    "a memory before is gone": ("memories without their memories", ["UPDATE memories SET previous_id = 99999"]),
    "a line's import is gone": ("lines without their line_imports", ["DELETE FROM line_imports"]),
    "a hash is wrong": (
        "messages in a wrong place",
        ["UPDATE messages SET path_hash = 'x' WHERE session_id = :session AND depth = 1"],
    ),
    "a text was changed by hand": (
        "messages in a wrong place",
        ["UPDATE messages SET text = 'changed' WHERE depth = 0"],
    ),
    "a depth is wrong": ("messages in a wrong place", ["UPDATE messages SET depth = 7 WHERE depth = 2"]),
    "a parent is of another session": (
        "messages in a wrong place",
        [
            "UPDATE messages SET parent_id = (SELECT min(id) FROM messages WHERE session_id <> :session) "
            "WHERE session_id = :session AND depth = 2"
        ],
    ),
    "a leaf is of another session": (
        "conversations with a wrong leaf",
        [
            "UPDATE sessions SET leaf_id = (SELECT max(id) FROM messages WHERE session_id <> :session) "
            "WHERE id = :session"
        ],
    ),
    "a leaf is no leaf": (
        "conversations with a wrong leaf",
        [
            "UPDATE sessions SET leaf_id = (SELECT min(parent_id) FROM messages WHERE session_id = :session) "
            "WHERE id = :session"
        ],
    ),
    "a leaf is lost": ("conversations with a wrong leaf", ["UPDATE sessions SET leaf_id = NULL WHERE id = :session"]),
    "a branch is not marked": ("messages with a wrong mark", ["UPDATE messages SET active = false"]),
    "every branch is marked": ("messages with a wrong mark", ["UPDATE messages SET active = true"]),
    "what counts and what doesn't are confused": (
        "memories that count wrongly",
        ["UPDATE memories SET retired = NOT retired"],
    ),
    "a bond is too strong": ("bonds that are no sum", ["UPDATE bonds SET affinity = 77"]),
    "a bond counts too much": ("bonds that are no sum", ["UPDATE bonds SET turns = 99"]),
    "a mood is lost": ("bonds that are no sum", ["UPDATE bonds SET mood = NULL"]),
    "a text is not known by what it says": (
        "messages in a wrong place",
        ["UPDATE messages SET said_hash = 'x' WHERE depth = 0"],
    ),
    "a slug is lost": ("characters under a wrong name", ["UPDATE characters SET live_slug = NULL"]),
    "a revision is lost": (
        "characters with a broken history",
        ["DELETE FROM character_revisions WHERE revision = 2"],
    ),
    "a character was set back": ("characters with a broken history", ["UPDATE characters SET revision = 1"]),
    "a character lacks what it needs": (
        "characters that can't be read",
        ["""UPDATE characters SET document = '{"name": ""}'"""],
    ),
    "lore lacks what it needs": ("lore that can't be read", ["""UPDATE lore_entries SET document = '{"keys": 3}'"""]),
    "a book's entry lacks what it needs": (
        "lorebook entries that can't be read",
        ["""UPDATE lorebook_entries SET document = '{"content": "x", "depth": -1}'"""],
    ),
    "a book's settings are none": ("lorebooks that can't be read", ["UPDATE lorebooks SET settings = '[]'"]),
    "timers are none": (
        "timers of lore that can't be read",
        ["""UPDATE lore_timers SET document = '{"sticky": {"a.1": {"start": 1}}}'"""],
    ),
    "a dialogue is none": ("lines that can't be read", ["""UPDATE lines SET dialogue = '{"a": 1}'"""]),
    "a trace is none": ("traces that can't be read", ["UPDATE traces SET document = '[1]'"]),
    "a vector is cut": ("memories with wrong vectors", ["UPDATE memories SET vector = :cut WHERE id = :memory"]),
    "a context is of another width": ("memories with wrong vectors", ["UPDATE memories SET context = :short"]),
    "a vector is not a number": ("lines with wrong vectors", ["UPDATE lines SET vector = :nan"]),
    "a vector is long": ("lines with wrong vectors", ["UPDATE lines SET vector = :long"]),
    "a feeling is missing": ("lines with wrong vectors", ["UPDATE lines SET emotion = NULL"]),
    "words are cut": ("memories with wrong vectors", ["UPDATE memories SET terms = :cut"]),
    "a session is gone": ("messages without their sessions", ["DELETE FROM sessions WHERE id = :session"]),
    "a parent is gone": (
        "messages without their parent",
        ["DELETE FROM messages WHERE id = (SELECT min(parent_id) FROM messages WHERE session_id = :session)"],
    ),
    "a session and its memories are gone": (
        "traces without their sessions",
        ["DELETE FROM sessions WHERE id = :session", "UPDATE memories SET session_id = NULL, message_id = NULL"],
    ),
    "everything but messages is gone": (
        "messages without their sessions",
        ["DELETE FROM sessions", "DELETE FROM traces", "DELETE FROM memories", "DELETE FROM bonds"],
    ),
    "the character is gone": ("sessions without their characters", ["DELETE FROM characters"]),
    "the character is gone with its revisions": (
        "lines without their characters",
        ["DELETE FROM characters", "DELETE FROM character_revisions"],
    ),
}


async def test_what_is_wrong_is_found_and_put_right_and_nothing_that_was_said_is_lost(
    full: dict[str, Any], services: Services
) -> None:
    async with services.db.read() as db:
        memory = await db.scalar(select(func.max(Memory.id)))
    ones = np.ones(384, np.float32)
    short = np.ones(96, np.float32) / np.float32(96**0.5)
    wrong = {"cut": b"\1\2\3", "short": short.tobytes(), "nan": (ones * np.nan).tobytes(), "long": ones.tobytes()}
    for what, (name, statements) in BREAKS.items():
        await break_with(services, *statements, **full, **wrong, memory=memory)
        said = await texts(services)
        assert name in await everything(services.db), what
        repaired = await everything(services.db, repair=True)
        assert not any(found.left for found in repaired.values()), (what, repaired)
        assert await everything(services.db) == {}, (what, repaired)
        assert await texts(services) == said, what
        await embed_waiting(services)


async def test_a_group_that_lost_what_makes_it_one_is_one_again(
    client: httpx.AsyncClient, mira: dict[str, Any], services: Services
) -> None:
    await client.post("/api/characters", json=mira)
    body = {"slug": "quay", "name": "Quay", "order": "list", "members": [{"character": "mira"}]}
    await client.post("/api/groups", json=body)
    assert (await client.post("/api/sessions", json={"character": "group/quay", "user": "ana"})).status_code == 201
    assert await everything(services.db) == {}
    orderless, gone = "groups without an order", "DELETE FROM characters WHERE kind = 'group'"
    for name, statements in (
        (orderless, ["UPDATE groups SET turn_order = 'x'"]),
        ("group_members without their groups", ["DELETE FROM groups"]),
        (orderless, ["DELETE FROM groups", "DELETE FROM group_members"]),
        ("groups without their characters", [gone]),
        ("group_members without their groups", [gone, "DELETE FROM groups"]),
    ):
        await client.put("/api/groups/quay/members/mira", json={}, headers={"If-Match": "*"})
        await break_with(services, *statements)
        assert name in await everything(services.db), statements
        await everything(services.db, repair=True)
        assert await everything(services.db) == {}, statements
        if gone not in statements:
            assert (await client.get("/api/groups/quay")).json()["order"] == "natural"


async def test_a_conversation_that_lost_its_row_is_its_users_again(
    full: dict[str, Any], services: Services, client: httpx.AsyncClient
) -> None:
    await break_with(services, "DELETE FROM sessions WHERE id = :session", **full)
    await everything(services.db, repair=True)
    shown = (await client.get(f"/api/sessions/{full['session']}")).json()
    assert (shown["user"], shown["character"], shown["title"]) == ("ana", "mira", "recovered")
    assert [message["text"] for message in shown["branch"]][:2] == ["My cat is Pickle.", "Aye."]


@pytest.mark.usefixtures("full")
async def test_two_characters_that_want_one_name_are_told_and_left_to_a_person(services: Services) -> None:
    columns = "owner, slug, revision, lines_revision, document, created_at, updated_at"
    copy = f"INSERT INTO characters (id, {columns}) SELECT 'twin', {columns} FROM characters"
    history = (
        "INSERT INTO character_revisions (character_id, revision, document, created_at) "
        "SELECT 'twin', revision, document, created_at FROM character_revisions"
    )
    await break_with(services, copy, history)
    found = (await everything(services.db, repair=True))["characters under a wrong name"]
    assert (found.count, found.left, list(found.first)) == (1, 1, ["twin"])
    assert "twin" in found.why


async def test_what_is_no_json_at_all_is_kept_as_text(full: dict[str, Any], services: Services) -> None:
    if services.db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no such thing")
    documents = {"characters": "document", "lore_entries": "document", "lines": "dialogue", "traces": "document"}
    documents |= {"lorebooks": "settings", "lorebook_entries": "document", "lore_timers": "document"}
    broken = [f"UPDATE {name} SET {field} = '{{\"it'" for name, field in documents.items()]
    await break_with(services, *broken)
    assert len(await everything(services.db, repair=True)) >= 7
    assert await everything(services.db) == {}
    async with services.db.read() as db:
        for name in ("character_revisions", "lore_entries", "lorebook_entries", "lore_timers", "traces"):
            kept = (await db.execute(text(f"SELECT document FROM {name}"))).scalars().all()
            assert any("it" in document and "damaged" in document for document in kept), name


async def test_a_big_table_is_read_in_pages(full: dict[str, Any], services: Services) -> None:
    """More rows than a page, the wrong one on the last."""
    async with services.db.write() as db:
        same = {"session_id": full["session"], "depth": 0, "role": "user", "active": False}
        # Behind every id that was drawn: the last row must be one of these, which no bond counts.
        rows = [
            same | {"id": f"{16**32 - 1300 + n:032x}", "text": str(n), "path_hash": step(ROOT, "user", str(n))}
            for n in range(1300)
        ]
        await db.execute(insert(Message), rows)
    assert await everything(services.db) == {}
    await break_with(services, "UPDATE messages SET depth = 30 WHERE id = (SELECT max(id) FROM messages)")
    seen: dict[str, int] = {}

    def told(name: str, more: int) -> None:
        seen[name] = seen.get(name, 0) + more

    assert set(await everything(services.db, progress=told)) == {"messages in a wrong place"}
    assert seen["messages in a wrong place"] > 1300


def test_a_damaged_file_is_told_and_not_written_to(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"
    migrate(url)
    content = bytearray((tmp_path / "x.db").read_bytes())
    for begin in range(4096 * 3, len(content), 4096):
        content[begin : begin + 64] = b"\xff" * 64
    (tmp_path / "x.db").write_bytes(content)

    async def look() -> Any:
        db = Database(url, 1)
        try:
            return await everything(db, repair=True)
        finally:
            await db.close()

    found = asyncio.run(look())
    assert list(found) == ["the file itself"]
    assert found["the file itself"].left


@given(st.data())
def test_any_tangle_of_messages_becomes_a_tree_that_keeps_every_link_it_can(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [f"m{number}" for number in range(count)]
    parents = data.draw(st.lists(st.sampled_from([*ids, "elsewhere", None]), min_size=count, max_size=count))
    nodes = [
        Node(name, parent, data.draw(st.integers(0, 3)), "user", name, "", "", begin + timedelta(seconds=number))
        for number, (name, parent) in enumerate(zip(ids, parents, strict=True))
    ]
    found = places(nodes)
    assert set(found) == set(ids)
    for name, place in found.items():
        above = found[place.parent_id] if place.parent_id else None
        assert place.depth == (above.depth + 1 if above else 0)
        assert place.path_hash == step(above.path_hash if above else ROOT, "user", name)
    circles = sum(found[node.id].parent_id != node.parent_id for node in nodes if node.parent_id in found)
    assert circles == _circles(dict(zip(ids, parents, strict=True)))


def _circles(parents: dict[str, str | None]) -> int:
    """How many circles there are; each must be opened at one place."""
    seen: set[frozenset[str]] = set()
    for start in parents:
        path, at = [], start
        while at in parents and at not in path:
            path.append(at)
            at = parents[at] or ""
        if at in path:
            seen.add(frozenset(path[path.index(at) :]))
    return len(seen)
