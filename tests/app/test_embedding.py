"""The encoder off the event loop."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from app.embedding import PIECE, Embedding
from app.errors import Unavailable
from app.services import Services


async def test_passages_embedded_in_pieces_are_those_embedded_at_once(services: Services) -> None:
    texts = [f"第{number}次看海，the sea was {number} shades of grey" for number in range(PIECE * 2 + 3)]
    pieces = await services.embedding.passages(texts)
    at_once = services.embedding.encoder.encode_passages(texts)
    assert pieces.shape == at_once.shape
    assert np.allclose((pieces * at_once).sum(axis=1), 1.0, atol=1e-3)
    assert (await services.embedding.passages([])).shape == (0, at_once.shape[1])


async def test_a_query_does_not_wait_for_a_whole_import(services: Services) -> None:
    ended: list[str] = []

    async def run(name: str, work: object) -> None:
        await work  # type: ignore[misc]
        ended.append(name)

    imported = asyncio.create_task(run("import", services.embedding.passages(["a long day at sea " * 8] * PIECE * 8)))
    await asyncio.sleep(0)
    await run("query", services.embedding.queries(["How was the sea?"]))
    await imported
    assert ended == ["query", "import"]


async def test_an_encoder_that_is_not_loaded_says_so() -> None:
    with pytest.raises(Unavailable, match="still loading"):
        await Embedding(lambda: (_ for _ in ()).throw(OSError("no disk"))).queries(["Hello?"])
