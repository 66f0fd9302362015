"""Clean a reply while it streams: hidden thoughts out, the speaker's own name off the front. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_OPEN = ("<think>", "<thinking>")
_CLOSE = {"<think>": "</think>", "<thinking>": "</thinking>"}


class ReplyFilter:
    """Feed it pieces; it gives back what people may see, as soon as that is certain.

    `<think>…</think>` goes to `hidden`. A leading `Name:` (either colon) of one of `names` is dropped. Where the reply
    is `begun`, what comes is its middle: neither a name nor white space is taken from it. `fates` tells of every
    character that was settled, in order, whether it was shown.
    """

    def __init__(self, names: Iterable[str], *, begun: bool = False) -> None:
        spelled = "|".join(re.escape(name) for name in names if name)
        self._label = re.compile(rf"\s*(?:{spelled})\s*[:：]\s*") if spelled else None
        self._longest_label = max((len(name) for name in names if name), default=0) + 4
        self._buffer = ""
        self._closing = ""
        self._begun = begun
        self._start = ""
        self._unsettled = list[bool]()
        self.fates = list[bool]()
        self.hidden = ""

    def feed(self, piece: str) -> str:
        """What `piece` makes visible."""
        self._buffer += piece
        return self._settle(self._begin(self._take()))

    def end(self) -> str:
        """What is still held back when the reply is over."""
        rest, self._buffer = self._buffer, ""
        rest = self._show(rest)
        if self._begun:
            return self._settle(rest)
        self._begun = True
        return self._settle(self._unlabel((self._start + rest).lstrip()))

    def _take(self) -> str:
        """Visible text of the buffer; what could be the beginning of a tag stays."""
        visible = ""
        while self._buffer:
            tags = (self._closing,) if self._closing else _OPEN
            at, tag = min(((self._buffer.find(t), t) for t in tags if t in self._buffer), default=(-1, ""))
            if at < 0:
                keep = held_back(self._buffer, tags)
                text, self._buffer = self._buffer[: len(self._buffer) - keep], self._buffer[len(self._buffer) - keep :]
                return visible + self._show(text)
            visible += self._show(self._buffer[:at])
            self._unsettled += [False] * len(tag)
            self._buffer = self._buffer[at + len(tag) :]
            self._closing = "" if self._closing else _CLOSE[tag]
        return visible

    def _show(self, text: str) -> str:
        self._unsettled += [not self._closing] * len(text)
        if self._closing:
            self.hidden += text
            return ""
        return text

    def _begin(self, text: str) -> str:
        """Hold the first characters until it is clear whether they are the speaker's name."""
        if self._begun:
            return text
        self._start = (self._start + text).lstrip()
        if len(self._start) < self._longest_label and not re.search(r"[:：]\s*\S", self._start):
            return ""
        self._begun = True
        return self._unlabel(self._start)

    def _settle(self, visible: str) -> str:
        """Note the fates of the characters that `visible` is what is left of."""
        if self._begun:
            dropped = sum(self._unsettled) - len(visible)  # by `_begin`, which only drops from the front
            for shown in self._unsettled:
                self.fates.append(shown and dropped <= 0)
                dropped -= shown
            self._unsettled.clear()
        return visible

    def _unlabel(self, text: str) -> str:
        label = self._label.match(text) if self._label else None
        return text[label.end() :] if label else text


def held_back(text: str, tags: Sequence[str]) -> int:
    """How many of the last characters could be the beginning of a tag."""
    longest = max(len(tag) for tag in tags) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(tag.startswith(text[-length:]) for tag in tags):
            return length
    return 0


def flatten(text: str) -> str:
    """A text as compared for repetition: letters and digits only, lower case."""
    return "".join(char for char in text.lower() if char.isalnum())


class EchoGuard:
    """Notices a reply that says again what was said before, while it can still be taken back.

    Text is held while all of it so far repeats the beginning of an earlier reply; it flows as soon as it differs.
    """

    def __init__(self, earlier: Iterable[str], longest: int = 120) -> None:
        self._earlier = [flat for text in earlier if len(flat := flatten(text)) >= 12]
        self._longest = longest
        self._held = ""
        self._open = not self._earlier

    def feed(self, piece: str) -> str:
        """What may be sent now."""
        self._held += piece
        if not self._open:
            flat = flatten(self._held)
            self._open = not any(text.startswith(flat[: self._longest]) for text in self._earlier)
        return self.release() if self._open else ""

    @property
    def is_certain(self) -> bool:
        """Whether what is held repeats an earlier reply for so long that there is nothing to wait for."""
        return not self._open and len(flatten(self._held)) >= self._longest

    @property
    def echoes(self) -> bool:
        """Whether what is held, the reply now being over, says an earlier one again."""
        return self.is_certain or (not self._open and flatten(self._held) in self._earlier)

    def release(self) -> str:
        """Give up what is held."""
        held, self._held, self._open = self._held, "", True
        return held
