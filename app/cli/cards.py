"""`moodline characters import` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import typer

from app.characters.card import Card, Carrier, read
from app.characters.export import Format, Origin, Version, write
from app.characters.reading import CardError
from app.characters.store import find
from app.characters.transfer import bring_in, card_of, take_out
from app.cli.console import OPERATOR, closing, err, out, services
from app.cli.console import run as run_async
from app.services import Services

_ENDINGS = {".json": "json", ".png": "png", ".charx": "charx"}


def import_card(file: Path, slug: str, pick: str, shared: bool) -> None:
    """Add the character of a card and say what reading it came upon."""
    try:
        content = file.read_bytes()
        card = read(content, file.name, pick)

        async def work(parts: Services) -> str:
            async with closing(parts), parts.db.write() as db:
                made = await bring_in(db, OPERATOR, card, content, filename=file.name, slug=slug, shared=shared)
                return made.slug

        made = run_async(work(services()))
    except (OSError, CardError) as error:
        raise _refused(error) from None
    _tell(card)
    out.print(f"Added. Talk with it as the model char/{made}, or by `moodline chat {made}`.", highlight=False)


def export_card(slug: str, file: Path, original: bool, version: Version, force: bool) -> None:
    """Write a character as a card, whose format the file's ending names; or the file that it came as."""
    file_format = _ENDINGS.get(file.suffix.lower())
    if not original and file_format is None:
        raise _refused(ValueError(f"{file.name} ends with none of .json, .png and .charx."))

    async def work(parts: Services) -> bytes:
        async with closing(parts), parts.db.read() as db:
            character = await find(db, OPERATOR, slug)
            card = await card_of(db, character)
            if original:
                return card.original if card else b""
            data = await take_out(db, character, card)
            origin = Origin(card.original, cast(Carrier, card.carrier)) if card else None
            return write(data, card.outer if card else {}, origin, cast(Format, file_format), version)

    try:
        content = run_async(work(services()))
        if not content:
            raise CardError(f"{slug} was not imported from a card.")
        with file.open("wb" if force else "xb") as target:
            target.write(content)
    except FileExistsError:
        raise _refused(ValueError(f"{file} is there already; --force replaces it.")) from None
    except (OSError, CardError) as error:
        raise _refused(error) from None
    out.print(f"{file}: {len(content):,} bytes.", highlight=False)


def _tell(card: Card) -> None:
    out.print(f"A {card.form} card in {card.carrier}: {', '.join(card.report.understood)}.", highlight=False)
    if card.report.kept:
        out.print(f"Kept for the next export: {', '.join(card.report.kept)}.", highlight=False, markup=False)
    for sentence in card.report.repaired:
        out.print(f"Repaired: {sentence}.", highlight=False, markup=False)


def _refused(error: Exception) -> typer.Exit:
    err.print(str(error), style="red", highlight=False, markup=False)
    return typer.Exit(1)
