"""`moodline keys`."""

from __future__ import annotations

import typer
from rich.table import Table
from sqlalchemy import select

from app import auth
from app.cli.console import closing, err, out, services
from app.cli.console import run as run_async
from app.services import Services
from app.tables import ApiKey, now


def create(name: str, owner: str, admin: bool) -> None:
    """Make a key and show it."""

    async def work(parts: Services) -> str:
        async with closing(parts), parts.db.write() as db:
            return await auth.create_key(db, owner, name, admin)

    key = run_async(work(services()))
    err.print(f"A key for owner {owner!r}{' (admin)' if admin else ''}. It is shown only now:", highlight=False)
    out.print(key, highlight=False)


def show_all() -> None:
    """The keys as a table."""

    async def work(parts: Services) -> list[ApiKey]:
        async with closing(parts), parts.db.read() as db:
            return list(await db.scalars(select(ApiKey).order_by(ApiKey.created_at)))

    table = Table("key", "name", "owner", "admin", "created", "revoked")
    for row in run_async(work(services())):
        revoked = f"{row.revoked_at:%Y-%m-%d}" if row.revoked_at else ""
        table.add_row(
            f"{row.prefix}…", row.name, row.owner, "yes" if row.admin else "", f"{row.created_at:%Y-%m-%d}", revoked
        )
    out.print(table)


def revoke(prefix: str) -> None:
    """Revoke the one key that begins with `prefix`."""
    prefix = prefix.rstrip("…")

    async def work(parts: Services) -> list[str]:
        async with closing(parts), parts.db.write() as db:
            query = select(ApiKey).where(
                ApiKey.prefix.startswith(prefix[:8], autoescape=True), ApiKey.revoked_at.is_(None)
            )
            rows = list(await db.scalars(query))
            if len(rows) == 1:
                rows[0].revoked_at = now()
            return [f"{row.prefix}… ({row.name})" for row in rows]

    found = run_async(work(services()))
    if len(found) != 1:
        err.print(f"{len(found)} keys begin with {prefix!r}: {', '.join(found) or 'see `moodline keys list`'}.")
        raise typer.Exit(1)
    out.print(f"{found[0]} is revoked.", highlight=False)
