"""What retrieval benchmarks share: embedding many texts, and the mean over many rows of numbers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from rich.progress import track

from app.cli.console import err
from retrieval.encoder import Vectors

PIECE = 64
"""Texts embedded between two steps of the progress bar."""


def embedded(encode: Callable[[Sequence[str]], Vectors], texts: Sequence[str], doing: str) -> Vectors:
    """Vectors of `texts`, at least one, float32 [n, dimension], with a progress bar."""
    starts = range(0, len(texts), PIECE)
    return np.concatenate([encode(texts[n : n + PIECE]) for n in track(starts, doing, console=err)])


def means(rows: Sequence[Mapping[str, float]], totals: Collection[str] = ()) -> dict[str, float]:
    """The mean of each number over `rows`, which are alike; of those in `totals`, the sum. Nothing of no rows."""
    numbers = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return {name: sum(values) if name in totals else statistics.fmean(values) for name, values in numbers.items()}


def quantile(values: Sequence[float], percent: int) -> float:
    """The value below which so many percent of `values` lie, at least two."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def gain(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """How much higher our numbers are in the mean, pair by pair, and half of its 95 % interval.

    By the normal approximation, with pairs taken as independent; 0 wide of a single pair.
    """
    differences = [one - other for one, other in zip(ours, theirs, strict=True)]
    width = 1.96 * statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return statistics.fmean(differences), width
