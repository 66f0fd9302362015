"""kill -9 at random points: what was acknowledged is there, and what is there agrees.

`MOODLINE_CRASH_TURNS=200` is the long run. `MOODLINE_CRASH_SEED` repeats one that failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import select, update

from app.check.everything import everything
from app.db import Database
from app.keyed import LOST
from app.tables import Bond, KeyedCall, Memory, Message, Session, Trace, now
from tests.e2e.conftest import MOODLINE, Server

TURNS = int(os.environ.get("MOODLINE_CRASH_TURNS", "12"))
SEED = int(os.environ.get("MOODLINE_CRASH_SEED", "1"))
TALKERS = 4
LONGEST_LIFE = 5.0
"""Seconds of talk after which a server is killed at the latest."""
KILLED_BEFORE_IT_ANSWERS = """
import os, signal, app.keyed
async def keep(*call):
    os.kill(os.getpid(), signal.SIGKILL)
app.keyed.keep = keep
from app.cli.main import app
app(["serve"])
"""
CHARACTER = {"slug": "mira", "name": "Mira", "persona": "Mends nets.", "greeting": "Mind the ropes."}


@dataclass
class Talker:
    """Someone who talks on and on, and remembers what came back whole."""

    name: str
    history: list[dict[str, str]] = field(default_factory=list)
    session: str = ""
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    asked: int = 0

    def talk(self, address: str, chance: random.Random) -> None:
        """Until the server is gone."""
        with httpx.Client(base_url=address, timeout=30) as http:
            while True:
                self.asked += 1
                said = f"{self.name} says word{self.asked}"
                try:
                    turn, session, reply = self._ask(http, said, chance)
                except (httpx.TransportError, EOFError):
                    return
                self.session = session
                self.acknowledged[turn] = (said, reply)
                self.history += [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]

    def _ask(self, http: httpx.Client, said: str, chance: random.Random) -> tuple[str, str, str]:
        fresh = {"role": "user", "content": said}
        native = bool(self.session) and chance.random() < 0.5
        headers = {"x-session-id": self.session} if native else {}
        messages = [fresh] if native else [*self.history, fresh]
        body = {"model": "char/mira", "user": self.name, "messages": messages, "stream": chance.random() < 0.5}
        with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            content = answer.read().decode()
        assert answer.status_code == 200, content
        reply = _streamed(content) if body["stream"] else json.loads(content)["choices"][0]["message"]["content"]
        return answer.headers["x-moodline-turn"], answer.headers["x-session-id"], reply


def _streamed(content: str) -> str:
    """The text of a stream that was received whole."""
    events = [line.removeprefix("data: ") for line in content.splitlines() if line]
    if not events or events[-1] != "[DONE]":
        raise EOFError
    return "".join(
        choice["delta"].get("content") or "" for event in events[:-1] for choice in json.loads(event)["choices"]
    )


async def examine(url: str, talkers: list[Talker]) -> int:
    """Everything agrees, and every acknowledged turn is there whole; returns how many exchanges are stored."""
    db = Database(url, 1)
    try:
        found = await everything(db)
        assert found == {}, found
        async with db.read() as session:
            for talker in talkers:
                for turn, (said, reply) in talker.acknowledged.items():
                    query = select(Message.role, Message.text).where(Message.turn_id == turn).order_by(Message.depth)
                    rows = [tuple(row) for row in await session.execute(query)]
                    assert rows[-2:] == [("user", said), ("assistant", reply)], (turn, said, rows)
                    assert await session.get(Trace, turn) is not None, turn
                    remembered = select(Memory.id).where(Memory.text.contains(f"{said}\n"))
                    assert await session.scalar(remembered) is not None, said
                turns = await session.scalar(select(Bond.turns).where(Bond.user == talker.name)) or 0
                assert turns >= len(talker.acknowledged)
            return len((await session.scalars(select(Message.id).join(Session).where(Message.role == "user"))).all())
    finally:
        await db.close()


def test_what_was_acknowledged_survives_kill_9_at_any_moment(
    database_url: str, peer: str, serve: Callable[..., Server]
) -> None:
    chance = random.Random(SEED)
    talkers = [Talker(f"user{number}") for number in range(TALKERS)]
    upstream = {"engine": "upstream", "upstream_url": peer, "upstream_dialect": "openai"}
    server = serve(database_url=database_url, **upstream)
    server.http.post("/api/characters", json=CHARACTER).raise_for_status()
    lives, began = 0, time.monotonic()
    # On a machine that is busy some lives are over before a single turn is.
    while sum(one.asked for one in talkers) < TURNS or not any(one.acknowledged for one in talkers):
        if server.process is None or server.process.poll() is not None:
            server.start()
        lives += 1
        killer = threading.Timer(chance.uniform(0.05, LONGEST_LIFE), server.kill)
        with ThreadPoolExecutor(TALKERS) as pool:
            killer.start()
            jobs = [pool.submit(one.talk, server.address, random.Random(chance.random())) for one in talkers]
            killer.join()
        try:
            for job in jobs:
                job.result()
            stored = asyncio.run(examine(database_url, talkers))
        except AssertionError as error:
            raise AssertionError(f"MOODLINE_CRASH_SEED={SEED}, life {lives}: {error}") from error
    asked = sum(talker.asked for talker in talkers)
    kept = sum(len(talker.acknowledged) for talker in talkers)
    assert kept < asked, "some turns must be cut off"
    print(f"{lives} kills in {time.monotonic() - began:.0f} s, {asked} turns: {kept} acknowledged, {stored} stored")


def test_a_write_that_is_done_when_kill_9_comes_before_its_answer_is_not_done_again(
    database_url: str, peer: str, serve: Callable[..., Server]
) -> None:
    upstream = {"engine": "upstream", "upstream_url": peer, "upstream_dialect": "openai"}
    server = serve([sys.executable, "-c", KILLED_BEFORE_IT_ANSWERS], database_url=database_url, **upstream)
    key = {"Idempotency-Key": "mine"}
    with pytest.raises(httpx.TransportError):
        server.http.post("/api/characters", json=CHARACTER, headers=key)
    assert server.process is not None
    server.process.wait(timeout=60)
    server.command = [str(MOODLINE), "serve"]
    server.start()
    assert server.http.get("/api/characters/mira").is_success, "it was done"
    asyncio.run(long_after(database_url))
    again = server.http.post("/api/characters", json=CHARACTER, headers=key)
    assert (again.status_code, again.json()["title"]) == (409, "call_is_done")
    assert server.http.post("/api/characters", json=CHARACTER).json()["title"] != "call_is_done"


async def long_after(url: str) -> None:
    """Let so much time pass that the process is taken for gone."""
    db = Database(url, 1)
    async with db.write() as session:
        await session.execute(update(KeyedCall).values(seen_at=now() - 2 * LOST))
    await db.close()
