"""An array that grows at its end without being copied each time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


class Growing:
    """Rows of one shape and type. Adding copies what is there only when the room runs out, which doubles it."""

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._room: NDArray[Any] = np.empty((16, *shape), dtype)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Memory, with the room that is not used yet."""
        return self._room.nbytes

    @property
    def rows(self) -> NDArray[Any]:
        """All rows, [n, …]; a view that is good until the next addition."""
        return self._room[: self._size]

    def add(self, rows: ArrayLike) -> None:
        """Add rows [n, …] at the end."""
        fresh = np.asarray(rows, self._room.dtype)
        total = self._size + len(fresh)
        if total > len(self._room):
            larger = np.empty((max(total, 2 * len(self._room)), *self._room.shape[1:]), self._room.dtype)
            larger[: self._size] = self.rows
            self._room = larger
        self._room[self._size : total] = fresh
        self._size = total
