"""How past lines get into the database and become retrievable."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Unprocessable
from app.lines.parse import Dialogue, speakers
from app.tables import Character, Line, LineImport, new_id, now
from retrieval.emotion import EMOTIONS
from retrieval.terms import Terms, terms
from retrieval.units import Unit, unit, units

BATCH = 500


@dataclass(frozen=True, slots=True)
class Labelled:
    """A unit, and the emotion somebody gave it."""

    unit: Unit
    label: str | None = None

    @property
    def digest(self) -> str:
        """Content address: the same unit is stored once per character, so repeating an import adds nothing."""
        turns = "\n".join(f"{turn.speaker}\0{turn.text}" for turn in self.unit.dialogue)
        return hashlib.sha256(turns.encode()).hexdigest()


def line_terms(key: str, answer: str) -> Terms:
    """The words a unit is found by: what was said before, and, unlike its vector, the answer too."""
    return terms(f"{key}\n{answer}")


def cut_units(dialogues: Sequence[Dialogue], role: str) -> list[Labelled]:
    """The units in which `role` answers.

    Raises:
        Unprocessable: the role has no line, and the message names the speakers there are; or an emotion is none.
    """
    unknown = sorted({dialogue.emotion for dialogue in dialogues if dialogue.emotion} - {*EMOTIONS})
    if unknown:
        raise Unprocessable(
            f"{unknown[0][:40]!r} is no emotion here; leave the field empty or name one of {', '.join(EMOTIONS)}.",
            code="unknown_emotion",
        )
    # A labelled dialogue is a unit already: somebody chose where it begins and ends.
    whole = [(unit(dialogue.turns, role), dialogue.emotion) for dialogue in dialogues if dialogue.emotion]
    found = [Labelled(piece, emotion) for piece, emotion in whole if piece]
    found += [Labelled(piece) for piece in units([d.turns for d in dialogues if not d.emotion], role)]
    if not found:
        seen = ", ".join(name for name, _ in speakers(dialogues).most_common(8)) or "nobody"
        raise Unprocessable(
            f"No line of {role!r} in this file; it has lines of {seen}. Name the right one with ?role=…",
            code="role_not_found",
            param="role",
        )
    return found


async def add(
    db: AsyncSession, character: Character, dialogues: Sequence[Dialogue], role: str, filename: str
) -> LineImport:
    """Store the units of an upload in the caller's transaction; they wait for their vectors."""
    found = {entry.digest: entry for entry in cut_units(dialogues, role)}
    known = await _known(db, character.id, list(found))
    fresh = [entry for digest, entry in found.items() if digest not in known]
    record = LineImport(
        id=new_id(),
        character_id=character.id,
        filename=filename[:255],
        turns=sum(len(dialogue.turns) for dialogue in dialogues),
        units=len(fresh),
        duplicates=len(found) - len(fresh),
        created_at=now(),
    )
    db.add(record)
    await db.flush()
    for begin in range(0, len(fresh), BATCH):
        await db.execute(insert(Line), [_row(entry, record) for entry in fresh[begin : begin + BATCH]])
    return record


async def _known(db: AsyncSession, character_id: str, digests: Sequence[str]) -> set[str]:
    known: set[str] = set()
    for begin in range(0, len(digests), BATCH):
        part = digests[begin : begin + BATCH]
        query = select(Line.digest).where(Line.character_id == character_id, Line.digest.in_(part))
        known.update(await db.scalars(query))
    return known


def _row(entry: Labelled, record: LineImport) -> dict[str, object]:
    return {
        "character_id": record.character_id,
        "import_id": record.id,
        "dialogue": [[turn.speaker, turn.text] for turn in entry.unit.dialogue],
        "key": entry.unit.key,
        "answer": "\n".join(turn.text for turn in entry.unit.answer),
        "digest": entry.digest,
        "label": entry.label,
        "created_at": now(),
    }
