"""/api/characters/import and /api/characters/{slug}/export: characters as cards."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from app.auth import CallerDep
from app.characters.card import MEDIA, Carrier, read
from app.characters.export import Origin, Version, write
from app.characters.reading import CardError
from app.characters.router import show
from app.characters.schemas import CharacterOut, Slug
from app.characters.store import find
from app.characters.transfer import bring_in, card_of, take_out
from app.errors import NotFound, Unprocessable
from app.etag import etag
from app.services import ServicesDep
from app.tables import Character, CharacterCard
from app.text import clean
from app.upload import read_upload, upload_body

router = APIRouter(prefix="/api/characters", tags=["characters"])
_EXAMPLES = {"application/yaml": "name: Bo\ncontext: A cat.\ngreeting: Mrr."}
_JSON = {
    "schema": {"type": "object"},
    "example": {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {"name": "Bo", "description": "A cat who sleeps by the stove.", "first_mes": "Mrr, {{user}}?"},
    },
}
_BYTES = {"type": "string", "format": "binary"}
_CARD = upload_body(_EXAMPLES)
_CARD["requestBody"]["content"] |= {
    "application/json": _JSON,
    **{media: {"schema": _BYTES} for carrier, media in MEDIA.items() if carrier not in ("json", "yaml", "text")},
}
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            media: {"schema": {"type": "object"} if carrier == "json" else _BYTES} for carrier, media in MEDIA.items()
        },
        "description": "The file.",
    }
}


class CardReport(BaseModel):
    """What reading a card came upon."""

    form: str = Field(description="`V1`, `V2`, `V3`, `webui`, `characterglm` or `haruhi`.")
    carrier: str = Field(description="`png`, `jpeg`, `webp`, `charx`, `json`, `yaml` or `text`.")
    understood: list[str] = Field(description="Fields that mean something here.")
    kept: list[str] = Field(description="Fields that are only carried to the next export.")
    repaired: list[str] = Field(description="What was not as the specifications have it.")


class CharacterImported(CharacterOut):
    """The new character, and a report of its card."""

    card: CardReport


@router.post("/import", status_code=201, openapi_extra=_CARD)
async def import_character(
    request: Request,
    response: Response,
    caller: CallerDep,
    services: ServicesDep,
    slug: Annotated[Slug | None, Query(description="Unset: made of the name, with a number where it is taken.")] = None,
    pick: Annotated[str, Query(description="Which, by name, where the file has many.", max_length=200)] = "",
    shared: Annotated[bool, Query(description="For everyone on this server; needs an admin key.")] = False,
) -> CharacterImported:
    """A character of a card: PNG, JSON, CHARX, JPEG, WEBP or YAML; all of it or nothing. Nothing is fetched."""
    limit = services.settings.max_card_bytes
    filename, content = await read_upload(request, limit, "MOODLINE_MAX_CARD_BYTES")
    if filename.startswith("body"):
        filename = ""
    try:
        card = await run_sync(read, content, filename, clean(pick))
        async with services.db.write() as db:
            made = await bring_in(db, caller, card, content, filename=filename, slug=slug or "", shared=shared)
            out = await show(db, made)
    except CardError as error:
        raise Unprocessable(str(error), code="unreadable_card", param="file") from None
    response.headers["Location"] = f"/api/characters/{made.slug}"
    response.headers["ETag"] = etag(made.revision)
    report = card.report
    told = CardReport(
        form=card.form,
        carrier=card.carrier,
        understood=report.understood,
        kept=report.kept,
        repaired=report.repaired,
    )
    return CharacterImported(**out.model_dump(), card=told)


@router.get("/{slug}/export", response_class=Response, responses=_FILE)
async def export_character(
    slug: str,
    caller: CallerDep,
    services: ServicesDep,
    file_format: Annotated[
        Literal["original", "json", "png", "charx"],
        Query(alias="format", description="`original` is the file as it came, the others the character as it is now."),
    ] = "json",
    version: Annotated[Version, Query(description="Of the card; a PNG of v3 holds both.")] = "v3",
) -> Response:
    """A character as a card that can be imported again, here or elsewhere."""
    async with services.db.read() as db:
        character = await find(db, caller, slug)
        card = await card_of(db, character)
        data = await take_out(db, character, card)
    if file_format == "original":
        if card is None:
            raise NotFound(f"{slug!r} was not imported from a card; ask for format=json, png or charx.")
        return _file(card.original, MEDIA[_carrier(card)], f"{slug}{_ending(card)}", character)
    outer, origin = (card.outer, Origin(card.original, _carrier(card))) if card else ({}, None)
    try:
        content = await run_sync(write, data, outer, origin, file_format, version)
    except CardError as error:
        raise Unprocessable(str(error), code="unwritable_card") from None
    return _file(content, MEDIA[file_format], f"{slug}.{file_format}", character)


def _file(content: bytes, media: str, name: str, character: Character) -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": etag(character.revision),
        # A card may be anything behind its first bytes; no browser is to guess what.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox",
    }
    return Response(content, media_type=media, headers=headers)


def _carrier(card: CharacterCard) -> Carrier:
    return cast(Carrier, card.carrier)


def _ending(card: CharacterCard) -> str:
    endings = {"jpeg": ".jpg", "text": ".txt"}
    return endings.get(card.carrier, f".{card.carrier}")
