"""What the tests of the server share: characters, talk, callers with keys of their own, and row counts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select

from app.auth import create_key
from app.cli.serve import Server
from app.main import create_app
from app.services import Services, build
from app.settings import Settings
from app.tables import Base
from models.scripted import ScriptedEngine
from tests.peer import listening

# Threads of the encoder that spin while they wait make a busy machine a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

Running = Callable[..., AbstractAsyncContextManager[tuple[httpx.AsyncClient, Server]]]
Rows = Callable[[], Awaitable[dict[str, int]]]
Talk = Callable[..., Awaitable[httpx.Response]]
Connect = Callable[..., Awaitable[httpx.AsyncClient]]
Character = dict[str, Any]
CAT = {"slug": "cat", "name": "Tom", "language": "zh", "persona": "一只话少的老猫。"}


@pytest.fixture
def mira() -> Character:
    """The body of a small character."""
    return {
        "slug": "mira",
        "name": "Mira",
        "persona": "{{char}} mends nets by the harbour and knows {{user}}.",
        "greeting": "Mind the ropes, {{user}}.",
        "alternate_greetings": ["You again, {{user}}?", "{{char}} nods."],
        "lore": [{"name": "quay", "keys": ["quay"], "content": "The old quay sank in spring."}],
    }


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """The server's OpenAPI document."""
    return create_app(build(Settings(home=tmp_path, _env_file=None))).openapi()


@pytest.fixture
async def rows(services: Services) -> Rows:
    """How many rows each table has."""

    async def count() -> dict[str, int]:
        async with services.db.read() as db:
            return {
                table.name: await db.scalar(select(func.count()).select_from(table)) or 0
                for table in Base.metadata.sorted_tables
            }

    return count


@pytest.fixture
async def serve(services: Services) -> AsyncIterator[Connect]:
    """Makes clients of a server on the same rows with other settings."""
    async with AsyncExitStack() as stack:

        async def connect(headers: dict[str, str] | None = None, **changed: Any) -> httpx.AsyncClient:
            parts = replace(services, settings=services.settings.model_copy(update=changed))
            app = create_app(parts)
            stack.push_async_callback(app.state.under_way.close)
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)
            return await stack.enter_async_context(http)

        yield connect


@pytest.fixture
def as_owner(services: Services, serve: Connect) -> Connect:
    """Makes clients with a key each, of a server that asks for keys."""

    async def connect(owner: str, *, admin: bool = False) -> httpx.AsyncClient:
        async with services.db.write() as db:
            key = await create_key(db, owner, "test", admin)
        return await serve({"Authorization": f"Bearer {key}"}, require_key=True)

    return connect


@pytest.fixture
def running() -> Running:
    """Whole servers on real sockets, as many as a test wants."""
    return _running


@asynccontextmanager
async def _running(services: Services, seconds: int = 60) -> AsyncIterator[tuple[httpx.AsyncClient, Server]]:
    """A whole server on a real socket, with its lifespan, as `moodline serve` runs it."""
    listener = listening()
    port = listener.getsockname()[1]
    app = create_app(services)
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=seconds, access_log=False)
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        yield http, server
        server.should_exit = True
        await task
        await app.state.under_way.close()


@pytest.fixture
async def here(services: Services, running: Running) -> AsyncIterator[httpx.AsyncClient]:
    """A server, and a cat to talk with."""
    async with running(services) as (http, _server):
        (await http.post("/api/characters", json=CAT)).raise_for_status()
        yield http


@pytest.fixture
async def there(
    services: Services, settings: Settings, here: httpx.AsyncClient, running: Running
) -> AsyncIterator[httpx.AsyncClient]:
    """A second server on the same database, which shares nothing else but the encoder; its engine says nothing."""
    parts = build(settings, engine=ScriptedEngine(), embedding=services.embedding)
    async with running(parts) as (http, _server):
        yield http
    await parts.db.close()


@pytest.fixture
async def talk(client: httpx.AsyncClient, engine: ScriptedEngine) -> Talk:
    """Says something to a character and lets it answer."""

    async def say(
        slug: str, said: str, reply: str = "Aye.", *, user: str = "ana", http: httpx.AsyncClient = client, **more: Any
    ) -> httpx.Response:
        engine.replies.append(reply)
        session = more.pop("session", None)
        body = {"model": f"char/{slug}", "user": user, "messages": [{"role": "user", "content": said}]} | more
        headers = {"x-session-id": session} if session else {}
        answer = await http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer

    return say
