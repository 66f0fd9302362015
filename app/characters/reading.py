"""What reading a card needs everywhere: limits, the error for what can't be read, the report of what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

FILE_BYTES = 32 * 2**20
"""Of a card's file, whatever carries it."""
JSON_BYTES = 6 * 2**20
"""Of the JSON in it. A text with one emoji takes four times as much memory, twice over while it is read."""
JSON_NODES = 200_000
"""Values in that JSON: each empty list takes 56 bytes however short it is written."""
JSON_LEVELS = 48
YAML_BYTES = 2**18
YAML_NODES = 5_000
CHUNKS = 20_000
"""Of a PNG; an image of 32 MB in pieces of 8 KB has 4,000."""
TEXT_CHUNKS = 1_000
SIDE = 16_384
PIXELS = 10**8
ZIP_FILES = 2_000
ZIP_INDEX_BYTES = 2**20
ZIP_BYTES = 256 * 2**20
"""What the files of a CHARX come to unpacked, as their headers say; only `card.json` is unpacked to read a card."""
TRIES = 4
"""How many texts that could be the card are tried: each may unpack to `JSON_BYTES`."""
SENTENCES = 100
"""Of each list of a report."""


class CardError(ValueError):
    """The file is no card, is broken beyond repair or over a limit; says what, where and how much is allowed."""


@dataclass(slots=True)
class Report:
    """What reading a card came upon.

    `understood` are the fields that mean something here, `kept` those that are only carried to the next export, and
    `repaired` sentences about what was not as the specifications have it.
    """

    understood: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    def repair(self, sentence: str) -> None:
        """Note what was put right."""
        note(self.repaired, sentence)

    def keep(self, name: str) -> None:
        """Note a field that nothing here uses."""
        note(self.kept, name[:200])


def note(notes: list[str], text: str) -> None:
    """Add to a list of a report, which stays short whatever the file holds."""
    if len(notes) < SENTENCES and text not in notes:
        notes.append(text)
    elif len(notes) == SENTENCES:
        notes.append("and more")


def check_size(size: int, limit: int, what: str) -> None:
    """Raise `CardError` for more than `limit` bytes."""
    if size > limit:
        raise CardError(f"{what} is {size:,} bytes; at most {limit:,} are read.")
