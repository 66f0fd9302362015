"""An engine that says what it was told to say: for tests and rehearsals that need an exact reply."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass

from models.engine import (
    OPTIONAL,
    EngineBroke,
    EngineUnavailable,
    Event,
    Finish,
    FinishReason,
    Sampling,
    Thought,
    Token,
)
from models.scene import Message
from models.stops import StopFilter

THOUGHT = "\ue001"
"""A private-use character."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the engine received it."""

    messages: tuple[Message, ...]
    sampling: Sampling
    session: str
    owner: str


class ScriptedEngine:
    """Gives `replies` one after another, character by character; a reply that is an exception is raised instead.

    A tuple is a reply that fails: its text is spoken, then its exception raised. `pace` is waited for before every
    character: seconds, or an event that lets everything pass once it is set. One character counts as one token.
    `asked` records every request in order; `cached_tokens` are told at the end of each reply. It keeps to
    `Sampling.stop`, `Sampling.max_tokens` and `Sampling.enough`, gives every character the probability one half with
    `Sampling.logprobs`, and ignores the rest; `abilities` are what it claims to honour, `opened` what it claims that
    its template begins a reply with. Text between two characters of `THOUGHT` comes as a `Thought`.
    """

    def __init__(
        self,
        replies: Iterable[str | Exception | tuple[str, Exception]] = (),
        *,
        name: str = "scripted",
        context_length: int = 4096,
        pace: float | asyncio.Event = 0.0,
        abilities: frozenset[str] = OPTIONAL,
        opened: str = "",
    ) -> None:
        self.replies = deque(replies)
        self.asked: list[Asked] = []
        self.name = name
        self.context_length = context_length
        self.pace = pace
        self.streams = 1000
        self.abilities = abilities
        self.cached_tokens = 0
        self.opened = opened
        self._closed = False

    async def start(self) -> None:
        """Nothing to load; after `close` it speaks again."""
        self._closed = False

    async def close(self) -> None:
        """End the streams under way with `EngineBroke`."""
        self._closed = True

    async def check(self) -> None:
        """Raise `EngineUnavailable` once closed."""
        if self._closed:
            raise EngineUnavailable("The scripted engine is closed.")

    async def drop_adapter(self, name: str) -> None:
        """It speaks with none."""

    async def count(self, texts: Sequence[str]) -> list[int]:
        """One token per character."""
        return [len(text) for text in texts]

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield the next reply. Raises `EngineUnavailable` when closed or when no reply is left."""
        await self.check()
        self.asked.append(Asked(tuple(messages), sampling, session, owner))
        if not self.replies:
            raise EngineUnavailable("The script has no reply left.")
        text, failure = _parts(self.replies.popleft())
        prompt_tokens = sum(len(message.content) for message in messages)
        stops = StopFilter(sampling.stop, included=sampling.include_stop, enough=sampling.enough)
        spoken, thinking = 0, False
        for spoken, character in enumerate(text[: sampling.max_tokens], 1):
            await self._wait()
            if sampling.logprobs is not None and not thinking and character != THOUGHT:
                yield _token(character, sampling.logprobs)
            if character == THOUGHT:
                thinking = not thinking
            elif thinking:
                yield Thought(character)
            elif piece := stops.push(character):
                yield piece
            if stops.stopped:
                yield Finish("stop", prompt_tokens, spoken, self.cached_tokens)
                return
        if rest := stops.flush():
            yield rest
        if failure:
            raise failure
        reason: FinishReason = "length" if len(text) > sampling.max_tokens else "stop"
        yield Finish(reason, prompt_tokens, spoken, self.cached_tokens)

    async def _wait(self) -> None:
        await (self.pace.wait() if isinstance(self.pace, asyncio.Event) else asyncio.sleep(self.pace))
        if self._closed:
            raise EngineBroke("The scripted engine was closed while it spoke.")


def _token(character: str, alternatives: int) -> Token:
    likely = [(character, 1), *((chr(ord("a") + place), place + 2) for place in range(alternatives))]
    top = [Token(text, times * math.log(0.5), text.encode()) for text, times in likely[:alternatives]]
    return Token(character, math.log(0.5), character.encode(), tuple(top))


def _parts(reply: str | Exception | tuple[str, Exception]) -> tuple[str, Exception | None]:
    if isinstance(reply, Exception):
        return "", reply
    return (reply, None) if isinstance(reply, str) else reply
