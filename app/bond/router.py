"""/api/bonds: what stands between a user and a character."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from app.auth import CallerDep
from app.bond.affinity import stage_of
from app.bond.store import read_bond
from app.characters.schemas import CharacterFields
from app.characters.store import find
from app.services import ServicesDep
from app.sessions.store import Scope
from retrieval.emotion import EMOTIONS

router = APIRouter(prefix="/api/bonds", tags=["bonds"])


class BondOut(BaseModel):
    """Affinity is 0..100; mood holds intensities, 0..1, of the eight dimensions."""

    character: str
    user: str
    affinity: float
    stage: str
    mood: dict[str, float]
    turns: int


@router.get("/{slug}")
async def read(
    slug: str, caller: CallerDep, services: ServicesDep, user: Annotated[str, Query(max_length=200)] = ""
) -> BondOut:
    """The bond of one user with a character; before they have met it is the one they will begin with."""
    async with services.db.read() as db:
        character = await find(db, caller, slug)
        bond = await read_bond(db, Scope(caller.owner, user, character.id))
    stage = stage_of(bond.affinity, CharacterFields.model_validate(character.document).stages, bond.stage)
    mood = {name: round(float(value), 3) for name, value in zip(EMOTIONS, bond.mood, strict=True)}
    return BondOut(
        character=slug,
        user=user,
        affinity=round(bond.affinity, 2),
        stage=stage.name if stage else "",
        mood=mood,
        turns=bond.turns,
    )
