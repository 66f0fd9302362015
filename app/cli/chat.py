"""`moodline chat`: the same turn as the server's, in a terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from fastapi import Response

from app.chat import progress
from app.chat.protocol import ChatMessage, ChatRequest
from app.chat.reading import read_ask
from app.chat.speak import Speech
from app.chat.turn import prepare, take_turn
from app.cli.console import OPERATOR, closing, interactive, out, services
from app.cli.console import run as run_async
from app.reindex import embed_waiting
from app.services import Services
from app.sessions.router import create, read
from app.sessions.schemas import SessionCreate, SessionRead


def run(slug: str, user: str, session: str) -> None:
    """Talk until the person has had enough."""
    run_async(_talk(services(), slug, user, session))


async def _talk(parts: Services, slug: str, user: str, session_id: str) -> None:
    async with closing(parts):
        session = await _open(parts, slug, user, session_id)
        with out.status("waking up"):
            await parts.embedding.start()
            await parts.engine.start()
            await embed_waiting(parts)
        for message in session.branch[-4:]:
            out.print(f"[dim]{message.role}[/] {message.text}", highlight=False)
        while said := await _ask_person():
            await _say(parts, slug, user, session.id, said)
        out.print(f"[dim]Continue with --session {session.id}[/]", highlight=False)


async def _open(parts: Services, slug: str, user: str, session_id: str) -> SessionRead:
    if session_id:
        return await read(session_id, OPERATOR, parts, Response())
    return await create(SessionCreate(character=slug, user=user), OPERATOR, parts, Response())


async def _ask_person() -> str:
    if interactive():
        out.print("[bold]> [/]", end="")
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def _say(parts: Services, slug: str, user: str, session_id: str, said: str) -> None:
    body = ChatRequest(model=f"char/{slug}", user=user, messages=[ChatMessage(role="user", content=said)])
    turn = await prepare(parts, read_ask(body, OPERATOR, parts, slug, session_id))
    async with parts.db.write() as db:
        await progress.begin(db, turn, "say")
    async with aclosing(take_turn(parts, turn, [Speech()])) as pieces:
        async for piece in pieces:
            out.print(piece.text, end="", highlight=False, markup=False, soft_wrap=True)
    out.print()
