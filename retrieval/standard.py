"""Numbers of different kinds on one scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

CLIP = 3.0
"""A standardised number counts at most this much, so that one rare word does not outweigh all else."""

_FLAT = 1e-6
"""What varies less than this says nothing about which is better."""


def standardised(values: ArrayLike, least: float = 0.0) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 over the values that are known (not NaN), cut at 3; unknown and flat ones are 0.

    `least` is a deviation below which differences are not blown up.
    """
    column = np.array(values, dtype=np.float64)
    known = column[~np.isnan(column)]
    if known.size < 2 or known.std() < _FLAT:
        return np.zeros_like(column)
    standard: NDArray[np.float64] = np.clip((column - known.mean()) / max(float(known.std()), least), -CLIP, CLIP)
    return np.nan_to_num(standard)
