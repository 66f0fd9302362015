"""Banks kept in memory, up to date with rows that live elsewhere.

The rows are the truth, a bank is a copy that may be lost at any time. Whoever holds the rows (asynchronous SQL, which
this module knows nothing of) brings a copy up to date in three steps:

    plan = cache.plan(key, stamp)                         # stamp: what a reader sees of the rows now
    if isinstance(plan, Fresh): use plan.entry
    rows = all rows, or for Append those not in plan.known
    entry = cache.apply(key, stamp, records, rebuild=isinstance(plan, Rebuild))
    if entry is None: plan again                          # another thread dropped or replaced it meanwhile

The rules the rows must keep: within a revision a row's id and vector never change and rows are only added, in any order
(a transaction with a lower id may commit later); an edit or a deletion raises the revision.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from retrieval.bank import Bank, Records


@dataclass(frozen=True)
class Stamp:
    """What a reader sees of a set of rows: how many have vectors of `encoder`, their highest id (0 if none)."""

    count: int
    max_id: int
    revision: int
    encoder: str


@dataclass(frozen=True)
class Entry:
    """A bank and the stamp of what is in it. Others may add rows of the same revision to the bank at any time."""

    bank: Bank
    stamp: Stamp


@dataclass(frozen=True)
class Fresh:
    """The bank holds all that the stamp promises."""

    entry: Entry


@dataclass(frozen=True)
class Append:
    """Rows are missing: supply every visible row whose id is not `known`. A highest known id would not do."""

    known: frozenset[int]


@dataclass(frozen=True)
class Rebuild:
    """There is no bank, or it can't be brought up to date by adding: supply every row."""


Plan = Fresh | Append | Rebuild


def compare(has: Stamp, wanted: Stamp) -> type[Fresh] | type[Append] | type[Rebuild]:
    """What a bank stamped `has` needs to serve a reader who sees `wanted`.

    Within a revision what readers see only grows, so of two stamps the smaller count is the earlier view: a reader who
    is behind is served by what is ahead. Counts and highest ids that contradict this mean a row vanished: rebuild.
    """
    if (has.revision, has.encoder) != (wanted.revision, wanted.encoder):
        return Rebuild
    if has.count == wanted.count:
        return Fresh if has.max_id == wanted.max_id else Rebuild
    if has.count > wanted.count:
        return Fresh if has.max_id >= wanted.max_id else Rebuild
    return Append if has.max_id <= wanted.max_id else Rebuild


class BankCache:
    """Banks by key, at most `max_bytes` together, dropping the one used least recently. Safe to use from threads.

    The bank used last is never dropped, even when it alone is larger than the limit.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Memory of all banks, about."""
        with self._lock:
            return self._size()

    def plan(self, key: Hashable, stamp: Stamp) -> Plan:
        """What it takes to search the rows that `stamp` describes; counts as use."""
        with self._lock:
            entry = self._use(key)
            if entry is None:
                return Rebuild()
            verdict = compare(entry.stamp, stamp)
            if verdict is Append:
                return Append(entry.bank.ids)
            return Fresh(entry) if verdict is Fresh else Rebuild()

    def apply(self, key: Hashable, stamp: Stamp, records: Records, *, rebuild: bool) -> Entry | None:
        """Carry a plan out with the rows it asked for, and return the entry; None when an Append must be planned again.

        Ids that another thread added since the plan are skipped. The entry is stamped with what the bank then holds,
        so rows that came or went between the stamp and the load are noticed by the next plan. Raises ValueError as
        `Bank.add` does and leaves the cache as it was.
        """
        if rebuild:
            return self._put(key, _built(stamp, records))
        with self._lock:
            entry = self._use(key)
            if entry is None or (entry.stamp.revision, entry.stamp.encoder) != (stamp.revision, stamp.encoder):
                return None
            entry.bank.add(records.take([n for n, name in enumerate(records.ids) if int(name) not in entry.bank]))
            return self._keep(key, Entry(entry.bank, _stamp_of(entry.bank, stamp)))

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Of the banks there are, the least recently used first."""
        with self._lock:
            return tuple(self._entries)

    def discard(self, key: Hashable) -> None:
        """Forget a bank, if there is one."""
        with self._lock:
            self._entries.pop(key, None)

    def _put(self, key: Hashable, built: Entry) -> Entry:
        with self._lock:
            present = self._entries.get(key)
            if present is not None and compare(present.stamp, built.stamp) is Fresh:
                built = present
            return self._keep(key, built)

    def _use(self, key: Hashable) -> Entry | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def _keep(self, key: Hashable, entry: Entry) -> Entry:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while self._size() > self._max_bytes and len(self._entries) > 1:
            self._entries.popitem(last=False)
        return entry

    def _size(self) -> int:
        return sum(entry.bank.nbytes for entry in self._entries.values())


def _built(stamp: Stamp, records: Records) -> Entry:
    if np.ndim(records.vectors) != 2:
        raise ValueError("vectors must have shape [n, dimension], also when n is 0")
    bank = Bank(records.vectors.shape[1])
    bank.add(records)
    return Entry(bank, _stamp_of(bank, stamp))


def _stamp_of(bank: Bank, stamp: Stamp) -> Stamp:
    return replace(stamp, count=len(bank), max_id=bank.newest)
