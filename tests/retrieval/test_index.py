"""The index agrees with brute force, and refuses what it can't hold."""

from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from retrieval import index as index_module
from retrieval import nominate
from retrieval import rows as rows_module
from retrieval.index import Index
from retrieval.rows import BLOCK


def random_rows(count, dimension, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def filled(ids, rows):
    index = Index(rows.shape[1])
    index.add(ids, rows)
    return index


def brute_force(ids, rows, query, k, within):
    scores = {name: float(row @ query) for name, row in zip(ids, rows, strict=True) if within is None or name in within}
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


@settings(deadline=None, max_examples=80)
@given(
    count=st.integers(1, 60),
    dimension=st.sampled_from([1, 3, 16, 384]),
    k=st.integers(0, 70),
    queries=st.integers(1, 25),
    seed=st.integers(0, 1000),
    share=st.none() | st.floats(0, 1),
    gone=st.integers(0, 30),
)
def test_search_finds_what_brute_force_finds(count, dimension, k, queries, seed, share, gone):
    rng = np.random.default_rng(seed)
    rows = random_rows(count, dimension, seed)
    ids = [int(name) for name in rng.permutation(count * 3)[:count]]
    within = None if share is None else {name for name in ids if rng.random() < share} | {10**9}
    index = filled(ids, rows)
    left = ids[gone:]
    assert index.remove(ids[:gone]) == min(gone, count)
    asked = random_rows(queries, dimension, seed + 1)
    for query, hits in zip(asked, index.search(asked, k, within), strict=True):
        expected = brute_force(left, rows[gone:], query, k, within)
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-5)
        scores = dict(brute_force(left, rows[gone:], query, count, within))
        assert [hit.score for hit in hits] == pytest.approx([scores[hit.id] for hit in hits], abs=1e-5)
        assert len({hit.id for hit in hits}) == len(hits)


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(40)), st.integers(1, 40), st.integers(1, 30))
def test_equal_scores_go_to_the_lower_id_wherever_the_cut_is(ids, k, queries):
    same = np.tile(random_rows(1, 384), (40, 1))
    asked = np.tile(random_rows(1, 384, seed=5), (queries, 1))
    for hits in filled(ids, same).search(asked, k):
        assert [hit.id for hit in hits] == list(range(k))


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(0, 60),
    dimension=st.sampled_from([1, 2, 4, 8, 12, 16, 384]),
    gone=st.sets(st.integers(0, 59)),
    seed=st.integers(0, 1000),
)
def test_scores_are_every_rows_cosine_in_the_order_of_addition(count, dimension, gone, seed):
    rows = random_rows(count, dimension, seed)
    index = filled([100 - n for n in range(count)], rows)
    index.remove([100 - n for n in gone])
    query = random_rows(1, dimension, seed + 1)[0]
    ids, scores = index.scores(query * 7)
    left = [n for n in range(count) if n not in gone]
    assert (ids.dtype, scores.dtype, scores.shape) == (np.int64, np.float32, (len(left),))
    assert ids.tolist() == [100 - n for n in left]
    assert scores == pytest.approx(rows[left] @ query, abs=1e-5)
    assert np.array_equal(index.vectors(ids), index.vectors(ids[::-1])[::-1])
    assert np.allclose(index.vectors(ids), rows[left], atol=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 8, 12, 17, 384])
def test_equal_rows_have_equal_scores_wherever_they_lie(dimension):
    rows = np.concatenate([np.tile(random_rows(1, dimension), (6000, 1)), random_rows(100, dimension, 1)])
    index = filled(range(6100), rows)
    index.remove(range(3, 500, 7))
    for query in random_rows(5, dimension, 2):
        ids, scores = index.scores(query)
        alike = scores[ids < 6000]
        assert (alike == alike[0]).all()
        assert index.search(query[None], 1, within=[5999])[0][0].score == alike[0]


