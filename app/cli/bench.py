"""`moodline bench …`: measure. Each prints a table and, as its last line, one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure. Each prints a table and, as its last line, one JSON object.", no_args_is_help=True)


@bench.command("turn")
def bench_turn(
    turns: Annotated[int, typer.Option(min=2, help="Turns of each conversation.")] = 12,
    file: Annotated[Path | None, typer.Option("--lines", help="A file of past lines to import first.")] = None,
    role: Annotated[str, typer.Option(help="Whose lines to take from the file.")] = "",
    reply_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each reply.")] = 32,
) -> None:
    """Time every step of a turn, and importing lines.

    Systems: `moodline` (layout late), `classic` (everything in the first system message), `bare` (the engine alone,
    given the prompts that `moodline` made). Example: `moodline bench turn --lines script.jsonl --role 甄嬛`.
    """
    from app.bench.turn import run

    run(turns, file, role, reply_tokens)


@bench.command("emotion")
def bench_emotion(
    data: Annotated[list[Path], typer.Option(help="Labelled texts, GoEmotions TSV or CPED CSV; give several.")],
    passages: Annotated[bool, typer.Option(help="Hear the texts' vectors as passages instead of queries.")] = False,
) -> None:
    """Measure what hears emotions against labels, on documents it was not trained on.

    Systems: `moodline` (what the server uses), `anchors`, `always-yes`. Thresholds come from the head's training data.
    Example: `moodline bench emotion --data dev.tsv --data dialogues.csv`.
    """
    from app.bench.emotion import run

    run(data, passages)
