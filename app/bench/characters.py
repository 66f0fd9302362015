"""`moodline bench characters`: does a question find the paragraph that answers it, and only that person's paragraphs.

The dense search is the server's own: an `IndexCache` with a key for each character, too small for all of them, so that
indexes are dropped and built again while others are asked. The contrast is one index that knows no characters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from app.bench.baselines import Bm25, fused, ordered, words
from app.bench.biographies import Biographies, Question, read_biographies
from app.bench.measure import embedded, means
from app.bench.report import report
from app.cli.console import err, settings
from app.services import load_encoder
from retrieval.cache import Fresh, IndexCache, Rebuild, Stamp
from retrieval.encoder import Encoder, Vectors
from retrieval.index import Index

DEPTHS = (1, 5, 10)
METRICS = {
    "recall@k": "share of questions whose paragraph is among the first k",
    "mrr": "mean of 1 / rank of that paragraph",
    "foreign": "rows among the first 10 that belong to another character, over all questions",
}
HELD = 3
"""One in so many characters has its index in the cache at a time."""


@dataclass(frozen=True)
class Shelf:
    """Everything that can be found. `vectors` [n, dimension] are the paragraphs' by id."""

    data: Biographies
    vectors: Vectors
    bm25: Mapping[str, Bm25]
    cache: IndexCache
    everyone: Index
    encoder: str


@dataclass(frozen=True)
class Asked:
    """A question, its words and its vector."""

    question: Question
    words: tuple[str, ...]
    vector: Vectors


System = Callable[[Asked, Shelf], Sequence[int]]


def dense(asked: Asked, shelf: Shelf) -> list[int]:
    """The paragraphs of the role by cosine, through the cache as a turn does it."""
    role = asked.question.role
    ids = shelf.data.roles[role]
    stamp = Stamp(len(ids), max(ids), 0, shelf.encoder)
    plan = shelf.cache.plan(role, stamp)
    if isinstance(plan, Fresh):
        entry = plan.entry
    else:
        built = shelf.cache.apply(role, stamp, ids, shelf.vectors[list(ids)], rebuild=isinstance(plan, Rebuild))
        assert built is not None, "nobody else uses this cache"
        entry = built
    return [hit.id for hit in entry.index.search(asked.vector[None, :], len(entry.index))[0]]


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


SYSTEMS: Mapping[str, System] = {"dense": dense, "bm25": bm25, "rrf": rrf, "unscoped": unscoped}


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


def _shelf(data: Biographies, encoder: Encoder) -> Shelf:
    vectors = embedded(encoder.encode_passages, data.paragraphs, "embedding paragraphs")
    everyone = Index(encoder.dimension)
    everyone.add(list(range(len(vectors))), vectors)
    bm25 = {role: Bm25([words(data.paragraphs[n]) for n in ids]) for role, ids in data.roles.items()}
    return Shelf(data, vectors, bm25, IndexCache(everyone.nbytes // HELD), everyone, encoder.id)


def _measured(question: Question, ranking: Sequence[int], role_of: Mapping[int, str]) -> dict[str, float]:
    """The numbers of one question; see `METRICS`."""
    rank = ranking.index(question.gold) + 1 if question.gold in ranking else None
    return {
        **{f"recall@{k}": float(rank is not None and rank <= k) for k in DEPTHS},
        "mrr": 1 / rank if rank else 0.0,
        "foreign": sum(role_of[number] != question.role for number in ranking[: max(DEPTHS)]),
    }
