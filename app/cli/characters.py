"""`moodline characters`."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from pydantic import ValidationError
from rich.table import Table

from app.characters import store
from app.characters.schemas import CharacterCreate
from app.cli.console import OPERATOR, closing, err, out, services
from app.cli.console import run as run_async
from app.services import Services
from app.tables import SHARED, Character


def show_all() -> None:
    """The characters as a table."""

    async def work(parts: Services) -> tuple[list[Character], dict[str, int]]:
        async with closing(parts), parts.db.read() as db:
            rows = list(await db.scalars(store.visible(OPERATOR).order_by(Character.slug)))
            return rows, await store.line_counts(db, [row.id for row in rows])

    rows, lines = run_async(work(services()))
    table = Table("model", "name", "language", "lines", "revision", "shared")
    for row in rows:
        name, language = row.document["name"], row.document["language"]
        shared = "yes" if row.owner == SHARED else ""
        table.add_row(f"char/{row.slug}", name, language, str(lines.get(row.id, 0)), str(row.revision), shared)
    out.print(table)


def show(slug: str) -> None:
    """One character as JSON."""

    async def work(parts: Services) -> dict[str, object]:
        async with closing(parts), parts.db.read() as db:
            row = await store.find(db, OPERATOR, slug)
            return {"slug": row.slug, **row.document}

    out.print_json(json.dumps(run_async(work(services())), ensure_ascii=False), ensure_ascii=False)


def add(file: Path) -> None:
    """Add a character of a JSON file."""
    try:
        body = CharacterCreate.model_validate_json(file.read_bytes())
    except OSError as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    except ValidationError as error:
        for fault in error.errors():
            err.print(f"[red]{'.'.join(map(str, fault['loc']))}[/]: {fault['msg']}", highlight=False)
        raise typer.Exit(1) from None

    async def work(parts: Services) -> None:
        async with closing(parts), parts.db.write() as db:
            await store.create(db, OPERATOR, body)

    run_async(work(services()))
    out.print(f"Added. Talk with it as the model char/{body.slug}, or by `moodline chat {body.slug}`.", highlight=False)


def delete(slug: str) -> None:
    """Hide a character."""

    async def work(parts: Services) -> None:
        async with closing(parts), parts.db.write() as db:
            store.delete(db, await store.find(db, OPERATOR, slug, lock=True))

    run_async(work(services()))
    out.print(f"Deleted. `moodline characters restore {slug}` brings it back.", highlight=False)


def restore(slug: str) -> None:
    """Bring a character back."""

    async def work(parts: Services) -> None:
        async with closing(parts), parts.db.write() as db:
            await store.restore(db, OPERATOR, slug)

    run_async(work(services()))
    out.print(f"char/{slug} is back.", highlight=False)
