"""SillyTavern's own JSON, there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lore.entry import POSITIONS, CharacterFilter, Entry
from app.lore.native import read_entries, read_entry, read_settings, write_entries, write_entry


def test_every_native_field_is_read() -> None:
    got = read_entry(
        {
            **{"uid": 7, "key": ["a"], "keysecondary": ["b"], "selective": True, "selectiveLogic": 3, "comment": "n"},
            **{"content": "c", "position": 4, "depth": 2, "role": 1, "order": 50, "disable": True, "probability": 33.3},
            **{"useProbability": True, "group": "g", "groupWeight": 5, "sticky": 3, "cooldown": None, "delay": 0},
            **{"delayUntilRecursion": True, "matchScenario": True, "triggers": ["continue"], "outletName": "o"},
            **{"characterFilter": {"isExclude": True, "names": ["Mara"], "tags": []}, "automationId": "x"},
        }
    )
    assert got == Entry(
        **{"uid": "7", "content": "c", "name": "n", "keys": ("a",), "secondary_keys": ("b",), "logic": "and_all"},
        **{"position": "depth", "depth": 2, "role": "user", "order": 50, "enabled": False, "probability": 33.3},
        **{"group": "g", "group_weight": 5, "sticky": 3, "delay_until_recursion": 1, "match": ("scenario",)},
        triggers=("continue",),
        outlet="o",
        only_for=CharacterFilter(True, ("Mara",), ()),
        digest=got.digest,
        extra={"automationId": "x", "useProbability": True},
    )


def test_what_is_missing_or_no_such_thing_is_as_sillytavern_takes_it() -> None:
    got = read_entry({"key": None, "keysecondary": "b, c", "position": 99, "order": "12", "probability": float("nan")})
    assert (got.keys, got.secondary_keys, got.position, got.order, got.probability) == (
        *((), ("b", "c"), "before"),
        *(12, 100),
    )
    assert read_entry({"probability": 5, "useProbability": False}).probability == 100


@pytest.mark.parametrize("raw", [{}, {"entries": 3}, {"entries": ["x"]}])
def test_what_is_no_book_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="world-info"):
        read_entries(raw)


def test_entries_come_by_ascending_number_and_a_list_will_do() -> None:
    raw = {"entries": {"10": {"uid": 10}, "9": {"uid": 9}}}
    assert [entry.uid for entry in read_entries(raw)] == ["9", "10"]
    assert [entry.uid for entry in read_entries({"entries": [{}, {}]})] == ["0", "1"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [*write_entry(Entry("1", ""), 1), "characterFilter", "unknown"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=12))
def test_whatever_comes_in_is_read_and_stays_what_it_was_read_as(raw: dict[str, object]) -> None:
    first = read_entry(raw)
    again = read_entry(json.loads(json.dumps(write_entry(first, 1))))
    ignored = {"uid": "1", "digest": "", "extra": {}}
    assert {k: getattr(again, k) for k in Entry.__slots__ if k not in ignored} == {
        k: getattr(first, k) for k in Entry.__slots__ if k not in ignored
    }


def test_uids_that_are_no_numbers_get_free_ones() -> None:
    written = write_entries([Entry("abc", "x"), Entry("0", "y"), Entry("def", "z")])
    assert list(written["entries"]) == ["1", "0", "2"]


def test_the_budget_is_a_share_of_the_context_with_a_cap() -> None:
    assert read_settings({"world_info_budget": 25}, 1001)[0].budget == 250
    assert read_settings({"world_info_budget": 50, "world_info_budget_cap": 79}, 8000)[0].budget == 79
    assert read_settings({"world_info_budget": 0}, 8000)[0].budget == 1


def test_a_real_native_file_is_read_and_written_without_loss(bench_data: Path) -> None:
    files = [file for file in (bench_data / "cards").glob("*.json") if '"keysecondary"' in file.read_text("utf-8")]
    assert files
    for file in files:
        raw = json.loads(file.read_text("utf-8"))
        written = write_entries(read_entries(raw))["entries"]
        for uid, entry in raw["entries"].items():
            assert POSITIONS[written[uid]["position"]]
            kept = {name: written[uid].get(name) for name in entry}
            assert {k: v for k, v in kept.items() if v not in (None, 0)} == {
                k: v for k, v in entry.items() if v not in (None, 0)
            }
