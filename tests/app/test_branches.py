"""What is not on the current branch does not count, and nothing is lost: memories and bonds, on both databases."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select

from app.bond.affinity import Rules
from app.bond.store import lock_bond, replay_bond
from app.chat.recall import NOT_HERE
from app.reindex import count_waiting, embed_waiting
from app.services import Services
from app.sessions.store import Scope
from app.settings import Settings
from app.tables import Bond, Memory, Message, Session
from models.scripted import ScriptedEngine

Talk = list[tuple[str, str]]
GREETING = ("assistant", "Mind the ropes, ana.")


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, context_tokens=40_000, window=2, _env_file=None)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=40_000)


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    stages = [{"name": "stranger", "affinity": 0}, {"name": "friend", "affinity": 2}]
    assert (await client.post("/api/characters", json=mira | {"stages": stages})).status_code == 201


@pytest.fixture
def say(client: httpx.AsyncClient, engine: ScriptedEngine) -> Any:
    """Sends a whole conversation, as a client without sessions does; the trace of the turn."""

    async def send(talk: Talk, reply: str, user: str = "ana") -> dict[str, Any]:
        engine.replies.append(reply)
        messages = [{"role": role, "content": text} for role, text in [GREETING, *talk]]
        body = {"model": "char/mira", "user": user, "messages": messages}
        answer = await client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        trace = await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")
        return dict(trace.json())

    return send


async def memories(services: Services, user: str = "ana") -> dict[str, bool]:
    """What is remembered, and whether it counts."""
    async with services.db.read() as db:
        rows = list(await db.scalars(select(Memory).where(Memory.user == user)))
    assert len({row.text for row in rows}) == len(rows)
    return {row.text: not row.retired for row in rows}


async def bond(services: Services, user: str = "ana") -> tuple[float, str, bytes, int]:
    """The bond, which must equal what it is summed up to anew."""
    async with services.db.write() as db:
        row = (await db.scalars(select(Bond).where(Bond.user == user))).one()
        told = told_bond(row)
        locked = await lock_bond(db, Scope(row.owner, row.user, row.character_id))
        await replay_bond(db, locked, Rules(stages=(Stage("stranger", 0), Stage("friend", 2))))
        assert told_bond(locked) == told
    return told


class Stage:
    def __init__(self, name: str, affinity: float) -> None:
        self.name, self.affinity = name, affinity


def told_bond(row: Bond) -> tuple[float, str, bytes, int]:
    assert row.mood is not None
    return row.affinity, row.stage, row.mood.tobytes(), row.turns


def exchange(said: str, reply: str, user: str = "ana") -> str:
    return f"{user}: {said}\nMira: {reply}"


LOVELY, SAD, ANGRY = "Thank you, I love it here!", "I feel so sad and alone.", "I hate you, go away!"


async def test_a_turn_that_is_made_anew_counts_once_and_is_made_from_where_the_first_was(
    services: Services, say: Any
) -> None:
    first = await say([("user", LOVELY)], "One.")
    again = await say([("user", LOVELY)], "Two.")
    third = await say([("user", LOVELY)], "Three.")
    assert first["prompt"] == again["prompt"] == third["prompt"]
    assert first["bond"] == again["bond"] == third["bond"]
    assert await memories(services) == {
        exchange(LOVELY, "One."): False,
        exchange(LOVELY, "Two."): False,
        exchange(LOVELY, "Three."): True,
    }
    await say([("user", LOVELY)], "One.", user="bo")
    assert await bond(services) == await bond(services, "bo")


async def test_going_on_from_an_earlier_reply_brings_back_what_it_left_and_takes_away_the_other(
    services: Services, say: Any
) -> None:
    await say([("user", LOVELY)], "One.")
    async with services.db.read() as db:
        revision = await db.scalar(select(Bond.memory_revision))
    await say([("user", LOVELY)], "Two.")
    await say([("user", LOVELY), ("assistant", "Two."), ("user", ANGRY)], "Oh.")
    await say([("user", LOVELY), ("assistant", "One."), ("user", SAD)], "Sit.")
    assert await memories(services) == {
        exchange(LOVELY, "One."): True,
        exchange(LOVELY, "Two."): False,
        exchange(ANGRY, "Oh."): False,
        exchange(SAD, "Sit."): True,
    }
    async with services.db.read() as db:
        assert await db.scalar(select(Bond.memory_revision)) == revision, "no bank is rebuilt"
    for talk, reply in (([LOVELY], "One."), ([LOVELY, "One.", SAD], "Sit.")):
        sides = ("user", "assistant") * 2
        await say(list(zip(sides, talk, strict=False)), reply, user="bo")
    assert await bond(services) == await bond(services, "bo")


async def test_what_was_said_on_another_branch_is_neither_recalled_nor_considered_and_comes_back_with_its_branch(
    services: Services, say: Any
) -> None:
    hello: Talk = [("user", "Hello."), ("assistant", "Aye.")]
    cat: Talk = [*hello, ("user", "My cat is called Pickle."), ("assistant", "Noted.")]
    soup: Talk = [("user", "I had soup."), ("assistant", "Good.")]
    gulls: Talk = [("user", "Do gulls sleep?"), ("assistant", "On one leg.")]
    dog: Talk = [*hello, ("user", "My dog is called Olive."), ("assistant", "Noted.")]
    asked: Talk = [("user", "What is my pet called?")]
    for talk in (hello, cat, cat + soup, cat + soup + gulls, dog, dog + soup, dog + soup + gulls):
        await say(talk[:-1], talk[-1][1])

    async def considered(talk: Talk, reply: str) -> str:
        return "\n".join(memory["text"] for memory in (await say(talk, reply))["memories"])

    on_dog = await considered(dog + soup + gulls + asked, "Olive.")
    assert "Olive" in on_dog
    assert "Pickle" not in on_dog
    # The turn is on a branch that is not the current one: that branch's memories rest, and yet it knows its own.
    on_cat = await considered(cat + soup + gulls + asked, "Pickle.")
    assert "Pickle" in on_cat
    assert "Olive" not in on_cat
    elsewhere = await considered([("user", "Who is Olive, and who is Pickle?")], "One of my friends.")
    assert "Pickle" in elsewhere
    assert "Olive" not in elsewhere


async def test_the_trace_says_that_a_memory_of_another_branch_was_left_out_but_not_what_it_says(say: Any) -> None:
    cat: Talk = [("user", "My cat is called Pickle."), ("assistant", "Noted.")]
    await say(cat[:-1], cat[-1][1])
    away = (await say([("user", "My dog is called Olive.")], "Noted."))["memories"]
    assert [(memory["text"], memory["reason"]) for memory in away] == [("", NOT_HERE)]
    assert not away[0]["kept"]


async def test_an_edit_by_a_client_that_sends_all_that_followed_again_keeps_what_was_remembered_of_it(
    services: Services, say: Any
) -> None:
    rest: Talk = [("assistant", "Aye."), ("user", SAD), ("assistant", "Sit.")]
    await say([("user", LOVELY)], "Aye.")
    await say([("user", LOVELY), *rest[:2]], "Sit.")
    await say([("user", ANGRY), *rest, ("user", "And now?")], "Now tea.")
    assert await memories(services) == {
        exchange(LOVELY, "Aye."): False,
        exchange(SAD, "Sit."): True,
        exchange(ANGRY, "Aye."): True,
        exchange("And now?", "Now tea."): True,
    }
    async with services.db.read() as db:
        rows = {row.id: row for row in await db.scalars(select(Message))}
        copies = [row for row in rows.values() if row.origin_id]
        assert {row.text for row in copies} == {"Aye.", SAD, "Sit."}
        for row in copies:
            told = rows[row.origin_id]
            assert (row.text, row.created_at, row.turn_id) == (told.text, told.created_at, told.turn_id)
            assert (row.active, told.active) == (True, False)
        assert await count_waiting(services) >= 1
    await embed_waiting(services)
    talk: Talk = [("user", ANGRY), *rest, ("user", "And now?"), ("assistant", "Now tea.")]
    for end in (1, 3, 5):
        await say(talk[:end], talk[end][1], user="bo")
    mine, others = await bond(services), await bond(services, "bo")
    # Vectors of texts that were embedded together differ in their last digits.
    assert mine[0] == pytest.approx(others[0], abs=1e-3)
    assert (mine[1], mine[3]) == (others[1], others[3])
    assert np.frombuffer(mine[2], "<f4") == pytest.approx(np.frombuffer(others[2], "<f4"), abs=1e-3)
    async with services.db.read() as db:
        weights = [
            (await db.scalars(select(Memory.importance).where(Memory.text == text))).one()
            for text in (exchange(ANGRY, "Aye."), exchange(ANGRY, "Aye.", "bo"))
        ]
    assert weights[0] == pytest.approx(weights[1], abs=1e-3)
    assert weights[0] > 0.1


async def test_history_that_a_client_brings_along_is_remembered_and_counted_once_it_was_heard(
    services: Services, say: Any
) -> None:
    brought: Talk = [
        ("user", "My cat is called Pickle."),
        ("assistant", "Noted."),
        ("user", LOVELY),
        ("user", SAD),
        ("assistant", "Sit."),
        ("user", "I had soup."),
        ("assistant", " "),
    ]
    await say([*brought, ("user", "Hello?")], "Aye.")
    remembered = [exchange("My cat is called Pickle.", "Noted."), exchange(SAD, "Sit."), exchange("Hello?", "Aye.")]
    assert await memories(services) == dict.fromkeys(remembered, True)
    assert (await bond(services))[3] == 1
    await embed_waiting(services)
    assert await count_waiting(services) == 0
    assert (await bond(services))[3] == 3
    async with services.db.read() as db:
        rows = list(await db.scalars(select(Memory).order_by(Memory.id)))
        chain = {row.text: row.previous_id for row in rows}
        ids = {row.text: row.id for row in rows}
    assert [chain[text] for text in remembered] == [None, ids[remembered[0]], ids[remembered[1]]]
    trace = await say([*brought, ("user", "Hello?"), ("assistant", "Aye."), ("user", "What is my cat called?")], "P.")
    assert any("Pickle" in memory["text"] for memory in trace["memories"] if memory["kept"])


async def test_what_a_person_has_forgotten_does_not_come_back_when_it_is_sent_again(
    client: httpx.AsyncClient, services: Services, say: Any
) -> None:
    talk: Talk = [
        ("user", "My PIN is 7431."),
        ("assistant", "I will forget it."),
        ("user", "Hi."),
        ("assistant", "Aye."),
    ]
    await say(talk[:1], talk[1][1])
    await say(talk[:3], talk[3][1])
    found = (await client.get("/api/memories")).json()["items"]
    secret = next(memory["id"] for memory in found if "7431" in memory["text"])
    assert (await client.delete(f"/api/memories/{secret}")).status_code == 204
    await say([*talk, ("user", "Go on.")], "On.")
    edited: Talk = [("user", "Psst."), *talk[1:], ("user", "Go on.")]
    await say(edited, "On and on.")
    assert not any("7431" in text for text in await memories(services))


async def test_a_turn_whose_branch_is_deleted_while_it_is_spoken_is_kept_with_it(
    client: httpx.AsyncClient, services: Services, say: Any, engine: ScriptedEngine
) -> None:
    await say([("user", LOVELY)], "One.")
    async with services.db.read() as db:
        session = (await db.scalars(select(Session))).one()
    stood = await bond(services)
    begun = client.build_request(
        "POST",
        "/v1/chat/completions",
        json={
            "model": "char/mira",
            "user": "ana",
            "messages": [
                {"role": r, "content": t} for r, t in (GREETING, ("user", LOVELY), ("assistant", "One."), ("user", SAD))
            ],
        },
    )
    original = engine.stream

    async def stream(*args: Any, **more: Any) -> Any:
        assert (await client.delete(f"/api/sessions/{session.id}", headers={"If-Match": "*"})).status_code == 204
        async for event in original(*args, **more):
            yield event

    engine.stream = stream  # type: ignore[method-assign]
    engine.replies.append("Sit.")
    assert (await client.send(begun)).status_code == 200
    assert await memories(services) == {exchange(LOVELY, "One."): False, exchange(SAD, "Sit."): False}
    async with services.db.read() as db:
        rows = list(await db.scalars(select(Message).order_by(Message.depth)))
    assert [(row.text, row.active) for row in rows] == [(t, False) for t in (GREETING[1], LOVELY, "One.", SAD, "Sit.")]
    assert (await bond(services))[3] == 0
    assert stood[3] == 1


async def test_a_bond_that_is_older_than_single_feelings_stands_where_it_stood_and_goes_on(
    services: Services, say: Any
) -> None:
    await say([("user", LOVELY)], "One.")
    mood = np.full(8, 0.5, np.float32)
    async with services.db.write() as db:
        row = (await db.scalars(select(Bond))).one()
        at = max(await db.scalars(select(Message.created_at))).isoformat()
        row.affinity, row.stage, row.mood, row.turns = 50.0, "friend", mood, 7
        row.base = {"affinity": 50.0, "stage": "friend", "mood": mood.tolist(), "turns": 7, "at": at}
    assert await bond(services) == (50.0, "friend", mood.tobytes(), 7)
    await say([("user", LOVELY)], "Two.")
    assert (await bond(services))[3] == 7, "what was said before is in it already"
    await say([("user", LOVELY), ("assistant", "Two."), ("user", ANGRY)], "Oh.")
    affinity, _stage, _mood, turns = await bond(services)
    assert turns == 8
    assert affinity < 50


async def test_a_conversation_that_begins_like_another_is_a_new_one_once_the_other_has_gone_on(
    services: Services, say: Any
) -> None:
    hello: Talk = [("user", "Hello."), ("assistant", "Aye.")]
    first = await say(hello[:1], "Aye.")
    edited = await say([("user", "Hullo.")], "Aye, aye.")
    again = await say(hello[:1], "Oh.")
    assert first["session_id"] == edited["session_id"] == again["session_id"], "nothing was said after the first reply"
    gone_on = await say([*hello, ("user", "My cat is called Pickle.")], "Noted.")
    assert gone_on["session_id"] == first["session_id"]
    other = await say(hello[:1], "You again.")
    assert other["session_id"] != first["session_id"]
    third = await say([("user", "What is my cat called?")], "Pickle.")
    assert third["session_id"] == other["session_id"], "the newest of the conversations that begin so"
    assert (await memories(services))[exchange("My cat is called Pickle.", "Noted.")]
    assert any("Pickle" in memory["text"] for memory in third["memories"])


async def test_a_deleted_reply_that_a_client_still_sends_answers_again_and_counts(
    client: httpx.AsyncClient, services: Services, say: Any
) -> None:
    session = (await say([("user", LOVELY)], "Two."))["session_id"]
    reply = (await client.get(f"/api/sessions/{session}")).json()["branch"][-1]
    path = f"/api/sessions/{session}/messages/{reply['id']}"
    assert (await client.delete(path, headers={"If-Match": "*"})).status_code == 200
    assert (await bond(services))[3] == 0, "nothing that was said has an answer now"
    await say([("user", LOVELY), ("assistant", "Two."), ("user", SAD)], "There, there.")
    assert (await bond(services))[3] == 2


async def test_an_exchange_of_two_branches_is_none_though_both_of_its_messages_are_current(
    client: httpx.AsyncClient, services: Services, say: Any
) -> None:
    session = (await say([("user", LOVELY)], "One."))["session_id"]
    anything = {"If-Match": "*"}

    async def edit(message: str, text: str) -> list[dict[str, Any]]:
        path = f"/api/sessions/{session}/messages/{message}"
        answer = await client.patch(path, json={"text": text, "following": "keep"}, headers=anything)
        return list(answer.json()["branch"])

    _greeting, asked, reply = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    edited = await edit(asked["id"], SAD)
    await edit(reply["id"], "Two.")
    forked = await client.post(f"/api/sessions/{session}/fork", json={"message_id": edited[-1]["id"]})
    assert forked.status_code == 201
    expected = {exchange(LOVELY, "One."): False, exchange(LOVELY, "Two."): True, exchange(SAD, "One."): True}
    assert await memories(services) == expected
    await client.patch(f"/api/sessions/{session}", json={"title": "Settled"}, headers=anything)
    await client.delete(f"/api/sessions/{session}", headers=anything)
    await client.post(f"/api/sessions/{session}/restore")
    assert await memories(services) == expected, "the same, whichever conversation was changed last"
