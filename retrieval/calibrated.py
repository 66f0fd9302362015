"""Our ranking: components on one scale before they are added, without repeats, and never all of one mood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.candidate import Candidate, Ranked, check
from retrieval.emotion import cosine_distance, dominant
from retrieval.encoder import Vectors
from retrieval.retention import DAY, retention

_NO_PLACE = "no place left"

# A standardised component counts at most this much, so that one rare word does not outweigh all else.
_CLIP = 3.0
# Components that vary less than this over the candidates say nothing about which is better.
_FLAT = 1e-6


@dataclass(frozen=True)
class Weights:
    """What one standard deviation of a component is worth. Zero switches it off."""

    semantic: float = 1.0
    lexical: float = 0.5
    emotional: float = 0.3
    recency: float = 0.2
    importance: float = 0.2


@dataclass(frozen=True)
class Calibration:
    """How candidates are weighed.

    `tau_seconds` is the time in which an unused memory fades to 37 %. Above the cosine `duplicate` two texts say the
    same. At most the share `congruent` of the places goes to candidates with the mood's own dominant emotion, so that
    sadness does not recall only sadness. An emotion vector that nowhere reaches `floor` is flat.
    """

    weights: Weights = field(default_factory=Weights)
    tau_seconds: float = 30 * DAY
    duplicate: float = 0.97
    congruent: float = 0.7
    floor: float = 0.1


def rank_calibrated(
    candidates: Sequence[Candidate], felt: Vectors | None, *, limit: int = 10, calibration: Calibration | None = None
) -> tuple[Ranked, ...]:
    """Every candidate, the kept ones first, best first; at most `limit` are kept.

    Each component is standardised over the candidates (mean 0, deviation 1, cut at 3), weighted and added; `components`
    are the summands. A component that does not vary adds 0, a flat or unknown emotion adds 0 and is left out of the
    deviation. Pinned candidates come first and don't fade. A near-duplicate of a better candidate is dropped. Places
    that the cap on the mood leaves empty are filled after all. Raises ValueError as `check` does.
    """
    check(candidates, felt, limit)
    how = calibration or Calibration()
    summands = _summands(candidates, felt, how)
    scores = {one.id: sum(summands[one.id].values()) for one in candidates}
    order = sorted(candidates, key=lambda one: (not one.pinned, -scores[one.id], one.id))
    reasons = _Selection(felt, limit, how).run(order)
    placed = sorted(order, key=lambda one: not reasons[one.id][0])
    return tuple(
        Ranked(one.id, scores[one.id], summands[one.id], n, *reasons[one.id]) for n, one in enumerate(placed, 1)
    )


def _summands(
    candidates: Sequence[Candidate], felt: Vectors | None, how: Calibration
) -> dict[int, Mapping[str, float]]:
    columns: dict[str, list[float]] = {
        "semantic": [one.semantic for one in candidates],
        "lexical": [one.lexical for one in candidates],
        "emotional": [_congruence(one, felt, how.floor) for one in candidates],
        "recency": [_recency(one, how.tau_seconds) for one in candidates],
        "importance": [one.importance for one in candidates],
    }
    weights = asdict(how.weights)
    weighted = {name: weights[name] * _standardised(values) for name, values in columns.items()}
    return {one.id: {name: float(column[n]) for name, column in weighted.items()} for n, one in enumerate(candidates)}


def _standardised(values: Iterable[float]) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 over the values that are known (not NaN); the unknown ones become 0."""
    column = np.array(list(values), dtype=np.float64)
    known = column[~np.isnan(column)]
    if known.size < 2 or known.std() < _FLAT:
        return np.zeros_like(column)
    standard: NDArray[np.float64] = np.clip((column - known.mean()) / known.std(), -_CLIP, _CLIP)
    return np.nan_to_num(standard)


def _congruence(one: Candidate, felt: Vectors | None, floor: float) -> float:
    """Cosine of the two emotions; NaN when either is unknown or flat."""
    if felt is None or one.emotion is None or np.max(felt) < floor or np.max(one.emotion) < floor:
        return float("nan")
    return 1.0 - cosine_distance(felt, one.emotion)


def _recency(one: Candidate, tau_seconds: float) -> float:
    return 1.0 if one.pinned else retention(one.age_seconds, one.uses, tau_seconds)


class _Selection:
    """Walks the candidates from best to worst and gives places away."""

    def __init__(self, felt: Vectors | None, limit: int, how: Calibration) -> None:
        self._how = how
        self._limit = limit
        self._mood = None if felt is None else dominant(felt, how.floor)
        self._cap = max(1, int(how.congruent * limit + 1e-9))
        self._kept: list[Candidate] = []

    def run(self, order: Sequence[Candidate]) -> dict[int, tuple[bool, str]]:
        """For each id whether it was kept, and why."""
        reasons: dict[int, tuple[bool, str]] = {}
        waiting = []
        for one in order:
            if not one.pinned and self._shares_mood(one) and sum(map(self._shares_mood, self._kept)) >= self._cap:
                waiting.append(one)
            else:
                reasons[one.id] = self._place(one)
        for one in waiting:
            kept, reason = self._place(one)
            full = f"gave way: {self._cap} of {self._limit} places may share the mood's {self._mood}"
            reasons[one.id] = (kept, full if reason == _NO_PLACE else reason)
        return reasons

    def _place(self, one: Candidate) -> tuple[bool, str]:
        twin = None if one.pinned else self._twin(one)
        if twin is not None:
            return False, f"says nearly the same as {twin}"
        if len(self._kept) >= self._limit:
            return False, _NO_PLACE
        self._kept.append(one)
        return True, "pinned" if one.pinned else "among the best"

    def _shares_mood(self, one: Candidate) -> bool:
        if self._mood is None or one.emotion is None:
            return False
        return dominant(one.emotion, self._how.floor) == self._mood

    def _twin(self, one: Candidate) -> int | None:
        if one.vector is None:
            return None
        for kept in self._kept:
            if kept.vector is not None and float(np.dot(kept.vector, one.vector)) > self._how.duplicate:
                return kept.id
        return None
