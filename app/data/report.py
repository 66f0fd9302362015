"""`moodline data report`, `split` and `dedup`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from app.cli.console import out, settings
from app.data.files import save, shown, told, vacant, written
from models.data.leaks import Crossing, crossings
from models.data.near import repeats
from models.data.report import LIMITS, SHARES, Fault, Lengths, Report, report
from models.data.split import apart, divide
from models.example import Example, read_examples
from models.token_count import estimate_tokens

ESTIMATE, PACKAGED = "estimate", "packaged"
SHOWN_ROLES = 12
"""Roles that are told one by one; `--json` has them all."""


def tell(files: Sequence[Path], tokenizer: str, as_json: bool) -> None:
    """Print what each file is, and what crosses from one to another."""
    with told():
        count = _counter(tokenizer)
        read = [(str(file), list(shown(read_examples(file)))) for file in files]
        found = {name: report(rows, count, tokenizer) for name, rows in read}
        crossed = list(crossings(read))
    if as_json:
        told_files = {name: dataclasses.asdict(one) for name, one in found.items()}
        print(
            json.dumps({"files": told_files, "crossings": list(map(dataclasses.asdict, crossed))}, ensure_ascii=False)
        )
        return
    for name, one in found.items():
        _print(name, one)
    if len(files) > 1:
        _print_crossings(crossed, [dict(enumerate(rows)) for _, rows in read], [name for name, _ in read])


def split(file: Path, test: float, seed: int, force: bool) -> None:
    """Write the rows of a file into two, `….train.jsonl` and `….test.jsonl`, never through a group or a repeat."""
    halves = [file.with_name(f"{file.stem}.{part}.jsonl") for part in ("train", "test")]
    for half in halves:
        vacant(half, force)
    with told():
        rows = list(read_examples(file))
        parts = divide(rows, test, seed)
        if not all(parts):
            groups = len(set(apart(rows)))
            raise ValueError(
                f"{file} can't be divided: its {len(rows)} rows are {groups} groups. Try another --seed or --test."
            )
        for half, part in zip(halves, parts, strict=True):
            save(part, half)
    for half, part in zip(halves, parts, strict=True):
        written(half, len(part), f"{len(part) / len(rows):.1%}")


def dedup(file: Path, target: Path, same: float, against: Sequence[Path], force: bool) -> None:
    """Write the rows that repeat none before them, and none of the files `against`."""
    vacant(target, force)
    with told():
        known = [row for other in against for row in read_examples(other)]
        rows = list(read_examples(file))
        gone = {one.row - len(known): one for one in repeats(shown([*known, *rows]), same)}
        save((row for place, row in enumerate(rows) if place not in gone), target)
    left = [one for place, one in gone.items() if place >= 0]
    exact = sum(one.exact for one in left)
    elsewhere = sum(one.of < len(known) for one in left)
    written(target, len(rows) - len(left))
    there = f", {elsewhere:,} of them rows of the other files" if against else ""
    out.print(f"Left out: {exact:,} repeats, {len(left) - exact:,} near ones{there}.", highlight=False)


def _counter(name: str) -> Callable[[str], int]:
    """Counts a text's tokens. Raises ValueError where there is no such tokenizer."""
    if name == ESTIMATE:
        return estimate_tokens
    from tokenizers import Tokenizer

    from models.weights import checkpoint

    folder = checkpoint(None, settings().home) if name == PACKAGED else Path(name)
    file = folder if folder.is_file() else folder / "tokenizer.json"
    if not file.is_file():
        raise ValueError(f"{file} is not there; name a checkpoint's folder, `{PACKAGED}` or `{ESTIMATE}`.")
    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _print(name: str, one: Report) -> None:
    out.print(f"\n[bold]{name}[/]", highlight=False)
    table = Table.grid(padding=(0, 2))
    for row in _rows(one):
        table.add_row(*row)
    out.print(table, markup=False, highlight=False)


def _rows(one: Report) -> Iterator[tuple[str, str]]:
    yield "rows", f"{one.rows:,}: {one.pairs:,} pairs, {one.unwanted:,} with an unwanted reply alone"
    yield "learnt", f"the whole talk in {one.learn_talk:,}, the reply alone in {one.rows - one.learn_talk:,}"
    yield "languages", _counts(one.languages)
    yield "roles", f"{len(one.roles):,}"
    for name, role in list(one.roles.items())[:SHOWN_ROLES]:
        yield f"  {name}", f"{role.rows:,} rows of {role.groups:,} groups, replies of {role.reply.mean:,.1f} tokens"
    yield "sources", _counts(one.sources)
    yield "groups", f"{one.groups:,}"
    yield "turns", _lengths(one.turns, limits=False)
    yield "told besides", f"lines in {one.with_lines:,}, memories in {one.with_memories:,}, lore in {one.with_lore:,}"
    yield "tokens by", one.tokenizer + (", a rule that rather says too many" if one.tokenizer == ESTIMATE else "")
    yield "  prompt", _lengths(one.prompt)
    yield "  reply", _lengths(one.reply)
    yield "  both", _lengths(one.whole)
    yield "repeats", _fault(one.exact)
    yield "near repeats", _fault(one.near)
    yield "reply in prompt", _fault(one.shown)
    yield "equal pairs", _fault(one.equal_pairs)
    yield "ids twice", _fault(one.same_id)


def _counts(counted: dict[str, int], most: int = 8) -> str:
    listed = ", ".join(f"{name} {count:,}" for name, count in list(counted.items())[:most])
    return listed + (f", and {len(counted) - most} more" if len(counted) > most else "")


def _lengths(one: Lengths, limits: bool = True) -> str:
    at = ", ".join(
        f"{'most' if share == 100 else f'{share} %'} {value:,}" for share, value in zip(SHARES, one.at, strict=True)
    )
    over = [f"{count:,} over {limit:,}" for limit, count in zip(LIMITS, one.over, strict=True) if count]
    return f"mean {one.mean:,.1f}, {at}" + (f"; {', '.join(over)}" if limits and over else "")


def _fault(one: Fault) -> str:
    return f"{one.count:,}" + (
        f" ({'; '.join(one.first)}{' …' if one.count > len(one.first) else ''})" if one.count else ""
    )


def _print_crossings(crossed: Sequence[Crossing], rows: Sequence[dict[int, Example]], names: Iterable[str]) -> None:
    known = dict(zip(names, rows, strict=True))
    out.print(f"\n[bold]Between the files[/]: {len(crossed):,} rows that are known from another.", highlight=False)
    for one in crossed[:8]:
        ours, theirs = known[one.file][one.row], known[one.other][one.of]
        out.print(
            f"  {ours.id or one.row + 1} ({one.file}) and {theirs.id or one.of + 1} ({one.other}): {one.why}",
            markup=False,
        )
