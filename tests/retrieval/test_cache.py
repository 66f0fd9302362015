"""The cache of banks: it converges on the rows whatever the order in which readers see and load them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from retrieval.bank import Bank, Query, Records
from retrieval.cache import Append, BankCache, Fresh, Rebuild, Stamp, compare

DIMENSION = 4


def row_of(name, revision=0):
    row = np.random.default_rng((name, revision)).standard_normal(DIMENSION).astype(np.float32)
    return row / np.linalg.norm(row)


def rows_of(names, revisions):
    return np.array([row_of(name, revisions[name]) for name in names], np.float32).reshape(-1, DIMENSION)


def stamp_of(names, revision=0, encoder="e"):
    return Stamp(len(names), max(names, default=0), revision, encoder)


def records_of(names, revisions=None):
    """Rows that each follow the one before it; every third begins a conversation."""
    names = list(names)
    vectors = rows_of(names, revisions or dict.fromkeys(names, 0))
    return Records(
        ids=names,
        vectors=vectors,
        emotions=np.zeros((len(names), 8), np.float32),
        terms=[np.array([name % 3, name % 5, 7], np.uint32) for name in names],
        contexts=vectors[:, ::-1],
        previous=[name - 1 if name % 3 else 0 for name in names],
    )


def put(cache, key, names, revision=0, encoder="e"):
    stamp = stamp_of(names, revision, encoder)
    return cache.apply(key, stamp, records_of(names, dict.fromkeys(names, revision)), rebuild=True)


def held(cache, key):
    """What is in it, without using it."""
    return cache._entries.get(key)


def test_an_unknown_key_is_rebuilt_and_then_fresh():
    cache = BankCache(10**9)
    assert held(cache, "a") is None
    assert cache.plan("a", stamp_of([1, 2])) == Rebuild()
    entry = put(cache, "a", [1, 2])
    assert cache.plan("a", stamp_of([1, 2])) == Fresh(entry)
    assert held(cache, "a") == entry


def test_no_rows_at_all_are_an_index_too():
    cache = BankCache(10**9)
    put(cache, "a", [])
    assert isinstance(cache.plan("a", stamp_of([])), Fresh)
    assert cache.plan("a", stamp_of([3])) == Append(frozenset())
    assert cache.apply("a", stamp_of([3]), records_of([3]), rebuild=False).bank.ids == {3}


def test_a_row_that_became_visible_late_is_asked_for_though_its_id_is_lower():
    cache = BankCache(10**9)
    put(cache, "a", [1, 3])
    plan = cache.plan("a", stamp_of([1, 2, 3]))
    assert plan == Append(frozenset({1, 3}))
    entry = cache.apply("a", stamp_of([1, 2, 3]), records_of([2]), rebuild=False)
    assert entry.bank.ids == {1, 2, 3}
    assert entry.stamp == stamp_of([1, 2, 3])


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        (Stamp(3, 9, 1, "e"), Fresh),
        (Stamp(4, 9, 1, "e"), Append),
        (Stamp(4, 10, 1, "e"), Append),
        (Stamp(2, 9, 1, "e"), Fresh),
        (Stamp(2, 8, 1, "e"), Fresh),
        (Stamp(3, 10, 1, "e"), Rebuild),
        (Stamp(3, 8, 1, "e"), Rebuild),
        (Stamp(2, 10, 1, "e"), Rebuild),
        (Stamp(4, 8, 1, "e"), Rebuild),
        (Stamp(3, 9, 2, "e"), Rebuild),
        (Stamp(3, 9, 0, "e"), Rebuild),
        (Stamp(4, 10, 2, "e"), Rebuild),
        (Stamp(3, 9, 1, "other"), Rebuild),
    ],
)
def test_stamps_decide_what_is_missing(wanted, verdict):
    assert compare(Stamp(3, 9, 1, "e"), wanted) is verdict


def test_a_second_append_of_the_same_rows_adds_nothing():
    cache = BankCache(10**9)
    put(cache, "a", [1])
    for _ in range(2):
        entry = cache.apply("a", stamp_of([1, 2]), records_of([2]), rebuild=False)
        assert entry.bank.ids == {1, 2}


def test_an_append_to_what_is_gone_or_was_replaced_has_to_be_planned_again():
    cache = BankCache(10**9)
    assert cache.apply("a", stamp_of([1, 2]), records_of([2]), rebuild=False) is None
    put(cache, "a", [1], revision=5)
    assert cache.apply("a", stamp_of([1, 2], revision=4), records_of([2]), rebuild=False) is None
    assert held(cache, "a").bank.ids == {1}


def test_the_stamp_tells_what_was_loaded_not_what_was_promised():
    cache = BankCache(10**9)
    entry = cache.apply("a", stamp_of([1, 2, 3]), records_of([1, 2, 3, 4]), rebuild=True)
    assert entry.stamp == stamp_of([1, 2, 3, 4])
    cache = BankCache(10**9)
    cache.apply("a", stamp_of([1, 2, 3]), records_of([1, 2]), rebuild=True)
    assert cache.plan("a", stamp_of([1, 2, 3])) == Append(frozenset({1, 2})), "the missing row is asked for next time"
    entry = cache.apply("a", stamp_of([1, 2, 3, 4]), records_of([4]), rebuild=False)
    assert entry.stamp == stamp_of([1, 2, 4]), "3 vanished between the stamp and the load"


def test_a_late_rebuild_does_not_undo_a_newer_one():
    cache = BankCache(10**9)
    newer = put(cache, "a", [1, 2, 3])
    assert put(cache, "a", [1, 2]).bank is newer.bank


def test_bad_rows_leave_the_cache_as_it_was():
    cache = BankCache(10**9)
    put(cache, "a", [1])
    for rebuild in (True, False):
        with pytest.raises(ValueError, match="zero"):
            cache.apply(
                "a",
                stamp_of([1, 2]),
                replace(records_of([2]), vectors=np.zeros((1, DIMENSION), np.float32)),
                rebuild=rebuild,
            )
        assert held(cache, "a").bank.ids == {1}
        assert held(cache, "a").stamp == stamp_of([1])
    with pytest.raises(ValueError, match="shape"):
        cache.apply("b", stamp_of([]), replace(records_of([]), vectors=np.empty(0, np.float32)), rebuild=True)


def test_the_least_recently_used_index_goes_first():
    one = put(BankCache(10**9), "x", range(10)).bank.nbytes
    cache = BankCache(2 * one)
    for key in ("a", "b"):
        put(cache, key, range(10))
    cache.plan("a", stamp_of(range(10)))
    put(cache, "c", range(10))
    assert [held(cache, key) is not None for key in "abc"] == [True, False, True]
    assert cache.nbytes <= 2 * one
    assert len(cache) == 2


def test_an_index_that_grows_pushes_others_out_but_never_itself():
    one = put(BankCache(10**9), "x", range(10)).bank.nbytes
    cache = BankCache(2 * one)
    put(cache, "a", range(10))
    put(cache, "b", range(10))
    names = range(60)
    grown = cache.apply("a", stamp_of(names), records_of(names), rebuild=False)
    assert grown.bank.ids == set(names)
    assert held(cache, "a") is grown
    assert held(cache, "b") is None


def test_an_entry_in_use_outlives_its_eviction():
    cache = BankCache(1)
    in_use = put(cache, "a", [1, 2])
    put(cache, "b", [1])
    assert held(cache, "a") is None
    assert len(in_use.bank.find(Query(row_of(1)))) == 2


def test_an_index_that_is_discarded_is_gone_and_the_others_are_not():
    cache = BankCache(10**9)
    put(cache, "a", [1])
    put(cache, "b", [2])
    cache.discard("a")
    cache.discard("nobody")
    assert cache.keys == ("b",)
    assert cache.plan("a", stamp_of([1])) == Rebuild()


def test_concurrent_readers_end_with_every_row_once():
    cache = BankCache(10**9)

    def read(count):
        names = list(range(1, count + 1))
        while True:
            plan = cache.plan("a", stamp_of(names))
            if isinstance(plan, Fresh):
                return plan.entry.bank.ids >= set(names)
            missing = [name for name in names if not isinstance(plan, Append) or name not in plan.known]
            cache.apply("a", stamp_of(names), records_of(missing), rebuild=isinstance(plan, Rebuild))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [count for count in range(1, 60) for _ in range(3)]))
    assert held(cache, "a").bank.ids == set(range(1, 60))


def assert_same(candidates, others):
    """The same rows with the same numbers; sums of the same numbers in another order differ in the last digits."""
    one, other = (sorted((c.id, c.semantic, c.context, c.lexical) for c in found) for found in (candidates, others))
    assert [row[0] for row in one] == [row[0] for row in other]
    np.testing.assert_allclose(np.array(one), np.array(other), atol=1e-4)


class Reading(RuleBasedStateMachine):
    """Rows that are added out of order, edited and deleted, and readers who load later than they look."""

    limit = 12_000

    def __init__(self):
        super().__init__()
        self.cache = BankCache(self.limit)
        self.rows = {}
        self.revision = 0
        self.next = 1
        self.held_back = []

    @rule(count=st.integers(1, 4))
    def add(self, count):
        for _ in range(count):
            self.rows[self.next] = self.revision
            self.next += 1

    @rule()
    def begin(self):
        self.held_back.append(self.next)
        self.next += 1

    @precondition(lambda self: self.held_back)
    @rule(n=st.integers(0, 9))
    def commit_late(self, n):
        self.rows[self.held_back.pop(n % len(self.held_back))] = self.revision

    @precondition(lambda self: self.rows)
    @rule(n=st.integers(0, 99), edited=st.booleans())
    def change(self, n, edited):
        name = sorted(self.rows)[n % len(self.rows)]
        self.revision += 1
        if edited:
            self.rows[name] = self.revision
        else:
            del self.rows[name]

    @rule(other=st.booleans())
    def use_another(self, other):
        put(self.cache, "b" if other else "c", range(3))

    @rule(added_meanwhile=st.integers(0, 2))
    def read(self, added_meanwhile):
        stamp = stamp_of(self.rows, self.revision)
        seen = dict(self.rows)
        plan = self.cache.plan("a", stamp)
        if added_meanwhile:
            self.add(added_meanwhile)
        if isinstance(plan, Fresh):
            entry = plan.entry
        else:
            known = plan.known if isinstance(plan, Append) else frozenset()
            names = [name for name in self.rows if name not in known]
            entry = self.cache.apply("a", stamp, records_of(names, self.rows), rebuild=isinstance(plan, Rebuild))
        assert set(seen) <= entry.bank.ids <= set(self.rows)
        fresh = Bank(DIMENSION)
        fresh.add(records_of(sorted(entry.bank.ids), self.rows))
        for query in (Query(row_of(1), np.array([1, 7], np.uint32)), Query(row_of(2), np.array([2, 4], np.uint32))):
            assert_same(entry.bank.find(query), fresh.find(query))

    @invariant()
    def the_limit_holds(self):
        assert self.cache.nbytes <= self.limit or len(self.cache) == 1


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
