"""`moodline check`, `backup` and `restore`: that nothing is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

keeping = typer.Typer()


@keeping.command()
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Put right what was found; nothing is deleted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Look whether everything in the database agrees, while the server goes on.

    Ends with 0 when nothing is wrong, 1 with findings, 2 when it could not run.
    """
    from app.cli.check import check as run

    run(repair, as_json)


@keeping.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to; a zip that only you can read.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write everything into one file while the server goes on. Example: `moodline backup monday.zip`.

    `restore` reads it into SQLite or PostgreSQL, whichever it came from. Of API keys it has the hashes only.
    """
    from app.cli.backup import backup as run

    run(file, force)


@keeping.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` made.")],
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of all that is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Read a backup into the database that the settings name: all of it, or nothing; then check it.

    It is verified first, and an older one is migrated. Stop the servers before you replace what they serve.
    """
    from app.cli.backup import restore as run

    run(file, replace, yes)
