"""`moodline bench door`: what going through this server costs, against asking its upstream directly.

A stub speaks at a fixed pace, in a process of its own; the server is another; the clients are here. In the same run, by
turns, the same requests go to the stub (`direct`), through the server to the bare language model (`moodline-bare`), and
to a character without lines whose every user is new, so that nothing can be recalled (`moodline`).
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from app.bench.crowd import Timings, crowd
from app.bench.report import report
from app.bench.stub import NAME
from app.cli.console import err, settings
from app.cli.console import run as run_async

CHARACTER = {"slug": "door", "name": "Ann", "persona": "A clerk at a window.", "language": "en"}
SAID = "Good morning! I would like to send this parcel, please. How long will it take?"
START_SECONDS = 120
Body = Callable[[int], dict[str, Any]]


def run(streams: list[int], seconds: float, pieces: int, pace: float, rounds: int) -> None:
    """Measure against a temporary database; weights come from MOODLINE_HOME."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stub = stack.enter_context(_stub(pace))
        server, process = stack.enter_context(_server(Path(folder), stub))
        results = run_async(_measure(stub, server, process, streams, seconds, pieces, rounds))
    report("door", results, pieces=pieces, pace_ms=pace * 1000, rounds=rounds, cores=os.cpu_count())


async def _measure(
    stub: int, server: int, process: psutil.Process, streams: list[int], seconds: float, pieces: int, rounds: int
) -> dict[str, dict[str, float]]:
    results: dict[str, dict[str, float]] = {"direct": {}, "moodline-bare": {}, "moodline": {}}
    places: dict[str, tuple[int, Body]] = {
        "direct": (stub, _body(NAME, pieces)),
        "moodline-bare": (server, _body(NAME, pieces)),
        "moodline": (server, _body("char/door", pieces)),
    }
    for port, body in places.values():
        await crowd(port, 4, 8, body)
    for at_once in streams:
        requests = round(max(2.0, seconds) * at_once)
        timings = {name: list[Timings]() for name in results}
        busy = dict.fromkeys(results, 0.0)
        ways = {name: list[float]() for name in results}
        for number in range(rounds):
            for name, (port, body) in places.items():
                err.print(f"{at_once} streams, round {number + 1}: {name}")
                before = sum(process.cpu_times()[:2])
                timings[name].append(done := await crowd(port, at_once, requests, body))
                ways[name] += await _ways(stub, done)
                busy[name] += sum(process.cpu_times()[:2]) - before
        for name in results:
            cpu = None if name == "direct" else busy[name]
            results[name] |= _told(timings[name], timings["direct"], cpu, at_once)
            results[name][f"word_p50_us@{at_once}"] = _quantile(ways[name], 50) * 1e6
            if cpu is not None:
                added = _quantile(ways[name], 50) - _quantile(ways["direct"], 50)
                results[name][f"added_word_p50_us@{at_once}"] = added * 1e6
    return results


async def _ways(stub: int, timings: Timings) -> list[float]:
    """How long each word was on its way, from the stub to the client, in seconds."""
    async with httpx.AsyncClient() as http:
        sent = (await http.get(f"http://127.0.0.1:{stub}/times")).json()
    return [
        came - left for seed, times in timings.came.items() for came, left in zip(times, sent[str(seed)], strict=True)
    ]


def _told(rounds: list[Timings], direct: list[Timings], cpu: float | None, streams: int) -> dict[str, float]:
    """The numbers of one system at so many streams; milliseconds, and microseconds for pieces."""
    first, whole = _all(rounds, "first"), _all(rounds, "whole")
    numbers = {
        "requests_per_s": len(first) / sum(timings.elapsed for timings in rounds),
        "first_p50_ms": _quantile(first, 50) * 1e3,
        "first_p99_ms": _quantile(first, 99) * 1e3,
        "whole_p50_ms": _quantile(whole, 50) * 1e3,
    }
    if cpu is not None:
        theirs, their_whole = _all(direct, "first"), _all(direct, "whole")
        numbers |= {
            "added_first_p50_ms": (_quantile(first, 50) - _quantile(theirs, 50)) * 1e3,
            "added_first_p99_ms": (_quantile(first, 99) - _quantile(theirs, 99)) * 1e3,
            "added_whole_p50_ms": (_quantile(whole, 50) - _quantile(their_whole, 50)) * 1e3,
            "cpu_request_ms": cpu / len(first) * 1e3,
            "cpu_cores": cpu / sum(timings.elapsed for timings in rounds),
        }
    return {f"{name}@{streams}": value for name, value in numbers.items()}


def _all(rounds: list[Timings], name: str) -> list[float]:
    return [value for timings in rounds for value in getattr(timings, name)]


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _body(model: str, pieces: int) -> Body:
    """Requests by number, each from a user who never came before."""
    names = iter(range(10**9))

    def body(_number: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": SAID}]
        number = next(names)
        more = {"user": f"user {number}", "seed": number, "max_tokens": pieces, "stream": True}
        return {"model": model, "messages": messages, **more}

    return body


@contextmanager
def _stub(pace: float) -> Iterator[int]:
    """The stub's port."""
    with _ended([sys.executable, "-m", "app.bench.stub", str(pace)], dict(os.environ), stdout=subprocess.PIPE) as stub:
        assert stub.stdout is not None
        yield int(stub.stdout.readline())


@contextmanager
def _server(folder: Path, stub: int) -> Iterator[tuple[int, psutil.Process]]:
    """This server with the stub as its upstream: its port and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chosen = {
        "HOME": str(settings().home),
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/bench.db",
        "ENGINE": "upstream",
        "UPSTREAM_URL": f"http://127.0.0.1:{stub}/v1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    environment = os.environ | {f"MOODLINE_{name}": value for name, value in chosen.items()}
    command = [sys.executable, "-c", "from app.cli.main import app; app()", "serve"]
    with (folder / "server.log").open("wb") as log, _ended(command, environment, stdout=log, stderr=log) as process:
        base = f"http://127.0.0.1:{port}"
        _until_ready(base, process, folder / "server.log")
        httpx.post(f"{base}/api/characters", json=CHARACTER).raise_for_status()
        yield port, psutil.Process(process.pid)


def _until_ready(base: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        if process.poll() is not None:
            raise OSError(f"The server ended: {log.read_text()[-2000:]}")
        try:
            ready = httpx.get(f"{base}/readyz").status_code == 200
            # The samples are embedded first; that is no cost of the door.
            if ready and "moodline_rows_waiting_for_vectors 0.0" in httpx.get(f"{base}/metrics").text:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise OSError(f"The server was not ready after {START_SECONDS} seconds.")


@contextmanager
def _ended(command: list[str], environment: dict[str, str], **pipes: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended with the block."""
    process = subprocess.Popen(command, env=environment, **pipes)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
