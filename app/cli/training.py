"""`moodline train sft|dpo|recipes`."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from app.cli.console import err, out, settings
from app.version import VERSION
from models.engine import EngineError
from models.training.curves import points
from models.training.fit import Progress as Step
from models.training.recipe import Method, Recipe, RecipeWrong, read_recipe, recipe_text, shipped
from models.training.train import Prepared, Trained, TrainingRefused, peak_bytes, prepare, train
from models.weights import checkpoint
from models.whole import FolderTaken, check_free

PACKAGED = "packaged"
LINES = 20
"""About how many lines of progress a log gets, where no bar can be drawn."""


def run(
    method: Method,
    name: str,
    data: list[Path],
    test: list[Path],
    base: str,
    begin: Path | None,
    steps: int,
    folder: Path,
    *,
    dry: bool,
) -> None:
    """Train with a progress bar and say what came of it."""  # fmt: skip
    # Whoever stops a training politely, as containers do, finds its checkpoints and nothing half-written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        recipe = _recipe(name, method, steps)
        check_free(folder)
        named = base or recipe.base or PACKAGED
        place = checkpoint(None, settings().home) if named == PACKAGED else Path(named)
        prepared = _prepare(recipe, data, place, test, begin)
        _tell_rows(recipe, prepared)
        if dry:
            return
        trained = _train(recipe, prepared, folder, begin)
    except (TrainingRefused, RecipeWrong, FolderTaken, EngineError) as error:
        err.print(f"[red]Not trained.[/] {error}", highlight=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        err.print("Stopped. The same command goes on from the last checkpoint.", highlight=False)
        raise typer.Exit(130) from None
    _tell(trained, named)


def recipes(name: str) -> None:
    """List the shipped recipes, or print one."""
    try:
        if name:
            print(recipe_text(name), end="")
            return
        table = Table("recipe", "method", "for", "from", box=None, pad_edge=False)
        for each in shipped():
            recipe = read_recipe(each)
            table.add_row(each, recipe.method, recipe.about, recipe.source)
    except RecipeWrong as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    out.print(table)


def _recipe(name: str, method: Method, steps: int) -> Recipe:
    recipe = read_recipe(name)
    if recipe.method != method:
        raise RecipeWrong(f"{name} is a recipe for {recipe.method}: moodline train {recipe.method} {name} …")
    if steps:
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
    return recipe


def _prepare(recipe: Recipe, data: list[Path], base: Path, test: list[Path], begin: Path | None) -> Prepared:
    with _bar() as progress:
        task = progress.add_task("rows to tokens", total=None)

        def told(done: int, rows: int) -> None:
            progress.update(task, completed=done, total=rows)

        return prepare(recipe, data, base, held_out=test, begin=begin, told=told)


def _train(recipe: Recipe, prepared: Prepared, folder: Path, begin: Path | None) -> Trained:
    with _bar() as progress:
        task = progress.add_task("training", total=None)

        def told(step: Step) -> None:
            loss = "" if step.loss is None else f", loss {step.loss:.3f}"
            so_far = f"{loss}, {_megabytes(peak_bytes())}"
            progress.update(task, completed=step.step, total=step.steps, description=f"training{so_far}")
            if not err.is_terminal and step.step % max(1, step.steps // LINES) == 0:
                err.print(f"step {step.step:,} of {step.steps:,}{so_far}", highlight=False)

        made = f"{datetime.now(UTC):%Y-%m-%d}"
        return train(recipe, prepared, folder, made=made, moodline=VERSION, begin=begin, told=told)


def _bar() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=err, transient=True)


def _tell_rows(recipe: Recipe, prepared: Prepared) -> None:
    rows = prepared.train
    out.print(
        f"{len(rows.rows):,} rows to learn from, {len(prepared.test.rows):,} kept aside; {rows.tokens:,} tokens, of "
        f"which {rows.learnt:,} are learnt; the longest row has {rows.longest:,} of {recipe.data.context:,}.",
        highlight=False,
    )
    if left := rows.too_long + prepared.test.too_long:
        err.print(
            f"[yellow]{left:,} rows are left out:[/] without any history they are still longer than data.context.",
            highlight=False,
        )


def _tell(trained: Trained, base: str) -> None:
    for name, word, best in (
        ("eval_loss", "loss of rows kept aside", min),
        ("eval_rewards/margins", "their margin", max),
    ):
        if values := points(trained.log, name)[1]:
            told = f"{word}: {values[0]:.3f} before, {best(values):.3f} at best, {values[-1]:.3f} now"
            out.print(told, highlight=False)
    out.print(f"{trained.seconds:.0f} s, at most {_megabytes(trained.peak_bytes)} of memory.", highlight=False)
    out.print(f"{trained.folder}: adapter, curves.png and manifest.", highlight=False)
    out.print(f"Next: moodline merge {trained.folder} --base {base} --out DIR", highlight=False)


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"
