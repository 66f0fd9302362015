"""`moodline bench index`: what finding the nearest of many vectors costs, and how many of them are found.

Every system gets the same rows and the same queries, which are no rows. Recall is against exact search by score: a row
as near as the tenth counts, so that ties don't. Memory is what a process grew by.
"""

from __future__ import annotations

import gc
import sqlite3
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import typer
from numpy.typing import NDArray
from rich.progress import track

from app.bench.report import report
from app.bench.rivals import Hnswlib, Lancedb, Moodline, Numpy, SqliteVec, Store, Usearch
from app.cli.console import err, settings
from retrieval.encoder import Vectors

DIMENSION = 384
QUERIES = 200
K = 10
JITTER = 0.012
"""Deviation of each number of a copy of a real text's vector: its cosine to the original is then 0.97."""
PIECE = 10_000
ENOUGH_S = 20.0
"""Searching stops after so many seconds, with at least 20 queries."""

SYSTEMS: dict[str, tuple[str, Callable[[int], Store]]] = {
    "moodline": ("faiss", Moodline),
    "moodline exact": ("faiss", lambda dimension: Moodline(dimension, exact=True)),
    "numpy": ("numpy", Numpy),
    "hnswlib": ("hnswlib", Hnswlib),
    "usearch": ("usearch", Usearch),
    "sqlite-vec": ("sqlite_vec", SqliteVec),
    "lancedb": ("lancedb", Lancedb),
}


def run(counts: list[int], data: Path | None, systems: list[str]) -> None:
    """Measure every system at every number of rows; vectors of texts need the weights in MOODLINE_HOME."""
    chosen = [name for name in systems or SYSTEMS if _installed(name)]
    base = _embedded(data) if data else _clusters(min(max(counts), 20_000) + QUERIES)
    queries, base = base[:QUERIES], base[QUERIES:]
    told = {"dimension": base.shape[1], "k": K, "vectors": "text" if data else "synthetic clusters"}
    results: dict[int, dict[str, dict[str, float]]] = {}
    for count in counts:
        results[count] = _compared(chosen, _more(base, count), queries)
        report("index", results[count], rows=count, other_rows={n: results[n] for n in results if n != count}, **told)


def _compared(chosen: list[str], rows: Vectors, queries: Vectors) -> dict[str, dict[str, float]]:
    """Each system in a process of its own, because memory that one gave back would hide what the next one takes."""
    least = _tenth(rows, queries)
    with tempfile.TemporaryDirectory(prefix="moodline-bench-") as folder:
        file = Path(folder, "rows.npy")
        np.save(file, rows)
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
            return {
                name: pool.submit(_measure, name, file, queries, least).result()
                for name in track(chosen, f"{len(rows)} rows", console=err)
            }


def _tenth(rows: Vectors, queries: Vectors) -> Vectors:
    """The cosine of the K-th nearest row to each query, or of the last when there are fewer: [queries]."""
    k = min(K, len(rows))
    best = np.empty((len(queries), 0), np.float32)
    for begin in range(0, len(rows), PIECE):
        best = np.partition(np.hstack([best, queries @ rows[begin : begin + PIECE].T]), -k)[:, -k:]
    least: Vectors = best.min(axis=1)
    return least


def _measure(name: str, file: Path, queries: Vectors, least: Vectors) -> dict[str, float]:
    rows: Vectors = np.load(file)
    count, dimension = rows.shape
    stored = [row.tobytes() for row in rows]
    SYSTEMS[name][1](dimension).add(np.arange(1), rows[:1])  # loads its library
    gc.collect()
    before = psutil.Process().memory_info().rss
    store = SYSTEMS[name][1](dimension)
    began = time.perf_counter()
    store.add(np.arange(count), np.frombuffer(b"".join(stored), np.float32).reshape(-1, dimension))
    loaded = time.perf_counter() - began
    store.settle()
    built = time.perf_counter() - began
    gc.collect()
    grown = psutil.Process().memory_info().rss - before
    spans, recall = _searches(store, rows, queries, least)
    return {
        "cold_load_ms": loaded * 1000,
        "build_s": built,
        "search_p50_ms": float(np.percentile(spans, 50)),
        "search_p99_ms": float(np.percentile(spans, 99)),
        "recall@10": recall,
        "add_one_ms": float(np.median([_timed(store, count + n, queries[n : n + 1]) for n in range(50)])),
        "catch_up_1_ms": _caught_up(store, count + 50, queries[50:51]),
        "catch_up_100_ms": _caught_up(store, count + 51, _more(queries, 100)),
        "memory_mb": grown / 2**20,
    }


