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
    counts = index_of(table).counts(as_terms(query))
    scores = np.zeros(len(table))
    scores[counts.places] = bm25(counts.table, counts.lengths[counts.places], len(table), counts.lengths.mean())
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


@given(rows, st.data())
def test_rows_that_come_one_by_one_score_as_if_they_came_at_once(table, data):
    cut = data.draw(st.integers(0, len(table)))
    query = as_terms([1, 2, 3, 99])
    at_once, in_parts = index_of(table), index_of(table[:cut], *[[row] for row in table[cut:]])
    one, other = at_once.counts(query), in_parts.counts(query)
    np.testing.assert_array_equal(one.places, other.places)
    np.testing.assert_array_equal(one.table, other.table)
    np.testing.assert_array_equal(one.lengths, other.lengths)
    assert len(at_once) == len(in_parts) == len(table)


def test_no_rows_no_words_and_unknown_words_score_nothing():
    for rows in ([], [[], []], [[1], [2]]):
        index, links = index_of(rows), chain(len(rows))
        for query in ([], [77]):
            assert lexical_scores(index.counts(as_terms(query)), links).tolist() == [0.0] * len(rows)


def chain(count):
    neighbours = Neighbours()
    neighbours.add(range(1, count + 1), range(count))
    return neighbours


def test_a_row_is_found_by_the_words_of_its_neighbours_and_their_neighbours_less_than_by_its_own():
    index = index_of([[5], [6], [7], [8], [9], [4], [3]])
    scores = lexical_scores(index.counts(as_terms([8])), chain(7))
    assert int(np.argmax(scores)) == 3
    own, beside, far = scores[3], scores[[2, 4]], scores[[1, 5]]
    assert own > beside.max() > far.max() > 0
    assert np.ptp(beside) == pytest.approx(0, abs=1e-5)
    assert np.ptp(far) == pytest.approx(0, abs=1e-5)
    assert scores[[0, 6]].tolist() == [0, 0]


def test_without_neighbours_it_is_plain_bm25_by_its_deviation():
    index = index_of([[5, 6], [6], [7]])
    alone = Neighbours()
    alone.add([1, 2, 3], None)
    counts = index.counts(as_terms([6]))
    plain = np.zeros(3)
    plain[counts.places] = bm25(counts.table, counts.lengths[counts.places], 3, counts.lengths.mean())
    np.testing.assert_allclose(lexical_scores(counts, alone), plain / plain.std(), rtol=1e-5)


@given(rows, st.data())
def test_a_window_is_scored_as_a_text_of_all_its_rows(table, data):
    """The three scales from their definition: rows joined with their neighbours, and BM25 over those texts."""
    previous = [data.draw(st.integers(0, n)) for n in range(len(table))]
    links = Neighbours()
    links.add(range(1, len(table) + 1), previous)
    query = as_terms([1, 2, 3])

    def beside(n, reach):
        found, ahead, behind = [], n, n
        for _ in range(reach):
            ahead = int(links.after[ahead]) if ahead >= 0 else -1
            behind = int(links.before[behind]) if behind >= 0 else -1
            found += [place for place in (ahead, behind) if place >= 0]
        return found

    expected = np.zeros(len(table))
    for reach in (0, 1, 2) if any(links.before >= 0) else (0,):
        texts = [table[n] + [term for m in beside(n, reach) for term in table[m]] for n in range(len(table))]
        counts = index_of(texts).counts(query)
        scores = np.zeros(len(table))
        if len(counts.places):
            scores[counts.places] = bm25(counts.table, counts.lengths[counts.places], len(table), counts.lengths.mean())
        expected += scores / max(scores.std(), 1e-9)
    found = lexical_scores(index_of(table).counts(query), links)
    agree = np.isclose(found, expected, rtol=1e-3, atol=1e-3)
    # Where all rows score the same but for rounding, its deviation is noise, and so is what it is divided by.
    assert agree.all() or len(set(np.round(expected / max(expected.max(), 1), 3))) < len(table)


def test_memory_is_counted_alike_however_rows_came():
    table = [[1, 2, 2], [], [2, 3]]
    at_once, by_one = index_of(table), index_of(*([row] for row in table))
    assert by_one.nbytes == at_once.nbytes == 4 * (3 + 5) + 200 * 3
