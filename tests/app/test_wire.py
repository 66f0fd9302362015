"""What goes over the wire, byte for byte, as golden files: a change of it is seen in a review."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.auth import create_key
from app.services import Services
from app.settings import Settings
from models.engine import EngineBroke, EngineUnavailable
from models.scripted import ScriptedEngine

GOLDEN = Path(__file__).parent.parent / "golden"
TOLD = ("content-type", "www-authenticate", "allow", "retry-after", "cache-control", "x-accel-buffering")
"""Headers that are part of the golden files; the others tell of this moment or this machine."""
CHAT = "POST /v1/chat/completions"
HELLO = {"model": "char/mira", "messages": [{"role": "user", "content": "你好"}]}
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    limits = {"context_tokens": 1024, "max_body_bytes": 8192, "max_message_chars": 6000}
    return Settings(home=tmp_path / "home", database_url=database_url, **limits, _env_file=None)


@pytest.fixture(autouse=True)
async def _stored(address: str, mira: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        assert (await http.post("/api/characters", json=mira)).status_code == 201


async def wire(address: str, asked: str, body: Any = None, **headers: str) -> str:
    """The answer to a request as it comes out of the socket: status, the headers that count, the body."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(content))}
    named |= {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
    writer.write(f"{asked} HTTP/1.1\r\n{head}\r\n".encode() + content)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return told(answer)


def told(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    kept = [line for line in lines if line.partition(":")[0].lower() in TOLD]
    if any(line.lower() == "transfer-encoding: chunked" for line in lines):
        body = b"".join(_chunks(body))
    text = body.decode()
    text = re.sub(r'"created":\d+', '"created":0', re.sub(r"[0-9a-f]{32}", "ID", text))
    text = re.sub(r"fp_[0-9a-f]{10}", "fp_ID", text)
    text = re.sub(r'"(prompt_tokens|total_tokens)":\d+', r'"\1":0', text)
    return "\n".join([status.split()[1], *sorted(line.lower() for line in kept), "", text]) + "\n"


def _chunks(body: bytes) -> Iterable[bytes]:
    while body:
        size, _, body = body.partition(b"\r\n")
        yield body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]


def check(name: str, parts: dict[str, str]) -> None:
    text = "\n".join(f"### {title}\n{part}" for title, part in parts.items())
    file = GOLDEN / f"wire.{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


async def test_a_stream_is_the_golden_one(address: str, engine: ScriptedEngine) -> None:
    """What an engine says between two looks of the stream comes in one chunk, so the texts are one character long."""
    stream = HELLO | {"stream": True}
    counted = stream | {"stream_options": {"include_usage": True}}
    engine.replies += ["😀", "好"]
    parts = {"a reply": await wire(address, CHAT, stream), "with usage": await wire(address, CHAT, counted)}
    check("stream", parts)


async def test_a_whole_answer_is_the_golden_one(address: str, engine: ScriptedEngine) -> None:
    engine.replies.append("喵😀\n“好”")
    check("answer", {"a reply": await wire(address, CHAT, HELLO), "models": await wire(address, "GET /v1/models")})


async def test_errors_of_the_openai_door_are_the_golden_ones(
    address: str, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += [RuntimeError("secret"), EngineBroke("The other end hung up.")]
    async with services.db.write() as db:
        key = await create_key(db, "ana", "test", admin=False, requests_per_minute=1)
    mine = {"Authorization": f"Bearer {key}"}
    long = [{"role": "user", "content": "x" * 5000}]
    parts = {
        "400 broken JSON": await wire(address, CHAT, b"{"),
        "400 a field out of its range": await wire(address, CHAT, HELLO | {"temperature": 9}),
        "400 not supported": await wire(address, CHAT, HELLO | {"functions": [{}]}),
        "400 an empty message": await wire(address, CHAT, HELLO | {"messages": [{"role": "user", "content": " "}]}),
        "400 too long for the context": await wire(address, CHAT, HELLO | {"messages": long}),
        "401 a wrong key": await wire(address, CHAT, HELLO, Authorization="Bearer ml-wrong"),
        "403 a foreign name": await wire(address, CHAT, HELLO, Host="evil.example"),
        "404 no such model": await wire(address, CHAT, HELLO | {"model": "gpt-4"}),
        "404 no such session": await wire(address, CHAT, HELLO, X_Session_Id="0" * 32),
        "404 no such route": await wire(address, "GET /v1/nowhere"),
        "405": await wire(address, "GET /v1/chat/completions"),
        "413": await wire(address, CHAT, HELLO | {"user": "x" * 9000}),
        "415": await wire(address, CHAT, HELLO, Content_Type="text/plain"),
        "500": await wire(address, CHAT, HELLO),
        "502": await wire(address, CHAT, HELLO),
        "503": await wire(address, CHAT, HELLO),
    }
    await wire(address, "GET /v1/models", **mine)
    limited = await wire(address, "GET /v1/models", **mine)
    parts["429"] = re.sub(r"\d+ seconds?|(?<=retry-after: )\d+", "N", limited)
    check("errors.openai", parts)


async def test_errors_of_the_native_door_are_the_golden_ones(
    address: str, engine: ScriptedEngine, mira: dict[str, Any]
) -> None:
    engine.replies.append(EngineUnavailable("Out for lunch."))
    change = {"name": "Mira", "persona": "Mends nets."}
    parts = {
        "400 broken JSON": await wire(address, "POST /api/characters", b"{"),
        "400 NUL in the address": await wire(address, "GET /api/characters/a%00b"),
        "401 a wrong key": await wire(address, "GET /api/characters", Authorization="Bearer ml-wrong"),
        "403 a foreign page": await wire(address, "GET /api/characters", Origin="https://evil.example"),
        "404 no such character": await wire(address, "GET /api/characters/nobody"),
        "404 no such session": await wire(address, "GET /api/sessions/nobody"),
        "404 no such turn": await wire(address, "GET /api/turns/nobody/trace"),
        "404 no such memory": await wire(address, "DELETE /api/memories/1"),
        "404 no such route": await wire(address, "GET /api/nowhere"),
        "405": await wire(address, "PATCH /api/characters"),
        "409": await wire(address, "POST /api/characters", mira),
        "412": await wire(address, "PUT /api/characters/mira", change, If_Match='"7"'),
        "413": await wire(address, "POST /api/characters", mira | {"style": "x" * 9000}),
        "415": await wire(address, "POST /api/characters", mira, Content_Type="text/plain"),
        "422 two faults": await wire(address, "POST /api/characters", {"slug": "A b", "name": "A", "oops": 1}),
        "428": await wire(address, "PUT /api/characters/mira", change),
    }
    check("errors.api", parts)
