"""`moodline users …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

users = typer.Typer(help="The people an app serves: list them, export or erase one.", no_args_is_help=True)

Owner = Annotated[str, typer.Option(help="Whose app the user talks through; see `keys list`.")]
Person = Annotated[str, typer.Argument(help="As the app sends it in `user`.")]


@users.command("list")
def list_users(owner: Owner = "local") -> None:
    """Everyone who has talked with a character."""
    from app.cli.users import show_all

    show_all(owner)


@users.command("export")
def export_user(
    user: Person,
    file: Annotated[Path, typer.Argument(help="Where to; lines of JSON.")],
    owner: Owner = "local",
) -> None:
    """Write all that is kept of a user into a file. Example: `moodline users export ana ana.jsonl`."""
    from app.cli.users import write_all

    write_all(owner, user, file)


@users.command("erase")
def erase_user(
    user: Person,
    owner: Owner = "local",
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Forget a user for good: conversations, memories, bonds, traces."""
    from app.cli.users import forget

    forget(owner, user, yes)
