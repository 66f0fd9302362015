from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.bond.affinity import (
    HIGHEST,
    HYSTERESIS,
    LOWEST,
    SHOWING_UP,
    Standing,
    moved,
    replayed,
    stage_of,
    stepped,
    strangers,
)
from retrieval.emotion import EMOTIONS


@dataclass(frozen=True)
class Stage:
    name: str
    affinity: float


STAGES = [Stage("friend", 40), Stage("stranger", 0), Stage("sworn", 80)]


def feeling(**intensities: float) -> np.ndarray:
    return np.array([intensities.get(name, 0.0) for name in EMOTIONS], np.float32)


def name_of(affinity: float, current: str = "") -> str:
    stage = stage_of(affinity, STAGES, current)
    return stage.name if stage else ""


def test_showing_up_alone_brings_people_closer() -> None:
    assert moved(10, feeling()) == 10 + SHOWING_UP


def test_warmth_brings_people_closer_and_anger_and_disgust_push_them_apart() -> None:
    assert moved(10, feeling(joy=1)) > moved(10, feeling(sadness=1)) > 10
    assert moved(10, feeling(acceptance=1)) > 10
    assert moved(10, feeling(anger=1)) < 10
    assert moved(10, feeling(disgust=1)) < 10


@given(
    st.floats(0, 100),
    arrays.arrays(np.float32, 8, elements=st.floats(0, 1, width=32)),
)
def test_affinity_stays_between_its_bounds(affinity: float, emotion: np.ndarray) -> None:
    assert LOWEST <= moved(affinity, emotion) <= HIGHEST


def test_a_long_quarrel_ends_at_nothing_and_a_long_friendship_at_everything() -> None:
    low = high = 50.0
    for _ in range(100):
        low, high = moved(low, feeling(anger=1)), moved(high, feeling(joy=1))
    assert (low, high) == (LOWEST, HIGHEST)


@pytest.mark.parametrize(
    ("affinity", "stage"),
    [(0, "stranger"), (39.99, "stranger"), (40, "friend"), (79.99, "friend"), (80, "sworn"), (100, "sworn")],
)
def test_a_stage_begins_at_its_threshold(affinity: float, stage: str) -> None:
    assert name_of(affinity) == stage
    assert name_of(affinity, "a stage that is no more") == stage


def test_a_stage_is_left_only_well_below_its_threshold() -> None:
    assert name_of(40 - HYSTERESIS, "friend") == "friend"
    assert name_of(40 - HYSTERESIS - 0.01, "friend") == "stranger"
    assert name_of(40 - HYSTERESIS, "stranger") == "stranger", "on the way up the threshold itself counts"
    assert name_of(80 - HYSTERESIS, "sworn") == "sworn"
    assert name_of(80 - HYSTERESIS - 0.01, "sworn") == "friend"


def test_going_back_and_forth_at_a_threshold_does_not_flicker() -> None:
    stage, seen = "", []
    for affinity in (39, 41, 39, 41, 38, 40, 36):
        stage = name_of(affinity, stage)
        seen.append(stage)
    assert seen == ["stranger", *["friend"] * 6]


def test_below_every_threshold_the_lowest_stage_holds() -> None:
    assert stage_of(1, [Stage("late", 50), Stage("early", 10)], "") == Stage("early", 10)


def test_without_stages_there_is_none() -> None:
    assert stage_of(50, [], "friend") is None


emotions = st.lists(arrays.arrays(np.float32, 8, elements=st.floats(0, 1, width=32)), max_size=30)


def told(standing: Standing) -> tuple[float, str, bytes, int]:
    return standing.affinity, standing.stage, standing.mood.tobytes(), standing.turns


@given(emotions, emotions)
def test_counting_one_exchange_after_the_other_equals_summing_all_up_anew(
    before: list[np.ndarray], after: list[np.ndarray]
) -> None:
    standing = replayed(strangers(), before, STAGES)
    for emotion in after:
        standing = stepped(standing, emotion, STAGES)
    assert told(standing) == told(replayed(strangers(), [*before, *after], STAGES))
    assert standing.turns == len(before) + len(after)


def test_those_who_have_not_met_stand_at_nothing_and_in_no_stage() -> None:
    assert told(strangers()) == (LOWEST, "", bytes(32), 0)
    assert stepped(strangers(), feeling(), STAGES).stage == "stranger"
