from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth import create_key
from app.errors import TooManyRequests
from app.limits import Bucket, KeyLimits, Limits, duration
from app.services import Services


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(limit=st.integers(1, 1000), steps=st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_no_minute_has_more_than_the_limit_and_the_minute_before_it_left(limit: int, steps: list[float]) -> None:
    """A full bucket lets `limit` through at once, and then one for each sixtieth of a minute and `limit`."""
    clock, spent, bucket = 0.0, [], Bucket(limit)
    for step in steps:
        clock += step
        if bucket.left(clock) >= 1:
            bucket = bucket.spend(clock)
            spent.append(clock)
    for begin in spent:
        within = sum(begin <= at < begin + 60 for at in spent)
        assert within <= 2 * limit
        assert sum(begin <= at < begin + 1 for at in spent) <= limit + limit / 60 + 1


@given(limit=st.integers(1, 5000), amount=st.integers(1, 20_000), now=st.floats(0, 1e7))
def test_after_the_time_it_says_to_wait_and_not_before_one_can_be_spent(limit: int, amount: int, now: float) -> None:
    bucket = Bucket(limit).spend(now, amount)
    wait = bucket.wait(now)
    assert (wait == 0) == (bucket.left(now) >= 1)
    assert bucket.left(now + wait + 1e-4) >= 1
    if wait > 0.01:
        assert bucket.left(now + wait - 0.01) < 1


@given(st.integers(1, 10_000), st.integers(0, 10_000))
def test_what_is_left_is_the_limit_less_what_was_spent(limit: int, spent: int) -> None:
    bucket = Bucket(limit)
    for _ in range(min(spent, 50)):
        bucket = bucket.spend(12345.678)
    assert bucket.left(12345.678) == max(0, limit - min(spent, 50))


def test_tokens_are_booked_afterwards_and_a_debt_is_waited_for() -> None:
    clock = Clock()
    limits, key = Limits(clock), KeyLimits("k", tokens=60)
    limits.count_request(key)
    limits.count_tokens(key, 90)
    with pytest.raises(TooManyRequests, match="60 tokens a minute") as error:
        limits.count_request(key)
    assert error.value.retry_after == pytest.approx(31)
    clock.now += 31
    limits.count_request(key)


def test_a_refused_request_costs_nothing() -> None:
    clock = Clock()
    limits, key = Limits(clock), KeyLimits("k", requests=2)
    for _ in range(2):
        limits.count_request(key)
    for _ in range(10):
        with pytest.raises(TooManyRequests):
            limits.count_request(key)
    clock.now += 30
    limits.count_request(key)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0ms"), (0.0201, "21ms"), (1, "1s"), (8.64, "8.64s"), (59.5, "59.5s"), (360, "6m0s")]
)
def test_times_are_told_as_openai_tells_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


async def keyed(services: Services, **limits: int) -> dict[str, str]:
    async with services.db.write() as db:
        return {"Authorization": f"Bearer {await create_key(db, 'ana', 'app', False, **limits)}"}


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(
    services: Services, client: httpx.AsyncClient
) -> None:
    headers = await keyed(services, requests_per_minute=2)
    first = await client.get("/v1/models", headers=headers)
    assert first.status_code == 200
    assert {name: value for name, value in first.headers.items() if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": first.headers["x-ratelimit-reset-requests"],
    }
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    await client.get("/v1/models", headers=headers)
    over = await client.get("/v1/models", headers=headers)
    assert over.status_code == 429
    assert over.json()["error"]["code"] == "rate_limit_exceeded"
    assert over.headers["x-ratelimit-remaining-requests"] == "0"
    assert 25 <= int(over.headers["retry-after"]) <= 30
    problem = await client.get("/api/characters", headers=headers)
    assert (problem.status_code, problem.json()["title"]) == (429, "rate_limit_exceeded")
    other = await client.get("/v1/models", headers=await keyed(services))
    assert other.status_code == 200, "another key has its own"
    assert other.headers["x-ratelimit-limit-requests"] == "600"
    assert "x-ratelimit-limit-requests" not in (await client.get("/v1/models")).headers, "nobody's key is limited"


async def test_a_limit_of_nothing_is_no_limit(services: Services, client: httpx.AsyncClient) -> None:
    headers = await keyed(services, requests_per_minute=0, tokens_per_minute=0, streams=0)
    answer = await client.get("/v1/models", headers=headers)
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
