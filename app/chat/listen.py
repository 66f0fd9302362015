"""What an engine says, as people may see it: what a reply goes through while it streams."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from app.chat.piece import Piece
from models.echo import EchoGuard
from models.engine import CallPart, Token
from models.loops import LoopGuard
from models.reply import ReplyFilter
from models.speakers import SpeakerStop
from models.track import TokenTrack

Cut = Literal["speaker", "loop"]
"""What ended a reply before the language model did: another began to speak, or it went round in circles."""


class Listener:
    """Makes what an engine says into pieces that people may see. Log-probabilities are given of visible text only.

    Hidden thoughts and the speaker's own name come out; one of `others` who begins to speak, or a loop, ends it: then
    `cut` says which. What repeats one of `earlier` is held. One that is not `plain` is an object of its own form.
    """

    def __init__(
        self,
        speaker: str,
        others: Iterable[str],
        earlier: Iterable[str],
        *,
        begun: str = "",
        opened: str = "",
        plain: bool = True,
    ) -> None:
        self._reply = ReplyFilter([speaker], begun=bool(begun) or not plain, opened=opened)
        self._speakers = SpeakerStop(others if plain else (), begun=bool(begun))
        self._loops = LoopGuard(begun) if plain else None
        self._circles = LoopGuard()
        self._thought = 0
        self._echo = EchoGuard(earlier)
        self._raw = TokenTrack()
        self._clean = TokenTrack()
        self._told = False
        self._owed = 0

    @property
    def hidden(self) -> str:
        """The thoughts so far."""
        return self._reply.hidden

    @property
    def cut(self) -> Cut | None:
        """What ended the reply, if anything did."""
        if self._speakers.stopped:
            return "speaker"
        return "loop" if self._loops and self._loops.looped else None

    @property
    def thinks_in_circles(self) -> bool:
        """Whether a thought repeats itself without end."""
        return self._circles.looped

    @property
    def is_certain(self) -> bool:
        """Whether what is held repeats an earlier reply for so long that there is nothing to wait for."""
        return self._echo.is_certain

    @property
    def echoes(self) -> bool:
        """Whether what is held, the reply now being over, says an earlier one again."""
        return self._echo.echoes

    @property
    def holds(self) -> bool:
        """Whether there is something that `rest` would give."""
        return self._echo.holds

    def hear(self, token: Token) -> None:
        """The text that comes next is made of this token."""
        self._raw.feed([token])
        self._told = True

    def feed(self, text: str) -> Piece:
        """What `text` makes visible."""
        return self._pass_on(self._reply.feed(text))

    def think(self, text: str) -> Piece:
        """A thought that the server tells apart: nothing of it is visible."""
        self._reply.think(text)
        self._think()
        return Piece()

    def call(self, part: CallPart) -> Piece:
        """A part of a call, and what was held back: what comes with a call is not taken back."""
        return replace(self._piece(self._echo.release()), calls=(part,))

    def end(self, *, cut: bool = False) -> Piece:
        """What becomes visible because the engine has ended; `cut` says that it had more to say."""
        piece = self._pass_on(self._reply.end(cut=cut))
        last = self._speakers.end()
        last = self._loops.feed(last) + self._loops.end() if self._loops else last
        more = self._piece(self._echo.feed(last))
        return Piece(piece.text + more.text, piece.tokens + more.tokens)

    def rest(self) -> Piece:
        """What the guard still holds."""
        piece = self._piece(self._echo.release())
        self._clean.feed(self._raw.rest())
        return replace(piece, tokens=piece.tokens + self._piece("").tokens + self._clean.rest())

    def _pass_on(self, visible: str) -> Piece:
        self._clean.feed(self._raw.settle(self._reply.fates))
        self._reply.fates.clear()
        self._think()
        said = self._speakers.feed(visible)
        said = self._loops.feed(said) if self._loops else said
        return self._piece(self._echo.feed(said))

    def _think(self) -> None:
        thought = self._reply.hidden[self._thought :]
        self._thought += len(thought)
        self._circles.feed(thought)

    def _piece(self, text: str) -> Piece:
        """A text, and the tokens that are all shown with it; one of which a part is still held comes later."""
        self._owed += len(text) if self._told else 0
        settled = min(self._owed, self._clean.unsettled)
        self._owed -= settled
        return Piece(text, self._clean.settle([True] * settled))
