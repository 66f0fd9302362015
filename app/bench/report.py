"""What a benchmark says: a table for people, then one line of JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from app.cli.console import out


def report(bench: str, results: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
    """Print `results`, metrics by system, as a table and as the last line, JSON.

    `more` is put beside the results in the JSON: what was measured on, settings, notes. Floats are rounded to 4 digits.
    """
    metrics = dict.fromkeys(name for numbers in results.values() for name in numbers)
    out.print(_table(f"bench {bench}", results, list(metrics)))
    rounded = {system: {name: _rounded(value) for name, value in row.items()} for system, row in results.items()}
    print(json.dumps({"bench": bench, "results": rounded, **more}, ensure_ascii=False))


def _table(title: str, results: Mapping[str, Mapping[str, Any]], metrics: list[str]) -> Table:
    """Whichever there are fewer of, systems or metrics, are the columns, so that it fits a terminal."""
    if len(metrics) < len(results):
        table = Table(title, *metrics)
        for system, numbers in results.items():
            table.add_row(system, *(_shown(numbers.get(name)) for name in metrics))
        return table
    table = Table(title, *results)
    for name in metrics:
        table.add_row(name, *(_shown(numbers.get(name)) for numbers in results.values()))
    return table


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
