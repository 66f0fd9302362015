"""The FastAPI app: lifespan, routers, error translation; nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import __doc__ as about
from app import health, http, openapi, services
from app.adapters import router as adapters
from app.bond.judge import keep_judged
from app.bond.router import router as bonds
from app.characters.router import router as characters
from app.characters.transfers import router as cards
from app.chat.native import router as native
from app.chat.router import router as openai
from app.chat.traces import router as traces
from app.chat.turns import router as turns
from app.chat.under_way import UnderWay
from app.groups.router import router as groups
from app.idempotency import Idempotency
from app.lines.router import router as lines
from app.lore.router import router as lorebooks
from app.memory.router import router as memories
from app.personas.router import router as personas
from app.reindex import keep_embedded
from app.retention import keep_pruned
from app.services import Services
from app.sessions.messages import router as messages
from app.sessions.router import router as sessions
from app.sessions.transfers import router as transfers
from app.users.router import router as users
from app.version import VERSION

log = logging.getLogger("moodline")


ROUTERS = (
    openai,  # /v1/chat/completions, /v1/models
    cards,  # /api/characters/import, /api/characters/{slug}/export
    characters,  # /api/characters
    groups,  # /api/groups
    lorebooks,  # /api/lorebooks
    lines,  # /api/characters/{slug}/lines
    transfers,  # /api/sessions/import, /api/sessions/{id}/export
    sessions,  # /api/sessions
    messages,  # /api/sessions/{id}/leaf, /api/sessions/{id}/messages
    memories,  # /api/memories
    bonds,  # /api/bonds
    personas,  # /api/personas
    native,  # /api/sessions/{id}/turns
    turns,  # /api/turns/{id}
    users,  # /api/users
    adapters,  # /api/adapters
    traces,  # /api/turns/{id}/trace
    health.router,  # /healthz, /readyz, /metrics
)
"""In the order in which their paths are tried."""


def create_app(parts: Services) -> FastAPI:
    """The server around its parts. Loading goes on while it already answers; /readyz tells when it is done."""
    app = FastAPI(
        title="Moodline",
        summary=about,
        version=VERSION,
        lifespan=_lifespan,
        generate_unique_id_function=openapi.operation_id,
    )
    app.state.services = parts
    app.state.under_way = UnderWay(parts)
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(Idempotency)
    http.install(app, parts.settings)
    openapi.describe(app, key_required=parts.settings.key_required)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Services = app.state.services
    tasks = [asyncio.create_task(work(parts)) for work in (services.start, keep_embedded, keep_judged, keep_pruned)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await app.state.under_way.close()
        await parts.engine.close()
        await parts.db.close()
