"""How well intensities agree with labels: F1 at thresholds from other rows, calibration, flatness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.emotion import EMOTIONS
from retrieval.encoder import Vectors
from retrieval.grams import is_chinese
from retrieval.head import FLOOR

Mask = NDArray[np.bool_]
BINS = 10


def thresholds(intensities: Vectors, felt: Mask) -> list[float]:
    """For each dimension the intensity at which yes and no give the best F1; 1 where no text has the emotion."""
    return [_threshold(intensities[:, d], felt[:, d]) for d in range(len(EMOTIONS))]


def _threshold(scores: Vectors, felt: Mask) -> float:
    if not felt.any():
        return 1.0
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(felt[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + felt.sum())
    # Only behind the last of equal scores can a line be drawn.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    return float(ranked[int(np.argmax(f1))])


def by_script(texts: Sequence[str], table: dict[str, list[float]]) -> Vectors:
    """Thresholds [n, 8] of texts; `table` holds eight numbers for `zh` (texts with Chinese characters) and `other`."""
    return np.array([table["zh" if is_chinese(text) else "other"] for text in texts], dtype=np.float32)


def thresholds_by_script(texts: Sequence[str], intensities: Vectors, felt: Mask) -> dict[str, list[float]]:
    """`thresholds` of the texts with Chinese characters and of the others, as `by_script` takes them."""
    chinese = np.array([is_chinese(text) for text in texts])
    return {
        "zh": thresholds(intensities[chinese], felt[chinese]),
        "other": thresholds(intensities[~chinese], felt[~chinese]),
    }


def scores(intensities: Vectors, felt: Mask, limits: Vectors) -> dict[str, Any]:
    """Mean F1 over the dimensions that occur, calibration error, shares of flat texts, then each dimension's F1."""
    f1 = {
        name: _f1(intensities[:, d] >= limits[:, d], felt[:, d]) for d, name in enumerate(EMOTIONS) if felt[:, d].any()
    }
    flat = intensities.max(axis=1) < FLOOR
    neutral: Mask = ~felt.max(axis=1)
    return {
        "macro_f1": float(np.mean(list(f1.values()))) if f1 else None,
        "ece": calibration_error(intensities, felt),
        "flat_neutral": float(flat[neutral].mean()) if neutral.any() else None,
        "flat_emotional": None if neutral.all() else float(flat[~neutral].mean()),
        **f1,
    }


def _f1(said: Mask, felt: Mask) -> float:
    return 2 * float((said & felt).sum()) / float(said.sum() + felt.sum())


def calibration_error(intensities: Vectors, felt: Mask) -> float:
    """Expected calibration error (Naeini 2015): mean distance, over ten bins and all dimensions, of said and true."""
    said, true = intensities.ravel(), felt.ravel()
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    gaps = [abs(said[bins == n].sum() - true[bins == n].sum()) for n in range(BINS)]
    return float(sum(gaps) / len(said))
