"""Search by words: the published formula, the same however rows came, alone and in their surroundings."""

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.lexical import K1, B, LexicalIndex, bm25, lexical_scores
from retrieval.neighbours import Neighbours

rows = st.lists(st.lists(st.integers(1, 12), max_size=15), min_size=1, max_size=30)


def as_terms(row):
    return np.array(row, np.uint32)


def index_of(*batches):
    index = LexicalIndex()
    for batch in batches:
        index.add([as_terms(row) for row in batch])
    return index


@given(rows, st.lists(st.integers(1, 14), min_size=1, max_size=6, unique=True))
def test_scores_are_those_of_bm25s(table, query):
    if not any(table):
        return
    peer = bm25s.BM25(method="lucene", k1=K1, b=B)
    peer.index([[str(term) for term in row] for row in table], show_progress=False)
    known = [str(term) for term in query if any(term in row for row in table)]
    expected = peer.get_scores(known) if known else np.zeros(len(table))
    scores = bm25(*index_of(table).counts(as_terms(query)))
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


@given(rows, st.data())
def test_rows_that_come_one_by_one_score_as_if_they_came_at_once(table, data):
    cut = data.draw(st.integers(0, len(table)))
    query = as_terms([1, 2, 3, 99])
    at_once, in_parts = index_of(table), index_of(table[:cut], *[[row] for row in table[cut:]])
    for one, other in zip(at_once.counts(query), in_parts.counts(query), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(at_once) == len(in_parts) == len(table)


def test_no_rows_no_words_and_unknown_words_score_nothing():
    for index in (index_of(), index_of([[], []]), index_of([[1], [2]])):
        for query in ([], [77]):
            scores = bm25(*index.counts(as_terms(query)))
            assert scores.tolist() == [0.0] * len(index)


def chain(count):
    neighbours = Neighbours()
    neighbours.add(range(1, count + 1), range(count))
    return neighbours


def test_a_row_is_found_by_the_words_of_its_neighbours_and_their_neighbours_less_than_by_its_own():
    index = index_of([[5], [6], [7], [8], [9], [4], [3]])
    scores = lexical_scores(*index.counts(as_terms([8])), chain(7))
    assert int(np.argmax(scores)) == 3
    own, beside, far = scores[3], scores[[2, 4]], scores[[1, 5]]
    assert own > beside.max() > far.max() > 0
    assert np.ptp(beside) == pytest.approx(0, abs=1e-5)
    assert np.ptp(far) == pytest.approx(0, abs=1e-5)
    assert scores[[0, 6]].tolist() == [0, 0]


def test_without_neighbours_it_is_plain_bm25():
    index = index_of([[5, 6], [6], [7]])
    alone = Neighbours()
    alone.add([1, 2, 3], None)
    counts, lengths = index.counts(as_terms([6]))
    np.testing.assert_array_equal(lexical_scores(counts, lengths, alone), bm25(counts, lengths))
