"""/healthz, /readyz and /metrics. They need no key and tell nothing about anyone."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from app.errors import Unavailable
from app.metrics import INDEX_BYTES, REPLIES, WAITING
from app.reindex import count_waiting
from app.services import Services, ServicesDep
from models.engine import EngineError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is loading or broken; the body says which."}})
async def readyz(services: ServicesDep, response: Response) -> dict[str, object]:
    """Whether a turn could begin now: database, encoder and language model."""
    parts = {
        "database": await _database(services),
        "encoder": _encoder(services),
        "engine": await _engine(services),
    }
    ready = all(state == "ready" for state in parts.values())
    response.status_code = 200 if ready else 503
    return {"status": "ready" if ready else "not ready", "parts": parts}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(services: ServicesDep) -> Response:
    """Prometheus' text format."""
    REPLIES.labels("speaking").set(services.admission.speaking)
    REPLIES.labels("waiting").set(services.admission.waiting)
    INDEX_BYTES.labels("lines").set(services.lines.nbytes)
    INDEX_BYTES.labels("memories").set(services.memories.nbytes)
    try:
        WAITING.set(await count_waiting(services))
    except Unavailable:
        WAITING.set(float("nan"))
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _database(services: Services) -> str:
    try:
        await services.db.check()
    except (SQLAlchemyError, OSError) as error:
        return f"not ready: {error}"
    return "ready"


def _encoder(services: Services) -> str:
    try:
        services.embedding.encoder  # noqa: B018
    except Unavailable as error:
        return f"not ready: {error}"
    return "ready"


async def _engine(services: Services) -> str:
    try:
        await services.engine.check()
    except EngineError as error:
        return f"not ready: {error}"
    return "ready"
