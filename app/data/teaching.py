"""Runs a builder that asks a teacher: its engine, its progress and cost, its rows and their manifest."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.backup.archive import set_aside
from app.cli.console import err, run, settings
from app.cli.engines import started
from app.data.files import save_rows, told, vacant, written
from app.version import VERSION
from models.example import Example, write_examples
from models.teacher.answers import Answers
from models.teacher.ask import Teacher
from models.teacher.parts import Desk, Lost, Made
from models.teacher.spending import LimitReached, Limits, Prices, Purse

NAMED = 8
"""Lost rows that the terminal names; the manifest has all."""


@dataclass(frozen=True, slots=True)
class Teaching:
    """What every builder with a teacher takes from the command line."""

    target: Path
    teacher: str
    at_once: int
    limits: Limits
    prices: Prices
    temperature: float | None
    seed: int
    force: bool

    @property
    def answers(self) -> Path:
        """Where answers are kept."""
        return self.target.with_name(f"{self.target.stem}.answers.jsonl")

    @property
    def manifest(self) -> Path:
        """Where it is told what the rows were made of; written last."""
        return self.target.with_name(f"{self.target.stem}.manifest.json")


@dataclass(frozen=True, slots=True)
class Job:
    """What is made: the command's name, the files it reads, and whatever else its rows follow from."""

    verb: str
    inputs: Sequence[Path]
    chosen: dict[str, Any]


def teach(how: Teaching, job: Job, build: Callable[[Desk], Awaitable[Made[Any]]]) -> None:
    """Make rows with a teacher and write them, whole, with their manifest; or say how to go on."""
    if how.limits.money is not None and how.prices == Prices():
        err.print("[red]A limit in money needs --price.[/] Give it for a million tokens read and written: 0.15,0.60.")
        raise typer.Exit(2)
    if not (how.answers.exists() and not how.manifest.exists()):  # else an earlier run ended between the two
        vacant(how.target, how.force)
    with told():
        sums = [{"file": path.name, "sha256": _sum(path)} for path in job.inputs]
        with _kept(how), Answers(how.answers) as answers:
            made, teacher = run(_made(how, answers, build))
        _tell_lost(made.lost)
        if not made.rows:
            raise ValueError("There is nothing to write: no row came of it.")
        count = _write(how.target, made.rows)
        _write_manifest(how, job, sums, made, teacher)
    used = teacher.used
    written(how.target, count, f"of {used.requests:,} answers; this run cost {teacher.purse.told()}")


async def _made(
    how: Teaching, answers: Answers, build: Callable[[Desk], Awaitable[Made[Any]]]
) -> tuple[Made[Any], Teacher]:
    purse = Purse(how.limits, how.prices)
    async with started(how.teacher, settings().upstream_key.get_secret_value()) as (engine, name):
        # One language model answers alike at any address.
        known_by = "" if "://" in how.teacher else name
        teacher = Teacher(
            engine, answers, purse, name=known_by, at_once=how.at_once, temperature=how.temperature, seed=how.seed
        )
        with _bars(purse) as progress:
            return await build(Desk(teacher, progress)), teacher


@contextmanager
def _kept(how: Teaching) -> Iterator[None]:
    """Where the work ends early, say that nothing is lost and how to go on."""
    go_on = f"What was answered is kept in {how.answers}; the same command goes on from there."
    try:
        yield
    except LimitReached as error:
        err.print(f"{error} {go_on} A limit is that of one run.", highlight=False, markup=False)
        raise typer.Exit(3) from None
    except typer.Exit:
        err.print(go_on, highlight=False, markup=False)
        raise


@contextmanager
def _bars(purse: Purse) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each kind of thing that is made, with what the run has cost so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:

        def told_of(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total, description=f"{what} ({purse.told()})")

        yield told_of


def _write(target: Path, rows: Sequence[Any]) -> int:
    if isinstance(rows[0], Example):
        return write_examples(target, rows)
    return save_rows(rows, target)


def _tell_lost(lost: Sequence[Lost]) -> None:
    if not lost:
        return
    counts = Counter(one.reason for one in lost)
    err.print(f"{len(lost):,} not made: {', '.join(f'{reason} {n:,}' for reason, n in counts.most_common())}.")
    for one in lost[:NAMED]:
        detail = f" ({one.detail})" if one.detail else ""
        err.print(f"  {one.row}: {one.reason}{detail}", highlight=False, markup=False)
    if len(lost) > NAMED:
        err.print("  … the manifest names all.", highlight=False)


def _write_manifest(how: Teaching, job: Job, sums: list[dict[str, str]], made: Made[Any], teacher: Teacher) -> None:
    manifest = {
        "moodline": VERSION,
        "made_by": f"moodline data {job.verb}",
        "chosen": job.chosen,
        "inputs": sums,
        "teacher": {"name": teacher.name, "temperature": teacher.temperature, "seed": teacher.seed},
        "cost": asdict(teacher.used),
        "rows": len(made.rows),
        "sha256": _sum(how.target),
        "lost": dict(Counter(one.reason for one in made.lost)),
        "lost_rows": [asdict(one) for one in made.lost],
    }
    with set_aside(how.manifest) as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=1).encode() + b"\n")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
