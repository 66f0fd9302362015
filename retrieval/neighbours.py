"""What was said before and after: rows as links of conversations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.encoder import Vectors
from retrieval.growing import Growing
from retrieval.index import Ids

Places = NDArray[np.int64]

BESIDE = 0.5
"""What a neighbour's number counts against a row's own."""


class Neighbours:
    """Rows in the order in which they came, and for each the places of the row before it and the row after it.

    A conversation that branches has several rows after one; the newest id counts. Rows may come in any order: a link to
    a row that is not there yet is made when it comes, so the result is that of adding them all at once. `newest` is the
    highest id, 0 when there are no rows.
    """

    def __init__(self) -> None:
        self._place: dict[int, int] = {}
        self._ids = Growing((), np.int64)
        self._before = Growing((), np.int64)
        self._after = Growing((), np.int64)
        self._awaited: dict[int, list[int]] = {}
        self.newest = 0

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, name: int) -> bool:
        return name in self._place

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self._ids.nbytes + self._before.nbytes + self._after.nbytes + 130 * len(self._place)

    @property
    def ids(self) -> Ids:
        """Ids by place, int64 [n]."""
        return self._ids.rows

    @property
    def before(self) -> Places:
        """The place of the row that was said before, by place, int64 [n]; -1 for none."""
        return self._before.rows

    @property
    def after(self) -> Places:
        """The place of the row that was said after, by place, int64 [n]; -1 for none."""
        return self._after.rows

    def places(self, ids: Collection[int]) -> Iterator[int]:
        """The places of those ids that are here."""
        return (self._place[name] for name in ids if name in self._place)

    def add(self, ids: Sequence[int] | Ids, previous: Sequence[int] | Ids | None) -> None:
        """Add rows; `previous` holds for each the id of the row before it, 0 for none."""
        start = len(self)
        names = [int(name) for name in ids]
        self._place.update(zip(names, range(start, start + len(names)), strict=True))
        self._ids.add(names)
        self.newest = max([self.newest, *names])
        self._before.add(np.full(len(names), -1))
        self._after.add(np.full(len(names), -1))
        if previous is None:
            return
        for place, earlier in enumerate(map(int, previous), start):
            if earlier in self._place:
                self._link(self._place[earlier], place)
            elif earlier:
                self._awaited.setdefault(earlier, []).append(place)
        for name in self._awaited.keys() & set(names):
            for place in self._awaited.pop(name):
                self._link(self._place[name], place)

    def _link(self, earlier: int, later: int) -> None:
        self.before[later] = earlier
        rival = self.after[earlier]
        if rival < 0 or self.ids[rival] < self.ids[later]:
            self.after[earlier] = later


def smoothed(own: Vectors, before: Vectors, after: Vectors) -> Vectors:
    """The mean of a row's own number and those beside it, which count half; NaN where there is nobody."""
    numbers = np.stack([own, before, after])
    weights = np.where(np.isnan(numbers), 0.0, np.array([[1.0], [BESIDE], [BESIDE]]))
    mean: Vectors = ((np.nan_to_num(numbers) * weights).sum(axis=0) / weights.sum(axis=0)).astype(np.float32)
    return mean


def spread(values: Vectors, places: Places) -> Vectors:
    """`values` [..., n] taken at `places`, 0 where a place is -1."""
    taken: Vectors = np.where(places >= 0, values[..., places], np.float32(0))
    return taken
