"""`moodline merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

merging = typer.Typer()


@merging.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a LoRA adapter as PEFT saves it.")],
    base: Annotated[
        str,
        typer.Option(help="Folder of the unquantised checkpoint it was trained on; `packaged` is the server's own."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
) -> None:
    """Make one servable checkpoint of a LoRA adapter and its base, or nothing. Needs no GPU.

    The result is loaded and held against base and adapter before it gets its name. Its `manifest.json` says what it was
    made of and how it must be served; the server looks at it when it starts.

    Example: `moodline merge adapters/mara --base Qwen3-4B-Instruct --out mara-4b`.
    """
    from app.cli.merge import run

    run(adapter, base, out)
