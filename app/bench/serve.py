"""`moodline bench serve`: this server before an engine, against the engine itself, with the same prompts.

A character answers many users at once (`moodline`); the prompts that it made go to the engine directly (`raw`) and
through the server to the bare language model (`moodline-bare`), each under another user's name, so that nobody finds
them cached.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import psutil

from app.bench.crowd import Address, Timings, crowd
from app.bench.measure import quantile
from app.bench.report import report
from app.bench.server import server
from app.bench.talk import SAID
from app.cli.console import err, settings
from app.cli.console import run as run_async

CHARACTER = "char/ludo-pask"
Body = Callable[[int], dict[str, Any]]
Prompt = list[dict[str, str]]


@dataclass(slots=True)
class System:
    """A way to the engine, and what it did at one number of streams, in seconds and tokens."""

    address: Address
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    elapsed: float = 0.0
    cpu: float = 0.0

    def take(self, done: Timings, cpu: float) -> None:
        """Add a round."""
        self.first += done.first
        timed = zip(done.first, done.whole, done.tokens, strict=True)
        self.gaps += [(whole - first) / (tokens - 1) for first, whole, tokens in timed if tokens > 1]
        self.tokens += sum(done.tokens)
        self.elapsed += done.elapsed
        self.cpu += cpu

    def told(self) -> dict[str, float]:
        """What is told of every system; the processor's time is that of the server's process alone."""
        return {
            "tokens_per_s": self.tokens / self.elapsed,
            "first_p50_ms": quantile(self.first, 50) * 1e3,
            "first_p99_ms": quantile(self.first, 99) * 1e3,
            "token_p50_ms": quantile(self.gaps, 50) * 1e3,
            "cpu_request_ms": self.cpu / len(self.first) * 1e3,
            "cpu_cores": self.cpu / self.elapsed,
        }


@dataclass(slots=True)
class Bench:
    """What all systems share. `numbers` names users, so that no request is like another.

    No request has a seed: with one, vLLM 0.32 for CPUs dies of a prompt that it computes in pieces.
    """

    server: Address
    engine: Address | None
    process: psutil.Process
    model: str
    reply_tokens: int
    numbers: Callable[[], int] = field(default_factory=lambda: count(1).__next__)

    async def round(self, systems: Mapping[str, System], streams: int, requests: int) -> None:
        """Every system answers as many requests, the same prompts in the same order."""
        users = [f"user {self.numbers()}" for _ in range(requests)]
        asked = [self._body(CHARACTER, [_said(n)]) | {"user": user} for n, user in enumerate(users)]
        done = await self._crowd(systems["moodline"], streams, asked)
        prompts = await self._prompts([done.turns[number] for number in range(requests)])
        for name, system in systems.items():
            if name != "moodline":
                renamed = [
                    _renamed(prompt, user, f"guest {self.numbers()}")
                    for prompt, user in zip(prompts, users, strict=True)
                ]
                await self._crowd(system, streams, [self._body(self.model, prompt) for prompt in renamed])

    async def _crowd(self, system: System, streams: int, bodies: list[dict[str, Any]]) -> Timings:
        before = sum(self.process.cpu_times()[:2])
        done = await crowd(system.address, streams, len(bodies), bodies.__getitem__)
        system.take(done, sum(self.process.cpu_times()[:2]) - before)
        return done

    async def _prompts(self, turns: list[str]) -> list[Prompt]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.server.port}", timeout=60) as http:
            return [(await http.get(f"/api/turns/{turn}/trace")).raise_for_status().json()["prompt"] for turn in turns]

    def _body(self, model: str, messages: Prompt) -> dict[str, Any]:
        length = {"max_tokens": self.reply_tokens, "min_tokens": self.reply_tokens}
        told = {"stream": True, "stream_options": {"include_usage": True}}
        return {"model": model, "messages": messages, **length, **told}


def run(engine_url: str, streams: list[int], each: int, reply_tokens: int, rounds: int) -> None:
    """Measure against a temporary database, through the engine at `engine_url` or, for "", the embedded one."""
    chosen = {"ENGINE": "openai", "UPSTREAM_URL": engine_url} if engine_url else {"ENGINE": "local"}
    with err.status("starting the server"), server(chosen) as (port, process):
        model = _model(port)
        bench = Bench(Address(port), _address(engine_url) if engine_url else None, process, model, reply_tokens)
        results = run_async(_measure(bench, streams, each, rounds))
    report("serve", results, each=each, reply_tokens=reply_tokens, rounds=rounds, cores=os.cpu_count())


async def _measure(bench: Bench, streams: list[int], each: int, rounds: int) -> dict[str, dict[str, float]]:
    addresses = {"raw": bench.engine, "moodline-bare": bench.server, "moodline": bench.server}
    doors = {name: address for name, address in addresses.items() if address}
    await bench.round({name: System(address) for name, address in doors.items()}, 2, 4)
    results: dict[str, dict[str, float]] = {name: {} for name in doors}
    for at_once in streams:
        systems = {name: System(address) for name, address in doors.items()}
        for number in range(rounds):
            err.print(f"{at_once} streams, round {number + 1}")
            await bench.round(systems, at_once, max(4, each * at_once))
        best = next(iter(systems.values())).told()["tokens_per_s"]
        for name, system in systems.items():
            told = system.told()
            told["of_raw"] = told["tokens_per_s"] / best
            results[name] |= {f"{metric}@{at_once}": value for metric, value in told.items()}
    return results


def _model(port: int) -> str:
    listed = httpx.get(f"http://127.0.0.1:{port}/v1/models").raise_for_status().json()["data"]
    return str(next(one["id"] for one in listed if not one["id"].startswith("char/")))


def _address(url: str) -> Address:
    parsed = httpx.URL(url)
    return Address(parsed.port or 80, parsed.host, settings().upstream_key.get_secret_value())


def _said(number: int) -> dict[str, str]:
    return {"role": "user", "content": SAID[number % len(SAID)]}


def _renamed(prompt: Prompt, user: str, guest: str) -> Prompt:
    """The same prompt of another user."""
    renamed: Prompt = json.loads(json.dumps(prompt).replace(user, guest))
    return renamed
