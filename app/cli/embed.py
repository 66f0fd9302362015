"""`moodline lines import` and `moodline reindex`: work that takes a while, with a progress bar."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.characters.store import find
from app.cli.console import OPERATOR, closing, err, out, services
from app.cli.console import run as run_async
from app.lines.parse import ParseError, parse
from app.lines.store import add
from app.reindex import count_waiting, embed_waiting
from app.services import Services


def reindex() -> None:
    """Embed whatever waits."""
    run_async(_reindex(services()))


def import_lines(slug: str, file: Path, role: str, encoding: str) -> None:
    """Store the units of a file, then embed them."""
    try:
        content = file.read_bytes()
        dialogues = parse(content, filename=file.name, encoding=encoding)
    except (OSError, ParseError) as error:
        err.print(f"[red]{file}[/]: {error}", highlight=False)
        raise typer.Exit(1) from None

    async def work(parts: Services) -> None:
        async with closing(parts):
            async with parts.db.write() as db:
                character = await find(db, OPERATOR, slug, lock=True)
                record = await add(db, character, dialogues, role or character.document["name"], file.name)
            out.print(f"{record.turns} turns read, {record.units} units stored, {record.duplicates} were here already.")
            await _embed(parts)

    run_async(work(services()))


async def _reindex(parts: Services) -> None:
    async with closing(parts):
        await _embed(parts)


async def _embed(parts: Services) -> None:
    with out.status("loading the encoder"):
        await parts.embedding.start()
        if parts.settings.emotion == "model":
            await parts.engine.start()
    waiting = await count_waiting(parts)
    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out) as progress:
        bar = progress.add_task("embedding", total=waiting)
        done = await embed_waiting(parts, lambda more: progress.advance(bar, more))
    out.print(f"{done} embedded by {parts.embedding.encoder.id}.")
