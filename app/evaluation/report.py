"""What an evaluation says: a table of means with their intervals, then one line of JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from app.backup.archive import set_aside
from app.cli.console import out
from models.judging.intervals import Mean

Result = Mapping[str, Mean | float | int | str]


def report(task: str, results: Mapping[str, Result], *, file: Path | None = None, rows: Any = (), **more: Any) -> None:
    """Print `results`, numbers by system and metric, as a table and as the last line, JSON.

    `more` is put beside the results. `file` gets the same with `rows`, the single questions and answers.
    """
    metrics = dict.fromkeys(name for numbers in results.values() for name in numbers)
    table = Table(f"eval {task}", *results)
    for name in metrics:
        table.add_row(name, *(shown(numbers.get(name)) for numbers in results.values()))
    out.print(table)
    plain = {system: {name: _plain(value) for name, value in row.items()} for system, row in results.items()}
    said = {"eval": task, "results": plain, **more}
    if file:
        _write(file, said | {"rows": rows})
    print(json.dumps(said, ensure_ascii=False))


def _write(file: Path, said: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with set_aside(file) as target:
            target.write(json.dumps(said, ensure_ascii=False, indent=1).encode())
    except OSError as error:
        why = f"{file} can't be written: {error.strerror}. All answers are kept; give the command another file."
        raise typer.BadParameter(why, param_hint="--out") from None


def shown(value: Mean | float | int | str | None) -> str:
    """A number as the table has it: `0.412 [0.380, 0.447] n=50`."""
    if isinstance(value, Mean):
        return f"{value.mean:.3f} [{value.low:.3f}, {value.high:.3f}] n={value.n}"
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _plain(value: Mean | float | int | str) -> Any:
    if isinstance(value, Mean):
        numbers = {name: round(number, 4) for name, number in value._asdict().items() if name != "n"}
        return numbers | {"n": value.n}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value
