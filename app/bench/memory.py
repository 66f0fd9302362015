"""`moodline bench memory`: does a question find the turns that answer it, months later.

A memory here is one turn, as LoCoMo's evidence names turns; it is indexed as the server indexes an exchange: alone, and
with the turn before it and its day. Every system ranks all turns of the question's conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.progress import track

from app.bench.baselines import Bm25, fused, ordered, words
from app.bench.locomo import CATEGORIES, Conversation, Question, read_conversations
from app.bench.measure import embedded, means
from app.bench.report import report
from app.cli.console import err, settings
from app.memory.formation import memory_terms
from app.services import load_encoder
from retrieval.bank import Bank, Query, Records
from retrieval.context import in_context
from retrieval.emotion import EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.rank import rank
from retrieval.terms import terms

DEPTHS = (5, 10, 20)
METRICS = {
    "recall@k": "share of a question's evidence turns among the first k, mean over questions",
    "mrr": "mean of 1 / rank of the first evidence turn",
    "cN": "the same over the questions of category N: 1 several turns, 2 time, 3 world knowledge, 4 one turn",
}


@dataclass(frozen=True)
class Shelf:
    """One conversation, ready to be searched. Ids in the banks are places from 1 on; `named` knows who spoke."""

    conversation: Conversation
    bank: Bank
    named: Bank
    vectors: Vectors
    bm25: Bm25


@dataclass(frozen=True)
class Asked:
    """A question, its vector and how it feels."""

    question: Question
    vector: Vectors
    felt: Vectors


def moodline(asked: Asked, shelf: Shelf) -> list[int]:
    """As a turn recalls memories, with the time since the newest turn as their age."""
    return _recalled(asked, shelf, shelf.bank)


def speakers(asked: Asked, shelf: Shelf) -> list[int]:
    """The same with rows that know who spoke; the server's memories are exchanges, where two did."""
    return _recalled(asked, shelf, shelf.named)


def _recalled(asked: Asked, shelf: Shelf, bank: Bank) -> list[int]:
    turns = shelf.conversation.turns
    found = bank.find(Query(asked.vector, terms(asked.question.text), asked.felt), limit=max(DEPTHS))
    newest = turns[-1].at
    aged = [replace(one, age_seconds=(newest - turns[one.id - 1].at).total_seconds()) for one in found]
    return [ranked.id - 1 for ranked in rank(aged, asked.felt, limit=max(DEPTHS))]


def ordinary(asked: Asked, shelf: Shelf) -> list[int]:
    """The paper's plain retrieval."""
    found = shelf.bank.find(Query(asked.vector), "ordinary", limit=max(DEPTHS))
    return [ranked.id - 1 for ranked in rank(found, None, "ordinary", limit=max(DEPTHS))]


def dense(asked: Asked, shelf: Shelf) -> list[int]:
    """Cosine of the turn's own vector."""
    return ordered(shelf.vectors @ asked.vector)


def bm25(asked: Asked, shelf: Shelf) -> list[int]:
    """BM25 of the turn's own words."""
    return ordered(shelf.bm25.scores(words(asked.question.text)))


def rrf(asked: Asked, shelf: Shelf) -> list[int]:
    """Both, fused by rank."""
    return fused([dense(asked, shelf), bm25(asked, shelf)])


SYSTEMS: dict[str, Callable[[Asked, Shelf], Sequence[int]]] = {
    "moodline": moodline,
    "moodline, speakers": speakers,
    "ordinary": ordinary,
    "dense": dense,
    "bm25": bm25,
    "rrf": rrf,
}


def run(data: Path) -> None:
    """Measure every system on the same questions, and print the report."""
    conversations = [one for one in read_conversations(data) if one.questions]
    with err.status("loading the encoder"):
        encoder, tagger = load_encoder(settings())
    rows: dict[str, list[tuple[int, dict[str, float]]]] = {name: [] for name in SYSTEMS}
    for conversation in conversations:
        shelf = _shelf(conversation, encoder, tagger)
        for asked in track(_asked(conversation, encoder, tagger), f"{conversation.name}: searching", console=err):
            for name, system in SYSTEMS.items():
                rows[name].append((asked.question.category, _measured(asked.question, system(asked, shelf), shelf)))
    report(
        "memory",
        {name: _summed(measured) for name, measured in rows.items()},
        conversations=len(conversations),
        turns=sum(len(conversation.turns) for conversation in conversations),
        questions={
            str(category): sum(q.category == category for c in conversations for q in c.questions)
            for category in CATEGORIES
        },
        metrics=METRICS,
        encoder=encoder.id,
    )


def _shelf(conversation: Conversation, encoder: Encoder, tagger: EmotionTagger) -> Shelf:
    turns = conversation.turns
    follows = [0, *(n if one.session == other.session else 0 for n, (one, other) in enumerate(pairwise(turns), 1))]
    lines = [turn.line for turn in turns]
    told = [in_context(lines[n], lines[n - 1] if follows[n] else "", turns[n].at) for n in range(len(turns))]
    vectors = embedded(encoder.encode_passages, lines, f"{conversation.name}: embedding turns")
    records = Records(
        ids=range(1, len(turns) + 1),
        vectors=vectors,
        emotions=tagger.tag(lines, vectors),
        terms=[memory_terms(turn.line, turn.at) for turn in turns],
        contexts=embedded(encoder.encode_passages, told, f"{conversation.name}: embedding their context"),
        previous=follows,
    )
    bank, named = Bank(encoder.dimension), Bank(encoder.dimension)
    bank.add(records)
    names = [terms(turn.speaker) for turn in turns]
    named.add(replace(records, speakers=[int(name[0]) if len(name) else 0 for name in names]))
    return Shelf(conversation, bank, named, vectors, Bm25([words(line) for line in lines]))


def _asked(conversation: Conversation, encoder: Encoder, tagger: EmotionTagger) -> list[Asked]:
    texts = [question.text for question in conversation.questions]
    if not texts:
        return []
    vectors = encoder.encode_queries(texts)
    felt = tagger.tag(texts, vectors)
    return [Asked(*row) for row in zip(conversation.questions, vectors, felt, strict=True)]


def _measured(question: Question, ranking: Sequence[int], shelf: Shelf) -> dict[str, float]:
    names = [shelf.conversation.turns[place].id for place in ranking]
    first = next((rank for rank, name in enumerate(names, 1) if name in question.evidence), np.inf)
    recalls = {f"recall@{k}": len(question.evidence & {*names[:k]}) / len(question.evidence) for k in DEPTHS}
    return {**recalls, "mrr": 1 / first}


def _summed(measured: Sequence[tuple[int, dict[str, float]]]) -> dict[str, float]:
    """Means over all questions, then over those of each category that occurs."""
    numbers = means([row for _, row in measured])
    for category in CATEGORIES:
        of_category = means([row for found, row in measured if found == category])
        numbers |= {f"c{category} {name}": value for name, value in of_category.items() if name != "recall@20"}
    return numbers
