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


@bench.command("index")
def bench_index(
    rows: Annotated[str, typer.Option(help="Numbers of rows, with commas between.")] = "10000,100000",
    data: Annotated[
        Path | None, typer.Option(help="A text file, one text a line; synthetic vectors without it.")
    ] = None,
    systems: Annotated[str, typer.Option(help="Only these, with commas between.")] = "",
) -> None:
    """Time searching, filling and catching up, and count what approximate search misses.

    Systems: `moodline` (as the server uses it), `moodline exact`, `numpy`, and of `hnswlib`, `usearch`, `sqlite-vec`
    and `lancedb` those that are installed. Example: `moodline bench index --rows 10000,1000000 --data texts.txt`.
    """
    try:
        counts = [int(count) for count in rows.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise typer.BadParameter("give whole numbers above 0, such as 10000,100000", param_hint="--rows")
    from app.bench.index import run

    run(counts, data, [name.strip() for name in systems.split(",") if name.strip()])
