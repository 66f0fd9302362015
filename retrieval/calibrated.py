"""Our ranking: components on one scale before they are added, without repeats, and never all of one mood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval.candidate import Candidate, Ranked, check, emotions_of
from retrieval.emotion import EMOTIONS, dominant
from retrieval.encoder import Vectors
from retrieval.retention import DAY, retention
from retrieval.standard import CLIP, standardised

Numbers = NDArray[np.float64]

_NOTHING, _FOUND = CLIP, CLIP + 1.75
"""Deviations by meaning and words together up to which nothing stands out, and from which something does: a row that is
far ahead by one of the two alone may be so by chance, as by its one rare word; who is asked for is ahead by both."""

_WORDS_LEAST = 0.2
"""Of the best lexical score: where all share the query's words, how often hardly says which is better."""

_RECENCY_LEAST = 0.001
"""Of what is left of a memory, as three quarters of an hour take it. Which exchange of one talk was said some seconds
later says nothing; blown up to a deviation it would let the speed of the machine choose what is recalled."""


@dataclass(frozen=True)
class Weights:
    """What one standard deviation of a component is worth; of `spoken` and `variety`, all of it. Zero is off."""

    semantic: float = 1.0
    lexical: float = 1.0
    emotional: float = 1.1
    recency: float = 0.1
    importance: float = 0.1
    spoken: float = 0.8
    variety: float = 0.3


@dataclass(frozen=True)
class Calibration:
    """How candidates are weighed.

    `tau_seconds` is the time in which an unused memory fades to 37 %. Above the cosine `duplicate` two texts say the
    same. At most the share `congruent` of the places goes to candidates with the mood's own dominant emotion, so that
    sadness does not recall only sadness. What nowhere reaches `floor` has no dominant emotion; a mood below it counts
    by its share of it.
    """

    weights: Weights = field(default_factory=Weights)
    tau_seconds: float = 30 * DAY
    duplicate: float = 0.97
    congruent: float = 0.85
    floor: float = 0.1


LINES = Calibration(duplicate=2.0)
"""For past lines, which are found by what others said: two that answer nearly the same question are not repeats."""


def rank_calibrated(
    candidates: Sequence[Candidate], felt: Vectors | None, *, limit: int = 10, calibration: Calibration | None = None
) -> tuple[Ranked, ...]:
    """Every candidate, the kept ones first, best first; at most `limit` are kept.

    Each component is standardised over the candidates (mean 0, deviation 1), weighted and added; `components` are the
    summands. Meaning is the row's own and its surroundings' together. A component that does not vary adds 0, an unknown
    emotion adds 0 and is left out of the deviation. Pinned candidates come first and don't fade. Places are
    given one by one: what resembles a row that has one loses by it (maximal marginal relevance, Carbonell and
    Goldstein 1998), and a near-duplicate of one is dropped. Places that the cap on the mood leaves empty are filled
    after all. Raises ValueError as `check` does.
    """
    check(candidates, felt, limit)
    if not candidates:
        return ()
    how = calibration or Calibration()
    summands = _summands(candidates, felt, how)
    selection = _Selection(candidates, np.sum(list(summands.values()), axis=0), felt, limit, how)
    reasons = selection.run()
    summands["variety"] = -how.weights.variety * selection.likeness
    scores = np.sum(list(summands.values()), axis=0)
    columns = np.stack(list(summands.values()), axis=1).tolist()
    dropped = sorted(set(range(len(candidates))) - set(selection.kept), key=lambda n: (-scores[n], candidates[n].id))
    return tuple(
        Ranked(
            id=candidates[n].id,
            score=float(scores[n]),
            components=dict(zip(summands, columns[n], strict=True)),
            rank=rank,
            kept=rank <= len(selection.kept),
            reason=reasons[n],
        )
        for rank, n in enumerate([*selection.kept, *dropped], 1)
    )


def _summands(candidates: Sequence[Candidate], felt: Vectors | None, how: Calibration) -> dict[str, Numbers]:
    semantic = standardised(
        standardised([one.semantic for one in candidates])
        + standardised([np.nan if one.context is None else one.context for one in candidates])
    )
    words = [one.lexical for one in candidates]
    lexical = standardised(words, least=_WORDS_LEAST * max(words))
    columns: Mapping[str, Numbers] = {
        "semantic": semantic,
        "lexical": lexical,
        "emotional": _openness(semantic + lexical)
        * _audible(felt, how.floor)
        * standardised(_congruence(candidates, felt)),
        "recency": standardised(_recency(candidates, how.tau_seconds), least=_RECENCY_LEAST),
        "importance": standardised([one.importance for one in candidates]),
        "spoken": np.array([one.spoken for one in candidates]),
    }
    weights = asdict(how.weights)
    return {name: weights[name] * column for name, column in columns.items()}


def _openness(found: Numbers) -> float:
    """How much is left for feelings to decide, 0 to 1: less, the further a row stands out by meaning and by words.

    Who asks for something that was said wants just that, whatever the mood; who only talks is reminded by the mood.
    """
    return float(np.clip((_FOUND - found.max()) / (_FOUND - _NOTHING), 0.0, 1.0))


def _audible(felt: Vectors | None, floor: float) -> float:
    """How much a mood is heard, 0 to 1: standardising would make as much of a trace of a feeling as of a strong one."""
    return 0.0 if felt is None else float(np.clip(np.max(felt) / floor, 0.0, 1.0))


