"""What may be recalled, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.emotion import EMOTIONS
from retrieval.encoder import Vectors


@dataclass(frozen=True)
class Candidate:
    """What is known of a line or a memory that may be recalled.

    `semantic` is the cosine to the query, `context` that of the row with what was said around it (None where rows stand
    alone), `lexical` a term score such as BM25 on any scale, higher for better. `spoken` is 1 when the query names who
    said it. `emotion` is float32 [8] or None when it was never tagged, `importance` 0 to 1, `uses` how often it was
    recalled before, `vector` the unit embedding or None when near-duplicates don't matter.
    """

    id: int
    semantic: float
    emotion: Vectors | None = None
    age_seconds: float = 0.0
    importance: float = 0.0
    uses: int = 0
    pinned: bool = False
    vector: Vectors | None = None
    lexical: float = 0.0
    context: float | None = None
    spoken: float = 0.0


@dataclass(frozen=True)
class Ranked:
    """What became of a candidate: `rank` 1 is best, `score` is higher for better, `reason` says why it was kept or not.

    `components` are the numbers that `score` was made of, by name.
    """

    id: int
    score: float
    components: Mapping[str, float]
    rank: int
    kept: bool
    reason: str


def check(candidates: Sequence[Candidate], felt: Vectors | None, limit: int) -> None:
    """Raises ValueError for an id given twice, a number that is not finite, an emotion of another shape, limit < 0."""
    if limit < 0:
        raise ValueError(f"the limit must be 0 or more, not {limit}")
    if len({one.id for one in candidates}) < len(candidates):
        raise ValueError("the same id was given for two candidates")
    numbers = np.array([_numbers(one) for one in candidates], np.float64).reshape(len(candidates), 7)
    if not np.isfinite(numbers).all():
        bad = int(np.argmin(np.isfinite(numbers).all(axis=1)))
        raise ValueError(f"candidate {candidates[bad].id} has a number that is not finite: {_numbers(candidates[bad])}")
    _check_emotion(felt, "the query")
    for one in candidates:
        _check_emotion(one.emotion, f"candidate {one.id}")


def _numbers(one: Candidate) -> tuple[float, ...]:
    context = 0.0 if one.context is None else one.context
    return one.semantic, context, one.lexical, one.spoken, one.age_seconds, one.importance, one.uses


def _check_emotion(emotion: Vectors | None, whose: str) -> None:
    if emotion is not None and (np.shape(emotion) != (len(EMOTIONS),) or not np.isfinite(emotion).all()):
        raise ValueError(f"the emotion of {whose} must be {len(EMOTIONS)} finite numbers")
