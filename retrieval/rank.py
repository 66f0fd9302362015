"""Ranking by the strategy's name: numbers in, numbers and reasons out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from retrieval.calibrated import Calibration, rank_calibrated
from retrieval.candidate import Candidate, Ranked
from retrieval.encoder import Vectors
from retrieval.paper import rank_by_paper

__all__ = ["Candidate", "Ranked", "Strategy", "rank"]

Strategy = Literal["ordinary", "c-a", "c-m", "s-s", "s-e", "calibrated"]


def rank(
    candidates: Sequence[Candidate],
    felt: Vectors | None,
    strategy: Strategy = "calibrated",
    *,
    limit: int = 10,
    calibration: Calibration | None = None,
) -> tuple[Ranked, ...]:
    """Every candidate with its rank, score, components and reason; the kept ones come first, best first.

    At most `limit` are kept; the paper's two-stage strategies choose among twice as many. `felt` is the query's
    emotion, float32 [8], None when unknown. `calibration` is for "calibrated"; the paper's five know none. Raises
    ValueError for an unknown strategy and as `retrieval.candidate.check` does.
    """
    if strategy == "calibrated":
        return rank_calibrated(candidates, felt, limit=limit, calibration=calibration)
    return rank_by_paper(candidates, felt, strategy, limit=limit, pool=2 * limit)
