"""Turns that outlive their client: finished, resumed, seen and cancelled, also from another server on the same rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from app.auth import create_key
from app.chat import progress, under_way
from app.cli.serve import TO_TELL
from app.services import Services, build
from app.settings import Settings
from app.tables import Memory, Message, Session, Trace, TurnRecord, now
from models.engine import EngineBroke, EngineUnavailable
from models.scripted import ScriptedEngine
from tests.app.conftest import CAT, Running
from tests.never_twice import NEVER_TWICE

TEN = "一二三四五六七八九十"
LONG = NEVER_TWICE[:80]
FINISH = {"x-moodline-on-disconnect": "finish"}


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    return Settings(
        home=tmp_path / "home",
        database_url=database_url,
        database_pool=3,
        context_tokens=20_000,
        reply_tokens=9000,
        _env_file=None,
    )


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=20_000, pace=0.01)


@dataclass(frozen=True)
class Event:
    name: str
    id: str
    data: dict[str, Any]


async def events(answer: httpx.Response) -> AsyncIterator[Event]:
    """The events of a native stream, read as the standard says."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))
            fields = {}


async def resume(http: httpx.AsyncClient, turn_id: str, last: str | None = None) -> list[Event]:
    """All events that are left."""
    headers = {"last-event-id": last} if last else {}
    async with http.stream("GET", f"/api/turns/{turn_id}/events", headers=headers) as answer:
        assert answer.status_code == 200
        return [event async for event in events(answer)]


def text_of(told: list[Event]) -> str:
    return "".join(event.data["text"] for event in told if event.name == "delta")


async def begin(http: httpx.AsyncClient, *, said: str = "数数", heard: int = 3, **more: Any) -> str:
    """Begin a streamed turn at the OpenAI door, hear a few characters, hang up; returns the turn's id."""
    headers = more.pop("headers", FINISH)
    body = {"model": "char/cat", "stream": True, "messages": [{"role": "user", "content": said}]} | more
    got = ""
    async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status_code == 200
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                got += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            if len(got) >= heard:
                break
        return answer.headers["x-moodline-turn"]


async def ended(http: httpx.AsyncClient, turn_id: str) -> dict[str, Any]:
    """The turn, once it has ended."""
    for _ in range(400):
        turn: dict[str, Any] = (await http.get(f"/api/turns/{turn_id}")).raise_for_status().json()
        if turn["state"] != "running":
            return turn
        await asyncio.sleep(0.05)
    raise AssertionError("the turn did not end")


async def replies(services: Services) -> list[Message]:
    async with services.db.read() as db:
        return list(await db.scalars(select(Message).where(Message.role == "assistant").order_by(Message.created_at)))


