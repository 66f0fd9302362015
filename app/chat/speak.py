"""Speak: stream the engine's reply, cleaned, and once taken back when it only repeats an earlier one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from app.chat.ask import Turn
from app.services import Services
from models.engine import Finish, Sampling
from models.frame import FRAMES
from models.reply import EchoGuard, ReplyFilter

WARMER = 0.3
"""Added to the temperature of a second attempt."""


@dataclass(slots=True)
class Speech:
    """What has been said so far. `said` is what was handed out, `hidden` the thoughts that were not."""

    said: str = ""
    hidden: str = ""
    attempts: int = 0
    finish: Finish | None = None
    echoes: list[str] = field(default_factory=list)


async def speak(services: Services, turn: Turn, speech: Speech) -> AsyncGenerator[str, None]:
    """Pieces of the reply as people may see them; `speech` is kept up to date for whoever must remember it."""
    earlier = [m.content for m in turn.scene.history if m.role == "assistant"]
    guard = EchoGuard(earlier)
    async with aclosing(_attempt(services, turn, speech, guard, turn.ask.sampling)) as pieces:
        async for piece in pieces:
            yield piece
    if not guard.echoes:
        rest = guard.release()
        speech.said += rest
        if rest:
            yield rest
        return
    speech.echoes.append(guard.release())
    async with aclosing(_attempt(services, turn, speech, EchoGuard(()), _warmer(turn.ask.sampling))) as pieces:
        async for piece in pieces:
            yield piece


async def _attempt(
    services: Services, turn: Turn, speech: Speech, guard: EchoGuard, sampling: Sampling
) -> AsyncGenerator[str, None]:
    speech.attempts += 1
    reply = ReplyFilter([turn.scene.character])
    sampling = replace(sampling, stop=(*sampling.stop, *stop_names(turn)))
    stream = services.engine.stream(
        turn.prompt.messages, sampling, session=turn.session_id, owner=turn.ask.caller.owner
    )
    async with aclosing(stream):
        async for event in stream:
            if isinstance(event, Finish):
                speech.finish = event
                visible = guard.feed(reply.end())
            else:
                turn.watch.mark("first_token")
                visible = guard.feed(reply.feed(event))
            speech.hidden = reply.hidden
            if visible:
                speech.said += visible
                yield visible
            if guard.is_certain:
                return


def stop_names(turn: Turn) -> tuple[str, ...]:
    """Where the character would begin to speak for the user."""
    names = dict.fromkeys((turn.scene.user, FRAMES[turn.scene.language].user))
    return tuple(f"\n{name}{colon}" for name in names if name for colon in (":", "："))


def _warmer(sampling: Sampling) -> Sampling:
    """A second attempt must be able to come out differently."""
    temperature = (0.7 if sampling.temperature is None else sampling.temperature) + WARMER
    seed = None if sampling.seed is None else sampling.seed + 1
    return replace(sampling, temperature=temperature, seed=seed)
