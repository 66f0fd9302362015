"""The corpus, read by us. Its README says what the vectors are and how others use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.characters.card import read
from app.characters.reading import CardError

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
READ = sorted(name for name, told in EXPECTED.items() if "error" not in told)
REFUSED = sorted(name for name, told in EXPECTED.items() if "error" in told)


def vector(name: str) -> bytes:
    return (HERE / "vectors" / name).read_bytes()


def test_every_vector_has_an_expectation() -> None:
    assert sorted(file.name for file in (HERE / "vectors").iterdir()) == sorted(EXPECTED)


@pytest.mark.parametrize("name", READ)
def test_a_card_is_read_as_expected(name: str) -> None:
    told = EXPECTED[name]
    card = read(vector(name), name)
    assert card.data == told["data"]
    assert (card.form, card.carrier, card.outer) == (told["form"], told["carrier"], told["outer"])
    assert bool(card.report.repaired) == bool(told["repaired"]), card.report.repaired
    assert told["repaired"] in "\n".join(card.report.repaired)


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_reader_can_take_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(CardError) as refused:
        read(vector(name), name)
    for words in EXPECTED[name]["error"]:
        assert words in str(refused.value)
