"""Speak: stream the engine's reply, cleaned; one that only repeats an earlier one or says nothing is tried again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal

from app.chat.ask import Outcome, Turn
from app.chat.listen import Cut, Listener
from app.chat.piece import Piece
from app.services import Services
from models.engine import CallPart, Finish, Sampling, Thought, Token
from models.frame import FRAMES
from models.scene import Message
from models.speakers import USER

WARMER = 0.3
"""Added to the temperature of a second attempt."""
LONGER = 4
"""Times as many tokens for a second attempt, where thoughts took all of the first and nobody named a limit."""

Resampled = Literal["echo", "thoughts", "speaker"]


@dataclass(slots=True)
class Speech:
    """What has been said so far. `said` is what was handed out, `hidden` the thoughts that were not.

    With `called` tools were called, so this is not yet the answer. `resampled` is why there was a second attempt, `cut`
    what ended the reply before the language model did. `outcome` is None while it goes on; whoever ends it early says
    beforehand what that is to be called. `error` is what broke it off. `begun` puts the turn's row there, without which
    nothing is stored; None where somebody else has seen to it. `remembered` once it is stored.
    """

    said: str = ""
    hidden: str = ""
    called: bool = False
    attempts: int = 0
    resampled: Resampled | None = None
    cut: Cut | None = None
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
    said = [] if sampling.response_format else [m.content for m in turn.scene.history if m.role == role]
    listener = _listener(services, turn, (*said, turn.scene.begun))
    async with aclosing(_attempt(services, turn, speech, listener, sampling)) as pieces:
        async for piece in pieces:
            yield replace(piece, choice=choice)
    longer = _longer(turn, sampling)
    speech.resampled = _again(speech, listener, longer=longer > sampling.max_tokens)
    if speech.resampled:
        if speech.finish and speech.finish.reason == "length":
            sampling = replace(sampling, max_tokens=longer)
        if taken_back := listener.rest().text:
            speech.echoes.append(taken_back)
        listener = _listener(services, turn, ())
        async with aclosing(_attempt(services, turn, speech, listener, _warmer(sampling))) as pieces:
            async for piece in pieces:
                yield replace(piece, choice=choice)
    if rest := listener.rest():
        speech.said += rest.text
        yield replace(rest, choice=choice)


def _longer(turn: Turn, sampling: Sampling) -> int:
    """Tokens that a second attempt may have: more than the first, where nobody but we said how many."""
    if turn.ask.limited:
        return sampling.max_tokens
    return min(LONGER * sampling.max_tokens, turn.ask.room - turn.prompt.tokens)


def _again(speech: Speech, listener: Listener, *, longer: bool) -> Resampled | None:
    """Why there must be a second attempt: nothing was shown of the first, and another may help."""
    if listener.echoes:
        return "echo"
    if speech.said or speech.called or listener.holds:
        return None
    if speech.finish and speech.finish.reason == "length" and not longer:
        return None
    return "speaker" if listener.cut == "speaker" else "thoughts" if speech.hidden else None


def _listener(services: Services, turn: Turn, earlier: tuple[str, ...]) -> Listener:
    scene = turn.scene
    speaker = scene.user if turn.ask.as_user else scene.character
    opened = "" if scene.begun else services.engine.opened
    plain = turn.ask.sampling.response_format is None
    return Listener(speaker, others(turn), earlier, begun=scene.begun, opened=opened, plain=plain)


def nth(sampling: Sampling, choice: int) -> Sampling:
    """How to sample choice number `choice`: with a seed of its own, or all would be the same."""
    return sampling if sampling.seed is None else replace(sampling, seed=_seed(sampling.seed + choice))


async def _attempt(
    services: Services, turn: Turn, speech: Speech, listener: Listener, sampling: Sampling
) -> AsyncGenerator[Piece, None]:
    speech.attempts += 1
    speech.finish = speech.cut = None
    enough = threading.Event()
    sampling = replace(sampling, enough=enough)
    stream = services.engine.stream(_told(turn), sampling, session=turn.session_id, owner=turn.ask.caller.owner)
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Token):
                listener.hear(event)
                continue
            piece = _heard(speech, listener, event)
            speech.hidden = listener.hidden
            if piece:
                turn.watch.mark("first_token")
                speech.said += piece.text
                speech.called = speech.called or bool(piece.calls)
                yield piece
            if listener.cut or listener.thinks_in_circles:
                enough.set()
            if listener.is_certain:
                return


def _heard(speech: Speech, listener: Listener, event: str | Thought | CallPart | Finish) -> Piece:
    """What an event makes visible."""
    if isinstance(event, Finish):
        piece = listener.end(cut=event.reason == "length")
        speech.cut = listener.cut
        speech.finish = replace(event, reason="stop") if listener.cut else event
        return piece
    if isinstance(event, Thought):
        return listener.think(event.text)
    return listener.call(event) if isinstance(event, CallPart) else listener.feed(event)


def _told(turn: Turn) -> tuple[Message, ...]:
    """What the engine is told: the prompt, calls of tools, and last what the reply begins with."""
    *prompt, last = turn.prompt.messages
    return (*prompt, *turn.ask.calls, last) if turn.scene.begun else (*prompt, last, *turn.ask.calls)


def others(turn: Turn) -> tuple[str, ...]:
    """Who must not begin to speak in the reply: the user, by any name; the character, where its user is spoken for; the
    other members of a group."""
    scene = turn.scene
    company = turn.ask.cast.others if turn.ask.cast else ()
    if turn.ask.as_user:
        return (scene.character, *company)
    names = (scene.user, FRAMES[scene.language].user, *USER, *company)
    return tuple(name for name in names if name != scene.character)


def _warmer(sampling: Sampling) -> Sampling:
    """A second attempt must be able to come out differently."""
    temperature = (0.7 if sampling.temperature is None else sampling.temperature) + WARMER
    seed = None if sampling.seed is None else _seed(sampling.seed + 1)
    return replace(sampling, temperature=temperature, seed=seed)


def _seed(seed: int) -> int:
    """Within 64 bits, as engines expect."""
    return (seed + 2**63) % 2**64 - 2**63
