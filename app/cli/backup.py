"""`moodline backup` and `moodline restore`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import SQLAlchemyError

from app.backup.archive import Manifest
from app.backup.dump import dump
from app.backup.load import load
from app.cli.check import check
from app.cli.console import closing, err, interactive, out, services, settings
from app.cli.console import run as run_async
from app.services import Services


def backup(file: Path, force: bool) -> None:
    """Write a backup and say what it holds."""
    if file.exists() and not force:
        err.print(f"[red]{file}[/] exists. Choose another name, or give --force to replace it.", highlight=False)
        raise typer.Exit(1)

    async def work(parts: Services) -> Manifest:
        async with closing(parts):
            with _bar() as progress:
                bar = progress.add_task("reading", total=None)

                def told(table: str, more: int, total: int) -> None:
                    progress.update(bar, description=table, advance=more, total=total)

                return await dump(parts.db, file, told)

    try:
        manifest = run_async(work(services()))
    except OSError as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    size = file.stat().st_size
    out.print(f"{file}: {manifest.rows:,} rows of {len(manifest.tables)} tables, {size:,} bytes.", highlight=False)


def restore(file: Path, replace: bool, yes: bool) -> None:
    """Restore a backup, then check what is there."""
    if replace and not yes:
        if not interactive():
            err.print("[red]Nobody is here to confirm.[/] Give --yes to replace everything that is there.")
            raise typer.Exit(1)
        typer.confirm("Everything in the database goes, and the backup takes its place. Go on?", abort=True)
    url = settings().database

    async def work() -> int:
        with _bar() as progress:
            bars = {step: progress.add_task(step, total=None) for step in ("verify", "restore")}
            return await load(
                url, file, replace=replace, progress=lambda step, more: progress.advance(bars[step], more)
            )

    try:
        rows = run_async(work())
    except OSError as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        err.print(f"[red]Nothing was restored:[/] the database refused. {cause}", highlight=False)
        raise typer.Exit(1) from None
    out.print(f"{rows:,} rows restored.", highlight=False)
    check(repair=False, as_json=False)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
    )
