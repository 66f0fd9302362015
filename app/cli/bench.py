"""`moodline bench …`: measure. Each prints a table and, as its last line, one JSON object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure. Each prints a table and, as its last line, one JSON object.", no_args_is_help=True)
ENGINE_URL = typer.Option(help="A running vLLM, such as http://127.0.0.1:8001/v1; the embedded engine without it.")


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


@bench.command("lines")
def bench_lines(
    data: Annotated[Path, typer.Option(help="Contexts in CharacterEval's form: a JSON array of {role, context}.")],
    profiles: Annotated[Path | None, typer.Option(help="Persona cards by role; their sayings join the banks.")] = None,
) -> None:
    """How near recalled lines come to what a character really said next.

    Systems: `moodline`, `dense`, `bm25`, `index-classic`, `random`, `oracle`. Example:
    `moodline bench lines --data charactereval/contexts.json`.
    """
    from app.bench.lines import run

    run(data, profiles)


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
    counts = _whole_numbers(rows, "--rows")
    from app.bench.index import run

    run(counts, data, [name.strip() for name in systems.split(",") if name.strip()])


@bench.command("memory")
def bench_memory(
    data: Annotated[Path, typer.Option(help="Conversations in LoCoMo's form: a JSON array.")],
) -> None:
    """Whether a question finds the turns that answer it, long afterwards.

    Recall@5, 10 and 20 and MRR of LoCoMo's evidence turns, over categories 1 to 4 and for each. Systems: `moodline`,
    the same knowing who spoke, `ordinary` (the paper's), `dense`, `bm25`, `rrf`.
    Example: `moodline bench memory --data locomo10.json`.
    """
    from app.bench.memory import run

    run(data)


@bench.command("recall")
def bench_recall(
    rows: Annotated[int, typer.Option(min=1, help="Past lines, and memories as many.")] = 10_000,
    turns: Annotated[int, typer.Option(min=2, help="Turns to time.")] = 200,
    data: Annotated[Path | None, typer.Option(help="A text file, one text a line; made-up texts without it.")] = None,
) -> None:
    """Time what recalling costs a turn: embedding, two searches, ranking; and loading and adding rows.

    Systems: `moodline` and `ordinary` (the paper's plain retrieval). Example: `moodline bench recall --rows 100000`.
    """
    from app.bench.recall import run

    run(rows, turns, data)


@bench.command("mood")
def bench_mood(
    data: Annotated[Path, typer.Option(help="Labelled texts: GoEmotions' TSV or CPED's CSV.")],
) -> None:
    """Whether what is recalled shares the mood, and what that costs in meaning.

    Systems: `moodline`, the five of Emotional RAG by the paper's names, `random`, and `oracle`, which sees the labels.
    Example: `moodline bench mood --data goemotions/dev.tsv`.
    """
    from app.bench.mood import run

    run(data)


@bench.command("lore")
def bench_lore(
    entries: Annotated[str, typer.Option(help="Entries of the books, with commas between.")] = "100,1000,5000",
    regex: Annotated[str, typer.Option(help="Per cent of regular expressions, with commas between.")] = "0,40,100",
    messages: Annotated[int, typer.Option(min=1, max=1000, help="Messages that keys are looked for in.")] = 50,
    times: Annotated[int, typer.Option(min=1, help="Activations of each book.")] = 20,
) -> None:
    """What activating a lorebook costs, by its size and its share of regular expressions.

    Systems: `moodline`, and `naive`, which looks for every key by itself. Example:
    `moodline bench lore --entries 5000 --regex 40`.
    """
    try:
        sizes = [int(count) for count in entries.split(",")]
        shares = [float(share) / 100 for share in regex.split(",")]
    except ValueError:
        sizes, shares = [], []
    if not sizes or min(sizes) < 1 or not all(0 <= share <= 1 for share in shares):
        raise typer.BadParameter("give numbers with commas between: entries above 0, per cent from 0 to 100")
    from app.bench.lore import run

    run(sizes, shares, messages, times)


@bench.command("door")
def bench_door(
    streams: Annotated[str, typer.Option(help="Clients at once, with commas between.")] = "1,16,64,256",
    each: Annotated[float, typer.Option(min=2, help="Requests of each client in a round.")] = 4,
    pieces: Annotated[int, typer.Option(min=1, help="Pieces of text of each reply.")] = 20,
    pace: Annotated[float, typer.Option(min=0, help="Milliseconds between two pieces.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all systems by turns.")] = 3,
) -> None:
    """What going through this server adds, against asking its upstream directly.

    Systems: `direct` (a stub that speaks at a fixed pace), `moodline-bare` (through the server to the bare language
    model), `moodline` (a character with nothing to recall). Example: `moodline bench door --streams 16`.
    """
    counts = _whole_numbers(streams, "--streams")
    from app.bench.door import run

    run(counts, each, pieces, pace / 1000, rounds)


@bench.command("cache")
def bench_cache(
    engine_url: Annotated[str, ENGINE_URL] = "",
    turns: Annotated[int, typer.Option(min=4, help="Turns of each conversation.")] = 30,
    words: Annotated[int, typer.Option(min=1, help="Least words of each message of the user's.")] = 20,
    reply_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of each reply.")] = 64,
    context: Annotated[int, typer.Option(min=2048, help="Tokens of prompt and reply together.")] = 8192,
) -> None:
    """How much of a conversation's prompts the engine's prefix cache serves, and what that does to the first word.

    Systems: `late`, `classic` (both layouts), `plain` (nothing retrieved), `kept` (what was retrieved stays where it
    was put), `bare` (the language model alone). Example: `moodline bench cache --engine-url http://127.0.0.1:8001/v1`.
    """
    from app.bench.cache import run

    run(engine_url, turns, words, reply_tokens, context)


@bench.command("serve")
def bench_serve(
    engine_url: Annotated[str, ENGINE_URL] = "",
    streams: Annotated[str, typer.Option(help="Clients at once, with commas between.")] = "1,8,32,64,128",
    each: Annotated[int, typer.Option(min=1, help="Requests of each client in a round.")] = 2,
    reply_tokens: Annotated[int, typer.Option(min=2, help="Tokens of each reply.")] = 128,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all systems by turns.")] = 1,
) -> None:
    """This server before an engine, against the engine itself: first word, time of a token, throughput, processor.

    Systems: `raw` (the engine, given the prompts that the character made), `moodline-bare` (the same through the
    server), `moodline` (the character). Example: `moodline bench serve --engine-url http://127.0.0.1:8001/v1`.
    """
    counts = _whole_numbers(streams, "--streams")
    from app.bench.serve import run

    run(engine_url, counts, each, reply_tokens, rounds)


def _whole_numbers(text: str, option: str) -> list[int]:
    """The numbers above 0 of an option that takes several."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise typer.BadParameter("give whole numbers above 0, with commas between, such as 1,16", param_hint=option)
    return numbers
