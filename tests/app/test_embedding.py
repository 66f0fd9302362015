"""The encoder off the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from app.embedding import PIECE, QUERIES, Embedding
from app.errors import Unavailable
from retrieval.encoder import Encoder, Vectors

POISON = "a text that no encoder survives"


class Watched:
    """The real encoder, with a record of its calls, a gate that calls wait at, and one text that it fails on."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.id, self.dimension = encoder.id, encoder.dimension
        self.calls: list[tuple[str, list[str]]] = []
        self.entered, self.gate = threading.Event(), threading.Event()

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        self._see("query", texts)
        return self.encoder.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self._see("passage", texts)
        return self.encoder.encode_passages(texts)

    def _see(self, kind: str, texts: Sequence[str]) -> None:
        self.calls.append((kind, list(texts)))
        self.entered.set()
        self.gate.wait(60)
        if POISON in texts:
            raise RuntimeError("the encoder broke")


@pytest.fixture
def watched(loaded_encoder) -> Watched:
    return Watched(loaded_encoder[0])


@pytest.fixture
async def embedding(watched: Watched, loaded_encoder) -> Embedding:
    """Its gate is open until a test shuts it."""
    watched.gate.set()
    parts = Embedding(lambda: (watched, loaded_encoder[1]))
    await parts.start()
    return parts


async def busy(embedding: Embedding, watched: Watched) -> asyncio.Task[Vectors]:
    """A request that holds the worker until the gate opens."""
    watched.gate.clear()
    first = asyncio.create_task(embedding.queries(["I keep the worker busy."]))
    await asyncio.to_thread(watched.entered.wait)
    return first


async def begin(*requests) -> list[asyncio.Task[Vectors]]:
    """Requests that wait by now."""
    tasks = [asyncio.create_task(request) for request in requests]
    await asyncio.sleep(0)
    return tasks


def alike(found: Vectors, expected: Vectors) -> bool:
    return found.shape == expected.shape and bool(((found * expected).sum(axis=1) >= 0.999).all())


async def test_passages_embedded_in_pieces_are_those_embedded_at_once(embedding: Embedding) -> None:
    texts = [f"第{number}次看海，the sea was {number} shades of grey" for number in range(PIECE * 2 + 3)]
    assert alike(await embedding.passages(texts), embedding.encoder.encode_passages(texts))
    assert (await embedding.passages([])).shape == (0, embedding.encoder.dimension)
    assert (await embedding.queries([])).shape == (0, embedding.encoder.dimension)


async def test_requests_that_wait_together_go_in_one_call_and_get_their_own_vectors(
    embedding: Embedding, watched: Watched
) -> None:
    first = await busy(embedding, watched)
    asked = [[f"How was day {number} at sea?", f"user: day {number}?"] for number in range(10)]
    waiting = await begin(*map(embedding.queries, asked))
    watched.gate.set()
    answers = await asyncio.gather(first, *waiting)
    assert [texts for _, texts in watched.calls] == [
        ["I keep the worker busy."],
        [text for texts in asked for text in texts],
    ]
    for texts, vectors in zip(asked, answers[1:], strict=True):
        assert alike(vectors, watched.encoder.encode_queries(texts))


async def test_one_call_has_a_limit_and_a_request_larger_than_it_is_complete(
    embedding: Embedding, watched: Watched
) -> None:
    first = await busy(embedding, watched)
    many = [f"number {number}" for number in range(QUERIES * 2 + 5)]
    waiting = await begin(embedding.queries(many), *(embedding.queries([f"alone {n}"]) for n in range(QUERIES)))
    watched.gate.set()
    answers = await asyncio.gather(first, *waiting)
    assert max(len(texts) for _, texts in watched.calls) <= QUERIES
    assert len(watched.calls) < 2 + QUERIES
    assert alike(answers[1], watched.encoder.encode_queries(many))


