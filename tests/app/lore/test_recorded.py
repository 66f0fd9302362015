"""SillyTavern's recorded runs: matched in full with its peculiarities on, and by the plain rules where none decides."""

from __future__ import annotations

import pytest

from app.lore.quirks import SILLYTAVERN, Quirk
from tests.app.lore.recorded import TEXTS, VECTORS, WHOLE, parted, read_vectors

BEYOND_RE2 = {"wi-1386", "wi-1651", "wi-2056", "wi-2294"}
"""Backreferences."""
CONSTANTS_FIRST = {
    *("wi-0056", "wi-0430", "wi-1532", "wi-1549", "wi-1730", "wi-1759", "wi-1969", "wi-1979", "wi-1996", "wi-2136"),
    *("wi-2206", "wi-2305", "wi-2363"),
}
MORE_DECORATORS = {"wi-0714"}
CHINESE_WORDS = {"wi-1436", "wi-1600", "wi-2424"}
OWN: frozenset[Quirk] = frozenset({"constants_have_no_precedence", "few_decorators", "whole_word_is_ascii"})
OUTCOME = tuple(field for field in WHOLE if field != "trace")
SEEN = ("activated_sorted", *TEXTS, "budget", "overflow", "timed")

pytestmark = pytest.mark.skipif(
    not VECTORS.is_file(), reason=f"needs the recorded runs at {VECTORS} (set MOODLINE_BENCH_DATA)"
)


def test_with_every_peculiarity_on_runs_are_matched_in_order_texts_tokens_timers_draws_and_passes() -> None:
    vectors = read_vectors()
    different = {vector["id"] for vector in vectors if parted(vector, SILLYTAVERN)}
    assert different == BEYOND_RE2
    decided = [vector for vector in vectors if vector["quirks"] and vector["id"] not in different]
    plain = [vector for vector in vectors if not vector["quirks"] and vector["id"] not in different]
    assert (len(decided), len(plain)) == (487, 331)


def test_runs_that_no_peculiarity_decides_need_none_but_for_where_we_differ_on_purpose() -> None:
    plain = [vector for vector in read_vectors() if not vector["quirks"] and vector["id"] not in BEYOND_RE2]
    different = {vector["id"] for vector in plain if parted(vector, frozenset(), SEEN)}
    assert different == CONSTANTS_FIRST | MORE_DECORATORS | CHINESE_WORDS
    assert len(plain) - len(different) == 314
    ours = [vector for vector in plain if vector["id"] in different]
    assert not [vector["id"] for vector in ours if parted(vector, OWN, SEEN)]


@pytest.mark.parametrize(
    "quirk",
    [
        *("delay_levels_after_overflow", "depth_zero_is_blind", "dry_run_skips_timers", "edit_changes_hash"),
        *("group_closed_by_whole_string", "group_double_removal", "group_drops_sticky_on_cooldown"),
        *("min_activations_one_too_deep", "note_entries_lost", "null_depth_slot", "whitespace_key_always_matches"),
        *("x01_marks_message_start", "decorators_only_content_is_text"),
    ],
)
def test_taking_one_peculiarity_out_changes_just_the_runs_that_it_decides(quirk: Quirk) -> None:
    vectors = [vector for vector in read_vectors() if vector["id"] not in BEYOND_RE2]
    decided = {vector["id"] for vector in vectors if quirk in vector["quirks"]}
    others = [vector for vector in vectors if vector["id"] not in decided][::10]
    checked = [vector for vector in vectors if vector["id"] in decided] + others
    assert decided
    assert {vector["id"] for vector in checked if parted(vector, SILLYTAVERN - {quirk}, OUTCOME)} == decided
