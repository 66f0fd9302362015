"""Notice a reply that says again what was said before, while it can still be taken back. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

LONGEST = 120
"""What a beginning that repeats an earlier reply must weigh before there is nothing left to wait for."""
WHOLE = 16
"""What a reply weighs at least that may not be given twice: 8 Chinese characters, 16 letters."""
ALIKE = 24
"""The same of a reply that is only nearly the same."""
PASSAGE = 40
"""The same of one that repeats only some sentences of an earlier one."""
TOLERANCE = 6
"""One letter of so many may differ."""
DIGIT = 5
"""How many letters a digit counts as: another number is another answer."""
INTERJECTIONS = frozenset(
    (
        *(
            "oh",
            "ah",
            "well",
            "hm",
            "hmm",
            "um",
            "uh",
            "so",
            "yes",
            "yeah",
            "no",
            "okay",
            "ok",
            "sure",
            "right",
            "look",
        ),
        *(
            "listen",
            "hey",
            "aye",
            "haha",
            "and",
            "but",
            "then",
            "dear",
            "嗯",
            "嗯嗯",
            "哦",
            "噢",
            "啊",
            "呃",
            "唉",
            "哎",
        ),
        *(
            "哎呀",
            "好",
            "好吧",
            "好的",
            "是",
            "是的",
            "对",
            "哈哈",
            "哈哈哈",
            "嘿",
            "喂",
            "哼",
            "那",
            "那么",
            "不过",
            "其实",
        ),
    )
)
"""What may come before a repeated reply without making another of it."""

_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…\n]*")
_CLAUSE = re.compile(r"[^,，;；:：、—]+")


def flatten(text: str) -> str:
    """A text as compared for repetition: letters and digits only, lower case."""
    return "".join(char for char in text.lower() if char.isalnum())


def weight(text: str) -> int:
    """How much a text says: its length, a Chinese character, kana or hangul syllable counted twice."""
    return len(text) + len(_WIDE.findall(text))


@dataclass(frozen=True, slots=True)
class _Passage:
    """An earlier reply from one of its sentences on; `ends` are the places where a part of a sentence ends."""

    text: str
    ends: frozenset[int]
    whole: bool


@dataclass(slots=True)
class _Track:
    """How far what is said follows a passage: edit distances of all of it to the passage's beginnings, from `start`."""

    passage: _Passage
    heard: int = 0
    start: int = 0
    row: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.row = [0]
        for char in self.passage.text[: LONGEST // TOLERANCE + 1]:
            self.row.append(self.row[-1] + _cost(char))

    def hear(self, char: str) -> bool:
        """Another letter; false when too much differs."""
        self.heard += 1
        if self.heard < TOLERANCE and not self.passage.text.startswith(char, self.heard - 1):
            return False
        cost = _cost(char)
        band = LONGEST // TOLERANCE + 1
        end = min(len(self.passage.text), self.heard + band)
        start = max(0, self.heard - band)
        row = [self._at(0) + cost] if start == 0 else []
        for place in range(max(start, 1), end + 1):
            other = self.passage.text[place - 1]
            same = self._at(place - 1) + (0 if char == other else max(cost, _cost(other)))
            left = row[-1] + _cost(other) if row else same
            row.append(min(same, self._at(place) + cost, left))
        self.row, self.start = row, start
        return min(row, default=DIGIT * LONGEST) <= self.heard // TOLERANCE

    def ended(self) -> bool:
        """Whether what was heard, all of it, is what the passage says up to the end of a part of a sentence."""
        text = self.passage.text
        allowed = self.heard // TOLERANCE
        for place in self.passage.ends:
            said = weight(text[:place])
            whole = self.passage.whole and place == len(text)
            least = (WHOLE if self._at(place) == 0 else ALIKE) if whole else PASSAGE
            if self._at(place) <= allowed and said >= least:
                return True
        return False

    def _at(self, place: int) -> int:
        inside = 0 <= place - self.start < len(self.row)
        return self.row[place - self.start] if inside else DIGIT * LONGEST


class EchoGuard:
    """Feed it a reply's pieces; it gives back what may be sent now.

    Text is held while all of it nearly repeats the beginning of an earlier reply, or of one of its sentences, an
    interjection before it left aside; it flows as soon as too much differs. So a new reply flows at its first letters.
    """

    def __init__(self, earlier: Iterable[str]) -> None:
        self._passages = [passage for text in dict.fromkeys(earlier) for passage in _passages(text)]
        self._tracks = [_Track(passage) for passage in self._passages]
        self._held = ""
        self._first = ""
        self._heard = 0
        self._interjected = False
        self._open = not self._passages

    def feed(self, piece: str) -> str:
        """What may be sent now."""
        self._held += piece
        for char in piece.lower():
            if self._open or self.is_certain:
                break
            self._hear(char)
        return self.release() if self._open else ""

    @property
    def is_certain(self) -> bool:
        """Whether what is held repeats an earlier reply for so long that there is nothing to wait for."""
        return not self._open and any(weight(t.passage.text[: t.heard]) >= LONGEST for t in self._tracks)

    @property
    def echoes(self) -> bool:
        """Whether what is held, the reply now being over, says an earlier one again."""
        return self.is_certain or (not self._open and any(track.ended() for track in self._tracks))

    @property
    def holds(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def release(self) -> str:
        """Give up what is held."""
        held, self._held, self._open = self._held, "", True
        return held

    def _hear(self, char: str) -> None:
        if not char.isalnum():
            if self._first in INTERJECTIONS and not self._interjected:
                self._interjected = True
                self._tracks += [_Track(passage) for passage in self._passages]
            return
        self._heard += 1
        if not self._interjected:
            self._first += char
        self._tracks = [track for track in self._tracks if track.hear(char)]
        may_be = not self._interjected and any(word.startswith(self._first) for word in INTERJECTIONS)
        self._open = not self._tracks and not may_be


def _passages(text: str) -> Iterator[_Passage]:
    """An earlier reply, and what of it begins with its other sentences, as far as it is compared."""
    sentences = [
        parts
        for found in _SENTENCE.findall(text)
        if (parts := [flat for part in _CLAUSE.findall(found) if (flat := flatten(part))])
    ]
    for first in range(len(sentences)):
        rest = sentences[first:]
        flat = "".join(part for parts in rest for part in parts)[: LONGEST + 2 * LONGEST // TOLERANCE]
        if weight(flat) < (WHOLE if first == 0 else PASSAGE):
            continue
        ends, place = set[int](), 0
        for part in (part for parts in rest for part in parts):
            place += len(part)
            ends.add(place)
        yield _Passage(flat, frozenset(end for end in ends if end <= len(flat)), first == 0)


def _cost(char: str) -> int:
    return DIGIT if char.isdigit() else 1
