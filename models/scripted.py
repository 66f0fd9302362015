"""An engine that says what it was told to say: for tests and rehearsals that need an exact reply."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass

from models.engine import EngineBroke, EngineUnavailable, Finish, Sampling
from models.scene import Message
from models.stops import StopFilter


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
    `asked` records every request in order. It keeps to `Sampling.stop` and `Sampling.max_tokens` and ignores the rest.
    """

    def __init__(
        self,
        replies: Iterable[str | Exception | tuple[str, Exception]] = (),
        *,
        name: str = "scripted",
        context_length: int = 4096,
        pace: float | asyncio.Event = 0.0,
    ) -> None:
        self.replies = deque(replies)
        self.asked: list[Asked] = []
        self.name = name
        self.context_length = context_length
        self.pace = pace
        self.streams = 1000
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

    async def count(self, texts: Sequence[str]) -> list[int]:
        """One token per character."""
        return [len(text) for text in texts]

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[str | Finish, None]:
        """Yield the next reply. Raises `EngineUnavailable` when closed or when no reply is left."""
        await self.check()
        self.asked.append(Asked(tuple(messages), sampling, session, owner))
        if not self.replies:
            raise EngineUnavailable("The script has no reply left.")
        text, failure = _parts(self.replies.popleft())
        prompt_tokens = sum(len(message.content) for message in messages)
        stops = StopFilter(sampling.stop)
        spoken = 0
        for spoken, character in enumerate(text[: sampling.max_tokens], 1):
            await self._wait()
            if piece := stops.push(character):
                yield piece
            if stops.stopped:
                yield Finish("stop", prompt_tokens, spoken)
                return
        if rest := stops.flush():
            yield rest
        if failure:
            raise failure
        yield Finish("length" if len(text) > sampling.max_tokens else "stop", prompt_tokens, spoken)

    async def _wait(self) -> None:
        await (self.pace.wait() if isinstance(self.pace, asyncio.Event) else asyncio.sleep(self.pace))
        if self._closed:
            raise EngineBroke("The scripted engine was closed while it spoke.")


def _parts(reply: str | Exception | tuple[str, Exception]) -> tuple[str, Exception | None]:
    if isinstance(reply, Exception):
        return "", reply
    return (reply, None) if isinstance(reply, str) else reply
