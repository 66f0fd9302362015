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


@bench.command("lines")
def bench_lines(
    data: Annotated[Path, typer.Option(help="Contexts in CharacterEval's form: a JSON array of {role, context}.")],
) -> None:
    """How near recalled lines come to what a character really said next.

    Systems: `moodline`, `dense`, `bm25`, `index-classic`, `random`, `oracle`. Example:
    `moodline bench lines --data charactereval/contexts.json`.
    """
    from app.bench.lines import run

    run(data)


@bench.command("characters")
def bench_characters(
    data: Annotated[Path, typer.Option(help="Folder of NAME.txt files: rows of paragraph, question, answer, tabs.")],
) -> None:
    """Whether a question to a character finds its paragraph, and how many rows of others come with it.

    Systems: `moodline`, `dense`, `bm25`, `rrf`, `unscoped` (one index for all characters). Example:
    `moodline bench characters --data character100`.
    """
    from app.bench.characters import run

    run(data)
