"""Decorator lines at the head of an entry's content."""

from __future__ import annotations

from typing import Any

import pytest

from app.lore.decorators import read_decorators
from app.lore.entry import Entry
from app.lore.judge import Chat
from app.lore.quirks import SILLYTAVERN
from tests.app.lore.test_activate import fate, read


def entry(content: str, **fields: Any) -> Entry:
    return Entry("1", content, **{"keys": ("dragon",), **fields})


def test_decorators_change_the_entry_and_are_not_told() -> None:
    text = "@@depth 2\n@@role assistant\n@@scan_depth 7\n@@keep_activate_after_match\nDragons sleep."
    got, _ = read_decorators(entry(text))
    assert (got.content, got.position, got.depth, got.role, got.scan_depth) == (
        *("Dragons sleep.", "depth", 2, "assistant"),
        7,
    )
    assert read([entry(text)]).fired[0].content == "Dragons sleep."


def test_a_fallback_counts_only_after_a_line_that_is_not_known() -> None:
    assert read_decorators(entry("@@mood_depth 1\n@@@depth 5\nx"))[0].depth == 5
    assert read_decorators(entry("@@depth 3\n@@@depth 5\nx"))[0].depth == 3
    assert read_decorators(entry("@@unknown\n@@@also_unknown\n@@@depth 6\nx"))[0].depth == 6
    assert read_decorators(entry("@@depth deep\n@@@depth 5\nx"))[0].depth == 5


def test_the_first_of_several_lines_counts() -> None:
    assert read_decorators(entry("@@depth 3\n@@depth 5\nx"))[0].depth == 3


def test_an_entry_can_be_made_to_speak_always_or_never_and_always_wins() -> None:
    assert fate(entry("@@activate\nx", keys=())).reason == "decorator"
    assert fate(entry("@@dont_activate\nx")).reason == "dont_activate"
    assert fate(entry("@@dont_activate\n@@activate\nx")).fired


@pytest.mark.parametrize(
    ("line", "replies", "fired"),
    [
        ("@@activate_only_after 2", 1, False),
        ("@@activate_only_after 2", 2, True),
        ("@@activate_only_every 3", 3, True),
        ("@@activate_only_every 3", 4, False),
    ],
)
def test_an_entry_can_count_replies(line: str, replies: int, fired: bool) -> None:
    assert fate(entry(f"{line}\nx"), chat=Chat((), replies=replies)).fired is fired


def test_an_entry_can_be_for_one_greeting() -> None:
    assert fate(entry("@@is_greeting 1\nx"), chat=Chat((), greeting=1)).fired
    assert fate(entry("@@is_greeting 1\nx"), chat=Chat((), greeting=0)).reason == "is_greeting"


def test_more_keys_can_be_asked_for_and_others_forbidden() -> None:
    assert fate(entry("@@additional_keys moon, tower\nx")).fired
    assert fate(entry("@@additional_keys moon\nx")).reason == "additional_keys"
    assert fate(entry("@@additional_keys tower\n@@additional_keys moon\nx")).reason == "additional_keys"
    assert fate(entry("@@exclude_keys tower\nx")).reason == "exclude_keys"


def test_an_entry_can_speak_once_and_rest_for_good_or_speak_on_for_good() -> None:
    once, on = entry("@@dont_activate_after_match\nx"), entry("@@keep_activate_after_match\nx")
    for one, reason in ((once, "cooldown"), (on, "sticky")):
        timers = read([one], ["dragon"]).timers
        assert fate(one, ["dragon", *"abcdefgh"], timers=timers).reason == reason


def test_with_few_decorators_others_are_only_taken_out_and_lines_alone_stay_text() -> None:
    got = read([entry("@@depth 2\nx")], quirks=SILLYTAVERN).fired[0]
    assert (got.content, got.position) == ("x", "after")
    assert read([entry("@@activate")], quirks=SILLYTAVERN).fired[0].content == "@@activate"
    assert read([entry("@@activate")]).fired[0].content == ""
