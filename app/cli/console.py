"""What the commands share: the terminal, the settings, and services for the length of a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from app.auth import LOCAL_OWNER, Caller
from app.errors import AppError
from app.migrate import migrate
from app.services import Services, build
from app.settings import Settings
from models.engine import EngineError

OPERATOR = Caller(LOCAL_OWNER, admin=True)
"""Whoever can run commands on the machine may change everything."""

out = Console()
err = Console(stderr=True, soft_wrap=True)
T = TypeVar("T")


def settings(**named: Any) -> Settings:
    """The settings, `named` before the environment; a wrong one ends the command with a sentence, no traceback."""
    try:
        return Settings(**named)
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper()
            err.print(f"[red]MOODLINE_{name}[/]: {fault['msg']}" if name else f"[red]Settings[/]: {fault['msg']}")
        raise typer.Exit(2) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end; errors a person can act on are told without a traceback."""
    try:
        return asyncio.run(work)
    except (AppError, EngineError) as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def services(**named: Any) -> Services:
    """Services on a migrated database, with the settings `named`; nothing is loaded yet."""
    chosen = settings(**named)
    migrate(chosen.database)
    return build(chosen)


@asynccontextmanager
async def closing(parts: Services) -> AsyncIterator[Services]:
    """Close what a command opened."""
    try:
        yield parts
    finally:
        await parts.engine.close()
        await parts.db.close()


def interactive() -> bool:
    """Whether a person sits at the terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()
