"""Which lore may stand in the stable prefix of a prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.chat.knowing import is_always_told
from app.lore.entry import DEFAULTS, Entry
from app.lore.index import Index
from app.lore.quirks import OURS

RULE = Entry("1", "Nobody lights the lamp but {{char}}.", constant=True)


def always(entry: Entry) -> bool:
    (item,) = Index([entry], DEFAULTS, OURS).items
    return is_always_told(item)


def test_what_is_constant_is_told_in_every_prompt() -> None:
    assert always(RULE)
    assert always(replace(RULE, sticky=3, order=7, keys=("lamp",)))


@pytest.mark.parametrize(
    "changed",
    [
        {"constant": False, "keys": ("lamp",)},
        {"probability": 50},
        {"group": "weather"},
        {"cooldown": 2},
        {"delay": 2},
        {"delay_until_recursion": 1},
        {"triggers": ("continue",)},
        {"content": "It is {{time}}."},
        {"content": "{{random:fog,sun}} today."},
        {"content": "@@activate_only_every 3\nThe bell rings."},
    ],
)
def test_what_may_be_missing_or_read_differently_next_time_is_not(changed: dict[str, Any]) -> None:
    assert not always(replace(RULE, **changed))
