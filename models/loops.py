"""Notice a reply that goes round in circles, and end it where a sentence ended. Pure."""

from __future__ import annotations

import re
from collections import Counter

from models.echo import weight

ROUNDS = 3
"""How often a passage stands in a row before that is a loop."""
LEAST = 60
"""What all the rounds of it together weigh at least: 30 Chinese characters, 60 letters. One may laugh and lament."""
SUSPECT = 24
"""The same of the first two rounds, after which what comes is held back as long as it is the next round."""
SAYINGS = 4
"""How often the same sentence comes in a reply, wherever, before that is a loop."""
SENTENCE = 24
"""What such a sentence weighs at least."""
PROBE = 6
"""So many last letters are looked for in what was said, to find how long ago they came before."""
CLAUSE = 40
"""After so many letters without the end of a sentence, the end of any word will do."""

_ENDS = frozenset(".!?。！？…~～\n")
_CLOSING = re.compile(r"[.!?。！？…~～]*[\"'”’」』)）]*(?:\*{1,2}(?!\w))?")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


class LoopGuard:
    """Feed it what is about to be shown; it gives back what may be. Once it `looped` nothing more comes.

    Letters alone are compared, digits not, so that counting up to the same again is a loop. What may be the next round
    is held back from the end of a sentence on, and lost if it is one: so the reply ends with a sentence, where its
    circles have any. `before` is what the reply already begins with.
    """

    def __init__(self, before: str = "") -> None:
        self._letters = ""
        self._sentence = 0
        self._looked = 0
        self._sayings = Counter[str]()
        self._expected = list[str]()
        self._since = 0
        self._held = ""
        self.looped = False
        self.feed(before)
        self._held, self.looped = "", False

    def feed(self, piece: str) -> str:
        """What may be shown."""
        shown = ""
        for char in piece:
            if self.looped:
                break
            shown += self._hear(char)
        return shown

    def end(self) -> str:
        """What was held back, once no more text will come."""
        held, self._held, self._expected = self._held, "", []
        return held

    def _hear(self, char: str) -> str:
        self._letters += char.lower() if char.isalpha() else ""
        self._held += char
        if self._expected:
            if char.isalpha():
                self._compare()
        elif char in _ENDS or self._is_overdue(char):
            shown, self._held = self._held, ""
            self._look(char in _ENDS)
            return shown
        return "" if self._expected else self.end()

    def _is_overdue(self, char: str) -> bool:
        """Whether to look although no sentence has ended: at the end of a word, or within one that has no end."""
        since = len(self._letters) - self._looked
        return since >= CLAUSE and (not _inside_word(char) or since >= 2 * CLAUSE)

    def _compare(self) -> None:
        """Whether the letters since the hold began are what is expected."""
        said = self._letters[self._since :]
        self._expected = [expected for expected in self._expected if expected.startswith(said)]
        if said in self._expected:
            self.looped = True
            closing = _CLOSING.match(self._held)
            self._held, self._expected = closing[0] if closing else "", []

    def _look(self, sentence_over: bool) -> None:
        """Work out what would make a loop of this reply if it came next."""
        self._looked = self._since = len(self._letters)
        if sentence_over:
            sentence, self._sentence = self._letters[self._sentence :], self._since
            self._sayings[sentence] += weight(sentence) >= SENTENCE
            self._expected = [said for said, times in self._sayings.items() if times >= SAYINGS - 1]
        unit, rounds = self._round()
        if unit:
            needed = max(ROUNDS, -(-LEAST // weight(unit)))
            self.looped = rounds >= needed
            self._expected.append(unit * (needed - rounds))

    def _round(self) -> tuple[str, int]:
        """What the letters end with several times in a row, and how often; nothing and 0 where they don't."""
        letters = self._letters
        place = len(letters) - PROBE
        for _ in range(4):
            place = letters.rfind(letters[-PROBE:], 0, place + PROBE - 1) if place > 0 else -1
            if place < 0:
                break
            unit = letters[place + PROBE :]
            rounds = 1
            while letters.endswith(unit * (rounds + 1)):
                rounds += 1
            if rounds > 1 and weight(unit) * rounds >= SUSPECT:
                return unit, rounds
        return "", 0


def _inside_word(char: str) -> bool:
    return char.isalpha() and not _WIDE.match(char)
