"""`moodline check`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from app.check.everything import everything
from app.check.run import Found
from app.check.vectors import recipes
from app.cli.console import closing, err, out, services
from app.cli.console import run as run_async
from app.services import Services

CLEAN, FINDINGS, FAILED = 0, 1, 2


def check(repair: bool, as_json: bool) -> None:
    """Check, say what was found, and end with 0 (nothing is wrong any more), 1 or 2 (it could not run)."""
    try:
        found, indexed = run_async(_check(services(), repair))
    except (SQLAlchemyError, OSError) as error:
        err.print(f"[red]The check could not run:[/] {escape(str(getattr(error, 'orig', None) or error))}")
        raise typer.Exit(FAILED) from None
    if as_json:
        rows = {name: {**asdict(one), "left": one.left} for name, one in found.items()}
        print(json.dumps({"findings": rows, "indexed": indexed}, ensure_ascii=False))
    else:
        _show(found, indexed, repair)
    raise typer.Exit(FINDINGS if any(one.left for one in found.values()) else CLEAN)


async def _check(parts: Services, repair: bool) -> tuple[dict[str, Found], dict[str, int]]:
    async with closing(parts):
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} rows"))
        with Progress(*columns, console=err, transient=True) as progress:
            bar = progress.add_task("", total=None)

            def told(name: str, more: int) -> None:
                progress.update(bar, description=name, advance=more)

            found = await everything(parts.db, repair=repair, progress=told)
        return found, await recipes(parts.db)


def _show(found: Mapping[str, Found], indexed: Mapping[str, int], repair: bool) -> None:
    if found:
        out.print(_table(found))
    for name, one in found.items():
        if one.left and one.why:
            err.print(f"{name}: {one.why}", highlight=False, markup=False)
    if not found:
        out.print("Nothing is wrong.")
    elif repair:
        out.print("All of it was put right." if not any(one.left for one in found.values()) else "Some of it is left.")
    else:
        out.print("`moodline check --repair` puts right what it can; it deletes nothing. Make a backup first.")
    for recipe, count in indexed.items():
        out.print(f"{count:,} lines and memories: {recipe}", highlight=False, markup=False)


def _table(found: Mapping[str, Found]) -> Table:
    table = Table("what", "found", "left", "first")
    for name, one in found.items():
        first = "\n".join(escape(f"{key}: {fault}") for key, fault in list(one.first.items())[:3])
        table.add_row(name, f"{one.count:,}", f"{one.left:,}", first)
    return table