def test_rows_over_many_blocks_are_found_after_any_removal():
    rows = random_rows(BLOCK * 2 + 10, 8)
    index = filled(range(len(rows)), rows)
    gone = {0, 5, BLOCK - 1, BLOCK, BLOCK + 3, len(rows) - 1}
    assert index.remove(list(gone)) == len(gone)
    index.add([10**6], rows[5:6])
    left = [n for n in range(len(rows)) if n not in gone]
    assert index.scores(rows[0])[0].tolist() == [*left, 10**6]
    assert np.array_equal(
        index.vectors(np.array([10**6, left[-1], left[0]])), index.vectors([10**6, left[-1], left[0]])
    )
    assert np.allclose(index.vectors([*left, 10**6]), rows[[*left, 5]], atol=1e-6)
    assert index.search(rows[5:6], 1)[0][0].id == 10**6


def test_what_was_read_before_a_change_stays_as_it_was():
    rows = random_rows(50, 8)
    index = filled(range(40), rows[:40])
    ids, scores = index.scores(rows[0])
    before = (ids.copy(), scores.copy())
    index.remove([3, 4])
    index.add(range(40, 50), rows[40:])
    assert np.array_equal(ids, before[0])
    assert np.array_equal(scores, before[1])


def test_the_vector_of_an_unknown_id_is_a_key_error():
    with pytest.raises(KeyError):
        filled([1, 2], random_rows(2, 4)).vectors([2, 3])
    assert filled([1], random_rows(1, 4)).vectors([]).shape == (0, 4)


def test_a_query_of_another_shape_is_refused():
    for query in (np.ones((1, 3), np.float32), np.ones(4, np.float32), np.float32(1)):
        with pytest.raises(ValueError, match="shape"):
            filled([1], random_rows(1, 3)).scores(query)


def test_a_score_is_the_cosine_whatever_the_lengths():
    hits = filled([4, 9, 5], np.array([[3, 4], [-3, -4], [40, 30]], np.float32)).search(np.array([[0.3, 0.4]]), 5)[0]
    assert [hit.id for hit in hits] == [4, 5, 9]
    assert [hit.score for hit in hits] == pytest.approx([1, 24 / 25, -1])


def test_an_empty_index_finds_nothing():
    assert Index(3).search(np.ones((2, 3), np.float32), 5) == [[], []]
    assert filled([1], np.ones((1, 3), np.float32)).search(np.ones((1, 3), np.float32), 5, within=[]) == [[]]
    assert Index(3).search(np.empty((0, 3), np.float32), 5) == []


def test_nothing_added_is_no_change():
    index = filled([], np.empty((0, 3), np.float32))
    assert (len(index), index.ids, index.nbytes) == (0, frozenset(), 0)


def test_a_removed_id_may_come_back():
    rows = random_rows(3, 8)
    index = filled([1, 2, 3], rows)
    assert index.remove([2, 77]) == 1
    assert index.ids == {1, 3}
    index.add([2], rows[:1])
    assert [hit.id for hit in index.search(rows[:1], 2)[0]] == [1, 2]


def test_ids_may_be_as_large_as_a_database_makes_them():
    large = 2**63 - 1
    index = filled([large, -5], random_rows(2, 4))
    assert {hit.id for hit in index.search(random_rows(1, 4), 2)[0]} == {large, -5}


BAD_ROWS = {
    "shape": np.ones((1, 4), np.float32),
    r"shape \[n, 3\]": np.ones(3, np.float32),
    "NaN": np.array([[1, 2, np.nan]], np.float32),
    "infinity": np.array([[1, np.inf, 3]], np.float32),
    "zero": np.zeros((1, 3), np.float32),
}


@pytest.mark.parametrize(("message", "rows"), BAD_ROWS.items())
def test_bad_vectors_are_refused_by_name_and_nothing_is_kept(message, rows):
    index = Index(3)
    with pytest.raises(ValueError, match=message):
        index.add([1], rows)
    with pytest.raises(ValueError, match=message):
        index.search(rows, 1)
    assert len(index) == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 1], "given twice: 1"),
        ([1, 7], "id 7 is in the index already"),
        ([1], "1 ids were given for 2"),
        (["a", "b"], "integers"),
        ([1.5, 2.5], "integers"),
        ([2**64, 1], "integers"),
    ],
)
def test_bad_ids_are_refused_and_nothing_is_added(ids, message):
    index = filled([7], random_rows(1, 3))
    with pytest.raises(ValueError, match=message):
        index.add(ids, random_rows(2, 3))
    assert index.ids == {7}