async def test_queries_go_before_passages_that_wait_longer(embedding: Embedding, watched: Watched) -> None:
    first = await busy(embedding, watched)
    waiting = await begin(embedding.passages(["a long day"]), embedding.passages(["at sea"]), embedding.queries(["?"]))
    watched.gate.set()
    await asyncio.gather(first, *waiting)
    assert watched.calls[1:] == [("query", ["?"]), ("passage", ["a long day", "at sea"])]


async def test_a_query_does_not_wait_for_a_whole_import(embedding: Embedding, watched: Watched) -> None:
    first = await busy(embedding, watched)
    imported = (await begin(embedding.passages(["a long day at sea"] * PIECE * 4)))[0]
    watched.gate.set()
    await first
    while len(watched.calls) < 2:
        await asyncio.sleep(0)
    await embedding.queries(["How was the sea?"])
    assert not imported.done()
    assert len(await imported) == PIECE * 4


async def test_a_long_text_does_not_stretch_the_short_ones_beside_it(embedding: Embedding, watched: Watched) -> None:
    first = await busy(embedding, watched)
    long = "很久以前，海上有一座灯塔。" * 15
    texts = ["你好", long, "谢谢", long[5:], "再见"]
    waiting = await begin(*(embedding.queries([text]) for text in texts))
    watched.gate.set()
    await asyncio.gather(first, *waiting)
    assert [said for _, said in watched.calls[1:]] == [["你好", "谢谢", "再见"], [long, long[5:]]]


async def test_a_request_that_is_given_up_while_it_waits_is_not_embedded(
    embedding: Embedding, watched: Watched
) -> None:
    first = await busy(embedding, watched)
    given_up, kept = await begin(embedding.queries(["never mind"]), embedding.queries(["stay"]))
    given_up.cancel()
    watched.gate.set()
    await asyncio.gather(first, kept)
    assert given_up.cancelled()
    assert watched.calls[1:] == [("query", ["stay"])]


async def test_a_request_that_is_given_up_while_it_is_embedded_takes_nothing_from_others(
    embedding: Embedding, watched: Watched
) -> None:
    first = await busy(embedding, watched)
    later = (await begin(embedding.queries(["stay"])))[0]
    first.cancel()
    watched.gate.set()
    assert alike(await later, watched.encoder.encode_queries(["stay"]))
    assert first.cancelled()


async def test_a_text_that_breaks_the_encoder_fails_its_own_request_only(
    embedding: Embedding, watched: Watched
) -> None:
    first = await busy(embedding, watched)
    waiting = await begin(*(embedding.passages([text]) for text in ("before", POISON, "after")))
    watched.gate.set()
    before, broken, after = await asyncio.gather(*waiting, return_exceptions=True)
    await first
    assert isinstance(broken, RuntimeError)
    assert str(broken) == "the encoder broke"
    assert alike(before, watched.encoder.encode_passages(["before"]))
    assert alike(after, watched.encoder.encode_passages(["after"]))
    assert alike(await embedding.queries(["still here"]), watched.encoder.encode_queries(["still here"]))


async def test_an_encoder_that_returns_nonsense_keeps_nobody_waiting(embedding: Embedding, watched: Watched) -> None:
    watched.encode_queries = lambda texts: None
    with pytest.raises((TypeError, ValueError, AttributeError)):
        await asyncio.wait_for(embedding.queries(["Hello?"]), 60)
    assert alike(await embedding.passages(["still here"]), watched.encoder.encode_passages(["still here"]))


async def test_requests_one_after_another_each_find_a_worker(embedding: Embedding) -> None:
    for number in range(30):
        assert (await asyncio.wait_for(embedding.queries([str(number)]), 60)).shape == (1, embedding.encoder.dimension)


async def test_an_encoder_that_is_not_loaded_says_so() -> None:
    with pytest.raises(Unavailable, match="still loading"):
        await Embedding(lambda: (_ for _ in ()).throw(OSError("no disk"))).queries(["Hello?"])
