from __future__ import annotations

from typing import Any

import pytest

from app.bond.judge import read_judgement


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ('{"affinity": 2, "trust": -9, "luck": 3, "reason": "r"}', {"affinity": 2, "trust": -5, "reason": "r"}),
        ('```json\n{"affinity": 1}\n```', {"affinity": 1, "reason": ""}),
        ('{"affinity": "2", "trust": true, "reason": 1}', {"reason": ""}),
        ('{"affinity": NaN}', {"reason": ""}),
        ("[1, 2]", {}),
        ("", {}),
        ('{"a":' * 100_000, {}),
    ],
)
def test_only_numbers_that_were_asked_for_are_read_and_none_beyond_the_bounds(
    answer: str, read: dict[str, Any]
) -> None:
    assert read_judgement(answer, ["affinity", "trust"], 5) == read
