from __future__ import annotations

from typing import Any

import pytest

from app.lore.entry import Entry
from app.lore.ladder import ladders
from app.lore.specimen import specimen


def book(*keys: str, **more: Any) -> list[Entry]:
    """One entry for each key, named by its place, all of one inclusion group."""
    return [Entry(str(place), "x", name=f"s{place}", keys=(key,), group="g", **more) for place, key in enumerate(keys)]


def lows(entries: list[Entry]) -> list[tuple[int, int]]:
    """Of the only ladder, the places of its rungs and where each begins."""
    found = ladders(entries)
    assert len(found) <= 1
    return [(rung.place, rung.low) for rungs in found for rung in rungs]


@pytest.mark.parametrize(
    ("keys", "begin"),
    [
        (
            [r"/好感度[:：]\s*([0-9]|[1-3][0-9])\b/", r"/好感度[:：]\s*[4-6]\d\b/", r"/好感度[:：]\s*([7-9]\d|100)\b/"],
            [0, 40, 70],
        ),
        ([r"/好感度[:：]\s*([5-9]\d|100)\b/", r"/好感度[:：]\s*\d\b|好感度[:：]\s*[1-4]\d\b/"], [50, 0]),
        ([r"/<亲密值>(\d|[1-4]\d)<\/亲密值>/", r"/<亲密值>([5-9]\d|100)<\/亲密值>/"], [0, 50]),
        ([r"/\{\{char\}\}的好感度：(\d|1\d)\/100/", r"/\{\{char\}\}的好感度：([2-9]\d|100)\/100/"], [0, 20]),
        ([r"/affection:\s*([0-9]|[12][0-9])(?!\d)/i", r"/Affection:\s*([3-9]\d|100)(?!\d)/i"], [0, 30]),
        (
            [
                r"/Affinity Level\s*[:=]\s*\**(?:[1-9]|[1-4]\d|50)\b/i",
                r"/affinity level\s*[:=]\s*\**(5[1-9]|[6-9]\d)\b/i",
            ],
            [0, 51],
        ),
        ([r"/\[love\s?=\s?[0-4]?\d\]/", r"/\[love\s?=\s?(?:[5-9]\d|1\d{2})\]/"], [0, 50]),
    ],
)
def test_ranges_of_affinity_in_one_group_are_a_ladder_however_they_are_spelled(
    keys: list[str], begin: list[int]
) -> None:
    assert dict(lows(book(*keys))) == dict(enumerate(begin))
    assert [low for _, low in lows(book(*keys))] == sorted(begin)


def test_of_entries_that_several_numbers_call_the_one_with_precedence_is_the_stage() -> None:
    keys = [r"/affinity: \d+/", r"/affinity: ([4-9]\d|100)\b/", r"/affinity: ([8-9]\d|100)\b/"]
    entries = book(*keys, group_override=True)
    ordered = [Entry(**{**_fields(entry), "order": place}) for place, entry in enumerate(entries)]
    assert lows(ordered) == [(0, 0), (1, 40), (2, 80)]
    assert lows(book(*keys)) == [], "a draw decides among these"


TWO = (r"/affinity: ([0-9]|[1-4]\d)\b/", r"/affinity: ([5-9]\d|100)\b/")


@pytest.mark.parametrize(
    "entries",
    [
        book(r"/HP: ([0-9]|[1-4]\d)\b/", r"/HP: ([5-9]\d|100)\b/"),
        book(r"/好感度[:：]\s*([0-9]|[1-3][0-9])/", r"/好感度[:：]\s*([4-9]\d|100)/"),
        book(TWO[0], r"/affinity: ([7-9]\d|100)\b/"),
        book(r"/affinity: (\d|2\d)\b/", r"/affinity: (1\d|[3-9]\d|100)\b/"),
        book(*TWO, "quay"),
        book(*TWO, secondary_keys=("storm",), selective=True),
        book(*TWO, stages=()),
        book(TWO[0]),
        book(r"/affinity/", r"/affinity: \d+/"),
        book(r"/affinity: (\d+/", r"/affinity: [5-9]\d)/"),
        [Entry(key, "x", keys=(key,), group=key) for key in TWO],
    ],
)
def test_anything_else_is_no_ladder(entries: list[Entry]) -> None:
    assert ladders(entries) == []


def test_stages_are_called_what_the_entries_are_where_that_tells_them_apart() -> None:
    assert [rung.name for rung in ladders(book(*TWO))[0]] == ["s0", "s1"]
    same = [Entry(**{**_fields(entry), "name": "affinity"}) for entry in book(*TWO)]
    assert [rung.name for rung in ladders(same)[0]] == ["0+", "50+"]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"a(?:b|c)+\s*[:：]?d{2}", "abdd"),
        (r"^(?<n>x|y)(?=z)\bq.*$", "xq"),
        (r"\u597d\/[^\d]\(", "好/ ("),
        ("(" * 3000, ""),
        ("a{999}{999}", ""),
        (")a", ""),
    ],
)
def test_a_specimen_is_a_text_that_the_expression_matches(source: str, text: str) -> None:
    assert specimen(source) == text


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__}
