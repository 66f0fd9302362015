"""`moodline bench characters`: does a question find the paragraph that answers it, and only that person's paragraphs.

Scoped searches go through the server's own cache, a `BankCache` with a key for each character, too small for all of
them, so that banks are dropped and built again while others are asked. The contrast is one index for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from app.bench.baselines import Bm25, fused, ordered, words
from app.bench.biographies import Biographies, Question, read_biographies
from app.bench.measure import embedded, means
from app.bench.report import report
from app.cli.console import err, settings
from app.services import load_encoder
from retrieval.bank import Bank, Query, Records
from retrieval.cache import BankCache, Fresh, Rebuild, Stamp
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors
from retrieval.index import Index
from retrieval.rank import rank
from retrieval.terms import Terms, terms

DEPTHS = (1, 5, 10)
METRICS = {
    "recall@k": "share of questions whose paragraph is among the first k",
    "mrr": "mean of 1 / rank of that paragraph",
    "foreign": "rows among the first 10 that belong to another character, over all questions",
}
RANKED = 1_000
"""Rows of a ranking; more than a character's paragraphs."""
HELD = 3
"""One in so many characters has its bank in the cache at a time."""


@dataclass(frozen=True)
class Shelf:
    """Everything that can be found. `vectors` [n, dimension] are the paragraphs' by id."""

    data: Biographies
    vectors: Vectors
    bm25: Mapping[str, Bm25]
    terms: Sequence[Terms]
    cache: BankCache
    everyone: Index
    encoder: str


@dataclass(frozen=True)
class Asked:
    """A question, its words and its vector."""

    question: Question
    words: tuple[str, ...]
    vector: Vectors


System = Callable[[Asked, Shelf], Sequence[int]]


def moodline(asked: Asked, shelf: Shelf) -> list[int]:
    """As a turn recalls, without feelings: meaning and words together."""
    found = _bank(asked.question.role, shelf).find(Query(asked.vector, terms(asked.question.text)), limit=RANKED)
    return [ranked.id for ranked in rank(found, None, limit=RANKED)]


def dense(asked: Asked, shelf: Shelf) -> list[int]:
    """By cosine: the paper's strategy `ordinary`, which looks at nothing else."""
    found = _bank(asked.question.role, shelf).find(Query(asked.vector), "ordinary", limit=RANKED)
    return [ranked.id for ranked in rank(found, None, "ordinary", limit=RANKED)]


def bm25(asked: Asked, shelf: Shelf) -> list[int]:
    """BM25 over the role's paragraphs."""
    ids = shelf.data.roles[asked.question.role]
    return [ids[place] for place in ordered(shelf.bm25[asked.question.role].scores(asked.words))]


def rrf(asked: Asked, shelf: Shelf) -> list[int]:
    """Both rankings, fused."""
    return fused([dense(asked, shelf), bm25(asked, shelf)])


def unscoped(asked: Asked, shelf: Shelf) -> list[int]:
    """By cosine over everybody's paragraphs."""
    return [hit.id for hit in shelf.everyone.search(asked.vector[None, :], len(shelf.everyone))[0]]


SYSTEMS: Mapping[str, System] = {"moodline": moodline, "dense": dense, "bm25": bm25, "rrf": rrf, "unscoped": unscoped}


def run(data: Path) -> None:
    """Measure every system on the same questions, and print the report."""
    found = read_biographies(data)
    with err.status("loading the encoder"):
        encoder, _ = load_encoder(settings())
    shelf = _shelf(found, encoder)
    vectors = embedded(encoder.encode_queries, [question.text for question in found.questions], "embedding questions")
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    role_of = found.role_of
    for question, vector in track(list(zip(found.questions, vectors, strict=True)), "searching", console=err):
        asked = Asked(question, tuple(words(question.text)), vector)
        for name, system in SYSTEMS.items():
            rows[name].append(_measured(question, system(asked, shelf), role_of))
    report(
        "characters",
        {name: means(measured, totals={"foreign"}) for name, measured in rows.items()},
        characters=len(found.roles),
        questions=len(found.questions),
        paragraphs=len(found.paragraphs),
        encoder=encoder.id,
        metrics=METRICS,
    )


def _bank(role: str, shelf: Shelf) -> Bank:
    """The role's bank, brought up to date as a turn does it."""
    ids = shelf.data.roles[role]
    stamp = Stamp(len(ids), max(ids), 0, shelf.encoder)
    plan = shelf.cache.plan(role, stamp)
    if isinstance(plan, Fresh):
        return plan.entry.bank
    flat = np.zeros((len(ids), len(EMOTIONS)), np.float32)
    records = Records(ids, shelf.vectors[list(ids)], flat, [shelf.terms[n] for n in ids])
    entry = shelf.cache.apply(role, stamp, records, rebuild=isinstance(plan, Rebuild))
    assert entry is not None, "nobody else uses this cache"
    return entry.bank


def _shelf(data: Biographies, encoder: Encoder) -> Shelf:
    vectors = embedded(encoder.encode_passages, data.paragraphs, "embedding paragraphs")
    everyone = Index(encoder.dimension)
    everyone.add(list(range(len(vectors))), vectors)
    bm25 = {role: Bm25([words(data.paragraphs[n]) for n in ids]) for role, ids in data.roles.items()}
    return Shelf(
        data,
        vectors,
        bm25,
        [terms(text) for text in data.paragraphs],
        BankCache(everyone.nbytes // HELD),
        everyone,
        encoder.id,
    )


def _measured(question: Question, ranking: Sequence[int], role_of: Mapping[int, str]) -> dict[str, float]:
    """The numbers of one question; see `METRICS`."""
    rank = ranking.index(question.gold) + 1 if question.gold in ranking else None
    return {
        **{f"recall@{k}": float(rank is not None and rank <= k) for k in DEPTHS},
        "mrr": 1 / rank if rank else 0.0,
        "foreign": sum(role_of[number] != question.role for number in ranking[: max(DEPTHS)]),
    }
