"""Speak: stream the engine's reply, cleaned, and once taken back when it only repeats an earlier one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from app.chat.ask import Outcome, Turn
from app.chat.piece import Piece
from app.services import Services
from models.engine import CallPart, Finish, Sampling, Token
from models.frame import FRAMES
from models.reply import EchoGuard, ReplyFilter
from models.scene import Message
from models.track import TokenTrack

WARMER = 0.3
"""Added to the temperature of a second attempt."""


@dataclass(slots=True)
class Speech:
    """What has been said so far. `said` is what was handed out, `hidden` the thoughts that were not.

    With `called` tools were called, so this is not yet the answer. `outcome` is None while it goes on; whoever ends it
    early says beforehand what that is to be called. `error` is what broke it off. `begun` puts the turn's row there,
    without which nothing is stored; None where somebody else has seen to it. `remembered` once it is stored.
    """

    said: str = ""
    hidden: str = ""
    called: bool = False
    attempts: int = 0
    finish: Finish | None = None
    outcome: Outcome | None = None
    error: BaseException | None = None
    begun: asyncio.Task[None] | None = None
    remembered: bool = False
    echoes: list[str] = field(default_factory=list)


async def speak(services: Services, turn: Turn, speech: Speech, choice: int = 0) -> AsyncGenerator[Piece, None]:
    """Pieces of a reply as people may see them; `speech` is kept up to date for whoever must remember it."""
    sampling = nth(turn.ask.sampling, choice)
    # An object that is asked for again may well be the same again.
    role = "user" if turn.ask.as_user else "assistant"
    earlier = [] if sampling.response_format else [m.content for m in turn.scene.history if m.role == role]
    speaker = turn.scene.user if turn.ask.as_user else turn.scene.character
    listener = Listener(speaker, [*earlier, turn.scene.begun], begun=bool(turn.scene.begun))
    async with aclosing(_attempt(services, turn, speech, listener, sampling)) as pieces:
        async for piece in pieces:
            yield replace(piece, choice=choice)
    if not listener.guard.echoes:
        if rest := listener.rest():
            speech.said += rest.text
            yield replace(rest, choice=choice)
        return
    speech.echoes.append(listener.rest().text)
    listener = Listener(speaker, (), begun=bool(turn.scene.begun))
    async with aclosing(_attempt(services, turn, speech, listener, _warmer(sampling))) as pieces:
        async for piece in pieces:
            yield replace(piece, choice=choice)
    if rest := listener.rest():
        yield replace(rest, choice=choice)


def nth(sampling: Sampling, choice: int) -> Sampling:
    """How to sample choice number `choice`: with a seed of its own, or all would be the same."""
    return sampling if sampling.seed is None else replace(sampling, seed=_seed(sampling.seed + choice))


class Listener:
    """Makes what an engine says into pieces that people may see. Log-probabilities are given of visible text only."""

    def __init__(self, character: str, earlier: Iterable[str], *, begun: bool = False) -> None:
        self.reply = ReplyFilter([character], begun=begun)
        self.guard = EchoGuard(earlier)
        self._raw = TokenTrack()
        self._clean = TokenTrack()

    def hear(self, token: Token) -> None:
        """The text that comes next is made of this token."""
        self._raw.feed([token])

    def feed(self, text: str) -> Piece:
        """What `text` makes visible."""
        return self._piece(self.guard.feed(self._settled(self.reply.feed(text))))

    def call(self, part: CallPart) -> Piece:
        """A part of a call, and what was held back: what comes with a call is not taken back."""
        return replace(self._piece(self.guard.release()), calls=(part,))

    def end(self) -> Piece:
        """What becomes visible because the engine has ended."""
        return self._piece(self.guard.feed(self._settled(self.reply.end())))

    def rest(self) -> Piece:
        """What the guard still holds."""
        piece = self._piece(self.guard.release())
        self._clean.feed(self._raw.rest())
        return replace(piece, tokens=piece.tokens + self._clean.rest())

    def _settled(self, visible: str) -> str:
        self._clean.feed(self._raw.settle(self.reply.fates))
        self.reply.fates.clear()
        return visible

    def _piece(self, text: str) -> Piece:
        return Piece(text, self._clean.settle([True] * len(text)))


async def _attempt(
    services: Services, turn: Turn, speech: Speech, listener: Listener, sampling: Sampling
) -> AsyncGenerator[Piece, None]:
    speech.attempts += 1
    speech.finish = None
    sampling = replace(sampling, stop=(*sampling.stop, *stop_names(turn)))
    stream = services.engine.stream(_told(turn), sampling, session=turn.session_id, owner=turn.ask.caller.owner)
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Token):
                listener.hear(event)
                continue
            if isinstance(event, Finish):
                speech.finish = event
                piece = listener.end()
            else:
                turn.watch.mark("first_token")
                piece = listener.call(event) if isinstance(event, CallPart) else listener.feed(event)
            speech.hidden = listener.reply.hidden
            if piece:
                speech.said += piece.text
                speech.called = speech.called or bool(piece.calls)
                yield piece
            if listener.guard.is_certain:
                return


def _told(turn: Turn) -> tuple[Message, ...]:
    """What the engine is told: the prompt, calls of tools, and last what the reply begins with."""
    *prompt, last = turn.prompt.messages
    return (*prompt, *turn.ask.calls, last) if turn.scene.begun else (*prompt, last, *turn.ask.calls)


def stop_names(turn: Turn) -> tuple[str, ...]:
    """Where the character would begin to speak for the user, or the user for the character."""
    scene = turn.scene
    names = (scene.character,) if turn.ask.as_user else dict.fromkeys((scene.user, FRAMES[scene.language].user))
    return tuple(f"\n{name}{colon}" for name in names if name for colon in (":", "："))


def _warmer(sampling: Sampling) -> Sampling:
    """A second attempt must be able to come out differently."""
    temperature = (0.7 if sampling.temperature is None else sampling.temperature) + WARMER
    seed = None if sampling.seed is None else _seed(sampling.seed + 1)
    return replace(sampling, temperature=temperature, seed=seed)


def _seed(seed: int) -> int:
    """Within 64 bits, as engines expect."""
    return (seed + 2**63) % 2**64 - 2**63