def test_a_dimension_or_a_k_below_its_least_is_refused():
    with pytest.raises(ValueError, match="dimension"):
        Index(0)
    with pytest.raises(ValueError, match="k must be"):
        Index(2).search(np.ones((1, 2), np.float32), -1)


def test_memory_grows_with_the_rows():
    assert filled(range(100), random_rows(100, 384)).nbytes >= 100 * 384 * 4


def test_threads_may_add_and_search_at_once():
    index = Index(32)
    rows = random_rows(2000, 32)

    def work(start):
        index.add(range(start, start + 100), rows[start : start + 100])
        return [hits[0].id for hits in index.search(rows[start : start + 5], 1)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(0, 2000, 100)))
    assert found == [list(range(start, start + 5)) for start in range(0, 2000, 100)]
    assert len(index) == 2000


def clustered_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    centres = random_rows(50, 32)
    rows = centres[rng.integers(0, 50, count)] + rng.standard_normal((count, 32)).astype(np.float32) * 0.1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def many(rows):
    """An index that has sorted its first two blocks into cells."""
    index = Index(32, nominate_from=BLOCK * 2)
    index.add(range(len(rows)), rows)
    index.settle()
    assert index.nbytes > filled(range(len(rows)), rows).nbytes
    return index


def found(hits):
    return [hit.id for hit in hits]


def test_very_many_rows_are_searched_approximately_unless_exactness_is_asked_for():
    rows = clustered_rows(BLOCK * 2 + 500)
    index, plain = many(rows), filled(range(len(rows)), rows)
    asked = clustered_rows(100, seed=1)
    truth = plain.search(asked, 10)
    assert index.search(asked, 10, exact=True) == truth
    assert index.search(asked, 10, within=range(300)) == plain.search(asked, 10, within=range(300))
    assert index.search(asked, 1000) == plain.search(asked, 1000)
    near = index.search(asked, 10)
    recall = [len(set(found(a)) & set(found(b))) for a, b in zip(near, truth, strict=True)]
    assert sum(recall) >= 0.95 * 1000
    assert all(len(set(found(hits))) == 10 for hits in near)


def test_changes_are_seen_at_once_where_rows_are_searched_approximately():
    rows = clustered_rows(BLOCK * 2 + 500)
    index = many(rows)
    asked = rows[100:101]
    gone = found(index.search(asked, 30)[0])
    assert gone[0] == 100
    assert index.remove(gone) == 30
    assert not set(gone) & set(found(index.search(asked, 30)[0]))
    index.add([100, 10**6], np.concatenate([-asked, asked]))
    assert found(index.search(asked, 1)[0]) == [10**6]
    assert found(index.search(-asked, 1)[0]) == [100]


def test_cells_are_left_when_few_rows_remain():
    rows = clustered_rows(BLOCK * 2 + 500)
    index = many(rows)
    index.remove(range(BLOCK + 300))
    assert index.nbytes < 2 * filled(range(BLOCK + 200), rows[: BLOCK + 200]).nbytes
    assert found(index.search(rows[-1:], 1)[0]) == [len(rows) - 1]


def test_removing_most_of_what_is_in_the_cells_still_fills_the_answer():
    rows = clustered_rows(BLOCK * 2 + 500)
    index = many(rows)
    asked = clustered_rows(1, seed=9)
    ranked = found(filled(range(len(rows)), rows).search(asked, 2000)[0])
    index.remove(ranked[:1500])
    assert found(index.search(asked, 20)[0]) == ranked[1500:1520]


@pytest.fixture
def gpu(monkeypatch):
    """The names that faiss has where it was built for a GPU, over its flat index here."""
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", lambda _, dimension: faiss.IndexFlatIP(dimension), raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)


@pytest.mark.usefixtures("gpu")
def test_a_flat_copy_elsewhere_finds_the_same_ids_ties_included():
    rows = np.concatenate([clustered_rows(BLOCK * 2), np.tile(random_rows(1, 32), (500, 1))])
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    index, plain = Index(32, nominate_from=100), filled(range(len(rows)), rows)
    index.add(range(len(rows)), rows)
    index.settle()
    asked = np.concatenate([clustered_rows(50, seed=1), random_rows(1, 32)])
    for k in (1, 10, 100):
        assert index.search(asked, k) == plain.search(asked, k)
        assert index.search(asked, k, exact=True) == plain.search(asked, k)


