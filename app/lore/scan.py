"""What keys are looked for in: messages from the newest on, parts of the card, scanned prompts, recursion's blocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.lore.entry import CardField
from app.lore.keys import trim

MAX_DEPTH = 1000
MAX_HELD = 2**24
"""Bytes of joined texts that are kept; a book whose entries all see another depth has many."""


@dataclass(frozen=True, slots=True)
class View:
    """Which part of the text an entry sees: so many messages, these fields, and recursion's blocks or not.

    `blind` sees the empty text.
    """

    depth: int
    blocks: bool = True
    fields: tuple[CardField, ...] = ()
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A text, also as bytes for RE2. Segment `i` begins at byte `starts[i]`; the first `messages` are messages."""

    plain: str
    encoded: bytes
    starts: tuple[int, ...]
    messages: int

    def message_at(self, place: int) -> int:
        """How many messages before the newest a byte stands in, or -1 for what is no message."""
        segment = bisect_right(self.starts, place) - 1
        return segment if 0 <= segment < self.messages else -1


class Reel:
    """All that can be seen. Each segment is led by a U+0001 if `marked`, and by a line break."""

    def __init__(
        self,
        messages: Sequence[tuple[str, str]],
        prompts: Sequence[str] = (),
        fields: Mapping[CardField, str] | None = None,
        *,
        marked: bool = True,
    ) -> None:
        newest_first = reversed(messages[-MAX_DEPTH:])
        self.messages = [trim(f"{speaker}: {text}" if speaker else text) for speaker, text in newest_first]
        self.prompts = list(prompts)
        self.fields = dict(fields or {})
        self.blocks: list[str] = []
        self._mark = "\x01" if marked else ""
        self._texts: dict[View, Text] = {}
        self._held = 0

    def add_block(self, block: str) -> None:
        """What a pass brought, to be seen by the passes after it."""
        self.blocks.append(block)
        self._texts = {view: text for view, text in self._texts.items() if not view.blocks}
        self._held = sum(len(text.encoded) for text in self._texts.values())

    def text(self, view: View) -> Text:
        """Everything that is seen, newest message first."""
        if view not in self._texts:
            self._texts[view] = self._join(view)
            self._held += len(self._texts[view].encoded)
            while self._held > MAX_HELD and len(self._texts) > 1:
                self._held -= len(self._texts.pop(next(iter(self._texts))).encoded)
        return self._texts[view]

    def _join(self, view: View) -> Text:
        if view.blind:
            return Text("", b"", (), 0)
        messages = self.messages[: view.depth]
        fields = [self.fields[field] for field in view.fields if self.fields.get(field)]
        segments = [*messages, *fields, *self.prompts, *(self.blocks if view.blocks else ())]
        # A chat without messages still has the mark of its first one.
        joined = f"\n{self._mark}".join(segments if messages else ["", *segments] if segments else [""])
        plain = self._mark + joined
        # A lone surrogate has no UTF-8; it becomes "?".
        encoded = plain.encode("utf-8", "replace")
        starts, at = [], 0
        for segment in segments:
            starts.append(at)
            at += len(segment.encode("utf-8", "replace")) + 1 + len(self._mark)
        return Text(plain, encoded, tuple(starts), len(messages))
