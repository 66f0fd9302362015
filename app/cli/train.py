"""`moodline train …`: fit what the server uses from data of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

train = typer.Typer(help="Fit what the server uses from data of your own.", no_args_is_help=True)


@train.command("emotion")
def train_emotion(
    data: Annotated[list[Path], typer.Option(help="Labelled texts, GoEmotions TSV or CPED CSV; give several.")],
    encoder: Annotated[str, typer.Option(help="As MOODLINE_ENCODER; else the setting.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where to write; else where the server looks first.")] = None,
    also_for: Annotated[
        list[str] | None, typer.Option(help="Ids of other encoders with the same vectors, e.g. the C engine's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which documents are kept aside.")] = 0,
) -> None:
    """Fit the emotion head on an encoder's vectors. The server uses it from its next start.

    Example: `moodline train emotion --data train.tsv --data dialogues.csv`.
    """
    from app.emotions.command import run

    run(data, encoder, out, also_for or [], seed)