class Changes(RuleBasedStateMachine):
    """An index that changes in any way equals rows kept in a list, through many small blocks and a flat copy."""

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(rows_module, "BLOCK", 4)
        self.patch.setattr(index_module, "build", lambda blocks: nominate.Flat(blocks, faiss.IndexFlatIP(5)))
        self.index = Index(5, nominate_from=12)
        self.kept = {}
        self.rng = np.random.default_rng(0)

    def teardown(self):
        self.index.settle()
        self.patch.undo()

    def fresh(self, count):
        # Few directions, so that many rows tie.
        rows = self.rng.integers(-1, 2, (count, 5)).astype(np.float32)
        rows[:, 0] += 0.5
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    @rule(names=st.sets(st.integers(0, 60), max_size=20))
    def add(self, names):
        new = sorted(names - self.kept.keys())
        rows = self.fresh(len(new))
        self.index.add(new, rows)
        self.kept |= dict(zip(new, rows, strict=True))

    @rule(names=st.sets(st.integers(0, 60), max_size=10))
    def remove(self, names):
        assert self.index.remove(sorted(names)) == len(names & self.kept.keys())
        self.kept = {name: row for name, row in self.kept.items() if name not in names}

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def edit(self, data):
        name = data.draw(st.sampled_from(list(self.kept)))
        self.index.remove([name])
        del self.kept[name]
        row = self.fresh(1)
        self.index.add([name], row)
        self.kept[name] = row[0]

    @rule()
    def settle(self):
        self.index.settle()

    @rule()
    def reload(self):
        ids, _ = self.index.scores(np.ones(5, np.float32))
        rows = self.index.vectors(ids)
        self.index.settle()
        self.index = Index(5, nominate_from=12)
        self.index.add(ids, rows)

    @invariant()
    def same_as_a_fresh_build(self):
        assert self.index.ids == self.kept.keys()
        query = self.fresh(1)
        ids, scores = self.index.scores(query[0])
        assert ids.tolist() == list(self.kept)
        fresh = Index(5)
        fresh.add(list(self.kept), np.array(list(self.kept.values()), np.float32).reshape(-1, 5))
        assert scores == pytest.approx([row @ query[0] for row in self.kept.values()], abs=1e-5)
        for k in (1, 3, 100):
            assert found(self.index.search(query, k)[0]) == found(fresh.search(query, k)[0])
            assert found(self.index.search(query, k, exact=True)[0]) == found(fresh.search(query, k)[0])


TestChanges = Changes.TestCase
TestChanges.settings = settings(deadline=None, max_examples=30, stateful_step_count=25)


def test_threads_may_add_remove_and_search_while_cells_are_built():
    rows = clustered_rows(BLOCK * 4)
    index = Index(32, nominate_from=BLOCK)
    removed = set(range(0, len(rows), 5))

    def add(start):
        mine = range(start, start + 512)
        index.add(mine, rows[start : start + 512])
        assert index.remove([name for name in mine if name in removed]) == len(removed.intersection(mine))

    def search(start):
        hits = index.search(rows[start : start + 1], 5, exact=start % 2 == 0)[0]
        ids, scores = index.scores(rows[start])
        assert len(ids) == len(scores) == len(set(ids.tolist()))
        return all(hit.score == pytest.approx(float(rows[hit.id] @ rows[start]), abs=1e-5) for hit in hits)

    with ThreadPoolExecutor(8) as pool:
        adding = [pool.submit(add, start) for start in range(0, len(rows), 512)]
        searching = [pool.submit(search, start) for start in range(0, len(rows), 100)]
        for work in adding:
            work.result()
        assert all(work.result() for work in searching)
    index.settle()
    assert index.ids == set(range(len(rows))) - removed
    assert [found(index.search(rows[n : n + 1], 1)[0]) for n in range(1, 5)] == [[1], [2], [3], [4]]