def _searches(store: Store, rows: Vectors, queries: Vectors, least: Vectors) -> tuple[list[float], float]:
    spans: list[float] = []
    found = []
    store.search(queries[0], K)
    began = time.perf_counter()
    for query, tenth in zip(queries, least, strict=True):
        start = time.perf_counter()
        ids = store.search(query, K)
        spans.append((time.perf_counter() - start) * 1000)
        found.append(np.count_nonzero(rows[ids] @ query >= tenth - 1e-6) / min(K, len(rows)))
        if len(spans) >= 20 and time.perf_counter() - began > ENOUGH_S:
            break
    return spans, float(np.mean(found))


def _timed(store: Store, first: int, rows: Vectors) -> float:
    began = time.perf_counter()
    store.add(np.arange(first, first + len(rows)), rows)
    return (time.perf_counter() - began) * 1000


def _caught_up(store: Store, first: int, rows: Vectors) -> float:
    """Milliseconds to add rows and find the last of them."""
    began = time.perf_counter()
    store.add(np.arange(first, first + len(rows)), rows)
    store.search(rows[-1], K)
    return (time.perf_counter() - began) * 1000


def _installed(name: str) -> bool:
    if name not in SYSTEMS:
        err.print(f"[red]There is no system {name}[/]; choose from {', '.join(SYSTEMS)}.", highlight=False)
        raise typer.Exit(2)
    package = SYSTEMS[name][0]
    if not find_spec(package):
        err.print(f"{name} is left out: {package} is not installed (pip install 'moodline\\[bench]').", highlight=False)
        return False
    if name == "sqlite-vec" and not hasattr(sqlite3.Connection, "enable_load_extension"):
        err.print("sqlite-vec is left out: the sqlite3 of this Python was built without extensions.", highlight=False)
        return False
    return True


def _clusters(count: int) -> Vectors:
    """Vectors in 500 clusters of different sizes around a common direction, as those of texts are."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal(DIMENSION) * 2
    centres = common + rng.standard_normal((500, DIMENSION))
    share = rng.dirichlet(np.full(500, 0.5))
    return _unit(centres[rng.choice(500, count, p=share)] + rng.standard_normal((count, DIMENSION)) * 0.7)


def _embedded(file: Path) -> Vectors:
    """The vectors of a file's different lines, in a random order that is always the same."""
    from app.services import load_encoder

    try:
        texts = list(dict.fromkeys(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        err.print(f"[red]{file} can't be read as text, one a line:[/] {error}", highlight=False)
        raise typer.Exit(1) from None
    if len(texts) < QUERIES * 2:
        err.print(f"[red]{file} has {len(texts)} different lines;[/] give at least {QUERIES * 2}.", highlight=False)
        raise typer.Exit(1)
    encoder = load_encoder(settings())[0]
    pieces = [texts[begin : begin + 64] for begin in range(0, len(texts), 64)]
    rows = np.concatenate([encoder.encode_passages(piece) for piece in track(pieces, "embedding", console=err)])
    shuffled: Vectors = rows[np.random.default_rng(0).permutation(len(rows))]
    return shuffled


def _more(base: Vectors, count: int) -> Vectors:
    """The first rows of `base`, and copies with noise where there are not enough."""
    rng = np.random.default_rng(1)
    rows = np.empty((count, base.shape[1]), np.float32)
    rows[: len(base)] = base[:count]
    for begin in range(len(base), count, PIECE):
        end = min(begin + PIECE, count)
        copies = base[rng.integers(0, len(base), end - begin)]
        rows[begin:end] = _unit(copies + rng.standard_normal(copies.shape, np.float32) * np.float32(JITTER))
    return rows


def _unit(rows: NDArray[np.floating]) -> Vectors:
    units: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return units
