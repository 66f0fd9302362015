"""`moodline merge`."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from app.cli.console import err, out, settings
from app.version import VERSION
from models.engine import EngineError
from models.merge import STEPS, Merged, MergeRefused, merge
from models.weights import checkpoint

PACKAGED = "packaged"


def run(adapter: Path, base: str, folder: Path) -> None:
    """Merge with a progress bar and say what came of it."""
    # Whoever stops a merge politely, as containers do, finds nothing half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        place = checkpoint(None, settings().home) if base == PACKAGED else Path(base)
        merged = _merge(adapter, place, folder)
    except (MergeRefused, EngineError) as error:
        err.print(f"[red]Not merged.[/] {error}", highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    _tell(merged, folder)


def _merge(adapter: Path, base: Path, folder: Path) -> Merged:
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err, transient=True)
    with bar as progress:
        tasks = {step: progress.add_task(step, total=None, start=False) for step in STEPS}
        current = ""

        def told(step: str, done: float) -> None:
            nonlocal current
            if step != current:
                if current:
                    progress.update(tasks[current], total=1, completed=1)
                    progress.stop_task(tasks[current])
                progress.start_task(tasks[step])
                current = step
            if done:
                progress.update(tasks[step], total=1, completed=done)

        return merge(adapter, base, folder, made=f"{datetime.now(UTC):%Y-%m-%d}", moodline=VERSION, told=told)


def _tell(merged: Merged, folder: Path) -> None:
    said, manifest = merged.comparison, merged.manifest
    size = sum(size for size, _ in manifest.files.values())
    out.print(f"{folder}: {size:,} bytes, {manifest.dtype}.", highlight=False)
    out.print(
        f"The adapter moves the base by {said.moved:.3g} nats a token, merging it loses {said.lost:.2g}; "
        f"{said.agreed:.0%} of the likeliest tokens are the same.",
        highlight=False,
    )
    if not said.moved > said.allowed:
        err.print("[yellow]The adapter hardly changes anything.[/] Was it trained, and on this base?", highlight=False)
    out.print(f"{merged.seconds:.0f} s, at most {merged.peak_bytes / 2**20:,.0f} MB of memory.", highlight=False)
    out.print(f"Serve it: MOODLINE_LOCAL_WEIGHTS={folder} moodline serve, or with vLLM.", highlight=False)
