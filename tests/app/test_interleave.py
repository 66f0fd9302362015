"""Several streams as one: in the order they speak, and all over when one fails or nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import httpx
import pytest
from sqlalchemy import select

from app.chat.interleave import interleave
from app.services import Services
from app.tables import Message
from models.scripted import ScriptedEngine
from tests.never_twice import NEVER_TWICE


class Speaker:
    """Counts up to `last`, each time after `pause` seconds, then fails if told to; knows whether it was closed."""

    def __init__(self, last: int, pause: float = 0.0, failure: Exception | None = None) -> None:
        self.last, self.pause, self.failure = last, pause, failure
        self.said = 0
        self.closed = False

    async def speak(self) -> AsyncGenerator[int, None]:
        try:
            while self.said < self.last:
                await asyncio.sleep(self.pause)
                self.said += 1
                yield self.said
            if self.failure:
                raise self.failure
        finally:
            await asyncio.sleep(0)
            self.closed = True


async def test_everything_that_is_said_comes_each_stream_in_order() -> None:
    speakers = [Speaker(5, 0.002), Speaker(3, 0.003), Speaker(0), Speaker(4)]
    assert sorted([n async for n in interleave([s.speak() for s in speakers])]) == sorted(
        [1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 3, 4]
    )
    assert all(speaker.closed for speaker in speakers)
    assert [n async for n in interleave([])] == []


async def test_a_slow_reader_slows_every_stream() -> None:
    speakers = [Speaker(1000), Speaker(1000)]
    async with aclosing(interleave([s.speak() for s in speakers])) as both:
        for _ in range(3):
            await anext(both)
            await asyncio.sleep(0.01)
        assert all(speaker.said <= 4 for speaker in speakers)


@pytest.mark.parametrize("count", [1, 3])
async def test_closing_it_closes_every_stream(count: int) -> None:
    speakers = [Speaker(1000, 0.001) for _ in range(count)]
    async with aclosing(interleave([s.speak() for s in speakers])) as all_of_them:
        await anext(all_of_them)
    assert all(speaker.closed for speaker in speakers)


async def test_the_first_failure_ends_all() -> None:
    speakers = [Speaker(1000, 0.001), Speaker(2, 0.001, ValueError("no"))]
    with pytest.raises(ValueError, match="no"):
        _ = [n async for n in interleave([s.speak() for s in speakers])]
    assert all(speaker.closed for speaker in speakers)


async def test_a_cancelled_reader_still_closes_every_stream() -> None:
    speakers = [Speaker(1000, 0.001), Speaker(1000, 0.001)]
    with anyio.move_on_after(0.05):
        async with aclosing(interleave([s.speak() for s in speakers])) as both:
            async for _ in both:
                pass
    assert all(speaker.closed for speaker in speakers)


async def test_who_hangs_up_on_several_choices_leaves_what_was_said_of_each(
    address: str, services: Services, engine: ScriptedEngine, mira: dict[str, object]
) -> None:
    engine.pace = 0.01
    engine.replies += [f"One {NEVER_TWICE[:800]}", f"Two {NEVER_TWICE[:800]}"]
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
        body = {"model": "char/mira", "n": 2, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            said = 0
            async for line in answer.aiter_lines():
                said += '"content":"' in line
                if said > 20:
                    break
    for _ in range(200):
        async with services.db.read() as db:
            stored = list(await db.scalars(select(Message).where(Message.role == "assistant")))
        if stored:
            break
        await asyncio.sleep(0.05)
    assert {row.text[:3] for row in stored} == {"One", "Two"}
    assert {row.outcome for row in stored} == {"hung_up"}
    assert len({row.parent_id for row in stored}) == 1
    assert all(len(row.text) < 700 for row in stored), "they went on being spoken"
