"""A bank against numpy, and with whatever it is given."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.bank import Bank, Query, Records
from retrieval.emotion import EMOTIONS
from retrieval.rank import rank
from retrieval.terms import terms

DIMENSION = 24
PAPER = ("ordinary", "c-a", "c-m", "s-s", "s-e")


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((*shape, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def records(count, seed=0, contexts=True):
    emotions = np.random.default_rng(seed).uniform(0, 1, (count, len(EMOTIONS))).astype(np.float32)
    return Records(
        ids=range(1, count + 1),
        vectors=unit(count, seed=seed),
        emotions=emotions,
        terms=[terms(f"row{n} shared{n % 3}") for n in range(1, count + 1)],
        contexts=unit(count, seed=seed + 1) if contexts else None,
        previous=range(count) if contexts else None,
    )


def bank_of(rows):
    bank = Bank(rows.vectors.shape[1])
    bank.add(rows)
    return bank


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000), st.sampled_from(PAPER), st.integers(0, 12))
def test_the_papers_strategies_keep_what_ranking_all_rows_keeps(count, seed, strategy, limit):
    rows = records(count, seed)
    felt = rows.emotions[0]
    query = unit(seed=seed + 9)
    everyone = Bank(DIMENSION)
    everyone.add(rows)
    all_rows = everyone.find(Query(query, felt=felt), strategy, limit=count)
    assert len(all_rows) == count
    found = everyone.find(Query(query, felt=felt), strategy, limit=limit)
    assert [r for r in rank(found, felt, strategy, limit=limit) if r.kept] == [
        r for r in rank(all_rows, felt, strategy, limit=limit) if r.kept
    ]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_a_small_bank_offers_every_row_with_its_exact_numbers(count, seed):
    rows = records(count, seed)
    query = unit(seed=seed + 9)
    found = bank_of(rows).find(Query(query, terms("shared1 row2")))
    assert [one.id for one in found] == list(range(1, count + 1))
    cosines, around = rows.vectors @ query, rows.contexts @ query
    weights = np.array([[n == m, 0.5 * (abs(n - m) == 1)] for n in range(count) for m in range(count)]).sum(axis=1)
    mixing = weights.reshape(count, count)
    np.testing.assert_allclose([one.semantic for one in found], cosines, atol=1e-5)
    np.testing.assert_allclose([one.context for one in found], mixing @ around / mixing.sum(axis=1), atol=1e-5)


def test_only_the_best_of_each_kind_are_offered_from_a_large_bank():
    rows = records(500)
    query = Query(unit(seed=3), terms("row77"))
    found = {one.id for one in bank_of(rows).find(query, breadth=5)}
    best = set((np.argsort(-(rows.vectors @ query.vector))[:5] + 1).tolist())
    assert best | {77} <= found
    assert len(found) <= 15


def test_what_the_prompt_shows_is_left_out_and_pins_are_always_offered():
    bank = bank_of(records(300))
    query = Query(unit(seed=3))
    nearest = [one.id for one in bank.find(query, breadth=3)]
    found = [one.id for one in bank.find(query, breadth=3, without=nearest, pinned=[250])]
    assert not set(found) & set(nearest)
    assert 250 in found
    assert len(found) >= 4
    assert 250 not in [one.id for one in bank.find(query, without=[250], pinned=[250])]
    for strategy in PAPER:
        assert not {one.id for one in bank.find(query, strategy, without=nearest)} & set(nearest)


def test_a_question_that_names_one_speaker_finds_what_that_one_said():
    ann, bob = (int(terms(name)[0]) for name in ("Ann", "Bob"))
    rows = replace(records(4), speakers=[ann, bob, ann, 0])
    bank = bank_of(rows)
    spoken = {one.id: one.spoken for one in bank.find(Query(unit(seed=3), terms("What did Ann buy?")))}
    assert spoken == {1: 1, 2: 0, 3: 1, 4: 0}
    both = bank.find(Query(unit(seed=3), terms("What did Ann tell Bob?")))
    assert {one.spoken for one in both} == {0}


def test_a_bank_of_one_and_an_empty_one_can_be_asked():
    assert Bank(DIMENSION).find(Query(unit(seed=1))) == ()
    for contexts in (True, False):
        one = bank_of(records(1, contexts=contexts))
        for strategy in (*PAPER, "calibrated"):
            found = one.find(Query(unit(seed=1), terms("row1"), np.zeros(8, np.float32)), strategy, limit=50)
            assert [candidate.id for candidate in found] == [1]
            assert rank(found, None, strategy)[0].kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": np.full((2, DIMENSION), np.nan, np.float32)}, "NaN"),
        ({"vectors": np.zeros((2, DIMENSION), np.float32)}, "zero"),
        ({"vectors": unit(2)[:, :5]}, "shape"),
        ({"contexts": np.full((2, DIMENSION), np.inf, np.float32)}, "NaN or infinity"),
        ({"contexts": None}, "context"),
        ({"emotions": np.zeros((2, 7), np.float32)}, "emotions"),
        ({"emotions": np.full((2, 8), np.nan, np.float32)}, "emotions"),
        ({"terms": []}, "terms"),
        ({"ids": [1, 9]}, "already"),
    ],
)
def test_rows_that_do_not_fit_change_nothing(change, message):
    bank = bank_of(records(3))
    before = bank.find(Query(unit(seed=3), terms("row2")))
    fresh = replace(records(2, seed=5), ids=[8, 9])
    with pytest.raises(ValueError, match=message):
        bank.add(replace(fresh, **change))
    assert bank.ids == {1, 2, 3}
    assert [one.id for one in before] == [one.id for one in bank.find(Query(unit(seed=3), terms("row2")))]
    bank.add(fresh)
    assert len(bank) == 5


@pytest.mark.parametrize("vector", [np.zeros(DIMENSION), np.full(DIMENSION, np.nan), np.ones(3)])
@pytest.mark.parametrize("strategy", ["calibrated", "c-a"])
def test_a_query_without_direction_is_refused(vector, strategy):
    with pytest.raises(ValueError, match=r"zero|NaN|shape"):
        bank_of(records(3)).find(Query(vector.astype(np.float32)), strategy)


def test_many_may_add_and_search_at_once():
    bank = bank_of(records(50))
    errors = []

    def add(start):
        for name in range(start, start + 40):
            rows = replace(records(1, seed=name), ids=[name], previous=[name - 1 if name > start else 0])
            bank.add(rows)

    def search():
        try:
            for seed in range(60):
                for strategy in ("calibrated", "s-e"):
                    found = bank.find(Query(unit(seed=seed), terms("shared1")), strategy)
                    assert len({one.id for one in found}) == len(found)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(1000 * n,)) for n in range(1, 4)]
    threads += [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(bank) == 170


def test_the_nearest_of_some_rows_are_told_by_their_cosine():
    rows = records(50)
    query = Query(unit(seed=3))
    cosines = rows.vectors @ query.vector
    found = bank_of(rows).nearest(query, {3, 9, 27, 999}, 2)
    assert [hit.id for hit in found] == sorted((3, 9, 27), key=lambda name: -cosines[name - 1])[:2]
    assert [hit.score for hit in found] == pytest.approx([cosines[hit.id - 1] for hit in found], abs=1e-6)
    assert bank_of(rows).nearest(query, (), 2) == []
