"""Which tokens a visible text is made of. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from models.engine import Token


class TokenTrack:
    """Feed it the tokens of a reply and tell it of each character whether it was shown; it gives back those that were.

    A token comes back once all of it is settled, cut to what was shown of it, so that the tokens always spell the
    visible text. Tokens without text belong to the character that they begin.
    """

    def __init__(self) -> None:
        self._tokens = deque[Token]()
        self._settled = 0
        self._shown = ""

    def feed(self, tokens: Iterable[Token]) -> None:
        """These tokens come next."""
        self._tokens.extend(tokens)

    @property
    def unsettled(self) -> int:
        """How many characters of the tokens so far have no fate yet."""
        return sum(len(token.text) for token in self._tokens) - self._settled

    def settle(self, fates: Iterable[bool]) -> tuple[Token, ...]:
        """The tokens that are settled by the fates of the next characters. Without any tokens, nothing."""
        if not self._tokens:
            return ()
        done: list[Token] = []
        for shown in fates:
            while self._tokens and not self._tokens[0].text:
                unfinished = self._tokens.popleft()
                done += [unfinished] if shown else []
            if not self._tokens:
                continue
            token = self._tokens[0]
            self._shown += token.text[self._settled] if shown else ""
            self._settled += 1
            if self._settled == len(token.text):
                done += self._cut()
        return tuple(done)

    def rest(self) -> tuple[Token, ...]:
        """What is left when the reply is over: a token that was cut off, or the bytes of an unfinished character."""
        cut = self._cut() if self._settled else []
        unfinished = [] if any(token.text for token in self._tokens) else list(self._tokens)
        self._tokens.clear()
        return (*cut, *unfinished)

    def _cut(self) -> list[Token]:
        """The first token, as far as it was shown."""
        token, shown = self._tokens.popleft(), self._shown
        self._settled, self._shown = 0, ""
        if shown == token.text:
            return [token]
        return [replace(token, text=shown, data=shown.encode("utf-8", "replace"))] if shown else []
