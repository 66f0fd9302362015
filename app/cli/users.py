"""`moodline users`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.table import Table

from app.backup.archive import set_aside
from app.cli.console import closing, err, interactive, out, services
from app.cli.console import run as run_async
from app.services import Services
from app.users.erase import erase
from app.users.export import export
from app.users.schemas import UserOut
from app.users.store import find_user, list_users

PAGE = 200


def show_all(owner: str) -> None:
    """The users of an owner as a table."""

    async def work(parts: Services) -> list[UserOut]:
        found: list[UserOut] = []
        async with closing(parts), parts.db.read() as db:
            while page := await list_users(db, owner, limit=PAGE, after=found[-1].user if found else None):
                found += page
        return found

    table = Table("user", "conversations", "messages", "memories", "characters", "last")
    for row in run_async(work(services())):
        counts = (row.sessions, row.messages, row.memories, row.characters)
        table.add_row(repr(row.user), *map(str, counts), f"{row.last_at:%Y-%m-%d}" if row.last_at else "")
    out.print(table, markup=False)


def write_all(owner: str, user: str, file: Path) -> None:
    """Write all that is kept of a user into a file, which appears when it is whole."""

    async def work(parts: Services) -> int:
        async with closing(parts):
            async with parts.db.read() as db:
                await find_user(db, owner, user)
            count = 0
            with set_aside(file) as target:
                async for line in export(parts.db, owner, user):
                    target.write(line)
                    count += 1
            return count

    try:
        count = run_async(work(services()))
    except OSError as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    out.print(f"{file}: {count:,} lines.", highlight=False)


def forget(owner: str, user: str, yes: bool) -> None:
    """Take away all that is kept of a user, once that is confirmed."""

    async def look(parts: Services) -> None:
        async with closing(parts), parts.db.read() as db:
            await find_user(db, owner, user)

    async def work(parts: Services) -> dict[str, int]:
        async with closing(parts):
            return await erase(parts, owner, user)

    run_async(look(services()))
    if not yes:
        if not interactive():
            err.print("[red]Nobody is here to confirm.[/] Give --yes to erase the user.")
            raise typer.Exit(1)
        typer.confirm(f"All that is kept of {user!r} goes for good. Go on?", abort=True)
    removed = run_async(work(services()))
    out.print(", ".join(f"{count:,} {table}" for table, count in removed.items()) + " removed.", highlight=False)
    out.print("Backups that were made before still hold them: erase again after a restore.")
