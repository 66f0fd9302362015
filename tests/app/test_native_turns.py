"""Native turns: say, regenerate, continue, impersonate; whole or as a stream that can be resumed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.chat.sse import EventStream
from app.services import Services
from app.tables import Memory, Message, TurnRecord
from models.engine import EngineBroke, EngineUnavailable
from models.scripted import ScriptedEngine

TEN = "一二三四五六七八九十"
Running = Callable[..., AbstractAsyncContextManager[tuple[httpx.AsyncClient, Any]]]


@pytest.fixture
async def http(services: Services, running: Running, mira: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    async with running(services) as (http, _server):
        (await http.post("/api/characters", json=mira)).raise_for_status()
        yield http


@pytest.fixture
async def session(http: httpx.AsyncClient) -> str:
    made = await http.post("/api/sessions", json={"character": "mira", "user": "ana"})
    return str(made.raise_for_status().json()["id"])


Take = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def take(http: httpx.AsyncClient, session: str, engine: ScriptedEngine) -> Take:
    """Takes a turn, with a reply, and returns it as it ended."""

    async def taken(reply: str, **wish: Any) -> dict[str, Any]:
        engine.replies.append(reply)
        answer = await http.post(f"/api/sessions/{session}/turns", json=wish)
        assert answer.status_code == 200, answer.text
        turn: dict[str, Any] = answer.json()
        assert (turn["state"], turn["session_id"], turn["mode"]) == ("finished", session, wish.get("mode", "say"))
        return turn

    return taken


def counted(text: str) -> dict[str, float]:
    """Tokens by kind, as /metrics tells them."""
    rows = [line.split() for line in text.splitlines() if line.startswith("moodline_tokens_total")]
    return {name: float(value) for name, value in rows}


async def test_tokens_are_counted_whichever_door_a_turn_comes_through(
    http: httpx.AsyncClient, take: Take, engine: ScriptedEngine
) -> None:
    engine.cached_tokens = 7
    before = counted((await http.get("/metrics")).text)
    await take("Aye.", text="Ready?")
    engine.replies.append("Aye.")
    body = {"model": "char/mira", "messages": [{"role": "user", "content": "Ready?"}], "stream": True}
    (await http.post("/v1/chat/completions", json=body)).raise_for_status()
    after = counted((await http.get("/metrics")).text)
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    assert grown['moodline_tokens_total{kind="completion"}'] == 2 * len("Aye.")
    assert grown['moodline_tokens_total{kind="cached"}'] == 14
    assert grown['moodline_tokens_total{kind="prompt"}'] > 14


async def branch(http: httpx.AsyncClient, session: str) -> list[tuple[str, str]]:
    read = (await http.get(f"/api/sessions/{session}")).json()
    return [(message["role"], message["text"]) for message in read["branch"]]


async def told(http: httpx.AsyncClient, session: str, **wish: Any) -> tuple[list[dict[str, str]], httpx.Response]:
    """The events of a streamed turn, as their fields."""
    async with http.stream("POST", f"/api/sessions/{session}/turns", json=wish | {"stream": True}) as answer:
        text = (await answer.aread()).decode()
    events = [dict(line.split(": ", 1) for line in event.split("\n")) for event in text.split("\n\n") if event]
    return events, answer


async def test_a_limit_that_had_to_be_lowered_is_told(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine
) -> None:
    engine.replies.append("Aye.")
    wish = {"text": "Is it late?", "max_tokens": engine.context_length}
    answer = await http.post(f"/api/sessions/{session}/turns", json=wish)
    allowed = engine.asked[-1].sampling.max_tokens
    assert answer.headers["x-moodline-max-tokens"] == str(allowed)
    assert allowed < engine.context_length


async def test_what_is_said_goes_on_from_the_end_of_the_current_branch(
    http: httpx.AsyncClient, session: str, take: Take, engine: ScriptedEngine, services: Services
) -> None:
    first = await take("Aye.", text="Is it late?", temperature=0.5, seed=7)
    assert (first["text"], first["finish_reason"], first["usage"]["completion_tokens"]) == ("Aye.", "stop", 4)
    assert (engine.asked[-1].sampling.temperature, engine.asked[-1].sampling.seed) == (0.5, 7)
    second = await take("No.", text="Is it early?")
    assert await branch(http, session) == [
        ("assistant", "Mind the ropes, ana."),
        ("user", "Is it late?"),
        ("assistant", "Aye."),
        ("user", "Is it early?"),
        ("assistant", "No."),
    ]
    trace = (await http.get(f"/api/turns/{second['id']}/trace")).json()
    assert trace["outcome"] == "finished"
    async with services.db.read() as db:
        assert len(list(await db.scalars(select(Memory.id)))) == 2
    elsewhere = await take("Maybe.", text="Is it noon?", message_id=first["reply_id"])
    assert (await branch(http, session))[-2:] == [("user", "Is it noon?"), ("assistant", "Maybe.")]
    assert elsewhere["message_id"] != second["message_id"]


async def test_a_reply_is_regenerated_as_a_sibling(
    http: httpx.AsyncClient, session: str, take: Take, services: Services
) -> None:
    first = await take("Aye.", text="Is it late?")
    again = await take("It is.", mode="regenerate")
    by_user = await take("Quite.", mode="regenerate", message_id=first["message_id"])
    by_reply = await take("Very.", mode="regenerate", message_id=first["reply_id"])
    assert {turn["message_id"] for turn in (again, by_user, by_reply)} == {first["message_id"]}
    async with services.db.read() as db:
        replies = await db.scalars(select(Message.text).where(Message.parent_id == first["message_id"]))
        assert sorted(replies) == ["Aye.", "It is.", "Quite.", "Very."]
    assert await branch(http, session) == [
        ("assistant", "Mind the ropes, ana."),
        ("user", "Is it late?"),
        ("assistant", "Very."),
    ]


async def test_a_reply_is_continued_as_a_longer_version_of_itself(
    http: httpx.AsyncClient, session: str, take: Take, engine: ScriptedEngine, services: Services
) -> None:
    first = await take("The lamp", text="What do you see?")
    more = await take(" is lit.", mode="continue")
    assert more["text"] == " is lit.", "only the continuation is told"
    assert engine.asked[-1].messages[-1].role == "assistant"
    assert engine.asked[-1].messages[-1].content == "The lamp"
    assert (await branch(http, session))[-1] == ("assistant", "The lamp is lit.")
    assert more["message_id"] == first["message_id"]
    assert more["reply_id"] != first["reply_id"]


async def test_what_the_user_might_say_is_a_draft_that_is_stored_nowhere(
    http: httpx.AsyncClient, session: str, take: Take, engine: ScriptedEngine, rows: Any
) -> None:
    await take("Aye.", text="Is it late?")
    before = await rows()
    draft = await take("ana: I should go home.\nMira: Go then.", mode="impersonate")
    assert draft["text"] == "I should go home."
    assert draft["message_id"] is None
    assert "ana" in engine.asked[-1].messages[-1].content
    engine.replies.append("I will stay.")
    events, answer = await told(http, session, mode="impersonate")
    assert "x-moodline-turn" not in answer.headers
    assert json.loads(events[-1]["data"])["text"] == "I will stay."
    assert await rows() == before
    assert (await http.get(f"/api/turns/{draft['id']}")).status_code == 404


async def test_a_draft_that_is_over_before_its_stream_begins_is_told_all_the_same(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = EventStream.__call__

    async def late(stream: EventStream, *asgi: Any) -> None:
        await asyncio.sleep(0.5)
        await begin(stream, *asgi)

    monkeypatch.setattr(EventStream, "__call__", late)
    engine.replies.append("I will stay.")
    events, _answer = await told(http, session, mode="impersonate")
    assert json.loads(events[-1]["data"])["text"] == "I will stay."


async def test_a_streamed_turn_names_itself_and_every_event_and_ends_with_the_turn(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine
) -> None:
    engine.replies.append(TEN)
    events, answer = await told(http, session, text="数数")
    assert answer.headers["content-type"].startswith("text/event-stream")
    turn = json.loads(events[0]["data"])
    assert turn == {"id": answer.headers["x-moodline-turn"], "session_id": session, "mode": "say"}
    assert events[0]["event"] == "turn"
    assert "id" not in events[0]
    deltas = [event for event in events if event["event"] == "delta"]
    texts = [json.loads(event["data"])["text"] for event in deltas]
    assert "".join(texts) == TEN
    assert [int(event["id"]) for event in deltas] == [len("".join(texts[: n + 1])) for n in range(len(texts))]
    assert (events[-1]["event"], events[-1]["id"]) == ("end", "end")
    assert json.loads(events[-1]["data"]) == (await http.get(f"/api/turns/{turn['id']}")).json()


async def test_a_native_turn_is_finished_when_its_client_leaves_and_resumed_when_it_comes_back(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine
) -> None:
    gate = engine.pace = asyncio.Event()
    engine.replies.append(TEN)
    async with http.stream("POST", f"/api/sessions/{session}/turns", json={"text": "数数", "stream": True}) as answer:
        turn_id = answer.headers["x-moodline-turn"]
        async for line in answer.aiter_lines():
            assert line == "event: turn", "it is known before it has said anything"
            break
    assert (await http.get(f"/api/turns/{turn_id}")).json()["state"] == "running"
    gate.set()
    async with http.stream("GET", f"/api/turns/{turn_id}/events", headers={"last-event-id": "4"}) as rest:
        text = (await rest.aread()).decode()
    told = [json.loads(line[6:]).get("text", "") for line in text.split("\n") if line.startswith('data: {"text"')]
    assert "".join(told) == TEN[4:]
    assert (await branch(http, session))[-1] == ("assistant", TEN)


async def test_a_turn_of_an_engine_that_is_down_is_a_503_and_a_stream_ends_with_the_reason(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine
) -> None:
    engine.replies += [EngineUnavailable("Not yet."), (TEN, EngineBroke("Gone.")), EngineUnavailable("Not yet.")]
    down = await http.post(f"/api/sessions/{session}/turns", json={"text": "在吗"})
    assert (down.status_code, down.json()["title"]) == (503, "engine_unavailable")
    events, _answer = await told(http, session, text="在吗")
    end = json.loads(events[-1]["data"])
    assert (end["state"], end["text"], end["error"]["code"]) == ("failed", TEN, "engine_error")
    events, _answer = await told(http, session, text="还在吗")
    assert json.loads(events[-1]["data"])["error"]["code"] == "engine_unavailable"
    assert (await branch(http, session))[-1] == ("assistant", TEN), "what was said is kept"


@pytest.mark.parametrize(
    ("wish", "status", "code"),
    [
        ({"text": ""}, 400, "empty_message"),
        ({"text": " \n"}, 400, "empty_message"),
        ({"text": "x" * 32_001}, 400, "message_too_long"),
        ({"mode": "regenerate"}, 422, "nothing_to_answer"),
        ({"mode": "continue"}, 422, "nothing_to_answer"),
        ({"mode": "regenerate", "text": "x"}, 400, "invalid_request"),
        ({"mode": "sing", "text": "x"}, 422, "invalid_request"),
        ({"text": "x", "temperature": 3}, 422, "invalid_request"),
        ({"text": "x", "colour": "red"}, 422, "invalid_request"),
        ({"text": "x", "message_id": "0" * 32}, 404, "message_not_found"),
        ({"text": "x", "stage": "wed"}, 400, "invalid_request"),
    ],
)
async def test_a_turn_that_cannot_be_taken_says_why_and_leaves_nothing(
    http: httpx.AsyncClient, session: str, wish: dict[str, Any], status: int, code: str, rows: Any
) -> None:
    before = await rows()
    answer = await http.post(f"/api/sessions/{session}/turns", json=wish)
    assert (answer.status_code, answer.json()["title"]) == (status, code), answer.text
    assert await rows() == before


async def test_another_owners_session_and_another_sessions_message_are_not_there(
    http: httpx.AsyncClient, session: str, take: Take, as_owner: Any
) -> None:
    turn = await take("Aye.", text="Is it late?")
    other = (await http.post("/api/sessions", json={"character": "mira", "user": "ana"})).json()["id"]
    wish = {"text": "x", "message_id": turn["reply_id"]}
    assert (await http.post(f"/api/sessions/{other}/turns", json=wish)).status_code == 404
    stranger = await as_owner("stranger")
    theirs = await stranger.post(f"/api/sessions/{session}/turns", json={"text": "x"})
    nobodys = await stranger.post(f"/api/sessions/{'0' * 32}/turns", json={"text": "x"})
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(session, "0" * 32) == nobodys.text


async def test_two_turns_at_once_are_siblings_and_a_named_turn_is_taken_once(
    http: httpx.AsyncClient, session: str, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [TEN, TEN[::-1], "喵"]
    path = f"/api/sessions/{session}/turns"
    first, second = await asyncio.gather(*(http.post(path, json={"text": text}) for text in ("甲", "乙")))
    assert {first.json()["text"], second.json()["text"]} == {TEN, TEN[::-1]}
    named = [await http.post(path, json={"text": "丙"}, headers={"Idempotency-Key": "n"}) for _ in range(2)]
    assert named[0].content == named[1].content
    async with services.db.read() as db:
        users = list(await db.scalars(select(Message).where(Message.role == "user")))
        assert len(list(await db.scalars(select(TurnRecord.id)))) == 3
    assert sorted(row.text for row in users) == ["丙", "乙", "甲"]
    assert len({row.parent_id for row in users if row.text in "甲乙"}) == 1
