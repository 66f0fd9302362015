"""The language model itself, without a character: messages pass through untouched, nothing is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from app.chat.calls import to_engine
from app.chat.interleave import interleave
from app.chat.piece import Piece
from app.chat.protocol import ChatRequest
from app.chat.speak import Speech, nth
from app.services import Services
from models.engine import CallPart, Finish, Sampling, Thought, Token
from models.scene import Message
from models.track import TokenTrack


def read_messages(body: ChatRequest) -> list[Message]:
    """What the language model is told."""
    messages = [to_engine(message) for message in body.messages]
    return [*messages, Message("assistant", "")] if body.begins_anew else messages


def speak_bare(
    services: Services, messages: Sequence[Message], sampling: Sampling, owner: str, speeches: Sequence[Speech]
) -> AsyncGenerator[Piece, None]:
    """Pieces of as many replies as there are `speeches`, which are kept up to date."""
    return interleave(
        [
            _speak(services, messages, nth(sampling, choice), owner, speech, choice)
            for choice, speech in enumerate(speeches)
        ]
    )


async def _speak(
    services: Services, messages: Sequence[Message], sampling: Sampling, owner: str, speech: Speech, choice: int
) -> AsyncGenerator[Piece, None]:
    track = TokenTrack()
    async with aclosing(services.engine.stream(messages, sampling, owner=owner)) as events:
        async for event in events:
            if isinstance(event, Token):
                track.feed([event])
            elif isinstance(event, CallPart):
                yield Piece(calls=(event,), choice=choice)
            elif isinstance(event, Thought):
                yield Piece(choice=choice, thought=event.text)
            elif isinstance(event, Finish):
                speech.finish = event
                if rest := track.rest():
                    yield Piece(tokens=rest, choice=choice)
            else:
                speech.said += event
                yield Piece(event, track.settle([True] * len(event)), choice=choice)
