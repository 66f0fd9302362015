"""Clean a reply while it streams: hidden thoughts out, the speaker's own name off the front. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from models.speakers import Labels
from models.thoughts import Span, ThoughtFilter


class ReplyFilter:
    """Feed it pieces; it gives back what people may see, as soon as that is certain.

    Thoughts (`models.thoughts`) go to `hidden`. A leading `Name:` of one of `names`, however it is written, is dropped.
    Where the reply is `begun`, what comes is its middle: neither a name nor white space is taken from it. `opened` is
    the tag of a thought that the template has begun. `fates` tells of every character that was settled, in order,
    whether it was shown.
    """

    def __init__(self, names: Iterable[str], *, begun: bool = False, opened: str = "") -> None:
        self._labels = Labels(names)
        self._thoughts = ThoughtFilter(opened, begun=begun)
        self._told = ""
        self._begun = begun
        self._start = ""
        self._named = False
        self._unsettled = list[bool]()
        self.fates = list[bool]()

    @property
    def hidden(self) -> str:
        """The thoughts so far: those that the server told apart, then those that stood in the reply."""
        return "\n".join(filter(None, (self._told, self._thoughts.hidden)))

    def think(self, text: str) -> None:
        """A piece of a thought that the server tells apart from the reply."""
        self._told += text
        self._thoughts.told_apart()

    def feed(self, piece: str) -> str:
        """What `piece` makes visible."""
        return self._settle(self._begin(self._seen(self._thoughts.feed(piece))))

    def end(self, *, cut: bool = False) -> str:
        """What is still held back when the reply is over; `cut` says that it was broken off."""
        rest = self._seen(self._thoughts.end(cut=cut))
        if self._begun:
            return self._settle(rest)
        rest = self._begin(rest) or self._start
        self._begun = True
        return self._settle(rest)

    def _seen(self, spans: Iterable[Span]) -> str:
        visible = ""
        for text, seen in spans:
            self._unsettled += [seen] * len(text)
            visible += text if seen else ""
        return visible

    def _begin(self, text: str) -> str:
        """Hold the first characters until it is clear whether they are the speaker's name."""
        while text and not self._begun:
            self._start = (self._start + text[0]).lstrip()
            text = text[1:]
            if self._named:
                self._begun = bool(self._start)
            elif self._start and (found := self._labels.look(self._start)) != "maybe":
                self._named, self._begun = found == "yes", found == "no"
                self._start = "" if self._named else self._start
        if not self._begun:
            return ""
        start, self._start = self._start, ""
        return start + text

    def _settle(self, visible: str) -> str:
        """Note the fates of the characters that `visible` is what is left of."""
        if self._begun:
            dropped = sum(self._unsettled) - len(visible)  # by `_begin`, which only drops from the front
            for shown in self._unsettled:
                self.fates.append(shown and dropped <= 0)
                dropped -= shown
            self._unsettled.clear()
        return visible
