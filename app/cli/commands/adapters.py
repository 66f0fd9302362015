"""`moodline adapters …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

adapters = typer.Typer(help="LoRA adapters that characters speak with, beside one base.", no_args_is_help=True)


@adapters.command("add")
def add_adapter(
    folder: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter as PEFT saves it.")],
    role: Annotated[str, typer.Option(help="The first part of its name; the second is made of its weights.")],
) -> None:
    """Keep an adapter and print its name, for a character's field `adapter`.

    Example: `moodline adapters add runs/mara --role mara`.
    """
    from app.cli.adapters import add

    add(folder, role)


@adapters.command("list")
def list_adapters() -> None:
    """The adapters that are kept."""
    from app.cli.adapters import show_all

    show_all()


@adapters.command("remove")
def remove_adapter(name: Annotated[str, typer.Argument(help="As `adapters list` shows it.")]) -> None:
    """Take an adapter away that no character speaks with."""
    from app.cli.adapters import remove

    remove(name)
