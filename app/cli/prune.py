"""`moodline prune`."""

from __future__ import annotations

from app.cli.console import closing, out, services
from app.cli.console import run as run_async
from app.retention import count_due
from app.retention import prune as take_away
from app.services import Services


def prune(dry_run: bool) -> None:
    """Take away what is due by the settings, or count it."""

    async def work(parts: Services) -> dict[str, int]:
        async with closing(parts):
            return await (count_due if dry_run else take_away)(parts.db, parts.settings)

    parts = services()
    found = run_async(work(parts))
    for what, days in (("Traces", parts.settings.trace_days), ("What is deleted", parts.settings.deleted_days)):
        out.print(f"{what}: {f'kept for {days} days' if days else 'kept for ever'}.", highlight=False)
    told = ", ".join(f"{count:,} {table}" for table, count in found.items()) or "nothing"
    out.print(f"{told} {'would go' if dry_run else 'removed'}.", highlight=False)
