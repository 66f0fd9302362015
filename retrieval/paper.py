"""The five ranking strategies of Emotional RAG (arXiv 2410.23041), as the paper defines and names them.

Its published code swaps two names: the flag `S-S` there is the paper's S-E. With d_sem = |q - m| of the unit embeddings
and d_emo = 1 - cos of the emotion scores, smaller is nearer:

    ordinary   the `limit` smallest d_sem
    c-a        the `limit` smallest d_sem + d_emo
    c-m        the `limit` smallest d_sem x d_emo
    s-s        semantic first: of the `pool` smallest d_sem, the `limit` smallest d_emo
    s-e        emotion first: of the `pool` smallest d_emo, the `limit` smallest d_sem

The paper's limit is 10 and its pool 20. A known weakness is kept, not mended: an exact match in emotion makes the
product of c-m zero whatever is talked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.candidate import Candidate, Ranked, check
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Vectors

_Distances = tuple[float, float]
_Floats = NDArray[np.float64]

_COMBINED: Mapping[str, Callable[[Any, Any], Any]] = {
    "ordinary": lambda d_sem, d_emo: d_sem,
    "c-a": lambda d_sem, d_emo: d_sem + d_emo,
    "c-m": lambda d_sem, d_emo: d_sem * d_emo,
}
_STAGES = {"s-s": (0, 1), "s-e": (1, 0)}
_MEASURED_IN = ("meaning", "emotion")

STRATEGIES = (*_COMBINED, *_STAGES)


def rank_by_paper(
    candidates: Sequence[Candidate], felt: Vectors | None, strategy: str, *, limit: int = 10, pool: int = 20
) -> tuple[Ranked, ...]:
    """Every candidate, best first; the first `limit` are kept. Scores are distances with a minus sign.

    `felt` is the query's emotion, float32 [8]. Intensities 0..1 are put on the paper's scale of 1..10, where what is
    absent or unknown counts 1 in each dimension. Equal distances, which the paper leaves open, go to the smaller other
    distance, then to the lower id. Pins, age, importance and repeats play no part, as in the paper.
    Raises ValueError as `check` does, and for a strategy that is not one of `STRATEGIES`.
    """
    check(candidates, felt, limit)
    distances = {one.id: _distances(one, felt) for one in candidates}
    if strategy in _STAGES:
        return _two_stages(distances, _STAGES[strategy], limit, pool)
    if strategy not in _COMBINED:
        raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
    combined = {
        name: float(_COMBINED[strategy](np.float64(pair[0]), np.float64(pair[1]))) for name, pair in distances.items()
    }
    order = sorted(combined, key=lambda name: (combined[name], distances[name], name))
    return tuple(_ranked(name, combined[name], distances[name], n, limit) for n, name in enumerate(order, 1))


def nearest_by_paper(
    cosines: Vectors,
    emotions: Vectors,
    felt: Vectors | None,
    strategy: str,
    *,
    ids: NDArray[np.int64],
    limit: int = 10,
    without: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The places of the rows that `rank_by_paper` has to see to keep what it would keep of all rows, int64.

    `cosines` [n] to the query and `emotions` [n, 8] are those of all rows, `ids` [n] break ties, the places `without`
    are left out. Twice as many as `limit`: the pool of the two-stage strategies, and for the others the runners-up.
    """
    semantic = _semantic_distances(cosines)
    emotional = emotional_distances(emotions, felt)
    pair = (semantic, emotional)
    first = pair[_STAGES[strategy][0]] if strategy in _STAGES else _COMBINED[strategy](*pair)
    order = np.lexsort((ids, *((emotional, semantic) if strategy != "s-e" else (semantic, emotional)), first))
    if without is not None and len(without):
        order = order[~np.isin(order, without)]
    near: NDArray[np.int64] = order[: 2 * limit]
    return near


def _distances(one: Candidate, felt: Vectors | None) -> _Distances:
    emotion = np.zeros(len(EMOTIONS), np.float32) if one.emotion is None else one.emotion
    semantic = _semantic_distances(np.array([one.semantic]))
    return float(semantic[0]), float(emotional_distances(np.asarray(emotion)[None, :], felt)[0])


def _semantic_distances(cosines: NDArray[np.floating[Any]]) -> _Floats:
    """d_sem, which for unit vectors is sqrt(2 - 2 cos)."""
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.asarray(cosines, np.float64)))


def emotional_distances(emotions: Vectors, felt: Vectors | None) -> _Floats:
    """d_emo of rows [n, 8] to the query, rounded so that equal emotions are at exactly 0."""
    one, other = _scores(emotions), _scores(felt)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other)
    distances: _Floats = np.round(np.maximum(0.0, 1.0 - one @ other / lengths), 12)
    return distances


def _scores(emotion: Vectors | None) -> NDArray[np.float64]:
    intensities = np.zeros(len(EMOTIONS)) if emotion is None else np.asarray(emotion, dtype=np.float64)
    return 1.0 + 9.0 * np.clip(intensities, 0.0, 1.0)


def _two_stages(
    distances: Mapping[int, _Distances], stages: tuple[int, int], limit: int, pool: int
) -> tuple[Ranked, ...]:
    first, second = stages
    near = sorted(distances, key=lambda name: (distances[name][first], distances[name][second], name))
    inside = sorted(near[:pool], key=lambda name: (distances[name][second], distances[name][first], name))
    ranked = [_ranked(name, distances[name][second], distances[name], n, limit) for n, name in enumerate(inside, 1)]
    reason = f"not among the {pool} nearest in {_MEASURED_IN[first]}"
    for n, name in enumerate(near[pool:], len(inside) + 1):
        ranked.append(Ranked(name, -distances[name][second], _named(distances[name]), n, False, reason))
    return tuple(ranked)


def _ranked(name: int, distance: float, distances: _Distances, place: int, limit: int) -> Ranked:
    kept = place <= limit
    reason = f"among the {limit} nearest" if kept else f"{limit} others are nearer"
    return Ranked(name, -distance, _named(distances), place, kept, reason)


def _named(distances: _Distances) -> Mapping[str, float]:
    return {"d_sem": distances[0], "d_emo": distances[1]}
