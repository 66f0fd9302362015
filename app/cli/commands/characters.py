"""`moodline characters …` and `moodline lines …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

characters = typer.Typer(help="List, show, add, import, export and delete characters.", no_args_is_help=True)
lines = typer.Typer(help="Past lines, which give a character its voice.", no_args_is_help=True)

Slug = Annotated[str, typer.Argument(help="The character's slug, as in `char/<slug>`.")]


@characters.command("list")
def list_characters() -> None:
    """The characters of this server."""
    from app.cli.characters import show_all

    show_all()


@characters.command("show")
def show_character(slug: Slug) -> None:
    """One character as JSON; `characters add` reads the same form."""
    from app.cli.characters import show

    show(slug)


@characters.command("add")
def add_character(
    file: Annotated[Path, typer.Argument(help="JSON with slug, name, persona, … as POST /api/characters takes it.")],
) -> None:
    """Add a character from a JSON file. Example: `moodline characters add cat.json`."""
    from app.cli.characters import add

    add(file)


@characters.command("import")
def import_character(
    file: Annotated[Path, typer.Argument(help="A card: PNG, JSON, CHARX, JPEG, WEBP or YAML.")],
    slug: Annotated[str, typer.Option(help="Unset: made of the name.")] = "",
    pick: Annotated[str, typer.Option(help="Which character, by name, of a file that has many.")] = "",
    shared: Annotated[bool, typer.Option("--shared", help="For everyone on this server.")] = False,
) -> None:
    """Add a character from a card of SillyTavern, RisuAI, … Example: `moodline characters import seraphina.png`."""
    from app.cli.cards import import_card

    import_card(file, slug, pick, shared)


@characters.command("export")
def export_character(
    slug: Slug,
    file: Annotated[Path, typer.Argument(help="Where to; .json, .png or .charx says in which format.")],
    original: Annotated[
        bool, typer.Option("--original", help="The file that it was imported from, as it was.")
    ] = False,
    v2: Annotated[bool, typer.Option("--v2", help="Character Card V2, for older programs; else V3.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a character as a card. Example: `moodline characters export seraphina seraphina.png`."""
    from app.cli.cards import export_card

    export_card(slug, file, original, "v2" if v2 else "v3", force)


@characters.command("delete")
def delete_character(slug: Slug) -> None:
    """Hide a character; `characters restore` brings it back."""
    from app.cli.characters import delete

    delete(slug)


@characters.command("restore")
def restore_character(slug: Slug) -> None:
    """Bring a deleted character back."""
    from app.cli.characters import restore

    restore(slug)


@lines.command("import")
def import_lines(
    slug: Slug,
    file: Annotated[Path, typer.Argument(help="JSONL, CSV, or a script with `NAME: line`.")],
    role: Annotated[str, typer.Option(help="Whose lines to take; else the character's name.")] = "",
    encoding: Annotated[str, typer.Option(help="Of the file, e.g. gb18030.")] = "utf-8",
) -> None:
    """Import past lines and embed them. Example: `moodline lines import mara script.txt --role MARA`."""
    from app.cli.embed import import_lines as run

    run(slug, file, role, encoding)
