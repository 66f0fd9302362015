"""Whose turn it is in a group."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.groups.mention import mentioned
from app.groups.order import Floor, Order, Voice, next_speakers

MARA, BOB, LI = Voice("m", "Mara"), Voice("b", "Bob the Miller"), Voice("l", "李小龙")
ALL = (MARA, BOB, LI)


@pytest.mark.parametrize(
    ("text", "names", "named"),
    [
        ("Bob, and you Mara?", ["Mara", "Bob the Miller"], [1, 0]),
        ("what does the miller say", ["Mara", "Bob the Miller"], [1]),
        ("the bobbin and the marathon", ["Mara", "Bob the Miller"], []),
        ("MARA's lamp", ["Mara"], [0]),
        ("Mara你在吗", ["Mara"], [0]),
        ("小龙，你怎么看？", ["Mara", "李小龙"], [1]),
        ("你问李小龙和王小雨吧", ["王小雨", "李小龙"], [1, 0]),
        ("小雨点来了", ["小雨", "小雨点"], [1]),
        ("小雨和小雨点都来了", ["小雨", "小雨点"], [0, 1]),
        ("Ana Smith, hello", ["Bob Smith", "Ana Smith"], [1]),
        ("Smith!", ["Bob Smith", "Ana Smith"], []),
        ("민지야, 안녕", ["민지"], [0]),
        ("", ["Mara"], []),
        ("Mara", ["", " "], []),
        ("the old one", ["The Old Man of the Sea"], []),
    ],
)
def test_who_is_named_is_found_in_any_script_and_only_as_a_name(text: str, names: list[str], named: list[int]) -> None:
    assert mentioned(text, names) == named


def test_who_is_named_speaks_first_in_natural_order() -> None:
    quiet = [Voice(v.id, v.name, talkativeness=0) for v in ALL]
    assert next_speakers(quiet, Floor("小龙, is Mara here?"), "natural", seed=1) == ("l", "m")


def test_who_is_talkative_speaks_unasked_and_who_is_silent_only_when_named() -> None:
    voices = [Voice("m", "Mara", talkativeness=1), Voice("b", "Bob", talkativeness=0)]
    for seed in range(50):
        assert next_speakers(voices, Floor("Is it late?"), "natural", seed=seed) == ("m",)
        assert next_speakers(voices, Floor("Bob?"), "natural", seed=seed) == ("b", "m")


def test_somebody_answers_although_all_are_silent() -> None:
    silent = [Voice(v.id, v.name, talkativeness=0) for v in ALL]
    chosen = {next_speakers(silent, Floor("Hello"), "natural", seed=seed) for seed in range(50)}
    assert chosen == {("m",), ("b",), ("l",)}


def test_a_talkative_member_is_drawn_about_as_often_as_it_is_talkative() -> None:
    voices = [Voice("m", "Mara", talkativeness=0.25), Voice("b", "Bob", talkativeness=1)]
    spoke = sum("m" in next_speakers(voices, Floor("Hm."), "natural", seed=seed) for seed in range(2_000))
    assert 430 < spoke < 570


def test_the_list_speaks_in_its_order() -> None:
    assert next_speakers((LI, MARA, BOB), Floor("Bob?"), "list", seed=3) == ("l", "m", "b")


def test_nobody_speaks_after_the_user_where_speakers_are_chosen_by_hand() -> None:
    assert next_speakers(ALL, Floor("Mara?"), "manual", seed=3) == ()
    assert len(next_speakers(ALL, Floor("Hm.", by_user=False, speaker="m"), "manual", seed=3)) == 1


def test_the_pool_goes_round_before_anyone_speaks_twice() -> None:
    spoken: list[str] = []
    for seed in range(3):
        floor = Floor("…", by_user=not spoken, speaker=spoken[-1] if spoken else None, spoken=frozenset(spoken))
        spoken += next_speakers(ALL, floor, "pooled", seed=seed)
    assert sorted(spoken) == ["b", "l", "m"]
    floor = Floor("…", by_user=False, speaker=spoken[-1], spoken=frozenset(spoken))
    after = {next_speakers(ALL, floor, "pooled", seed=seed)[0] for seed in range(50)}
    assert after == {"b", "l", "m"} - {spoken[-1]}


def test_nobody_speaks_twice_in_a_row_unless_that_is_allowed() -> None:
    floor = Floor("I said so, said Mara.", by_user=False, speaker="m", spoken=frozenset("mbl"))
    voices = [Voice(v.id, v.name, talkativeness=1) for v in ALL]
    orders: tuple[Order, ...] = ("natural", "pooled", "manual")
    for order in orders:
        assert all("m" not in next_speakers(voices, floor, order, seed=seed) for seed in range(30))
        assert any("m" in next_speakers(voices, floor, order, seed=seed, again=True) for seed in range(30))


@given(
    talkativeness=st.lists(st.floats(0, 1), min_size=0, max_size=6),
    muted=st.sets(st.integers(0, 5)),
    text=st.sampled_from(["", "V0 and V3", "V5?", "你好"]),
    order=st.sampled_from(["natural", "list", "manual", "pooled"]),
    seed=st.integers(-(2**63), 2**63 - 1),
    by_user=st.booleans(),
    again=st.booleans(),
)
def test_a_muted_member_never_speaks_and_the_same_seed_gives_the_same_order(
    talkativeness: list[float], muted: set[int], text: str, order: Order, seed: int, by_user: bool, again: bool
) -> None:
    voices = [Voice(str(n), f"V{n}", share, n in muted) for n, share in enumerate(talkativeness)]
    floor = Floor(text, by_user, None if by_user else "0", frozenset() if by_user else frozenset("0"))
    first = next_speakers(voices, floor, order, seed=seed, again=again)
    assert first == next_speakers(voices, floor, order, seed=seed, again=again)
    assert len(set(first)) == len(first)
    assert not muted & {int(name) for name in first}
    able = [voice for voice in voices if not voice.muted]
    assert bool(first) == (bool(able) and (order != "manual" or not by_user))
