"""A user is erased while replies are spoken to them: nothing of these is stored, and whoever listens is told why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx
import pytest

from app.chat import under_way
from app.check.everything import everything
from app.services import Services, build
from app.settings import Settings
from models.scripted import ScriptedEngine
from tests.app.users.left import WHO, found_in
from tests.never_twice import NEVER_TWICE

LONG = f"In zanzibar it never ends. {NEVER_TWICE * 2}"
Running = Callable[..., AbstractAsyncContextManager[tuple[httpx.AsyncClient, Any]]]


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    sizes = {"context_tokens": 20_000, "reply_tokens": 9000, "database_pool": 8}
    return Settings(home=tmp_path / "home", database_url=database_url, **sizes, _env_file=None)  # type: ignore[arg-type]


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=20_000)


@pytest.fixture
async def there(
    services: Services, settings: Settings, engine: ScriptedEngine, here: httpx.AsyncClient, running: Running
) -> AsyncIterator[httpx.AsyncClient]:
    """A second server on the same database, which shares nothing else but the encoder and the engine."""
    parts = build(settings, engine=engine, embedding=services.embedding)
    async with running(parts) as (http, _server):
        yield http
    await parts.db.close()


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "char/cat", "user": WHO, "messages": [{"role": "user", "content": "Zan, zanzibar?"}]} | more


async def events(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """The events of a native stream that are left."""
    name, told = "", []
    async for line in answer.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            told.append((name, json.loads(line.removeprefix("data: "))))
    return told


@pytest.mark.parametrize("known", [False, True])
async def test_a_reply_that_is_being_spoken_is_not_stored_and_everyone_who_listens_is_told(
    here: httpx.AsyncClient, there: httpx.AsyncClient, engine: ScriptedEngine, services: Services, known: bool
) -> None:
    if known:
        engine.replies.append("Zanzibar is far.")
        (await here.post("/v1/chat/completions", json=ask())).raise_for_status()
    engine.pace = 0.01
    engine.replies.append(LONG)
    told: list[str] = []
    async with here.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as answer:
        turn = f"/api/turns/{answer.headers['x-moodline-turn']}"
        async with here.stream("GET", f"{turn}/events") as near, there.stream("GET", f"{turn}/events") as far:
            assert (near.status_code, far.status_code) == (200, 200)
            following = [asyncio.ensure_future(events(follower)) for follower in (near, far)]
            async for line in answer.aiter_lines():
                told.append(line)
                if len(told) == 10:
                    erased = await there.delete("/api/users", params={"user": WHO})
                    assert erased.json()["removed"]["turns"] == 1 + known
            ends = [(await one)[-1] for one in following]
    assert [line for line in told if line][-1] == "data: [DONE]"
    error = json.loads([line for line in told if line][-2].removeprefix("data: "))["error"]
    assert error["code"] == "erased"
    for name, end in ends:
        assert (name, end["state"], end["error"]["code"], end["reply_id"]) == ("end", "failed", "erased", None)
    assert (await here.get(turn)).status_code == 404
    assert await found_in(services) == set()
    assert (await here.delete("/api/users", params={"user": WHO})).status_code == 404


@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_was_prepared_before_its_user_was_erased_does_not_begin(
    here: httpx.AsyncClient, engine: ScriptedEngine, services: Services, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """It knows what was to be forgotten."""
    engine.replies += ["Zanzibar is far.", "As zanzibar is."]
    (await here.post("/v1/chat/completions", json=ask())).raise_for_status()
    prepared, erased = asyncio.Event(), asyncio.Event()
    record = under_way.UnderWay._record

    async def held(*row: Any) -> None:
        prepared.set()
        await erased.wait()
        await record(*row)

    monkeypatch.setattr(under_way.UnderWay, "_record", held)
    asking = asyncio.ensure_future(here.post("/v1/chat/completions", json=ask(stream=stream)))
    await prepared.wait()
    (await here.delete("/api/users", params={"user": WHO})).raise_for_status()
    erased.set()
    answer = await asking
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "erased")
    assert await found_in(services) == set()


async def test_whoever_talks_and_erases_at_once_waits_for_nobody_crosswise_and_nothing_is_left(
    here: httpx.AsyncClient,
    there: httpx.AsyncClient,
    engine: ScriptedEngine,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(under_way, "BEAT", 0.005)
    engine.pace = 0.002
    engine.replies.extend(["In zanzibar, aye, and far away."] * 1000)
    seen: set[tuple[int, str]] = set()

    async def talk(http: httpx.AsyncClient, number: int) -> None:
        for turn in range(8):
            key = {"Idempotency-Key": f"{number} {turn}"} if number % 2 else {}
            answer = await http.post("/v1/chat/completions", json=ask(user=f"{WHO} {number % 2}"), headers=key)
            seen.add((answer.status_code, "" if answer.is_success else answer.json()["error"]["code"]))

    async def erase(http: httpx.AsyncClient, number: int) -> None:
        for _ in range(8):
            answer = await http.delete("/api/users", params={"user": f"{WHO} {number % 2}"})
            assert answer.status_code in (200, 404), answer.text

    both = (here, there)
    await asyncio.gather(
        *(talk(both[n // 2 % 2], n) for n in range(6)), *(erase(both[n // 2 % 2], n) for n in range(4))
    )
    assert seen <= {(200, ""), (409, "erased"), (404, "session_not_found")}, seen
    assert (200, "") in seen
    assert await everything(services.db) == {}
    for number in range(2):
        await here.delete("/api/users", params={"user": f"{WHO} {number}"})
    assert await found_in(services) == set()
