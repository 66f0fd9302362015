"""What no well-behaved client sends, over bare sockets: every case is answered or cut off, and the server goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app import front
from app import http as edge
from app.settings import Settings
from models.scripted import ScriptedEngine

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
CHAT = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
BODY = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_body_bytes": 4096, "max_upload_bytes": 4096, "body_seconds": 0.5})


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(["Hello."] * 20)


@pytest.fixture(autouse=True)
async def goes_on(address: str) -> AsyncIterator[None]:
    """After every test the server answers the next client."""
    yield
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        assert (await http.post("/v1/chat/completions", json=BODY)).status_code == 200


async def send(address: str, *parts: bytes | float) -> tuple[int, str]:
    """Status and rest of what the server answers to bytes and pauses; (0, "") when it closes without a word."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    # Read meanwhile: an answer that comes before all was sent is lost when the connection is reset.
    reading = asyncio.ensure_future(_answer(reader))
    try:
        for part in parts:
            if reading.done():
                break
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                writer.write(part)
                await writer.drain()
    except ConnectionError:
        pass  # it was cut off before all was sent; the answer may be there all the same
    answer = await reading
    writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]) if head else 0, head + body


async def _answer(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    try:
        async with asyncio.timeout(10):
            while not answer.endswith(b"}") and (more := await reader.read(65_536)):
                answer += more
    except ConnectionError:
        pass
    return answer


def chunked(*pieces: bytes) -> bytes:
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)


def whole(body: bytes, head: str = CHAT) -> bytes:
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def test_a_chunked_body_is_read(address: str) -> None:
    body = json.dumps(BODY).encode()
    status, told = await send(
        address, f"{CHAT}transfer-encoding: chunked\r\n\r\n".encode() + chunked(body[:9], body[9:], b"")
    )
    assert status == 200
    assert "Hello." in told


async def test_a_chunked_body_without_end_is_cut_off_at_the_limit(address: str) -> None:
    status, told = await send(
        address, f"{CHAT}transfer-encoding: chunked\r\n\r\n".encode(), *[chunked(b" " * 1000) for _ in range(20)]
    )
    assert status == 413
    assert "MOODLINE_MAX_BODY_BYTES" in told


async def test_who_sends_too_much_is_heard_out_and_then_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "HEAR_OUT_SECONDS", 600)
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{CHAT}content-length: 20000\r\n\r\n".encode() + b"x" * 10_000)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    writer.write(b"x" * 10_000)
    assert (await _answer(reader)).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_length_over_the_limit_is_refused(address: str) -> None:
    status, told = await send(address, whole(b" " * 5000))
    assert status == 413
    assert "connection: close" in told.lower()


async def test_a_multipart_file_over_the_limit_is_refused(address: str, mira: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        await http.post("/api/characters", json=mira)
        answer = await http.post("/api/characters/mira/lines", files={"file": ("a.txt", b"x" * 100_000)})
    assert answer.status_code == 413
    assert "MOODLINE_MAX_UPLOAD_BYTES" in answer.text


@pytest.mark.parametrize("length", ["-5", "ten", "99999999999999999999999999", "5, 6"])
async def test_a_length_that_is_none_is_refused(address: str, length: str) -> None:
    assert (await send(address, f"{CHAT}content-length: {length}\r\n\r\n{{}}".encode()))[0] == 400


async def test_a_body_shorter_than_it_says_is_a_408_in_time(address: str) -> None:
    status, told = await send(address, f"{CHAT}content-length: 100\r\n\r\n{{".encode())
    assert status == 408
    assert "MOODLINE_BODY_SECONDS" in told


async def test_a_body_that_drips_is_a_408_however_often_something_comes(address: str) -> None:
    status, _ = await send(address, f"{CHAT}content-length: 1000\r\n\r\n".encode(), *[b" ", 0.1] * 12)
    assert status == 408


async def test_a_body_that_takes_its_time_but_comes_is_read(address: str) -> None:
    body = json.dumps(BODY).encode()
    assert (await send(address, whole(body)[:-5], 0.2, body[-5:]))[0] == 200


async def test_a_stream_may_last_longer_than_a_body(address: str, engine: ScriptedEngine) -> None:
    engine.pace = 0.15
    status, told = await send(address, whole(json.dumps(BODY | {"stream": True}).encode()), 1.5, b"")
    assert status == 200
    assert told.count('"content":"') >= len("Hello.")


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"messages":'])
async def test_json_nested_without_end_is_a_400(address: str, opening: str) -> None:
    body = (opening * 4000)[:4000].encode()
    status, told = await send(address, whole(body))
    assert status == 400
    assert "error" in told


async def test_a_huge_number_of_messages_is_refused_by_its_size(address: str) -> None:
    many = json.dumps(BODY | {"messages": [{"role": "user", "content": "x"}] * 20_000}).encode()
    assert (await send(address, whole(many)))[0] == 413


async def test_a_head_without_end_is_a_431(address: str) -> None:
    status, _ = await send(address, CHAT.encode(), *[b"x-filler: " + b"y" * 8000 + b"\r\n"] * 40)
    assert status == 431


async def test_an_address_without_end_is_a_431(address: str) -> None:
    assert (await send(address, b"GET /" + b"a" * 300_000))[0] == 431


async def test_many_requests_on_one_connection_are_each_measured_for_themselves(address: str) -> None:
    request = whole(json.dumps(BODY).encode(), CHAT + "x-filler: " + "y" * 30_000 + "\r\n")
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(4):
        writer.write(request)
        assert b" 200 " in (await reader.readuntil(b"\r\n\r\n"))[:20]
        while not (await reader.read(65_536)).endswith(b"}"):
            pass
    writer.close()


async def test_a_head_that_drips_is_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.3)
    assert await send(address, b"POST /v1/chat", *[b"x", 0.1] * 8) == (0, "")
    assert await send(address, 1.0) == (0, "")


async def test_what_is_no_http_is_a_400(address: str) -> None:
    assert (await send(address, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"))[0] == 400
