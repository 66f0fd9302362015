"""Conversations changed by hand: swipes, edits, deletions, forks, pins and notes, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select

from app.bond.store import lock_bond
from app.reindex import embed_waiting
from app.services import Services
from app.sessions.find import scope_of
from app.sessions.settle import settle
from app.settings import Settings
from app.tables import Memory, Message, Session
from models.scripted import ScriptedEngine

Fixture = Any
GREETING = "Mind the ropes, ana."


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, context_tokens=40_000, window=2, _env_file=None)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=40_000)


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201


class Talk:
    """A session and what can be done with it; every change must raise its revision by one."""

    def __init__(self, client: httpx.AsyncClient, talk: Fixture) -> None:
        self.client, self.talk, self.id, self.revision = client, talk, "", 0

    async def begin(self, *exchanges: tuple[str, str]) -> Talk:
        begun = await self.client.post("/api/sessions", json={"character": "mira", "user": "ana"})
        self.id = begun.json()["id"]
        for said, reply in exchanges:
            await self.talk("mira", said, reply, session=self.id)
        self.revision = (await self.read())["revision"]
        assert self.revision == 1 + len(exchanges)
        return self

    async def read(self) -> dict[str, Any]:
        answer = await self.client.get(f"/api/sessions/{self.id}")
        assert answer.headers["etag"] == f'"{answer.json()["revision"]}"'
        return dict(answer.json())

    async def do(self, method: str, path: str = "", **body: Any) -> dict[str, Any]:
        more = {"json": body} if body else {}
        headers = {"If-Match": f'"{self.revision}"'}
        answer = await self.client.request(method, f"/api/sessions/{self.id}{path}", headers=headers, **more)
        assert answer.is_success, answer.text
        self.revision += 1
        assert answer.headers["etag"] == f'"{self.revision}"'
        return dict(answer.json())

    async def ids(self) -> dict[str, str]:
        """Of all messages by their text, the newest of equals."""
        tree = (await self.client.get(f"/api/sessions/{self.id}/tree?deleted=true")).json()["tree"]
        return {row["text"]: row["id"] for row in tree}


@pytest.fixture
def a_talk(client: httpx.AsyncClient, talk: Fixture) -> Fixture:
    async def begin(*exchanges: tuple[str, str]) -> Talk:
        return await Talk(client, talk).begin(*exchanges)

    return begin


def texts(read: dict[str, Any]) -> list[str]:
    assert all(row["active"] for row in read["branch"])
    return [row["text"] for row in read["branch"]]


async def standing(client: httpx.AsyncClient) -> tuple[dict[str, Any], set[str]]:
    """The bond, and what is remembered and counts."""
    memories = (await client.get("/api/memories?limit=200")).json()["items"]
    assert len({memory["text"] for memory in memories}) == len(memories)
    return (await client.get("/api/bonds/mira?user=ana")).json(), {memory["text"] for memory in memories}


HELLO, CAT, SAD = ("I love it here!", "Aye."), ("My cat is called Pickle.", "Noted."), ("I am sad.", "Sit.")


async def test_another_branch_is_chosen_by_any_of_its_messages(
    client: httpx.AsyncClient, a_talk: Fixture, talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO, CAT)
    before = await standing(client)
    history = [{"role": "assistant", "content": GREETING}, {"role": "user", "content": HELLO[0]}]
    again = [*history, {"role": "assistant", "content": HELLO[1]}, {"role": "user", "content": "Another thing."}]
    await talk("mira", "", "What?", session=one.id, messages=again)
    other = await standing(client)
    one.revision += 1
    ids = await one.ids()
    read = await one.do("PUT", "/leaf", message_id=ids[CAT[0]])
    assert texts(read) == [GREETING, *HELLO, *CAT]
    assert read["branch"][3]["siblings"] == [ids["Another thing."]]
    assert await standing(client) == before
    assert texts(await one.do("PUT", "/leaf", message_id=ids["What?"])) == [GREETING, *HELLO, "Another thing.", "What?"]
    assert await standing(client) == other
    newest = await one.do("PUT", "/leaf", message_id=ids[GREETING])
    assert texts(newest)[-1] == "What?"


async def test_whatever_changes_a_branch_reads_that_branch_and_not_the_whole_tree(
    services: Services, a_talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO, CAT)
    ids = await one.ids()
    async with services.db.write() as db:
        root = await db.get_one(Message, ids[HELLO[0]])
        for number in range(50):
            row = Message(session_id=one.id, parent_id=root.id, depth=2, role="assistant", text="No.", path_hash="-")
            row.active, row.created_at = False, root.created_at - timedelta(days=1 + number)
            db.add(row)
    read: list[str] = []

    def note(row: Message, _context: Any) -> None:
        read.append(row.text)

    event.listen(Message, "load", note)
    try:
        assert texts(await one.do("PUT", "/leaf", message_id=ids[HELLO[0]])) == [GREETING, *HELLO, *CAT]
        await one.do("DELETE", f"/messages/{ids[HELLO[1]]}")
        assert texts(await one.do("POST", f"/messages/{ids[HELLO[1]]}/restore")) == [GREETING, *HELLO, *CAT]
        await one.do("PATCH", f"/messages/{ids[CAT[1]]}", text="I see.", following="keep")
    finally:
        event.remove(Message, "load", note)
    assert {GREETING, *HELLO, *CAT} <= set(read)
    assert read.count("No.") < 10, "only where it is current, once what was newer is deleted"


async def test_an_edited_message_is_a_version_beside_it_and_what_followed_follows_it_if_that_is_wanted(
    client: httpx.AsyncClient, a_talk: Fixture, services: Services
) -> None:
    one: Talk = await a_talk(HELLO, CAT, SAD)
    ids = await one.ids()
    before = await standing(client)
    read = await one.do("PATCH", f"/messages/{ids[CAT[0]]}", text="My dog is called Olive.")
    assert texts(read) == [GREETING, *HELLO, "My dog is called Olive.", CAT[1], *SAD]
    assert read["branch"][3]["siblings"] == [ids[CAT[0]]]
    assert [row["origin_id"] for row in read["branch"]] == [None] * 4 + [ids[CAT[1]], ids[SAD[0]], ids[SAD[1]]]
    assert read["messages"] == 11
    bond, remembered = await standing(client)
    assert remembered == {
        "ana: I love it here!\nMira: Aye.",
        "ana: My dog is called Olive.\nMira: Noted.",
        "ana: I am sad.\nMira: Sit.",
    }
    assert bond["turns"] == 2, "how the new text feels is heard in the background"
    # What followed is indexed with what is said before it now.
    assert await embed_waiting(services) == 2
    assert (await standing(client))[0]["turns"] == 3
    async with services.db.read() as db:
        rows = {row.text.split("\n")[0]: row for row in await db.scalars(select(Memory))}
    assert rows["ana: I am sad."].previous_id == rows["ana: My dog is called Olive."].id
    assert texts(await one.do("PUT", "/leaf", message_id=ids[CAT[0]])) == [GREETING, *HELLO, *CAT, *SAD]
    assert await standing(client) == before
    read = await one.do("PATCH", f"/messages/{ids[CAT[0]]}", text="My pike.", following="drop")
    assert texts(read) == [GREETING, *HELLO, "My pike."]
    assert len(read["branch"][3]["siblings"]) == 2
    # A reply can be edited as well, off the current branch too.
    read = await one.do("PATCH", f"/messages/{ids[CAT[1]]}", text="A fine name.")
    assert texts(read) == [GREETING, *HELLO, CAT[0], "A fine name.", *SAD]
    assert "ana: My cat is called Pickle.\nMira: A fine name." in (await standing(client))[1]
    read = await one.do("PATCH", f"/messages/{ids[GREETING]}", text="Ahoy.")
    assert texts(read)[:2] == ["Ahoy.", HELLO[0]]
    assert read["branch"][0]["siblings"] == [ids[GREETING]]


async def test_a_change_names_the_revision_it_was_made_from(client: httpx.AsyncClient, a_talk: Fixture) -> None:
    one: Talk = await a_talk(HELLO)
    ids = await one.ids()
    path = f"/api/sessions/{one.id}"
    tree = (await client.get(f"{path}/tree")).json()
    for method, where, body in (
        ("PATCH", "", {"title": "x"}),
        ("PUT", "/leaf", {"message_id": ids["Aye."]}),
        ("PATCH", f"/messages/{ids['Aye.']}", {"text": "x"}),
        ("DELETE", f"/messages/{ids['Aye.']}", None),
        ("DELETE", "", None),
    ):
        more = {"json": body} if body else {}
        missing = await client.request(method, path + where, **more)
        assert (missing.status_code, missing.json()["title"]) == (428, "revision_missing")
        stale = await client.request(method, path + where, headers={"If-Match": '"1"'}, **more)
        assert (stale.status_code, stale.json()["title"]) == (412, "stale_revision")
    assert (await client.get(f"{path}/tree")).json() == tree


async def test_a_deleted_message_takes_what_is_below_it_along_and_comes_back_with_it(
    client: httpx.AsyncClient, a_talk: Fixture, services: Services
) -> None:
    one: Talk = await a_talk(HELLO, CAT, SAD)
    before, ids = await standing(client), await one.ids()
    read = await one.do("DELETE", f"/messages/{ids[SAD[1]]}")
    assert texts(read) == [GREETING, *HELLO, *CAT, SAD[0]]
    read = await one.do("DELETE", f"/messages/{ids[CAT[0]]}")
    assert texts(read) == [GREETING, *HELLO]
    assert read["messages"] == 3
    bond, remembered = await standing(client)
    assert (bond["turns"], remembered) == (1, {"ana: I love it here!\nMira: Aye."})
    for path in (f"/messages/{ids[CAT[1]]}", f"/messages/{ids[SAD[1]]}"):
        gone = await client.get(f"/api/sessions/{one.id}{path}")
        assert (gone.status_code, gone.json()["title"]) == (404, "message_not_found")
    refused = await client.post(f"/api/sessions/{one.id}/messages/{ids[SAD[1]]}/restore")
    assert (refused.status_code, refused.json()["title"]) == (409, "parent_deleted")
    assert ids[SAD[0]] in refused.json()["detail"]
    read = await one.do("POST", f"/messages/{ids[CAT[0]]}/restore")
    assert texts(read) == [GREETING, *HELLO, *CAT, SAD[0]], "what was deleted before stays deleted"
    read = await one.do("POST", f"/messages/{ids[SAD[1]]}/restore")
    assert texts(read) == [GREETING, *HELLO, *CAT, *SAD]
    assert await standing(client) == before
    read = await one.do("DELETE", f"/messages/{ids[GREETING]}")
    assert (read["branch"], read["messages"]) == ([], 0)
    tree = (await client.get(f"/api/sessions/{one.id}/tree")).json()["tree"]
    deleted = (await client.get(f"/api/sessions/{one.id}/tree?deleted=true")).json()["tree"]
    assert (tree, len(deleted)) == ([], 7)
    assert texts(await one.do("POST", f"/messages/{ids[GREETING]}/restore")) == [GREETING, *HELLO, *CAT, *SAD]
    assert await standing(client) == before
    async with services.db.read() as db:
        assert not list(await db.scalars(select(Message).where(Message.deleted_at.is_not(None))))


async def test_what_was_deleted_is_not_found_by_a_client_that_sends_it_again(
    client: httpx.AsyncClient, a_talk: Fixture, talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO, CAT)
    ids = await one.ids()
    await one.do("DELETE", f"/messages/{ids[CAT[0]]}")
    said = [("assistant", GREETING), ("user", HELLO[0]), ("assistant", HELLO[1]), ("user", CAT[0])]
    messages = [{"role": role, "content": text} for role, text in said]
    answer = await talk("mira", "", "A cat?", messages=messages)
    assert answer.headers["x-session-id"] == one.id
    assert (await one.ids())[CAT[0]] != ids[CAT[0]]
    assert texts(await one.read()) == [GREETING, *HELLO, CAT[0], "A cat?"]


async def test_a_deleted_session_counts_nowhere_and_comes_back_exactly(
    client: httpx.AsyncClient, a_talk: Fixture
) -> None:
    other: Talk = await a_talk(SAD)
    alone = await standing(client)
    one: Talk = await a_talk(HELLO, CAT)
    before, read = await standing(client), await one.read()
    gone = await client.delete(f"/api/sessions/{one.id}", headers={"If-Match": f'"{one.revision}"'})
    assert gone.status_code == 204
    assert await standing(client) == alone
    assert [item["id"] for item in (await client.get("/api/sessions")).json()["items"]] == [other.id]
    listed = (await client.get("/api/sessions?deleted=true")).json()["items"]
    assert [(item["id"], item["deleted_at"] is None) for item in listed] == [(one.id, False)]
    back = await client.post(f"/api/sessions/{one.id}/restore")
    assert await standing(client) == before
    assert back.json() == read | {"revision": one.revision + 2}
    assert (await client.post(f"/api/sessions/{one.id}/restore")).status_code == 404


async def test_a_fork_goes_on_by_itself_and_nothing_counts_twice(client: httpx.AsyncClient, a_talk: Fixture) -> None:
    one: Talk = await a_talk(HELLO, CAT, SAD)
    before, ids = await standing(client), await one.ids()
    forked = await client.post(f"/api/sessions/{one.id}/fork", json={"message_id": ids[CAT[1]]})
    assert forked.status_code == 201
    fork = forked.json()
    assert forked.headers["location"] == f"/api/sessions/{fork['id']}"
    assert texts(fork) == [GREETING, *HELLO, *CAT]
    assert [row["origin_id"] for row in fork["branch"]] == [ids[text] for text in texts(fork)]
    assert await standing(client) == before
    assert texts(await one.read()) == [GREETING, *HELLO, *CAT, *SAD]
    whole = (await client.post(f"/api/sessions/{one.id}/fork", json={})).json()
    assert texts(whole) == [GREETING, *HELLO, *CAT, *SAD]
    await client.delete(f"/api/sessions/{whole['id']}", headers={"If-Match": "*"})
    assert await standing(client) == before
    await one.talk("mira", "I am still here.", "Good.", session=fork["id"])
    await client.delete(f"/api/sessions/{one.id}", headers={"If-Match": "*"})
    bond, remembered = await standing(client)
    assert bond["turns"] == 3
    assert "ana: I am sad.\nMira: Sit." not in remembered
    assert {"ana: My cat is called Pickle.\nMira: Noted.", "ana: I am still here.\nMira: Good."} <= remembered
    missing = await client.post(f"/api/sessions/{fork['id']}/fork", json={"message_id": ids[CAT[1]]})
    assert (missing.status_code, missing.json()["title"]) == (404, "message_not_found")


async def test_a_fork_waits_for_a_change_under_way_and_copies_what_it_left(
    client: httpx.AsyncClient, services: Services, a_talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO, CAT)
    ids = await one.ids()
    async with services.db.write() as db:
        session = await db.get_one(Session, one.id)
        await lock_bond(db, scope_of(session))
        forking = asyncio.create_task(client.post(f"/api/sessions/{one.id}/fork", json={}))
        done, _ = await asyncio.wait({forking}, timeout=0.5)
        assert not done
        session.leaf_id = ids[HELLO[1]]
        await settle(db, scope_of(session), session)
    assert texts((await forking).json()) == [GREETING, *HELLO]


async def test_a_conversation_that_goes_while_its_change_waits_is_not_found(
    client: httpx.AsyncClient, services: Services, a_talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO)
    async with services.db.write() as db:
        session = await db.get_one(Session, one.id)
        await lock_bond(db, scope_of(session))
        titling = asyncio.create_task(
            client.patch(f"/api/sessions/{one.id}", json={"title": "Late"}, headers={"If-Match": "*"})
        )
        await asyncio.wait({titling}, timeout=0.5)
        await db.delete(session)
    answer = await titling
    assert (answer.status_code, answer.json()["title"]) == (404, "session_not_found")


async def test_a_copied_message_can_be_answered_anew(client: httpx.AsyncClient, a_talk: Fixture, talk: Fixture) -> None:
    one: Talk = await a_talk(HELLO)
    before = await standing(client)
    fork = (await client.post(f"/api/sessions/{one.id}/fork", json={})).json()
    history = [{"role": "assistant", "content": GREETING}, {"role": "user", "content": HELLO[0]}]
    await talk("mira", "", "Two.", session=fork["id"], messages=history)
    bond, remembered = await standing(client)
    assert remembered == {"ana: I love it here!\nMira: Aye.", "ana: I love it here!\nMira: Two."}
    assert bond == before[0], "it was said once"
    await client.delete(f"/api/sessions/{one.id}", headers={"If-Match": "*"})
    assert await standing(client) == (bond, {"ana: I love it here!\nMira: Two."})


async def test_sessions_are_renamed_pinned_and_found_by_what_was_said_in_both_languages(
    client: httpx.AsyncClient, a_talk: Fixture
) -> None:
    first: Talk = await a_talk(("Is it 100% done?", "Almost."))
    second: Talk = await a_talk(("我的猫叫泡菜。", "好名字。"))
    third: Talk = await a_talk(("Hello.", "Aye."))

    async def found(**query: Any) -> list[str]:
        return [item["id"] for item in (await client.get("/api/sessions", params=query)).json()["items"]]

    assert await found() == [third.id, second.id, first.id]
    await first.do("PATCH", title="The Storm", pinned=True)
    assert await found() == [first.id, third.id, second.id]
    page = (await client.get("/api/sessions?limit=1")).json()
    assert await found(limit=1, before=page["next"]) == [third.id]
    assert await found(before=third.id) == [second.id]
    assert await found(q="storm") == [first.id]
    assert await found(q="100%") == [first.id]
    assert await found(q="%") == [first.id]
    assert await found(q="_") == []
    assert await found(q="泡菜") == [second.id]
    assert await found(q="HELLO") == [third.id]
    ids = await third.ids()
    await third.do("DELETE", f"/messages/{ids['Hello.']}")
    assert await found(q="aye") == []
    assert await found(q="storm", user="bo") == []


async def test_the_authors_note_is_told_at_its_depth(
    client: httpx.AsyncClient, a_talk: Fixture, engine: ScriptedEngine
) -> None:
    one: Talk = await a_talk(HELLO)
    read = await one.do("PATCH", note="{{char}} is tired of {{user}}.", note_depth=1)
    assert (read["note"], read["note_depth"]) == ("{{char}} is tired of {{user}}.", 1)
    await one.talk("mira", "Hello?", "Aye.", session=one.id)
    told = [message.content for message in engine.asked[-1].messages]
    assert told[-3] == "## Note from the author\nMira is tired of ana."
    refused = await client.patch(f"/api/sessions/{one.id}", json={"note_depth": -1}, headers={"If-Match": "*"})
    assert refused.status_code == 422


async def test_what_is_remembered_of_a_message_is_pinned_even_while_it_waits(
    client: httpx.AsyncClient, a_talk: Fixture, services: Services, talk: Fixture
) -> None:
    one: Talk = await a_talk(HELLO, CAT, SAD)
    ids = await one.ids()
    read = await one.do("PATCH", f"/messages/{ids[CAT[0]]}", text="My dog is called Olive.")
    edited = read["branch"][3]
    pinned = await one.do("PUT", f"/messages/{edited['id']}/pin", pinned=True)
    assert pinned["pinned"] is True
    assert [row["pinned"] for row in (await one.read())["branch"]] == [False, False, False, True, True, False, False]
    await embed_waiting(services)
    trace = await talk("mira", "What about soup?", "Soup.", session=one.id)
    considered = (await client.get(f"/api/turns/{trace.headers['x-moodline-turn']}/trace")).json()["memories"]
    assert any("Olive" in memory["text"] and memory["kept"] for memory in considered)
    one.revision += 1
    assert (await one.do("PUT", f"/messages/{edited['id']}/pin", pinned=False))["pinned"] is False
    refused = await client.put(f"/api/sessions/{one.id}/messages/{ids[GREETING]}/pin", json={"pinned": True})
    assert refused.status_code == 409


async def test_bad_changes_are_refused_and_change_nothing(
    client: httpx.AsyncClient, a_talk: Fixture, services: Services
) -> None:
    one: Talk = await a_talk(HELLO)
    other: Talk = await a_talk(CAT)
    ids, others = await one.ids(), await other.ids()
    path, everything = f"/api/sessions/{one.id}", {"If-Match": "*"}
    tree = (await client.get(f"{path}/tree")).json()
    for method, where, body, status in (
        ("PUT", "/leaf", {"message_id": others["Noted."]}, 404),
        ("PUT", "/leaf", {"message_id": "0" * 32}, 404),
        ("PATCH", f"/messages/{others['Noted.']}", {"text": "x"}, 404),
        ("PATCH", f"/messages/{ids['Aye.']}", {"text": "  "}, 422),
        ("PATCH", f"/messages/{ids['Aye.']}", {"text": "x" * (services.settings.max_message_chars + 1)}, 422),
        ("PATCH", f"/messages/{ids['Aye.']}", {"text": "x", "following": "burn"}, 422),
        ("DELETE", f"/messages/{others['Noted.']}", None, 404),
        ("POST", f"/messages/{ids['Aye.']}/restore", None, 404),
        ("POST", "/restore", None, 404),
        ("PUT", f"/messages/{others['Noted.']}/pin", {"pinned": True}, 404),
        ("PATCH", "", {"revision": 7}, 422),
    ):
        more = {"json": body} if body else {}
        answer = await client.request(method, path + where, headers=everything, **more)
        assert answer.status_code == status, (method, where, answer.text)
    assert (await client.get(f"{path}/tree")).json() == tree
    async with services.db.read() as db:
        assert len(list(await db.scalars(select(Session)))) == 2
