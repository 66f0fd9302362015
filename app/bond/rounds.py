"""What a user said in groups, as far as it moves the bond with one member: what that member heard and then answered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.sessions.store import Scope
from app.tables import Character, Message, Session

Counts = Callable[[type[Message]], ColumnElement[bool]]
"""Which messages count."""


async def felt_in_groups(db: AsyncSession, scope: Scope, since: datetime | None, counts: Counts) -> list[Row[Any]]:
    """The user's messages that the character answered before the user spoke again, each once, sessions in order.

    Whoever only listened is not moved: what is said to one is no gift to all.
    """
    columns = (Message.id, Message.origin_id, Message.session_id, Message.created_at, Message.emotion)
    query = (
        select(*columns, Message.role, Message.speaker_id, Message.audience)
        .join(Session, Session.id == Message.session_id)
        .join(Character, Character.id == Session.character_id)
        .where(Session.owner == scope.owner, Session.user == scope.user, Character.kind == "group", counts(Message))
        .order_by(Session.created_at, Session.id, Message.depth)
    )
    felt: list[Row[Any]] = []
    asked: Row[Any] | None = None
    for row in await db.execute(query):
        if asked is not None and row.session_id != asked.session_id:
            asked = None
        if row.role == "user":
            heard = row.emotion is not None and scope.character_id in (row.audience or ())
            asked = row if heard and (since is None or row.created_at > since) else None
        elif row.speaker_id == scope.character_id and asked is not None:
            felt.append(asked)
            asked = None
    return felt


async def answered_by(db: AsyncSession, reply: Message) -> Message | None:
    """What of the user's a reply answers: the message above it, in a group above other members' lines.

    None where nothing was said to it: the speaker has answered that already, or was not there.
    """
    said = await db.get(Message, reply.parent_id) if reply.parent_id else None
    if reply.speaker_id is None:
        return said
    while said is not None and said.role != "user":
        above = said.parent_id if said.speaker_id != reply.speaker_id else None
        said = await db.get(Message, above) if above else None
    return said if said is not None and reply.speaker_id in (said.audience or ()) else None
