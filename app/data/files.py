"""What the commands of `moodline data` share: files that appear whole, and errors that a person can act on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import typer
from rich.progress import track

from app.backup.archive import set_aside
from app.cli.console import err, out
from models.engine import EngineError
from models.example import BadRow, Example, write_examples

T = TypeVar("T")


@contextmanager
def told() -> Iterator[None]:
    """End the command with a sentence where a file can't be read or written."""
    try:
        yield
    except BadRow as error:
        err.print(f"[red]{_plain(error)}[/] Nothing was written.", highlight=False)
        raise typer.Exit(1) from None
    except (ValueError, EngineError) as error:
        err.print(f"[red]{_plain(error)}[/]", highlight=False)
        raise typer.Exit(1) from None
    except OSError as error:
        err.print(f"[red]{error.filename}: {error.strerror}[/]" if error.filename else f"[red]{error}[/]")
        raise typer.Exit(1) from None


def vacant(file: Path, force: bool) -> None:
    """End the command where something is at `file` already, unless it is to be replaced."""
    if file.exists() and not force:
        err.print(f"[red]{file} is there already.[/] Give --force to replace it.", highlight=False)
        raise typer.Exit(1)


def save(examples: Iterable[Example], file: Path) -> int:
    """Write examples with a progress bar, whole or not at all; ends the command where there are none."""
    return write_examples(file, _some(shown(examples)))


def save_rows(rows: Iterable[dict[str, Any]], file: Path) -> int:
    """Write objects as a JSON array into a .json, else one a line; whole or not at all. Returns how many."""
    array = file.suffix.lower() == ".json"
    count = 0
    with set_aside(file) as target:
        for count, row in enumerate(shown(rows), 1):
            before = (b"[\n" if count == 1 else b",\n") if array else b""
            target.write(before + json.dumps(row, ensure_ascii=False).encode() + (b"" if array else b"\n"))
        if array:
            target.write(b"\n]\n" if count else b"[]\n")
    return count


def shown(items: Iterable[T]) -> Iterable[T]:
    """The same, with a bar on the terminal while it takes long."""
    return track(items, description="", console=err, transient=True, disable=not err.is_terminal)


def written(file: Path, count: int, what: str = "") -> None:
    """Tell what was written."""
    out.print(f"{file}: {count:,} {'row' if count == 1 else 'rows'}{', ' + what if what else ''}.", highlight=False)


def _some(examples: Iterable[Example]) -> Iterator[Example]:
    empty = True
    for example in examples:
        empty = False
        yield example
    if empty:
        raise ValueError("There is nothing to write: no row came of it.")


def _plain(error: Exception) -> str:
    return str(error).replace("[", r"\[")