async def test_a_turn_that_is_to_be_finished_goes_on_without_its_client_and_is_stored_whole(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(LONG)
    turn_id = await begin(here)
    turn = (await here.get(f"/api/turns/{turn_id}")).json()
    assert turn["state"] == "running"
    assert LONG.startswith(turn["text"])
    turn = await ended(here, turn_id)
    assert (turn["state"], turn["text"], turn["finish_reason"]) == ("finished", LONG, "stop")
    (reply,) = await replies(services)
    assert (reply.id, reply.text, reply.outcome, reply.turn_id) == (turn["reply_id"], LONG, "finished", turn_id)
    async with services.db.read() as db:
        assert await db.scalar(select(Trace.outcome)) == "finished"
        assert len(list(await db.scalars(select(Memory.id)))) == 1


async def test_a_turn_in_a_session_that_the_client_named_is_finished_unless_it_says_otherwise(
    here: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    session = (await here.post("/api/sessions", json={"character": "cat"})).json()["id"]
    engine.replies += [LONG, LONG[::-1], "喵" + LONG]
    by_header = await begin(here, headers={"x-session-id": session})
    assert (await ended(here, by_header))["state"] == "finished"
    by_metadata = await begin(here, headers={}, metadata={"session_id": session})
    assert (await ended(here, by_metadata))["state"] == "finished"
    aborted = await begin(here, headers={"x-session-id": session, "x-moodline-on-disconnect": "abort"})
    assert (await ended(here, aborted))["state"] == "hung_up"


async def test_a_stateless_turn_is_aborted_unless_the_request_says_otherwise(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [LONG, LONG]
    aborted = await begin(here, headers={})
    assert (await ended(here, aborted))["mode"] == "say"
    turn = await ended(here, aborted)
    assert turn["state"] == "hung_up"
    assert 3 <= len(turn["text"]) < len(LONG)
    assert (await replies(services))[0].text == turn["text"]
    finished = await begin(here, headers={}, moodline={"on_disconnect": "finish"})
    turn = await ended(here, finished)
    assert (turn["text"], turn["mode"]) == (LONG, "regenerate")
    for wrong in ({"moodline": {"on_disconnect": "linger"}}, {}):
        headers = {} if wrong else {"x-moodline-on-disconnect": "linger"}
        body = {"model": "char/cat", "messages": [{"role": "user", "content": "?"}]} | wrong
        answer = await here.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 400
        assert "on" in answer.json()["error"]["param"]


async def test_a_turn_that_nobody_comes_back_to_ends_after_its_time(
    engine: ScriptedEngine, services: Services, running: Running
) -> None:
    parts = Services(**{**vars(services), "settings": services.settings.model_copy(update={"finish_seconds": 0.2})})
    async with running(parts) as (http, _server):
        (await http.post("/api/characters", json=CAT)).raise_for_status()
        engine.replies.append(LONG)
        turn = await ended(http, await begin(http))
    assert turn["state"] == "hung_up"
    assert 3 <= len(turn["text"]) < len(LONG)


async def test_an_answer_that_does_not_stream_is_aborted_or_finished_in_the_same_way(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [LONG, LONG]
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "数数"}]}
    for headers, outcome in (({}, "hung_up"), (FINISH, "finished")):
        with pytest.raises(httpx.ReadTimeout):
            await here.post("/v1/chat/completions", json=body, headers=headers, timeout=httpx.Timeout(5, read=0.4))
        async with services.db.read() as db:
            turn_id = await db.scalar(select(TurnRecord.id).order_by(TurnRecord.created_at.desc()))
        assert turn_id is not None
        assert (await ended(here, turn_id))["state"] == outcome
    assert [reply.outcome for reply in await replies(services)] == ["hung_up", "finished"]
    assert (await replies(services))[1].text == LONG


async def test_a_stream_is_resumed_exactly_where_the_client_stopped(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append(NEVER_TWICE[:480])
    turn_id = await begin(here)
    heard: list[Event] = []
    for http in (here, there, here, there):
        async with http.stream(
            "GET", f"/api/turns/{turn_id}/events", headers={"last-event-id": heard[-1].id} if heard else {}
        ) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-moodline-turn"] == turn_id
            count = 0
            async for event in events(answer):
                if event.name == "turn":
                    assert event.data == {"id": turn_id, "session_id": answer.headers["x-session-id"], "mode": "say"}
                    continue
                heard.append(event)
                count += 1
                if count == 2:
                    break
    heard += await resume(here, turn_id, heard[-1].id)
    assert text_of(heard) == NEVER_TWICE[:480]
    assert [event.id for event in heard if event.name == "delta"][-1] == str(len(NEVER_TWICE[:480]))
    assert (heard[-1].name, heard[-1].id, heard[-1].data["state"]) == ("end", "end", "finished")


async def test_a_stream_is_resumed_after_its_end_from_any_character_and_any_process(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    reply = "喵😀。\n\ndata: x\n" + TEN
    engine.replies.append(reply)
    turn_id = await begin(here)
    await ended(here, turn_id)
    for at in range(len(reply) + 1):
        told = await resume(there if at % 2 else here, turn_id, str(at))
        assert text_of(told) == reply[at:]
        assert told[-1].data["text"] == reply
    assert (await here.get(f"/api/turns/{turn_id}/events", headers={"last-event-id": "end"})).status_code == 204
    assert text_of(await resume(here, turn_id, str(10**15))) == ""
    for wrong in ("-1", "1.5", "٣", "x"):
        answer = await here.get(f"/api/turns/{turn_id}/events", headers={"last-event-id": wrong.encode()})
        assert answer.status_code == 422, wrong
        assert answer.json()["param"] == "last-event-id"


async def test_a_turn_that_runs_is_seen_and_cancelled_from_another_process(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(NEVER_TWICE)
    turn_id = await begin(here)
    while not (seen := (await there.get(f"/api/turns/{turn_id}")).json())["text"]:
        assert seen["state"] == "running"
        await asyncio.sleep(0.05)
    assert LONG.startswith(seen["text"][:20])
    cancelled = (await there.post(f"/api/turns/{turn_id}/cancel")).raise_for_status().json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["text"].startswith(seen["text"])
    (reply,) = await replies(services)
    assert (reply.outcome, reply.text) == ("cancelled", cancelled["text"])
    assert (await ended(here, turn_id)) == cancelled
    again = (await here.post(f"/api/turns/{turn_id}/cancel")).raise_for_status().json()
    assert again == cancelled, "what has ended stays as it is"


async def test_a_turn_that_is_cancelled_while_somebody_listens_ends_their_stream_in_good_form(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(NEVER_TWICE)
    body = {"model": "char/cat", "stream": True, "messages": [{"role": "user", "content": "数数"}]}
    got, last, cancelled = "", "", None
    async with here.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            last = line or last
            if line.startswith("data: {"):
                got += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            if len(got) >= 3 and cancelled is None:
                cancelled = await here.post(f"/api/turns/{answer.headers['x-moodline-turn']}/cancel")
    assert last == "data: [DONE]"
    assert cancelled is not None
    assert cancelled.json()["text"] == got
    assert [(reply.text, reply.outcome) for reply in await replies(services)] == [(got, "cancelled")]


async def test_a_turn_that_is_cancelled_before_its_first_word_leaves_no_message(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.pace = asyncio.Event()
    engine.replies.append(LONG)
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "数数"}]}
    asking = asyncio.create_task(here.post("/v1/chat/completions", json=body))
    turn_id = None
    while turn_id is None:
        await asyncio.sleep(0.02)
        async with services.db.read() as db:
            turn_id = await db.scalar(select(TurnRecord.id))
    cancelled = (await here.post(f"/api/turns/{turn_id}/cancel")).json()
    assert (cancelled["state"], cancelled["text"], cancelled["reply_id"]) == ("cancelled", "", None)
    answer = await asking
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == ""
    assert await replies(services) == []
    async with services.db.read() as db:
        assert list(await db.scalars(select(Session.id))) == []


async def test_a_turn_that_is_left_while_its_row_is_written_is_told_with_its_end(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, write = asyncio.Event(), progress.begin

    async def late(*row: Any) -> None:
        await may_write.wait()
        await write(*row)

    monkeypatch.setattr(progress, "begin", late)
    engine.replies.append(LONG)
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "数数"}]}
    asking = asyncio.create_task(here.post("/v1/chat/completions", json=body))
    while not engine.asked:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.sleep(0.2)
    may_write.set()
    while not (said := await replies(services)):
        await asyncio.sleep(0.02)
    async with services.db.read() as db:
        turn_id = await db.scalar(select(TurnRecord.id))
    assert turn_id is not None
    turn = await ended(here, turn_id)
    assert (turn["state"], turn["reply_id"], turn["text"]) == ("hung_up", said[0].id, said[0].text)


async def test_a_turn_that_breaks_off_says_why_for_as_long_as_it_is_known(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += [(TEN, EngineBroke("The language model is gone.")), EngineUnavailable("Not now.")]
    broken = await ended(there, await begin(here))
    assert (broken["state"], broken["text"]) == ("failed", TEN)
    assert broken["error"] == {"message": "The language model is gone.", "code": "engine_error"}
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "数数"}]}
    assert (await here.post("/v1/chat/completions", json=body)).status_code == 503


