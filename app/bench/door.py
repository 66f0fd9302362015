"""`moodline bench door`: what going through this server costs, against asking its upstream directly.

A stub speaks at a fixed pace, in a process of its own; the server is another; the clients are here. In the same run, by
turns, the same requests go to the stub (`direct`), through the server to the bare language model (`moodline-bare`), and
to a character without lines whose every user is new, so that nothing can be recalled (`moodline`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import psutil

from app.bench.crowd import Address, Timings, crowd
from app.bench.measure import quantile
from app.bench.report import report
from app.bench.server import ended, server
from app.bench.stub import NAME
from app.cli.console import err
from app.cli.console import run as run_async

CHARACTER = {"slug": "door", "name": "Ann", "persona": "A clerk at a window.", "language": "en"}
SAID = "Good morning! I would like to send this parcel, please. How long will it take?"
NUMBERS = count()
Body = Callable[[int], dict[str, Any]]


@dataclass(slots=True)
class System:
    """A way to the stub, and in seconds, of every round: first words and ends of requests, words' times under way."""

    name: str
    port: int
    body: Body
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self.first, self.whole, self.words, self.elapsed, self.cpu = [], [], [], 0.0, 0.0

    def take(self, done: Timings, sent: dict[str, list[float]]) -> None:
        """Add a round."""
        self.first += done.first
        self.whole += done.whole
        self.elapsed += done.elapsed
        for seed, times in done.came.items():
            self.words += [came - left for came, left in zip(times, sent[str(seed)], strict=True)]

    def told(self) -> dict[str, float]:
        """What is told of every system."""
        return {
            "requests_per_s": len(self.first) / self.elapsed,
            "first_p50_ms": quantile(self.first, 50) * 1e3,
            "first_p99_ms": quantile(self.first, 99) * 1e3,
            "whole_p50_ms": quantile(self.whole, 50) * 1e3,
            "word_p50_us": quantile(self.words, 50) * 1e6,
        }

    def added(self, direct: System) -> dict[str, float]:
        """What going through the server adds, and what it takes of the processor."""
        return {
            "added_first_p50_ms": (quantile(self.first, 50) - quantile(direct.first, 50)) * 1e3,
            "added_first_p99_ms": (quantile(self.first, 99) - quantile(direct.first, 99)) * 1e3,
            "added_whole_p50_ms": (quantile(self.whole, 50) - quantile(direct.whole, 50)) * 1e3,
            "added_word_p50_us": (quantile(self.words, 50) - quantile(direct.words, 50)) * 1e6,
            "cpu_request_ms": self.cpu / len(self.first) * 1e3,
            "cpu_cores": self.cpu / self.elapsed,
        }


def run(streams: list[int], each: float, pieces: int, pace: float, rounds: int) -> None:
    """Measure against a temporary database; weights come from MOODLINE_HOME."""
    with _stub(pace) as stub, server(_upstream(stub)) as (port, process):
        httpx.post(f"http://127.0.0.1:{port}/api/characters", json=CHARACTER).raise_for_status()
        results = run_async(_measure(stub, port, process, streams, each, pieces, pace, rounds))
    report("door", results, pieces=pieces, pace_ms=pace * 1000, rounds=rounds, cores=os.cpu_count())


async def _measure(
    stub: int,
    server: int,
    process: psutil.Process,
    streams: list[int],
    each: float,
    pieces: int,
    pace: float,
    rounds: int,
) -> dict[str, dict[str, float]]:
    bare, character = _body(NAME, pieces), _body("char/door", pieces)
    systems = [
        System("direct", stub, bare),
        System("moodline-bare", server, bare),
        System("moodline", server, character),
    ]
    for system in systems:
        await crowd(Address(system.port), 4, 8, system.body)
        await _sent(stub)
    results: dict[str, dict[str, float]] = {system.name: {} for system in systems}
    for at_once in streams:
        for system in systems:
            system.forget()
        for number in range(rounds):
            for system in systems:
                err.print(f"{at_once} streams, round {number + 1}: {system.name}")
                before = sum(process.cpu_times()[:2])
                done = await crowd(Address(system.port), at_once, round(each * at_once), system.body, pieces * pace)
                system.cpu += sum(process.cpu_times()[:2]) - before
                system.take(done, await _sent(stub))
        for system in systems:
            told = system.told() | (system.added(systems[0]) if system.port == server else {})
            results[system.name] |= {f"{name}@{at_once}": value for name, value in told.items()}
    return results


async def _sent(stub: int) -> dict[str, list[float]]:
    """When the stub sent its words since it was asked last, by seed."""
    async with httpx.AsyncClient() as http:
        times: dict[str, list[float]] = (await http.get(f"http://127.0.0.1:{stub}/times")).json()
        return times


def _body(model: str, pieces: int) -> Body:
    """Requests by number, each from a user who never came before."""

    def body(_number: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": SAID}]
        number = next(NUMBERS)
        more = {"user": f"user {number}", "seed": number, "max_tokens": pieces, "stream": True}
        return {"model": model, "messages": messages, **more}

    return body


def _upstream(stub: int) -> dict[str, str]:
    return {"ENGINE": "openai", "UPSTREAM_URL": f"http://127.0.0.1:{stub}/v1", "UPSTREAM_DIALECT": "vllm"}


@contextmanager
def _stub(pace: float) -> Iterator[int]:
    """The stub's port."""
    with ended([sys.executable, "-m", "app.bench.stub", str(pace)], dict(os.environ), stdout=subprocess.PIPE) as stub:
        assert stub.stdout is not None
        yield int(stub.stdout.readline())
