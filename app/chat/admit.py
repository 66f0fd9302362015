"""Admit: the first step of a request that makes the language model speak. It waits here, before it holds anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request

from app.admission import Ticket, busy
from app.auth import Caller
from app.chat.speak import Speech
from app.errors import ClientGone
from app.metrics import observe_tokens
from app.services import Services
from models.token_count import estimate_tokens

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Leave to speak, until `leave` is closed; a second time does nothing. `waited` for it, in seconds."""

    leave: ExitStack
    waited: float


async def admit(services: Services, request: Request, caller: Caller, user: str, replies: int = 1) -> Place:
    """A place at the language model for so many replies.

    Raises:
        TooManyRequests: the key has as many requests under way as it may.
        Unavailable: too many are waiting.
        ClientGone: the caller hung up while waiting.
    """
    with ExitStack() as leave:
        if caller.limits:
            services.limits.open_stream(caller.limits)
            leave.callback(services.limits.close_stream, caller.limits)
        ticket = services.admission.ask(caller.owner, user, replies)
        leave.callback(services.admission.leave, ticket)
        if ticket.state == "waiting":
            await _called(ticket, request)
        if ticket.state == "pushed out":
            raise busy()
        return Place(leave.pop_all(), ticket.waited)


async def until_said(leave: ExitStack, pieces: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """The pieces of a reply; gives its place back when it ends, however it ends."""
    with leave:
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece


def charge(services: Services, caller: Caller, speeches: Sequence[Speech]) -> None:
    """Book the tokens of replies that ended; of one that was broken off, about those that were said."""
    observe_tokens([speech.finish for speech in speeches if speech.finish])
    if caller.limits:
        for speech in speeches:
            finish = speech.finish
            tokens = finish.prompt_tokens + finish.completion_tokens if finish else estimate_tokens(speech.said)
            services.limits.count_tokens(caller.limits, tokens)


async def _called(ticket: Ticket, request: Request) -> None:
    """Until the ticket is called. The body was read, so all that can still arrive is that the caller is gone."""
    called, gone = asyncio.ensure_future(ticket.called.wait()), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({called, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not called.done():
            raise ClientGone("The caller hung up while waiting.")
    finally:
        called.cancel()
        gone.cancel()