async def free(http: httpx.AsyncClient, turn_id: str, key: dict[str, str]) -> None:
    """Wait until this key may follow a turn."""
    for _ in range(400):
        async with http.stream("GET", f"/api/turns/{turn_id}/events", headers=key) as answer:
            if answer.status_code == 200:
                return
        await asyncio.sleep(0.02)
    raise AssertionError("whoever left is still counted")


async def test_who_follows_turns_is_counted_apart_from_who_speaks_and_up_to_the_same_number(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    async with services.db.write() as db:
        key = {"Authorization": f"Bearer {await create_key(db, 'local', 'app', False, streams=1)}"}
    engine.replies.append(NEVER_TWICE)
    turn_id = await begin(here, headers=FINISH | key)
    events_of = f"/api/turns/{turn_id}/events"
    async with here.stream("GET", events_of, headers=key) as follower:
        assert follower.status_code == 200, "who speaks may follow"
        told = events(follower)
        assert (await anext(told)).name == "turn"
        over = await here.get(events_of, headers=key)
        assert (over.status_code, over.json()["title"], over.headers["retry-after"]) == (
            429,
            "rate_limit_exceeded",
            "1",
        )
        assert (await here.get(f"/api/turns/{turn_id}", headers=key)).status_code == 200
    assert (await here.get(events_of, headers=key | {"last-event-id": "end"})).status_code == 204
    # Whoever leaves, at whatever moment, makes room.
    head = f"GET {events_of} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key['Authorization']}\r\n\r\n".encode()
    for heard in (0, 1, 300):
        await free(here, turn_id, key)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.base_url.port)
        writer.write(head)
        assert len(await reader.readexactly(heard)) == heard
        writer.transport.abort()
    await free(here, turn_id, key)
    assert (await here.get("/api/turns/nothing/events", headers=key)).status_code == 404
    assert (await here.get(events_of, headers=key)).status_code == 200, "one that is refused is not counted"


