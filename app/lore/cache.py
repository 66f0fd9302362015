"""Indexes of books, made once for a revision and kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from app.lore.index import Index

MAX_ENTRIES = 20_000
"""Of all indexes that are kept; one of 5,000 entries, two in five of them expressions, takes about 30 MB."""


class IndexCache:
    """The indexes that were used last, by whatever names their books and revisions. Safe between threads."""

    def __init__(self, most: int = MAX_ENTRIES) -> None:
        self._most, self._lock = most, threading.Lock()
        self._kept: OrderedDict[Hashable, Index] = OrderedDict()
        self._entries = 0

    def get(self, key: Hashable) -> Index | None:
        """The index of a key, if it is kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def add(self, key: Hashable, make: Callable[[], Index]) -> Index:
        """Make an index and keep it; the least recently used go."""
        index = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = index
                self._entries += len(index.items)
            while self._entries > self._most and len(self._kept) > 1:
                self._entries -= len(self._kept.popitem(last=False)[1].items)
        return index
