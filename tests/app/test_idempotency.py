"""Writes that name themselves by an `Idempotency-Key` happen once, however often they are sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from app import idempotency, keyed
from app.services import Services
from app.sessions import transfers
from app.tables import KeyedCall, Message, TurnRecord, now
from app.users import erase
from models.engine import EngineBroke, EngineUnavailable
from models.scripted import ScriptedEngine
from tests.app.conftest import CAT, Running
from tests.never_twice import NEVER_TWICE

TEN = "一二三四五六七八九十"
LONG = NEVER_TWICE[:80]
ASK = {"model": "char/cat", "user": "ana", "messages": [{"role": "user", "content": "数数"}]}
Rows = Callable[[], Awaitable[dict[str, int]]]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(pace=0.01)


def named(key: str = "k-1") -> dict[str, str]:
    return {"Idempotency-Key": key}


async def replies(services: Services) -> list[str]:
    async with services.db.read() as db:
        return list(await db.scalars(select(Message.text).where(Message.role == "assistant")))


def body_of(answer: httpx.Response) -> tuple[int, bytes, str]:
    return answer.status_code, answer.content, answer.headers["content-type"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_is_sent_again_is_answered_as_before_byte_for_byte(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine, services: Services, stream: bool
) -> None:
    engine.replies.append(TEN)
    first = await here.post("/v1/chat/completions", json=ASK | {"stream": stream}, headers=named())
    assert TEN[0] in first.text
    assert "idempotency-replayed" not in first.headers
    for http in (here, there):
        again = await http.post("/v1/chat/completions", json=ASK | {"stream": stream}, headers=named())
        assert body_of(again) == body_of(first)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["x-moodline-turn"] == first.headers["x-moodline-turn"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await replies(services) == [TEN]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_retry_while_the_first_try_is_answered_waits_for_its_answer(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine, services: Services, stream: bool
) -> None:
    engine.replies.append(LONG)
    ask = ASK | {"stream": stream}
    answers = await asyncio.gather(
        *(http.post("/v1/chat/completions", json=ask, headers=named()) for http in (here, there, here, there))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await replies(services) == [LONG]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_was_cut_off_gets_the_whole_reply_by_its_retry(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, stream: bool
) -> None:
    engine.replies.append(LONG)
    ask = ASK | {"stream": stream, "moodline": {"on_disconnect": "abort"}}
    body = json.dumps(ask).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: k-1\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", here.base_url.port)
    writer.write(head + body)
    if stream:
        await reader.readuntil(b'"content":"')
    else:
        while not engine.asked:
            await asyncio.sleep(0.02)
    writer.transport.abort()
    again = await here.post(
        "/v1/chat/completions", content=body, headers=named() | {"content-type": "application/json"}
    )
    assert again.status_code == 200
    if stream:
        chunks = [json.loads(line[6:]) for line in again.text.splitlines() if line.startswith("data: {")]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == LONG
        assert again.text.endswith("data: [DONE]\n\n")
    else:
        assert again.json()["choices"][0]["message"]["content"] == LONG
    assert await replies(services) == [LONG]


async def test_the_official_clients_own_retries_store_a_turn_once(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [EngineUnavailable("Not yet."), LONG]
    base = f"{here.base_url}/v1".replace("//v1", "/v1")
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=2) as client:
        reply = await client.chat.completions.create(**ASK, extra_headers=named("sdk"))
        assert reply.choices[0].message.content == LONG
        # The first try times out on the client's side, and goes on on ours.
        engine.replies.append(LONG)
        reply = await client.chat.completions.create(**ASK, extra_headers=named("sdk-2"), timeout=0.7)
        assert reply.choices[0].message.content == LONG
    assert await replies(services) == [LONG, LONG], "one reply, and its regeneration"


async def test_without_a_key_a_request_that_is_sent_again_adds_a_sibling_and_nothing_else(
    here: httpx.AsyncClient, engine: ScriptedEngine, rows: Rows
) -> None:
    engine.replies += [TEN, LONG]
    await here.post("/v1/chat/completions", json=ASK)
    before = await rows()
    await here.post("/v1/chat/completions", json=ASK)
    after = await rows()
    assert after["messages"] == before["messages"] + 1
    assert after["sessions"] == before["sessions"]
    assert after["keyed_calls"] == 0


async def test_a_key_that_named_another_call_is_refused_and_nothing_happens(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, as_owner: Any, rows: Rows
) -> None:
    engine.replies += [TEN, TEN]
    await here.post("/v1/chat/completions", json=ASK, headers=named())
    before = await rows()
    for other in (ASK | {"stream": True}, ASK | {"user": "ben"}):
        refused = await here.post("/v1/chat/completions", json=other, headers=named())
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "idempotency_key_reused"
    refused = await here.post("/v1/chat/completions", json=ASK, headers=named() | {"x-session-id": "0" * 32})
    assert refused.status_code == 400
    for header in ("x-moodline-user", "x-moodline-stage", "x-openwebui-user-id"):
        refused = await here.post("/v1/chat/completions", json=ASK, headers=named() | {header: "ben"})
        assert refused.status_code == 400, header
    refused = await here.post("/api/characters", json=CAT | {"slug": "dog"}, headers=named())
    assert (refused.status_code, refused.json()["title"]) == (422, "idempotency_key_reused")
    assert await rows() == before
    stranger = await as_owner("stranger")
    mine = await stranger.post("/api/characters", json=CAT, headers=named())
    assert mine.status_code == 201, "a key is its owner's; another's is another"


@pytest.mark.parametrize("key", ["", "x" * 256, "ключ".encode(), b"a\xffb"])
async def test_a_key_that_is_none_is_told_so(here: httpx.AsyncClient, key: str | bytes) -> None:
    answer = await here.post("/api/characters", json=CAT | {"slug": "dog"}, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert "printable ASCII" in answer.json()["detail"]
    assert (await here.get("/api/characters/dog")).status_code == 404


async def test_every_kind_of_write_is_done_once(here: httpx.AsyncClient, there: httpx.AsyncClient, rows: Rows) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/api/characters", {"json": CAT | {"slug": "dog"}}),
        ("POST", "/api/sessions", {"json": {"character": "dog", "user": "ana"}}),
        ("POST", "/api/characters/dog/lines?role=Tom", {"files": {"file": ("x.txt", "甲：早。\nTom：早啊，天亮了。")}}),
        ("PUT", "/api/characters/dog/lore", {"json": [{"keys": ["鱼"], "content": "鱼很好。"}]}),
        ("DELETE", "/api/characters/dog", {}),
    ]
    for number, (method, path, body) in enumerate(calls):
        etag = (await here.get("/api/characters/dog")).headers.get("etag", '"0"')
        headers = named(f"w-{number}") | {"if-match": etag}
        first = await here.request(method, path, headers=headers, **body)
        assert first.status_code < 300, first.text
        after = await rows()
        for http in (there, here):
            again = await http.request(method, path, headers=headers, **body)
            assert (again.status_code, again.content) == (first.status_code, first.content)
            for name in ("location", "etag", "content-type"):
                assert again.headers.get(name) == first.headers.get(name)
            assert again.headers["idempotency-replayed"] == "true"
        assert await rows() == after, path


@pytest.mark.parametrize("model", ["char/cat", "scripted"])
async def test_a_call_that_failed_may_be_tried_again_under_its_key(
    here: httpx.AsyncClient, engine: ScriptedEngine, rows: Rows, model: str
) -> None:
    ask = ASK | {"stream": True, "model": model}
    engine.replies += [EngineUnavailable("Not yet."), (TEN, EngineBroke("Gone.")), TEN]
    down = await here.post("/v1/chat/completions", json=ask, headers=named())
    assert down.status_code == 503
    assert "retry-after" in down.headers
    broken = await here.post("/v1/chat/completions", json=ask, headers=named())
    assert '"error"' in broken.text
    whole = await here.post("/v1/chat/completions", json=ask, headers=named())
    assert '"error"' not in whole.text
    assert (await rows())["keyed_calls"] == 1
    wrong = await here.post("/api/sessions", json={"character": "nobody"}, headers=named("s"))
    assert wrong.status_code == 404
    right = await here.post("/api/sessions", json={"character": "cat"}, headers=named("s"))
    assert right.status_code == 201


@pytest.mark.parametrize("stream", [False, True])
async def test_a_draft_that_broke_off_may_be_asked_for_again_under_its_key(
    here: httpx.AsyncClient, engine: ScriptedEngine, stream: bool
) -> None:
    session = (await here.post("/api/sessions", json={"character": "cat"})).json()["id"]
    path, turn = f"/api/sessions/{session}/turns", {"mode": "impersonate", "stream": stream}
    engine.replies += [(TEN, EngineBroke("Gone.")), TEN]
    broken = await here.post(path, json=turn, headers=named())
    assert ("Gone." in broken.text, broken.status_code) == (True, 200 if stream else 502)
    whole = await here.post(path, json=turn, headers=named())
    assert whole.status_code == 200
    assert TEN in whole.text
    assert "Gone." not in whole.text
    assert (await here.post(path, json=turn, headers=named())).json()["title"] == "answer_not_kept"


async def test_a_call_whose_process_is_gone_is_made_again_unless_its_turn_is_stored(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [TEN, LONG]
    turn_id = (await here.post("/v1/chat/completions", json=ASK, headers=named())).headers["x-moodline-turn"]
    async with services.db.write() as db:
        await db.execute(update(KeyedCall).values(status=None, body=None, seen_at=now() - 2 * keyed.LOST))
    told = await here.post("/v1/chat/completions", json=ASK, headers=named())
    assert (told.status_code, told.json()["error"]["code"]) == (409, "turn_is_stored")
    assert turn_id in told.json()["error"]["message"]
    async with services.db.write() as db:
        await db.execute(update(TurnRecord).values(state="running"))
    again = await here.post("/v1/chat/completions", json=ASK, headers=named())
    assert again.json()["choices"][0]["message"]["content"] == LONG


async def test_a_write_that_is_done_is_not_done_again_though_its_answer_was_never_kept(
    here: httpx.AsyncClient,
    there: httpx.AsyncClient,
    services: Services,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def never(*_call: Any) -> None:
        raise OperationalError("keep", {}, OSError("the disk is full"))

    body = {"character": "cat", "user": "ana"}
    with monkeypatch.context() as broken:
        broken.setattr(keyed, "keep", never)
        assert (await here.post("/api/sessions", json=body, headers=named("told"))).status_code == 201
    # As it stands where the process was killed between the two.
    async with services.db.write() as db:
        db.add(KeyedCall(owner="local", key="killed", digest="", seen_at=now() - 2 * keyed.LOST))
        digest = select(KeyedCall.digest).where(KeyedCall.key == "told").scalar_subquery()
        await db.execute(update(KeyedCall).values(digest=digest, written=True))
    before = await rows()
    assert before["sessions"] == 1
    for key in ("told", "killed"):
        for http in (here, there):
            again = await http.post("/api/sessions", json=body, headers=named(key))
            assert (again.status_code, again.json()["title"]) == (409, "call_is_done"), key
    assert await rows() == before


async def test_a_call_is_marked_as_done_by_what_it_asks_for_and_by_nothing_before(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.replies.append(TEN)
    marked: dict[str, bool] = {}
    keep = keyed.keep

    async def look(db: Any, call: keyed.Call, *answer: Any) -> None:
        found = await db.scalar(select(KeyedCall.written).where(KeyedCall.key == call.key))
        marked[call.key] = bool(found)
        await keep(db, call, *answer)

    monkeypatch.setattr(keyed, "keep", look)
    assert (await here.post("/api/sessions", json={"character": "cat"}, headers=named("session"))).status_code == 201
    assert (await here.post("/v1/chat/completions", json=ASK, headers=named("turn"))).status_code == 200
    assert (await here.delete("/api/users?user=ana", headers=named("erased"))).status_code == 200
    assert marked == {"session": True, "turn": False, "erased": True}, "a turn's row tells of the turn"
    assert (await here.delete("/api/users?user=ana", headers=named("nobody"))).status_code == 404
    async with services.db.read() as db:
        assert set(await db.scalars(select(KeyedCall.key))) == {"erased"}


async def test_an_erasure_that_breaks_off_is_not_taken_for_done(
    here: httpx.AsyncClient, engine: ScriptedEngine, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.replies.append(TEN)
    await here.post("/v1/chat/completions", json=ASK)

    async def never(*_some: Any) -> None:
        raise OperationalError("delete", {}, OSError("the disk is full"))

    with monkeypatch.context() as broken:
        broken.setattr(erase, "_remove_the_rest", never)
        assert (await here.delete("/api/users?user=ana", headers=named())).status_code == 500
    assert (await rows())["messages"] == 0, "the first steps are done"
    assert (await here.delete("/api/users?user=ana", headers=named())).status_code == 200


async def test_a_turn_whose_answer_could_not_be_kept_is_not_taken_again(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_call: Any) -> None:
        raise OperationalError("keep", {}, OSError("the disk is full"))

    engine.replies += [TEN, LONG]
    with monkeypatch.context() as broken:
        broken.setattr(keyed, "keep", never)
        assert (await here.post("/v1/chat/completions", json=ASK, headers=named())).status_code == 200
    again = await here.post("/v1/chat/completions", json=ASK, headers=named())
    assert (again.status_code, again.json()["error"]["code"]) == (409, "turn_is_stored")
    assert await replies(services) == [TEN]


async def given_up(services: Services) -> None:
    """As after so long a silence that whoever makes the call is taken for gone."""
    async with services.db.write() as db:
        await db.execute(update(KeyedCall).values(seen_at=now() - 2 * keyed.LOST))


async def test_a_turn_that_is_being_stored_is_not_taken_anew(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    if services.db.engine.dialect.name == "sqlite":
        pytest.skip("there nobody reads what is asked for while another writes")
    engine.replies += [TEN, LONG]
    turn_id = (await here.post("/v1/chat/completions", json=ASK, headers=named())).headers["x-moodline-turn"]
    async with services.db.write() as db:
        await db.execute(update(KeyedCall).values(status=None, body=None, seen_at=now() - 2 * keyed.LOST))
        await db.execute(update(TurnRecord).values(state="running"))
    async with services.db.write() as db:
        await db.execute(update(TurnRecord).values(state="finished"))
        early = await here.post("/v1/chat/completions", json=ASK, headers=named())
        assert (early.status_code, early.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    late = await here.post("/v1/chat/completions", json=ASK, headers=named())
    assert (late.status_code, late.json()["error"]["code"]) == (409, "turn_is_stored")
    assert turn_id in late.json()["error"]["message"]
    assert await replies(services) == [TEN]


async def test_a_write_that_was_held_up_and_made_anew_changes_nothing_any_more(
    here: httpx.AsyncClient, there: httpx.AsyncClient, services: Services, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SIGN_OF_LIFE", 1000.0)
    held, go, read = asyncio.Event(), asyncio.Event(), transfers.read_upload

    async def slowly(*upload: Any) -> Any:
        held.set()
        await go.wait()
        return await read(*upload)

    path = "/api/sessions/import?character=cat"
    file = {"content": '{"user_name": "ana"}\n{"name": "ana", "is_user": true, "mes": "早。"}'}
    headers = named() | {"content-type": "application/jsonl"}
    with monkeypatch.context() as busy:
        busy.setattr(transfers, "read_upload", slowly)
        first = asyncio.ensure_future(here.post(path, headers=headers, **file))
        await held.wait()
    await given_up(services)
    second = await there.post(path, headers=headers, **file)
    assert second.status_code == 201
    go.set()
    assert ((await first).status_code, (await first).json()["title"]) == (409, "idempotency_key_in_use")
    assert (await rows())["sessions"] == 1
    assert (await here.post(path, headers=headers, **file)).content == second.content


async def test_a_turn_that_was_held_up_and_taken_anew_stores_nothing_any_more(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SIGN_OF_LIFE", 1000.0)
    gate = engine.pace = asyncio.Event()
    engine.replies += [TEN, LONG]
    first = asyncio.ensure_future(here.post("/v1/chat/completions", json=ASK, headers=named()))
    turn_id = None
    while turn_id is None:
        await asyncio.sleep(0.02)
        async with services.db.read() as db:
            turn_id = await db.scalar(select(KeyedCall.turn_id))
    await given_up(services)
    second = asyncio.ensure_future(here.post("/v1/chat/completions", json=ASK, headers=named()))
    while len(engine.asked) < 2:
        await asyncio.sleep(0.02)
    gate.set()
    assert ((await first).status_code, (await first).json()["error"]["code"]) == (409, "lost")
    assert (await second).json()["choices"][0]["message"]["content"] == LONG
    assert await replies(services) == [LONG]
    assert (await here.get(f"/api/turns/{turn_id}")).json()["state"] == "failed"
    assert (await here.post("/v1/chat/completions", json=ASK, headers=named())).content == (await second).content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["char/cat", "scripted"])
async def test_an_answer_that_is_not_to_be_stored_is_given_once_and_kept_nowhere(
    here: httpx.AsyncClient,
    there: httpx.AsyncClient,
    engine: ScriptedEngine,
    services: Services,
    stream: bool,
    model: str,
) -> None:
    engine.replies.append("喵" + TEN)
    ask = ASK | {"store": False, "stream": stream, "model": model}
    first = await here.post("/v1/chat/completions", json=ask, headers=named())
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-store"
    for http in (here, there):
        again = await http.post("/v1/chat/completions", json=ask, headers=named())
        assert (again.status_code, again.json()["error"]["code"]) == (409, "answer_not_kept")
    other = await here.post("/v1/chat/completions", json=ask | {"store": True}, headers=named())
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    async with services.db.read() as db:
        row = (await db.scalars(select(KeyedCall))).one()
    assert (row.status, row.body, row.turn_id) == (200, None, None)
    assert len(engine.asked) == 1


async def test_what_is_written_for_the_user_and_who_was_erased_is_not_kept_either(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    session = (await here.post("/api/sessions", json={"character": "cat", "user": "ana"})).json()["id"]
    engine.replies.append(TEN)
    turn = {"mode": "impersonate"}
    assert (await here.post(f"/api/sessions/{session}/turns", json=turn, headers=named())).status_code == 200
    assert (await here.delete("/api/users?user=ana", headers=named("gone"))).status_code == 200
    async with services.db.read() as db:
        assert list(await db.scalars(select(KeyedCall.body))) == [None]
    again = await here.delete("/api/users?user=ana", headers=named("gone"))
    assert (again.status_code, again.json()["title"]) == (409, "answer_not_kept")


async def test_a_retry_that_waits_too_long_is_told_when_to_come_back(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 0.3)
    gate = engine.pace = asyncio.Event()
    engine.replies.append(TEN)
    first = asyncio.create_task(here.post("/v1/chat/completions", json=ASK, headers=named()))
    while not engine.asked:
        await asyncio.sleep(0.02)
    early = await here.post("/v1/chat/completions", json=ASK, headers=named())
    assert (early.status_code, early.json()["error"]["code"]) == (409, "idempotency_key_in_use")
    assert int(early.headers["retry-after"]) > 0
    gate.set()
    assert (await first).status_code == 200
    assert (await here.post("/v1/chat/completions", json=ASK, headers=named())).content == (await first).content


async def test_a_server_that_stops_keeps_the_answers_that_nobody_waits_for(
    engine: ScriptedEngine, services: Services, running: Running
) -> None:
    async with running(services) as (http, _server):
        (await http.post("/api/characters", json=CAT)).raise_for_status()
        engine.replies.append(LONG)
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=ASK, headers=named(), timeout=httpx.Timeout(5, read=0.3))
    async with running(services) as (http, _server):
        again = await http.post("/v1/chat/completions", json=ASK, headers=named())
    assert again.json()["choices"][0]["message"]["content"] == LONG
    assert again.headers["idempotency-replayed"] == "true"
    assert await replies(services) == [LONG]


async def test_answers_are_forgotten_after_the_time_that_is_set(here: httpx.AsyncClient, services: Services) -> None:
    for key in ("old", "young"):
        await here.post("/api/sessions", json={"character": "cat"}, headers=named(key))
    async with services.db.write() as db:
        past = now() - 60 * keyed.LOST
        await db.execute(update(KeyedCall).where(KeyedCall.key == "old").values(created_at=past, seen_at=past))
        await keyed.prune(db, hours=0.2)
        assert list(await db.scalars(select(KeyedCall.key))) == ["young"]
        assert await db.scalar(select(func.count()).select_from(KeyedCall)) == 1
