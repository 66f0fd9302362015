"""Every table. SQL is the only truth: vectors and emotions are columns, indexes are caches of them."""

from app.tables.characters import Character, CharacterCard, CharacterRevision, Line, LineImport, LoreEntry
from app.tables.columns import (
    HIGHEST_FIRST_REVISION,
    LARGEST_ID,
    SHARED,
    Base,
    BigId,
    Document,
    FloatRow,
    Floats,
    Moment,
    TermRow,
    Terms,
    new_id,
    new_revision,
    now,
)
from app.tables.groups import Group, GroupMember
from app.tables.keys import ApiKey
from app.tables.lore import Lorebook, LorebookEntry, LoreTimers
from app.tables.memories import Bond, BondEvent, Memory, Persona
from app.tables.sessions import Message, Session
from app.tables.turns import KeyedCall, Trace, TurnRecord

__all__ = [
    "HIGHEST_FIRST_REVISION",
    "LARGEST_ID",
    "SHARED",
    "ApiKey",
    "Base",
    "BigId",
    "Bond",
    "BondEvent",
    "Character",
    "CharacterCard",
    "CharacterRevision",
    "Document",
    "FloatRow",
    "Floats",
    "Group",
    "GroupMember",
    "KeyedCall",
    "Line",
    "LineImport",
    "LoreEntry",
    "LoreTimers",
    "Lorebook",
    "LorebookEntry",
    "Memory",
    "Message",
    "Moment",
    "Persona",
    "Session",
    "TermRow",
    "Terms",
    "Trace",
    "TurnRecord",
    "new_id",
    "new_revision",
    "now",
]
