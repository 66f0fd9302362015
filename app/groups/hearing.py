"""What one member of a group has heard of a conversation, as it stands in that member's prompt.

A message is heard by those who were present when it was said (`Message.audience`). To a member its own lines are the
assistant's, and all others are said to it: the user's as they are, those of other members with a name before them.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from app.groups.cast import Cast
from app.groups.spoken import Spoken
from app.sessions.store import Place, read_branch
from app.tables import Message as Row
from models.scene import Language, Message

NUDGES: dict[Language, str] = {"en": "[It is {char}'s turn to speak.]", "zh": "【轮到{char}说话了。】"}
"""What a member is told who speaks after itself, or has heard nothing yet; it is stored nowhere."""
COLONS: dict[Language, str] = {"en": ": ", "zh": "："}


async def heard_by(db: AsyncSession, place: Place, cast: Cast, language: Language) -> Place:
    """The place with only what the cast's speaker has heard, ending with something that was said to it."""
    rows = {row.id: row for row in await read_branch(db, place.parent_id)} if place.parent_id else {}
    heard: list[tuple[Message, str | None]] = []
    for message, message_id in zip(place.history, place.ids, strict=True):
        row = rows.get(message_id or "")
        if row is None or cast.speaker in (row.audience or ()):
            heard.append((_told(cast, message, row, language), message_id))
    if not heard or heard[-1][0].role != "user":
        name = cast.name_of(cast.speaker)
        heard.append((Message("user", NUDGES[language].format(char=name)), None))
    return replace(place, history=tuple(one for one, _id in heard), ids=tuple(id_ for _one, id_ in heard))


def _told(cast: Cast, message: Message, row: Row | None, language: Language) -> Message:
    if message.role == "user":
        return Message("user", message.content)
    if row is not None:
        speaker, name = row.speaker_id, row.name
    else:
        speaker, name = (message.speaker if isinstance(message, Spoken) else ""), None
    if speaker == cast.speaker:
        return Message("assistant", message.content)
    return Message("user", f"{name or cast.name_of(speaker or '')}{COLONS[language]}{message.content}")
