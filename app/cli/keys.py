"""`moodline keys`."""

from __future__ import annotations

from collections.abc import Callable

import typer
from rich.table import Column, Table
from sqlalchemy import select

from app import auth
from app.cli.console import closing, err, out, services
from app.cli.console import run as run_async
from app.limits import limits_of
from app.services import Services
from app.tables import ApiKey, now

SERVERS = -1
"""On the command line, in place of a limit: the server's own setting."""


def create(name: str, owner: str, admin: bool, limits: dict[str, int | None]) -> None:
    """Make a key and show it."""

    async def work(parts: Services) -> str:
        async with closing(parts), parts.db.write() as db:
            return await auth.create_key(db, owner, name, admin, **_chosen(limits))

    key = run_async(work(services()))
    err.print(f"A key for owner {owner!r}{' (admin)' if admin else ''}. It is shown only now:", highlight=False)
    out.print(key, highlight=False)


def change(prefix: str, limits: dict[str, int | None]) -> None:
    """Give the one key that begins with `prefix` other limits; a running server keeps to them from the next request."""
    chosen = _chosen(limits)
    if not chosen:
        err.print("Say what to change: --requests-per-minute, --tokens-per-minute or --streams.")
        raise typer.Exit(1)

    def apply(row: ApiKey) -> None:
        for name, limit in chosen.items():
            setattr(row, name, limit)

    out.print(f"{_change_one(prefix, apply)} has other limits now; `moodline keys list` shows them.", highlight=False)


def show_all() -> None:
    """The keys as a table."""

    async def work(parts: Services) -> list[ApiKey]:
        async with closing(parts), parts.db.read() as db:
            return list(await db.scalars(select(ApiKey).order_by(ApiKey.created_at)))

    parts = services()
    # The beginning of a key is what other commands take, so that column is never cut.
    rest = ("name", "owner", "admin", "requests/min", "tokens/min", "streams", "created", "revoked")
    table = Table(Column("key", no_wrap=True, min_width=9), *rest)
    for row in run_async(work(parts)):
        limits = limits_of(row, parts.settings)
        table.add_row(
            f"{row.prefix}…",
            row.name,
            row.owner,
            "yes" if row.admin else "",
            *(str(limit or "any") for limit in (limits.requests, limits.tokens, limits.streams)),
            f"{row.created_at:%Y-%m-%d}",
            f"{row.revoked_at:%Y-%m-%d}" if row.revoked_at else "",
        )
    out.print(table)


def revoke(prefix: str) -> None:
    """Revoke the one key that begins with `prefix`."""

    def apply(row: ApiKey) -> None:
        row.revoked_at = now()

    out.print(f"{_change_one(prefix, apply)} is revoked.", highlight=False)


def _change_one(prefix: str, apply: Callable[[ApiKey], None]) -> str:
    """Change the one key that begins with `prefix` and say which it was; leaves the program when it isn't one."""
    prefix = prefix.rstrip("…")

    async def work(parts: Services) -> list[str]:
        async with closing(parts), parts.db.write() as db:
            query = select(ApiKey).where(
                ApiKey.prefix.startswith(prefix[:8], autoescape=True), ApiKey.revoked_at.is_(None)
            )
            rows = list(await db.scalars(query))
            if len(rows) == 1:
                apply(rows[0])
            return [f"{row.prefix}… ({row.name})" for row in rows]

    found = run_async(work(services()))
    if len(found) != 1:
        err.print(f"{len(found)} keys begin with {prefix!r}: {', '.join(found) or 'see `moodline keys list`'}.")
        raise typer.Exit(1)
    return found[0]


def _chosen(limits: dict[str, int | None]) -> dict[str, int | None]:
    """The columns that were named."""
    return {name: None if limit == SERVERS else limit for name, limit in limits.items() if limit is not None}
