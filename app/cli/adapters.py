"""`moodline adapters`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.table import Table

from app.adapters import take_away
from app.cli.console import closing, err, out, services, settings
from app.cli.console import run as run_async
from app.services import Services
from models.adapter import AdapterRefused
from models.stored import keep, kept


def add(folder: Path, role: str) -> None:
    """Keep an adapter and say its name."""
    try:
        adapter = keep(folder, settings().adapters, role)
    except AdapterRefused as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    err.print("Kept. A character speaks with it whose field `adapter` names it:", highlight=False)
    out.print(adapter.name, highlight=False)


def show_all() -> None:
    """The adapters as a table."""
    table = Table("adapter", "trained on", "rank", "bytes", "added")
    for adapter in kept(settings().adapters):
        table.add_row(adapter.name, adapter.base, str(adapter.rank), f"{adapter.size:,}", f"{adapter.added:%Y-%m-%d}")
    out.print(table)


def remove(name: str) -> None:
    """Take one away that no character speaks with."""

    async def work(parts: Services) -> None:
        async with closing(parts):
            await take_away(parts, name)

    run_async(work(services()))
    out.print(f"{name} is gone.", highlight=False)