async def test_another_owners_turn_is_not_told_and_not_cancelled(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, as_owner: Any
) -> None:
    engine.replies.append(LONG)
    turn_id = await begin(here)
    stranger = await as_owner("stranger")
    for call in (
        lambda name: stranger.get(f"/api/turns/{name}"),
        lambda name: stranger.get(f"/api/turns/{name}/events"),
        lambda name: stranger.post(f"/api/turns/{name}/cancel"),
    ):
        theirs, nobodys = await call(turn_id), await call("0" * 32)
        assert theirs.status_code == nobodys.status_code == 404
        assert theirs.text.replace(turn_id, "0" * 32) == nobodys.text
    assert (await ended(here, turn_id))["state"] == "finished"


async def test_a_turn_whose_process_is_gone_has_failed_with_what_it_had_said(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(TEN)
    turn_id = await begin(here)
    await ended(here, turn_id)
    async with services.db.write() as db:
        long_ago = now() - 2 * progress.LOST
        await db.execute(update(TurnRecord).values(state="running", text="一二", seen_at=long_ago, ended_at=None))
    turn = (await here.get(f"/api/turns/{turn_id}")).json()
    assert (turn["state"], turn["text"], turn["error"]["code"]) == ("failed", "一二", "lost")
    assert (await resume(here, turn_id))[-1].data["state"] == "failed"
    assert (await here.post(f"/api/turns/{turn_id}/cancel")).json()["state"] == "failed"


async def test_turns_are_forgotten_after_the_time_that_is_set_and_their_conversations_stay(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [TEN, TEN]
    old, young = [await begin(here, said=said) for said in ("早", "晚")]
    for turn_id in (old, young):
        await ended(here, turn_id)
    async with services.db.write() as db:
        await db.execute(update(TurnRecord).where(TurnRecord.id == old).values(created_at=now() - 30 * progress.LOST))
        await progress.prune(db, hours=0.2)
    assert (await here.get(f"/api/turns/{old}")).status_code == 404
    assert (await here.get(f"/api/turns/{young}")).status_code == 200
    assert len(await replies(services)) == 2


async def test_a_turn_that_is_not_to_be_stored_leaves_no_row(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, rows: Callable[[], Awaitable[dict[str, int]]]
) -> None:
    before = await rows()
    engine.replies.append(TEN)
    body = {"model": "char/cat", "store": False, "messages": [{"role": "user", "content": "数数"}]}
    answer = await here.post("/v1/chat/completions", json=body, headers=FINISH)
    assert answer.json()["choices"][0]["message"]["content"] == TEN
    assert "x-moodline-turn" not in answer.headers
    assert await rows() == before


@pytest.mark.parametrize("policy", ["abort", "finish"])
async def test_a_connection_that_is_killed_at_any_byte_loses_nothing_that_was_said(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, policy: str
) -> None:
    engine.pace = 0.001
    body = json.dumps({"model": "char/cat", "stream": True, "messages": [{"role": "user", "content": "数数"}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"X-Moodline-On-Disconnect: {policy}\r\nContent-Length: {len(body.encode())}\r\n\r\n"
    )
    for cut in (1, 17, 400, 555, 700, 1001, 1999, 4000):
        engine.replies.append(LONG[:30])
        reader, writer = await asyncio.open_connection("127.0.0.1", here.base_url.port)
        writer.write((head + body).encode())
        heard = b""
        while len(heard) < cut and (part := await reader.read(cut - len(heard))):
            heard += part
        writer.transport.abort()
        async with services.db.read() as db:
            turn_id = await db.scalar(select(TurnRecord.id).order_by(TurnRecord.created_at.desc()))
        assert turn_id is not None
        turn = await ended(here, turn_id)
        told = "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            for line in heard.decode(errors="ignore").splitlines()
            if line.startswith("data: {") and line.endswith("}")
        )
        assert turn["text"].startswith(told)
        assert turn["state"] == "finished" if policy == "finish" else turn["state"] in ("finished", "hung_up")
        if policy == "finish":
            assert turn["text"] == LONG[:30]
        if turn["text"]:
            assert (await replies(services))[-1].text == turn["text"]


@pytest.mark.parametrize(("seconds", "state"), [(60, "finished"), (0, "failed")])
async def test_a_server_that_stops_waits_for_its_turns_and_then_stores_what_there_is(
    engine: ScriptedEngine, services: Services, running: Running, seconds: int, state: str
) -> None:
    async with AsyncExitStack() as stack:
        http, _server = await stack.enter_async_context(running(services, seconds))
        (await http.post("/api/characters", json=CAT)).raise_for_status()
        engine.replies.append(LONG)
        await begin(http)
    (reply,) = await replies(services)
    assert reply.outcome == state
    assert LONG.startswith(reply.text)
    assert (reply.text == LONG) is (state == "finished")
    async with services.db.read() as db:
        row = (await db.scalars(select(TurnRecord))).one()
    assert (row.state, row.text, row.reply_id) == (state, reply.text, reply.id)
    assert (row.error or {}).get("message") == (None if state == "finished" else under_way.STOPPED)


@pytest.mark.parametrize("model", ["char/cat", "scripted"])
async def test_a_stream_that_takes_too_long_for_a_server_that_stops_ends_in_good_form(
    engine: ScriptedEngine, services: Services, running: Running, model: str
) -> None:
    engine.replies.append(NEVER_TWICE)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "数数"}]}
    async with running(services, TO_TELL) as (http, server):
        (await http.post("/api/characters", json=CAT)).raise_for_status()
        told = []
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                told += [line] if line else []
                if len(told) == 3:
                    server.should_exit = True
    assert told[-1] == "data: [DONE]"
    assert json.loads(told[-2][6:])["error"]["type"] == "server_error"
    assert [reply.outcome for reply in await replies(services)] == (["failed"] if model == "char/cat" else [])


