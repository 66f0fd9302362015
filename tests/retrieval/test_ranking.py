"""The paper's strategies against numbers worked out by hand, and what the calibrated one promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.calibrated import Calibration, Weights
from retrieval.emotion import EMOTIONS
from retrieval.paper import nearest_by_paper
from retrieval.rank import Candidate, rank
from retrieval.retention import DAY, retention, strength

PAPER = ("ordinary", "c-a", "c-m", "s-s", "s-e")
COMPONENTS = {"semantic", "lexical", "emotional", "recency", "importance", "spoken", "variety"}
FLAT = np.zeros(8, np.float32)


def feeling(**intensities):
    return np.array([intensities.get(name, 0) for name in EMOTIONS], np.float32)


JOY, SAD, FEAR = feeling(joy=1), feeling(sadness=1), feeling(fear=1)

# The query is sad. On the paper's scale it is (1, 1, 1, 1, 10, 1, 1, 1), of length sqrt(107).
# d_sem = sqrt(2 - 2 cos): cosine .98 -> .2, .92 -> .4, .82 -> .6, .68 -> .8, .5 -> 1.
# d_emo to the same emotion is 0; to another single one 1 - 26/107; to none 1 - 17/sqrt(8 * 107).
OTHER, NONE = 1 - 26 / 107, 1 - 17 / math.sqrt(856)
FIVE = (
    Candidate(1, 0.98, JOY),
    Candidate(2, 0.92, FLAT),
    Candidate(3, 0.82, SAD),
    Candidate(4, 0.68, None),
    Candidate(5, 0.50, SAD),
)


def kept(ranked):
    return [one.id for one in ranked if one.kept]


@pytest.mark.parametrize(
    ("strategy", "order"),
    [
        # .2 .4 .6 .8 1
        ("ordinary", [1, 2, 3, 4, 5]),
        # .2 + .757 = .957, .4 + .419 = .819, .6, .8 + .419 = 1.219, 1
        ("c-a", [3, 2, 1, 5, 4]),
        # .2 x .757 = .151, .4 x .419 = .168, 0, .8 x .419 = .335, 0; the two exact matches by meaning
        ("c-m", [3, 5, 1, 2, 4]),
    ],
)
def test_combined_distances_order_as_by_hand(strategy, order):
    ranked = rank(FIVE, SAD, strategy, limit=3)
    assert [one.id for one in ranked] == order
    assert kept(ranked) == order[:3]
    assert [one.rank for one in ranked] == [1, 2, 3, 4, 5]


def test_combined_distances_are_those_of_the_formulas():
    components = {one.id: one.components for one in rank(FIVE, SAD, "ordinary")}
    assert [components[n]["d_sem"] for n in range(1, 6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [components[n]["d_emo"] for n in range(1, 6)] == pytest.approx([OTHER, NONE, 0, NONE, 0])
    assert [one.score for one in rank(FIVE, SAD, "c-a")] == pytest.approx(
        [-0.6, -0.4 - NONE, -0.2 - OTHER, -1, -0.8 - NONE]
    )
    assert [one.score for one in rank(FIVE, SAD, "c-m")] == pytest.approx(
        [0, 0, -0.2 * OTHER, -0.4 * NONE, -0.8 * NONE]
    )


def test_semantic_first_looks_at_emotion_among_the_nearest_in_meaning():
    # limit 1, pool 2: of 1 and 2 the flat one is nearer to sadness
    ranked = rank(FIVE, SAD, "s-s", limit=1)
    assert [one.id for one in ranked] == [2, 1, 3, 4, 5]
    assert kept(ranked) == [2]
    assert [one.reason for one in ranked[2:]] == ["not among the 2 nearest in meaning"] * 3
    # limit 2, pool 4: 3 is sad, then the two without emotion by meaning
    assert [one.id for one in rank(FIVE, SAD, "s-s", limit=2)] == [3, 2, 4, 1, 5]


def test_emotion_first_looks_at_meaning_among_the_nearest_in_emotion():
    # limit 1, pool 2: 3 and 5 are sad, 3 is nearer in meaning
    ranked = rank(FIVE, SAD, "s-e", limit=1)
    assert [one.id for one in ranked] == [3, 5, 2, 4, 1]
    assert [one.reason for one in ranked[2:]] == ["not among the 2 nearest in emotion"] * 3
    # limit 2, pool 4: 3, 5, 2 and 4 by meaning
    assert [one.id for one in rank(FIVE, SAD, "s-e", limit=2)] == [2, 3, 4, 5, 1]


def test_the_papers_names_are_used_not_those_of_its_code():
    near_in_meaning = [Candidate(n, 0.99 - n / 1000, JOY) for n in range(20)]
    near_in_emotion = [Candidate(100 + n, 0.5 - n / 1000, SAD) for n in range(20)]
    everyone = near_in_meaning + near_in_emotion
    assert kept(rank(everyone, SAD, "s-s")) == list(range(10)), "semantic first never sees the sad ones"
    assert kept(rank(everyone, SAD, "s-e")) == list(range(100, 110)), "emotion first never sees the near ones"


def test_a_paper_strategy_ignores_what_the_paper_does_not_know():
    plain = [Candidate(1, 0.9), Candidate(2, 0.8)]
    loaded = [Candidate(1, 0.9, age_seconds=1e9), Candidate(2, 0.8, pinned=True, importance=1, uses=9, lexical=99)]
    for strategy in PAPER:
        assert [one.id for one in rank(plain, None, strategy)] == [one.id for one in rank(loaded, None, strategy)]


emotions = st.none() | st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8).map(
    lambda xs: np.array(xs, np.float32)
)
directions = st.integers(0, 5).map(lambda n: np.eye(6, dtype=np.float32)[n])
crowds = st.lists(
    st.builds(
        Candidate,
        id=st.integers(0, 10**6),
        semantic=st.floats(-1, 1),
        emotion=emotions,
        age_seconds=st.floats(-10, 1e12),
        importance=st.floats(0, 1),
        uses=st.integers(0, 10**6),
        pinned=st.booleans(),
        vector=st.none() | directions,
        lexical=st.floats(0, 100),
    ),
    max_size=30,
    unique_by=lambda one: one.id,
)


@given(crowds, emotions, st.sampled_from((*PAPER, "calibrated")), st.integers(0, 12))
def test_every_candidate_gets_one_place_and_a_reason(crowd, felt, strategy, limit):
    ranked = rank(crowd, felt, strategy, limit=limit)
    assert sorted(one.id for one in ranked) == sorted(one.id for one in crowd)
    assert [one.rank for one in ranked] == list(range(1, len(crowd) + 1))
    assert [one.kept for one in ranked] == sorted((one.kept for one in ranked), reverse=True)
    assert sum(one.kept for one in ranked) <= limit
    assert all(one.reason for one in ranked)
    assert all(math.isfinite(one.score) for one in ranked)


@given(crowds, emotions, st.randoms())
def test_the_order_of_candidates_does_not_matter(crowd, felt, random):
    shuffled = list(crowd)
    random.shuffle(shuffled)
    for strategy in PAPER:
        assert rank(crowd, felt, strategy) == rank(shuffled, felt, strategy)


@given(crowds, emotions)
def test_a_calibrated_score_is_the_sum_of_its_components(crowd, felt):
    for one in rank(crowd, felt):
        assert one.score == pytest.approx(sum(one.components.values()))
        assert set(one.components) == COMPONENTS


@pytest.mark.parametrize("strategy", [*PAPER, "calibrated"])
def test_nothing_to_rank_is_nothing_ranked(strategy):
    assert rank([], SAD, strategy) == ()


@pytest.mark.parametrize(
    ("candidates", "felt", "message"),
    [
        ([Candidate(1, 0.5), Candidate(1, 0.6)], None, "same id"),
        ([Candidate(1, float("nan"))], None, "candidate 1 has a number that is not finite"),
        ([Candidate(3, 0.5, lexical=float("inf"))], None, "candidate 3"),
        ([Candidate(1, 0.5, np.zeros(7, np.float32))], None, "emotion of candidate 1 must be 8"),
        ([Candidate(1, 0.5)], np.full(8, np.nan, np.float32), "emotion of the query"),
    ],
)
@pytest.mark.parametrize("strategy", ["c-a", "calibrated"])
def test_numbers_that_are_none_are_refused(candidates, felt, message, strategy):
    with pytest.raises(ValueError, match=message):
        rank(candidates, felt, strategy)


def test_an_unknown_strategy_or_limit_is_refused():
    with pytest.raises(ValueError, match="'S-C' is not one of ordinary, c-a, c-m, s-s, s-e"):
        rank(FIVE, SAD, "S-C")
    with pytest.raises(ValueError, match="limit"):
        rank(FIVE, SAD, limit=-1)


def test_components_are_standardised_before_they_are_weighted():
    # cosines .80 and .82 and scores 5 and 15 both become -1 and 1
    crowd = [Candidate(1, 0.82, lexical=5), Candidate(2, 0.80, lexical=15)]
    how = Calibration(Weights(semantic=1, lexical=0.5))
    first, second = rank(crowd, None, calibration=how)
    assert (first.id, first.score) == (1, pytest.approx(0.5))
    assert first.components == pytest.approx({**dict.fromkeys(COMPONENTS, 0), "semantic": 1, "lexical": -0.5})
    assert second.score == pytest.approx(-0.5)


def test_one_rare_word_does_not_outweigh_everything():
    crowd = [Candidate(n, 0.8 + n / 1000) for n in range(50)] + [Candidate(99, 0.8, lexical=1e6)]
    lexical = {
        one.id: one.components["lexical"] for one in rank(crowd, None, calibration=Calibration(Weights(lexical=1)))
    }
    assert lexical[99] == pytest.approx(3)


def emotional(crowd, felt):
    return {one.id: one.components["emotional"] for one in rank(crowd, felt)}


def test_without_a_mood_or_an_emotion_nothing_is_said():
    crowd = [Candidate(1, 0.9, SAD), Candidate(2, 0.8, FLAT), Candidate(3, 0.7, None), Candidate(4, 0.6, JOY)]
    for felt in (None, FLAT):
        assert set(emotional(crowd, felt).values()) == {0}
    weighed = emotional(crowd, SAD)
    assert weighed[3] == 0
    assert weighed[1] > 0 > weighed[2] == pytest.approx(weighed[4])


def test_a_faint_mood_counts_by_its_share_of_the_floor_and_never_draws_flat_memories():
    crowd = [Candidate(1, 0.8, SAD), Candidate(2, 0.8, FLAT), Candidate(3, 0.8, feeling(sadness=0.01))]
    faint, floor = emotional(crowd, feeling(sadness=0.05)), emotional(crowd, feeling(sadness=0.1))
    assert faint == {name: pytest.approx(weight / 2) for name, weight in floor.items()}
    assert faint[1] > faint[3] > faint[2]


@pytest.mark.parametrize(
    ("cosine", "words", "decides"),
    [(0.8, 2, True), (0.8, 50, True), (1.0, 2, True), (1.0, 50, False)],
    ids=["nothing", "a rare word", "the meaning", "meaning and words"],
)
def test_the_mood_decides_unless_one_row_stands_out_by_meaning_and_by_words(cosine, words, decides):
    crowd = [Candidate(n, 0.8 + n / 1000, SAD if n % 2 else JOY, lexical=n % 5) for n in range(40)]
    weighed = emotional([*crowd, Candidate(99, cosine, FEAR, lexical=words)], SAD)
    assert (weighed[1] > 0.5) == decides
    assert any(weighed.values()) == decides


def test_equal_in_everything_else_the_same_mood_wins():
    crowd = [Candidate(1, 0.8, JOY), Candidate(2, 0.8, SAD), Candidate(3, 0.8, FEAR)]
    assert rank(crowd, SAD)[0].id == 2
    assert rank(crowd, JOY)[0].id == 1


def test_sadness_does_not_recall_only_sadness():
    crowd = [Candidate(n, 0.9 - n / 1000, SAD) for n in range(20)] + [
        Candidate(100 + n, 0.7 - n / 1000, JOY) for n in range(5)
    ]
    ranked = rank(crowd, SAD, limit=10)
    assert kept(ranked) == [0, 1, 2, 3, 4, 5, 6, 7, 100, 101]
    assert next(one for one in ranked if one.id == 8).reason == "gave way: 8 of 10 places may share the mood's sadness"


def test_places_that_nothing_else_wants_go_to_the_mood_after_all():
    crowd = [Candidate(n, 0.9 - n / 1000, SAD) for n in range(20)]
    assert kept(rank(crowd, SAD, limit=10)) == list(range(10))
    assert kept(rank(crowd, SAD, limit=1)) == [0]


def test_a_single_place_goes_to_the_best_whatever_its_mood():
    assert kept(rank([Candidate(1, 0.9, SAD), Candidate(2, 0.1, JOY)], SAD, limit=1)) == [1]


def test_pins_come_first_and_take_no_part_in_any_cut():
    pinned = [Candidate(50 + n, 0.1, SAD, pinned=True, vector=np.eye(3, dtype=np.float32)[0]) for n in range(2)]
    crowd = [Candidate(n, 0.9, SAD) for n in range(5)] + pinned
    ranked = rank(crowd, SAD, limit=3)
    assert kept(ranked)[:2] == [50, 51]
    assert ranked[0].reason == "pinned"
    assert set(kept(rank([*pinned, Candidate(1, 0.9, JOY)], SAD, limit=2))) == {50, 51}, (
        "moods are not rationed to pins"
    )
    assert len(kept(rank(pinned, SAD, limit=1))) == 1, "but there is no place beyond the limit"


def test_near_duplicates_give_their_place_to_something_new():
    a, b = np.eye(3, dtype=np.float32)[:2]
    almost = np.array([0.98, math.sqrt(1 - 0.98**2), 0], np.float32)
    crowd = [
        Candidate(1, 0.9, vector=a),
        Candidate(2, 0.89, vector=almost),
        Candidate(3, 0.5, vector=b),
        Candidate(4, 0.4),
    ]
    ranked = rank(crowd, None, limit=3)
    assert kept(ranked) == [1, 3, 4]
    assert ranked[-1].reason == "says nearly the same as 1"


def test_what_resembles_a_kept_row_loses_its_lead_over_what_is_new():
    east, north = np.eye(2, dtype=np.float32)
    near_east = np.array([0.9, math.sqrt(1 - 0.81)], np.float32)
    crowd = [
        Candidate(1, 0.90, vector=east),
        Candidate(2, 0.86, vector=near_east),
        Candidate(3, 0.85, vector=north),
        Candidate(4, 0.10, vector=-east),
    ]
    assert kept(rank(crowd, None, limit=2)) == [1, 3]
    assert kept(rank(crowd, None, limit=2, calibration=Calibration(Weights(variety=0)))) == [1, 2]
    variety = {one.id: one.components["variety"] for one in rank(crowd, None, limit=2)}
    assert variety[1] == 0
    assert variety[2] < variety[4] <= 0


def test_a_row_is_found_by_what_was_said_around_it():
    crowd = [Candidate(1, 0.80, context=0.95), Candidate(2, 0.81, context=0.80), Candidate(3, 0.79, context=0.79)]
    assert rank(crowd, None)[0].id == 1


def test_who_is_named_is_heard_first():
    crowd = [Candidate(1, 0.80), Candidate(2, 0.79, spoken=1.0), Candidate(3, 0.2)]
    assert rank(crowd, None)[0].id == 2


def test_looking_at_all_rows_finds_what_ranking_all_rows_keeps():
    generator = np.random.default_rng(7)
    cosines = np.round(generator.uniform(0.7, 0.9, 300), 2).astype(np.float32)
    emotions = np.round(generator.uniform(0, 1, (300, 8)), 1).astype(np.float32)
    ids = generator.permutation(300).astype(np.int64)
    everyone = [Candidate(int(ids[n]), float(cosines[n]), emotions[n]) for n in range(300)]
    for strategy in PAPER:
        near = nearest_by_paper(cosines, emotions, SAD, strategy, ids=ids, limit=10)
        assert len(near) == 20
        chosen = [everyone[n] for n in near]
        assert kept(rank(chosen, SAD, strategy)) == kept(rank(everyone, SAD, strategy)), strategy


def test_what_is_recalled_often_is_forgotten_slowly():
    assert retention(0, 0) == 1
    assert retention(30 * DAY, 0) == pytest.approx(math.exp(-1))
    assert strength(0) == 1
    assert retention(30 * DAY, 5) == pytest.approx(math.exp(-1 / (1 + math.log(6))))
    assert retention(-5, 0) == 1
    assert retention(1e30, 0) == 0
    with pytest.raises(ValueError, match="tau"):
        retention(1, 0, 0)


@given(st.floats(1, 1e9), st.integers(0, 1000), st.floats(1, 1e9))
def test_forgetting_has_the_right_sign(age, uses, tau):
    assert retention(age, uses + 1, tau) >= retention(age, uses, tau)
    assert retention(age * 2, uses, tau) <= retention(age, uses, tau)


def test_age_moves_a_memory_down_but_never_out_and_a_pin_does_not_age():
    crowd = [Candidate(1, 0.8, age_seconds=90 * DAY), Candidate(2, 0.8, age_seconds=DAY)]
    assert kept(rank(crowd, None)) == [2, 1]
    old, young, pinned = (
        Candidate(1, 0.8, age_seconds=90 * DAY),
        Candidate(2, 0.8),
        Candidate(3, 0.8, age_seconds=1e9, pinned=True),
    )
    recency = {one.id: one.components["recency"] for one in rank([old, young, pinned], None)}
    assert recency[3] == recency[2] > recency[1]


def test_an_often_recalled_memory_of_the_same_age_ranks_higher():
    crowd = [Candidate(1, 0.8, age_seconds=60 * DAY), Candidate(2, 0.8, age_seconds=60 * DAY, uses=8)]
    assert rank(crowd, None)[0].id == 2


def test_importance_decides_between_equals():
    assert rank([Candidate(1, 0.8, importance=0.1), Candidate(2, 0.8, importance=0.9)], None)[0].id == 2


def test_seconds_between_memories_of_one_talk_decide_nothing():
    def told(seconds):
        return [Candidate(n, 0.8, age_seconds=seconds * n, importance=0.1 * n, uses=n % 3) for n in range(1, 6)]

    slow, fast = rank(told(9.0), None), rank(told(0.05), None)
    assert [one.id for one in slow] == [one.id for one in fast]
    for one in (*slow, *fast):
        assert abs(one.components["recency"]) < 0.01
    days = rank([Candidate(1, 0.8, age_seconds=3 * DAY), Candidate(2, 0.8, age_seconds=2 * DAY)], None)
    assert [one.components["recency"] for one in days] == pytest.approx([0.1, -0.1])
