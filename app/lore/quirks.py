"""Peculiarities of SillyTavern's world info that can be had by name. Without any of them plain rules hold.

The first twenty are named as in recorded runs of version 1.12.6; the last two are where our own rules differ.
"""

from __future__ import annotations

from typing import Literal, get_args

Quirk = Literal[
    "equal_order_is_reversed",  # of equal `order`, what was activated later comes first in the text
    "first_delay_level_has_no_pass",  # the lowest delay level waits for ordinary recursion or for a second level
    "whole_word_is_ascii",  # a word ends where ASCII letters, digits and _ end: é ends one, and so does Chinese
    "x01_marks_message_start",  # a U+0001 before each message takes part in matching
    "depth_zero_is_blind",  # scan depth 0 sees neither scanned prompts nor what recursion brought
    "delay_levels_recurse_with_recursion_off",  # further delay levels get their pass with recursion off
    "whitespace_key_always_matches",  # a key of white space is found in every text
    "invalid_regex_is_plain_text",  # a /…/ key that is no regular expression is searched as it stands
    "group_double_removal",  # who loses in two groups takes the last candidate of the pass along
    "budget_counts_scanned_text_only",  # later passes count what recursion scanned, not what was accepted
    "group_closed_by_whole_string",  # an entry of `a, b` closes neither a nor b
    "note_entries_lost",  # entries at the author's note are placed nowhere when no note is due
    "group_drops_sticky_on_cooldown",  # a sticky entry whose cooldown runs wins its group and is removed from it
    "null_depth_slot",  # without a depth: joins a slot of depth 4 that exists, else opens one that nobody joins
    "delay_levels_after_overflow",  # further delay levels get their pass after the budget was full
    "min_activations_one_too_deep",  # minimum activations read one message beyond their maximum depth
    "score_uses_raw_keys",  # group scoring looks for keys as they are written, and an empty one is a hit
    "dry_run_skips_timers",  # a dry run looks at no timer
    "edit_changes_hash",  # any change of an entry ends its timers; the stale record blocks a new one
    "decorators_only_content_is_text",  # content of decorator lines alone stays in the text
    "constants_have_no_precedence",  # constants wait for their turn in the budget; `priority` means nothing
    "few_decorators",  # @@activate and @@dont_activate are the only decorators
]
SILLYTAVERN: frozenset[Quirk] = frozenset(get_args(Quirk))
OURS: frozenset[Quirk] = frozenset({"x01_marks_message_start"})
"""What turns use: SillyTavern's documentation tells authors to use U+0001 for finding where a message begins."""
