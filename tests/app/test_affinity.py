from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.bond.affinity import (
    HIGHEST,
    HYSTERESIS,
    LOWEST,
    Felt,
    Moved,
    Put,
    Rules,
    Span,
    Standing,
    Step,
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


RULES = Rules(stages=tuple(STAGES))


def moved(affinity: float, emotion: np.ndarray, rules: Rules = RULES) -> float:
    return stepped(replace(strangers(rules), affinity=affinity), Felt(emotion), rules).affinity


def test_showing_up_alone_brings_people_closer() -> None:
    assert moved(10, feeling()) == 10.5


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


OWN = Rules(
    stages=tuple(STAGES),
    spans={"affinity": Span(20), "trust": Span(1, -5, 5)},
    feelings={"turn": {"affinity": 1}, "anger": {"affinity": -10, "trust": -2}, "joy": {"trust": 1}},
    hysteresis=1,
    inertia=0,
)
numbers = st.dictionaries(st.sampled_from(["affinity", "trust", "unknown"]), st.floats(-50, 150), max_size=3)
steps = st.lists(
    st.one_of(
        st.builds(Felt, arrays.arrays(np.float32, 8, elements=st.floats(0, 1, width=32))),
        st.builds(Moved, numbers),
        st.builds(Put, numbers),
    ),
    max_size=30,
)


def told(standing: Standing) -> tuple[float, str, bytes, int, dict[str, float]]:
    return standing.affinity, standing.stage, standing.mood.tobytes(), standing.turns, dict(standing.variables)


def last(*taken: Step, rules: Rules = RULES) -> Standing:
    return list(replayed(strangers(rules), taken, rules))[-1]


@given(steps, steps, st.sampled_from([RULES, OWN]))
def test_counting_one_step_after_the_other_equals_summing_all_up_anew(
    before: list[Step], after: list[Step], rules: Rules
) -> None:
    standing = last(*before, rules=rules)
    for step in after:
        standing = stepped(standing, step, rules)
    assert told(standing) == told(last(*before, *after, rules=rules))
    assert standing.turns == sum(isinstance(step, Felt) for step in [*before, *after])


@given(steps)
def test_every_number_stays_between_its_bounds(taken: list[Step]) -> None:
    for standing in replayed(strangers(OWN), taken, OWN):
        assert 0 <= standing.affinity <= 100
        assert standing.variables.keys() == {"trust"}
        assert -5 <= standing.variables["trust"] <= 5


def test_those_who_have_not_met_stand_where_the_rules_begin() -> None:
    assert told(strangers(Rules())) == (LOWEST, "", bytes(32), 0, {})
    assert told(strangers(OWN)) == (20, "stranger", bytes(32), 0, {"trust": 1})


def test_feelings_move_what_the_rules_say() -> None:
    assert told(last(Felt(feeling(anger=0.5)), rules=OWN))[::4] == (16, {"trust": 0})
    assert told(last(Felt(feeling(joy=1)), rules=OWN))[::4] == (21, {"trust": 2})


def test_what_happens_moves_numbers_and_neither_mood_nor_turns() -> None:
    standing = last(Felt(feeling(joy=1)), Moved({"affinity": 19, "trust": 9}), rules=OWN)
    assert (standing.affinity, standing.stage, standing.variables, standing.turns) == (40, "friend", {"trust": 5}, 1)
    assert standing.mood[0] == 1


def test_a_set_affinity_is_in_its_stage_at_once_while_a_falling_one_lingers() -> None:
    falling = last(Put({"affinity": 81}), Moved({"affinity": -2}))
    assert (falling.affinity, falling.stage) == (79, "sworn")
    assert last(Put({"affinity": 81}), Put({"affinity": 79})).stage == "friend"


def test_rules_have_another_digest_when_anything_in_them_is_another() -> None:
    other = [
        Rules(),
        replace(RULES, stages=(Stage("friend", 41), Stage("stranger", 0), Stage("sworn", 80))),
        replace(RULES, spans={"affinity": Span(1)}),
        replace(RULES, feelings={"turn": {"affinity": 1}}),
        replace(RULES, hysteresis=4),
        replace(RULES, inertia=0.5),
    ]
    assert len({rules.digest for rules in [RULES, *other]}) == 7
    assert Rules(stages=tuple(STAGES)).digest == RULES.digest
