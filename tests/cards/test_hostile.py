"""Hostile files are refused with the limit they break, or read without harm: little memory, no network, no file.

How long each takes is no test's business; `python -m tests.cards.test_hostile` measures it.
"""

from __future__ import annotations

import socket
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from app.characters.card import read
from app.characters.export import Origin, write
from app.characters.fields import body_of
from app.characters.forms.book import plain_entry, whole_entry
from app.characters.reading import CardError, Report
from tests.cards.hostile import READ, REFUSED

MEMORY = 100 * 2**20


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the network nor a file can be opened."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a card made the reader look elsewhere")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("os.open", refuse)


@pytest.fixture
def frugal() -> Iterator[None]:
    """Fails when more than `MEMORY` is taken, the file itself left out."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY, f"{peak / 2**20:.0f} MB"


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_refused_with_what_it_breaks(name: str, alone: None, request: pytest.FixtureRequest) -> None:
    make, words = REFUSED[name]
    content = make()
    request.getfixturevalue("frugal")
    with pytest.raises(CardError) as refused:
        read(content, "card")
    assert words in str(refused.value)
    assert len(str(refused.value)) < 3_000


@pytest.mark.parametrize("name", READ)
def test_what_only_looks_hostile_is_read_and_exported(name: str, alone: None, request: pytest.FixtureRequest) -> None:
    content = READ[name]()
    request.getfixturevalue("frugal")
    card = read(content, "card")
    assert card.data["name"] != "Eve", "one file is one card, whatever hangs on to it"
    assert body_of(card.data, "x", Report()).persona
    written = write(card.data, card.outer, Origin(content, card.carrier), "charx", "v3")
    assert read(written).data["description"] == card.data["description"]


def test_a_hundred_thousand_decorators_are_taken_off_for_v2(frugal: None) -> None:
    entry = {"keys": [], "content": "@@@depth 4\n" * 100_000 + "Said.", "extensions": {}}
    plain = plain_entry(entry)
    assert plain["content"] == "Said."
    assert whole_entry(plain) == entry


def main() -> None:
    """Seconds and megabytes of each, with and without tracing."""
    makers = {**{name: make for name, (make, _) in REFUSED.items()}, **READ}
    for name, make in makers.items():
        content = make()
        began = time.perf_counter()
        _try(content)
        seconds = time.perf_counter() - began
        tracemalloc.start()
        _try(content)
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(f"{name:28} {len(content) / 2**20:7.1f} MB file {seconds:7.3f} s {peak:7.1f} MB")


def _try(content: bytes) -> None:
    try:
        read(content, "card")
    except CardError:
        return


if __name__ == "__main__":
    main()
