"""Streams over real sockets: the official client, hang-ups, many at once."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import func, select
from starlette.requests import ClientDisconnect

from app.main import create_app
from app.services import Services
from app.settings import Settings
from app.tables import Bond, Memory, Message, Trace
from models.scripted import ScriptedEngine
from tests.never_twice import NEVER_TWICE

CAT = {"slug": "cat", "name": "Tom", "language": "zh", "persona": "一只话少的老猫。"}


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    return Settings(
        home=tmp_path / "home", database_url=database_url, database_pool=2, context_tokens=20_000, _env_file=None
    )


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=20_000)


@pytest.fixture
async def tom(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=CAT)).raise_for_status()


@pytest.fixture
async def official(address: str) -> Any:
    client = openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    yield client
    await client.close()


@pytest.mark.usefixtures("tom")
async def test_the_official_client_streams_a_character(official: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.replies.append("喵。今天的鱼还不错，😀你也来一口？")
    stream = await official.chat.completions.create(
        model="char/cat",
        messages=[{"role": "user", "content": "你好"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == "喵。今天的鱼还不错，😀你也来一口？"
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == len(text)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


@pytest.mark.usefixtures("tom")
async def test_the_official_client_reads_errors_as_its_own_classes(
    official: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        await official.chat.completions.create(model="char/nobody", messages=[{"role": "user", "content": "Hi"}])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        await official.chat.completions.create(
            model="char/cat", messages=[{"role": "user", "content": "Hi"}], temperature=9
        )
    assert wrong.value.param == "temperature"
    listed = [model.id async for model in official.models.list()]
    assert listed == ["char/cat", "scripted"]
    assert (await official.models.retrieve("char/cat")).id == "char/cat"
    with pytest.raises(openai.NotFoundError):
        await official.models.retrieve("gpt-4")


@pytest.mark.usefixtures("tom")
async def test_the_wire_is_exactly_openais(address: str, engine: ScriptedEngine) -> None:
    engine.replies.append("喵")
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "你好"}], "stream": True}
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    parsed = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert [chunk["choices"][0]["delta"] for chunk in parsed] == [
        {"role": "assistant", "content": ""},
        {"content": "喵"},
        {},
    ]
    assert all("usage" not in chunk for chunk in parsed)
    assert parsed[0]["choices"][0]["finish_reason"] is None


@pytest.mark.usefixtures("tom")
async def test_a_client_that_hangs_up_leaves_its_partial_reply_behind(
    address: str, engine: ScriptedEngine, services: Services
) -> None:
    engine.pace = 0.02
    engine.replies.append(NEVER_TWICE[:200])
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "数数给我听"}], "stream": True}
    got = ""
    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                got += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
            if len(got) >= 5:
                break
    reply = await _reply_when_stored(services)
    assert reply.outcome == "hung_up"
    assert reply.text.startswith(got)
    assert len(reply.text) < 200
    async with services.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(Memory)) == 1
        assert await db.scalar(select(Trace.outcome)) == "hung_up"


@pytest.mark.usefixtures("tom")
async def test_a_client_that_leaves_before_the_first_word_loses_nothing_that_was_said(
    address: str, engine: ScriptedEngine, services: Services
) -> None:
    gate = asyncio.Event()
    engine.pace = gate
    engine.replies.append("喵喵喵喵喵喵")
    body = {"model": "char/cat", "messages": [{"role": "user", "content": "在吗"}], "stream": True}
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/v1/chat/completions", json=body, timeout=httpx.Timeout(5, read=1.0))
    gate.set()
    reply = await _reply_when_stored(services)
    assert reply.outcome in ("hung_up", "finished")
    assert "喵喵喵喵喵喵".startswith(reply.text)


@pytest.mark.usefixtures("tom")
async def test_a_server_that_tells_of_a_hang_up_by_a_failing_send_keeps_the_reply_too(
    engine: ScriptedEngine, services: Services
) -> None:
    # ASGI 2.4; uvicorn announces 2.3, where the response task is cancelled instead.
    engine.replies.append(NEVER_TWICE[:50])
    body = json.dumps({"model": "char/cat", "messages": [{"role": "user", "content": "数数"}], "stream": True}).encode()
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": headers,
    }
    sent = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1
        if sent > 8:
            raise OSError("the client is gone")

    with suppress(ClientDisconnect, OSError):
        await create_app(services)(scope, receive, send)
    reply = await _reply_when_stored(services)
    assert reply.outcome == "hung_up"
    assert reply.text
    assert NEVER_TWICE[:50].startswith(reply.text)


@pytest.mark.usefixtures("tom")
async def test_twenty_streams_at_once_live_on_two_database_connections(
    official: openai.AsyncOpenAI, engine: ScriptedEngine, services: Services
) -> None:
    engine.pace = 0.01
    engine.replies += ["我在听，你慢慢说。"] * 20

    async def talk(number: int) -> str:
        stream = await official.chat.completions.create(
            model="char/cat", user=f"user-{number}", messages=[{"role": "user", "content": "你好"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert await asyncio.gather(*(talk(number) for number in range(20))) == ["我在听，你慢慢说。"] * 20
    async with services.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(Trace).where(Trace.outcome == "finished")) == 20
        assert await db.scalar(select(func.count()).select_from(Memory)) == 20


@pytest.mark.usefixtures("tom")
async def test_turns_of_one_user_at_the_same_time_all_count(
    official: openai.AsyncOpenAI, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [f"第{number}句。" for number in range(8)]
    await asyncio.gather(
        *(
            official.chat.completions.create(
                model="char/cat", user="ana", messages=[{"role": "user", "content": f"第{number}次问好"}]
            )
            for number in range(8)
        )
    )
    async with services.db.read() as db:
        bond = (await db.scalars(select(Bond))).one()
        assert bond.turns == 8
        assert await db.scalar(select(func.count()).select_from(Memory)) == 8


async def _reply_when_stored(services: Services) -> Message:
    for _ in range(200):
        async with services.db.read() as db:
            reply = await db.scalar(select(Message).where(Message.role == "assistant"))
        if reply is not None:
            return reply
        await asyncio.sleep(0.05)
    raise AssertionError("nothing was stored")