async def test_a_server_that_stops_lets_go_of_whoever_follows_a_turn_of_another(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, settings: Settings, running: Running
) -> None:
    engine.pace = asyncio.Event()
    engine.replies.append(TEN)
    session = (await here.post("/api/sessions", json={"character": "cat"})).json()["id"]
    parts = build(settings, engine=ScriptedEngine(), embedding=services.embedding)
    async with here.stream("POST", f"/api/sessions/{session}/turns", json={"text": "数数", "stream": True}) as spoken:
        turn_id = spoken.headers["x-moodline-turn"]
        async with running(parts, 600) as (there, server):
            heard = []
            async with there.stream("GET", f"/api/turns/{turn_id}/events") as answer:
                async for event in events(answer):
                    heard.append(event.name)
                    server.should_exit = True
        await parts.db.close()
        assert heard == ["turn"]
        engine.pace.set()
        assert [event.name async for event in events(spoken)][-1] == "end"
    assert text_of(await resume(here, turn_id)) == TEN


async def test_two_turns_at_once_in_one_session_are_both_stored(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    session = (await here.post("/api/sessions", json={"character": "cat"})).json()["id"]
    engine.replies += [TEN, LONG]
    first, second = await asyncio.gather(
        begin(here, said="甲", headers={"x-session-id": session}),
        begin(here, said="乙", headers={"x-session-id": session}),
    )
    turns = [await ended(there, turn_id) for turn_id in (first, second)]
    assert [turn["state"] for turn in turns] == ["finished", "finished"]
    assert sorted(turn["text"] for turn in turns) == sorted([TEN, LONG])
    async with services.db.read() as db:
        stored = list(await db.scalars(select(Message).where(Message.session_id == session)))
        leaf = await db.scalar(select(Session.leaf_id).where(Session.id == session))
    assert sorted(row.text for row in stored if row.role == "user") == ["乙", "甲"]
    assert {row.text for row in stored if row.role == "assistant"} == {TEN, LONG}
    assert {row.parent_id for row in stored if row.role == "user"} == {None}, "siblings below the same message"
    assert leaf in {turn["reply_id"] for turn in turns}
