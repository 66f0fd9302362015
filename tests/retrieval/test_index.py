"""The index agrees with brute force, and refuses what it can't hold."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
