"""Benchmark files and what is asked about a role, with errors that name the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import typer

from app.data.persona import persona_of
from models.data.rows import Row, read_rows
from models.example import BadRow

T = TypeVar("T")


def rows_of(file: Path, option: str = "--data") -> list[Row]:
    """The rows of a JSON or JSONL file. Raises typer.BadParameter with the line that is damaged."""
    try:
        rows = list(read_rows(file))
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}.", param_hint=option) from None
    if not rows:
        raise typer.BadParameter(f"{file} has no rows.", param_hint=option)
    return rows


def persona(profiles: str, role: str) -> str:
    """Who a role is, by the file of cards that was given; empty without one or where it has no such card."""
    try:
        return persona_of(profiles, role) if profiles else ""
    except ValueError:
        return ""


def few(rows: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of them, spread evenly over the file; all for 0. The same in every run."""
    if not limit or len(rows) <= limit:
        return list(rows)
    return [rows[place * len(rows) // limit] for place in range(limit)]