def _congruence(candidates: Sequence[Candidate], felt: Vectors | None) -> Numbers:
    """How likely each shares an emotion with what is felt; NaN where either is unknown.

    Intensities are read as probabilities p and q of eight emotions, independent of each other: 1 - prod(1 - p q). So
    flat rows are the least congruent with any mood, a flat one included.
    """
    if felt is None:
        return np.full(len(candidates), np.nan)
    shared = 1.0 - np.prod(1.0 - np.clip(emotions_of(candidates), 0.0, 1.0) * np.clip(felt, 0.0, 1.0), axis=1)
    congruence: Numbers = np.where([one.emotion is None for one in candidates], np.nan, shared)
    return congruence


def _recency(candidates: Sequence[Candidate], tau_seconds: float) -> Numbers:
    left = retention([one.age_seconds for one in candidates], [one.uses for one in candidates], tau_seconds)
    recency: Numbers = np.where([one.pinned for one in candidates], 1.0, left)
    return recency


class _Selection:
    """Gives places away one by one. `kept` are places of candidates, best first."""

    def __init__(
        self, candidates: Sequence[Candidate], scores: Numbers, felt: Vectors | None, limit: int, how: Calibration
    ) -> None:
        self._candidates = candidates
        self._ids = np.array([one.id for one in candidates])
        self._pinned = np.array([one.pinned for one in candidates])
        self._scores = scores
        self._limit = limit
        self._how = how
        self._mood = None if felt is None else dominant(felt, how.floor)
        self._cap = max(1, int(how.congruent * limit + 1e-9))
        self._congruent = _share_mood(candidates, self._mood, how.floor)
        self._cosines = _cosines(candidates)
        self._typical = float(np.nanmean(self._cosines)) if not np.isnan(self._cosines).all() else 0.0
        self.likeness = np.zeros(len(candidates))
        self.kept: list[int] = []

    def run(self) -> list[str]:
        """For each candidate why it was kept or not."""
        reasons = ["no place left"] * len(self._candidates)
        open_to = np.ones(len(self._candidates), np.bool_)
        while open_to.any() and len(self.kept) < self._limit:
            best = self._best(open_to)
            open_to[best] = False
            reasons[best] = self._place(best)
        self._explain_the_rest(open_to, reasons)
        return reasons

    def _best(self, open_to: NDArray[np.bool_]) -> int:
        """The best of those that are open: pinned ones first, those that the mood's cap holds back last."""
        capped = self._full_of_mood() & self._congruent & ~self._pinned
        worth = self._scores - self._how.weights.variety * self.likeness
        order = np.lexsort((self._ids, -worth, capped, ~self._pinned, ~open_to))
        return int(order[0])

    def _place(self, best: int) -> str:
        one = self._candidates[best]
        twin = None if one.pinned else self._twin(best)
        if twin is not None:
            return f"says nearly the same as {twin}"
        if not np.isnan(self._cosines[best]).all():
            likeness = np.clip((self._cosines[best] - self._typical) / (1 - self._typical + 1e-9), 0.0, 1.0)
            others = np.ones(len(self._candidates), np.bool_)
            others[[*self.kept, best]] = False
            self.likeness[others] = np.fmax(self.likeness, np.nan_to_num(likeness))[others]
        self.kept.append(best)
        return "pinned" if one.pinned else "among the best"

    def _explain_the_rest(self, left: NDArray[np.bool_], reasons: list[str]) -> None:
        """What there was no place for: repeats, and those that gave way to other moods."""
        worst = min((self._scores[n] for n in self.kept), default=np.inf)
        rationed = self._congruent & (self._scores > worst)
        if not self._full_of_mood():
            rationed[:] = False
        repeats: NDArray[np.bool_] = np.any(self._cosines[:, self.kept] > self._how.duplicate, axis=1)
        for n in np.flatnonzero(left & (rationed | repeats)):
            if repeats[n]:
                reasons[n] = f"says nearly the same as {self._twin(int(n))}"
            else:
                reasons[n] = f"gave way: {self._cap} of {self._limit} places may share the mood's {self._mood}"

    def _full_of_mood(self) -> bool:
        return int(self._congruent[self.kept].sum()) >= self._cap

    def _twin(self, n: int) -> int | None:
        """The id of a kept row that says nearly the same."""
        near = [kept for kept in self.kept if self._cosines[n, kept] > self._how.duplicate]
        return self._candidates[near[0]].id if near else None


def _share_mood(candidates: Sequence[Candidate], mood: str | None, floor: float) -> NDArray[np.bool_]:
    """Which candidates have the mood's own dominant emotion."""
    if mood is None:
        return np.zeros(len(candidates), np.bool_)
    table = emotions_of(candidates)
    share: NDArray[np.bool_] = (table.argmax(axis=1) == EMOTIONS.index(mood)) & (table.max(axis=1) >= floor)
    return share


def _cosines(candidates: Sequence[Candidate]) -> Numbers:
    """Between all candidates; NaN to itself and where a vector is unknown."""
    known = [n for n, one in enumerate(candidates) if one.vector is not None]
    vectors = [one.vector for one in candidates if one.vector is not None]
    cosines = np.full((len(candidates), len(candidates)), np.nan)
    if known:
        table = np.stack(vectors)
        cosines[np.ix_(known, known)] = table @ table.T
    np.fill_diagonal(cosines, np.nan)
    return cosines
