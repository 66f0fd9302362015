from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admission import Admission, Ticket
from app.auth import create_key
from app.errors import Unavailable
from app.services import Services
from models.scripted import ScriptedEngine

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("XYZ"), st.sampled_from("abc"), st.integers(1, 5)),
        st.tuples(st.just("leave"), st.integers(0, 1000)),
    ),
    max_size=150,
)


@given(steps=steps, speaking=st.integers(1, 4), waiting=st.integers(0, 6))
def test_no_place_is_lost_or_given_twice_whatever_comes_and_goes(steps: list[Any], speaking: int, waiting: int) -> None:
    admission, tickets = Admission(speaking, waiting), list[Ticket]()
    for step in steps:
        if step[0] == "ask":
            try:
                tickets.append(admission.ask(*step[1:]))
            except Unavailable:
                assert admission.waiting == waiting
        elif tickets:
            admission.leave(tickets[step[1] % len(tickets)])
        states = Counter(ticket.state for ticket in tickets)
        speaks = [ticket for ticket in tickets if ticket.state == "speaking"]
        assert sum(ticket.size for ticket in speaks) == admission.speaking <= speaking
        assert states["waiting"] == admission.waiting <= waiting
        assert all(
            ticket.called.is_set() == (ticket.state != "waiting") for ticket in tickets if ticket.state != "left"
        )
        if admission.waiting:
            assert admission.speaking > 0, "those that wait have somebody to wait for"
    for ticket in tickets:
        admission.leave(ticket)
        admission.leave(ticket)
    assert (admission.speaking, admission.waiting) == (0, 0)
    assert admission.ask("X", "a").state == "speaking"


@given(seed=st.integers(0, 2**32), speaking=st.integers(1, 5), waiting=st.integers(0, 20))
def test_no_place_is_lost_under_random_arrivals_cancels_and_failures(seed: int, speaking: int, waiting: int) -> None:
    chance = random.Random(seed)
    admission = Admission(speaking, waiting)
    at_once = [0]

    async def request(user: str) -> None:
        ticket = admission.ask(chance.choice("XY"), user)
        try:
            await ticket.called.wait()
            if ticket.state == "pushed out":
                return
            at_once[0] += 1
            assert at_once[0] <= speaking
            try:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.2:
                    raise OSError("the engine failed")
            finally:
                at_once[0] -= 1
        finally:
            admission.leave(ticket)

    async def crowd() -> None:
        tasks = []
        for _ in range(60):
            tasks.append(asyncio.ensure_future(request(chance.choice("abcd"))))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                chance.choice(tasks).cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, OSError | Unavailable | asyncio.CancelledError | None)

    asyncio.run(crowd())
    assert (admission.speaking, admission.waiting, at_once[0]) == (0, 0, 0)


def served(admission: Admission, first: Ticket, tickets: list[Ticket]) -> list[Ticket]:
    """The order in which tickets get their turn when each leaves before the next."""
    order = [first]
    while len(order) <= len(tickets):
        admission.leave(order[-1])
        order += [ticket for ticket in tickets if ticket.state == "speaking"]
    return order[1:]


@given(st.lists(st.tuples(st.sampled_from("XYZ"), st.sampled_from("ab")), max_size=40))
def test_turns_go_round_between_owners_and_between_the_users_of_an_owner(asked: list[tuple[str, str]]) -> None:
    admission = Admission(1, 1000)
    first = admission.ask("nobody", "")
    order = served(admission, first, [admission.ask(owner, user) for owner, user in asked])
    for owner in "XYZ":
        mine = [place for place, ticket in enumerate(order) if ticket.owner == owner]
        for before, after in pairwise(mine):
            between = Counter(ticket.owner for ticket in order[before + 1 : after])
            assert max(between.values(), default=0) <= 1, "nobody has two turns between two of another"
        users = [ticket.user for ticket in order if ticket.owner == owner]
        both = min(users.count("a"), users.count("b"))
        assert abs(users[: 2 * both].count("a") - both) <= 1


def test_one_user_s_fifty_requests_do_not_starve_another_s_one() -> None:
    admission = Admission(1, 100)
    first = admission.ask("app", "ana")
    many = [admission.ask("app", "ana") for _ in range(50)]
    one = admission.ask("app", "ben")
    assert served(admission, first, [*many, one]).index(one) == 1


def test_an_owner_who_invents_users_gets_no_more_than_another_owner() -> None:
    admission = Admission(1, 100)
    first = admission.ask("app", "ana")
    many = [admission.ask("app", f"user {number}") for number in range(50)]
    one = admission.ask("other", "ben")
    assert served(admission, first, [*many, one]).index(one) == 1


def test_who_fills_the_queue_gives_up_a_place_to_who_has_none() -> None:
    admission = Admission(1, 3)
    admission.ask("app", "ana")
    many = [admission.ask("app", "ana") for _ in range(3)]
    with pytest.raises(Unavailable, match="try again"):
        admission.ask("app", "ana")
    ben = admission.ask("app", "ben")
    assert [ticket.state for ticket in (*many, ben)] == ["waiting", "waiting", "pushed out", "waiting"]
    other = admission.ask("other", "cem")
    assert [ticket.state for ticket in (*many, ben, other)].count("waiting") == 3
    assert other.state == "waiting"
    with pytest.raises(Unavailable):
        admission.ask("other", "dan")


def test_a_request_for_many_replies_is_not_overtaken_by_small_ones() -> None:
    admission = Admission(4, 10)
    small = [admission.ask("app", "ana") for _ in range(4)]
    big = admission.ask("app", "ben", 9)
    late = admission.ask("app", "cem")
    for ticket in small[:3]:
        admission.leave(ticket)
    assert (big.state, late.state) == ("waiting", "waiting")
    admission.leave(small[3])
    assert (big.state, big.size, late.state) == ("speaking", 4, "waiting")


@pytest.fixture
def services(services: Services) -> Services:
    """With room for two replies and two that wait."""
    return replace(services, admission=Admission(2, 2))


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(["Hello."] * 50, pace=asyncio.Event())


def let_speak(engine: ScriptedEngine) -> None:
    assert isinstance(engine.pace, asyncio.Event)
    engine.pace.set()


async def until(condition: Any) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be")


def said(user: str, **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "user": user, "messages": [{"role": "user", "content": "Hi"}]} | more


async def test_a_full_queue_is_a_503_that_the_official_client_understands(
    address: str, services: Services, engine: ScriptedEngine
) -> None:
    async with (
        httpx.AsyncClient(base_url=address, timeout=60) as http,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as official,
    ):
        asking = [asyncio.ensure_future(http.post("/v1/chat/completions", json=said("ana"))) for _ in range(4)]
        await until(lambda: services.admission.waiting == 2)
        told = (await http.get("/metrics")).text
        assert 'moodline_replies{state="speaking"} 2.0' in told
        assert 'moodline_replies{state="waiting"} 2.0' in told
        with pytest.raises(openai.APIStatusError) as full:
            await official.chat.completions.create(**said("ana"))
        assert (full.value.status_code, full.value.code) == (503, "queue_full")
        assert int(full.value.response.headers["retry-after"]) > 0
        ben = asyncio.ensure_future(http.post("/v1/chat/completions", json=said("ben")))
        await until(lambda: any(task.done() for task in asking))
        let_speak(engine)
        assert sorted([answer.status_code for answer in await asyncio.gather(*asking)]) == [200, 200, 200, 503]
        assert (await ben).status_code == 200
    assert (services.admission.speaking, services.admission.waiting) == (0, 0)


async def test_who_hangs_up_while_waiting_leaves_the_queue(
    address: str, services: Services, engine: ScriptedEngine
) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        asking = [asyncio.ensure_future(http.post("/v1/chat/completions", json=said("ana"))) for _ in range(2)]
        await until(lambda: services.admission.speaking == 2)
        async with httpx.AsyncClient(base_url=address, timeout=60) as hasty:
            gone = asyncio.ensure_future(hasty.post("/v1/chat/completions", json=said("ben")))
            await until(lambda: services.admission.waiting == 1)
            gone.cancel()
        await until(lambda: services.admission.waiting == 0)
        let_speak(engine)
        await asyncio.gather(*asking)
    assert len(engine.asked) == 2, "nothing was said to who is gone"
    assert services.admission.speaking == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_place_is_given_back_when_the_engine_fails(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine, mira: dict[str, Any], stream: bool
) -> None:
    let_speak(engine)
    await client.post("/api/characters", json=mira)
    engine.replies.extendleft([OSError("broken"), ("Hel", OSError("broken")), OSError("broken")])
    for model in ("scripted", "char/mira", "char/nobody", "scripted", "char/mira"):
        try:
            await client.post("/v1/chat/completions", json=said("ana", model=model, stream=stream))
        except OSError:
            assert stream, "only a stream breaks off"
        assert (services.admission.speaking, services.admission.waiting) == (0, 0)


async def test_the_time_in_the_queue_is_in_the_trace(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira)
    asking = [asyncio.ensure_future(client.post("/v1/chat/completions", json=said("ana"))) for _ in range(2)]
    await until(lambda: services.admission.speaking == 2)
    late = asyncio.ensure_future(client.post("/v1/chat/completions", json=said("ana", model="char/mira")))
    await until(lambda: services.admission.waiting == 1)
    await asyncio.sleep(0.05)
    let_speak(engine)
    await asyncio.gather(*asking)
    trace = (await client.get(f"/api/turns/{(await late).headers['x-moodline-turn']}/trace")).json()
    assert trace["timings_ms"]["queue"] >= 50


async def test_a_key_has_only_so_many_replies_at_once(
    services: Services, client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    async with services.db.write() as db:
        headers = {"Authorization": f"Bearer {await create_key(db, 'ana', 'app', False, streams=1)}"}
    first = asyncio.ensure_future(client.post("/v1/chat/completions", json=said("ana"), headers=headers))
    await until(lambda: services.limits.streams() == 1)
    second = await client.post("/v1/chat/completions", json=said("ben"), headers=headers)
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert second.headers["retry-after"] == "1"
    let_speak(engine)
    assert (await first).status_code == 200
    assert services.limits.streams() == 0
    assert (await client.post("/v1/chat/completions", json=said("ben"), headers=headers)).status_code == 200


async def test_the_tokens_of_a_reply_count_against_its_key(
    services: Services, client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    let_speak(engine)
    async with services.db.write() as db:
        headers = {"Authorization": f"Bearer {await create_key(db, 'ana', 'app', False, tokens_per_minute=5)}"}
    first = await client.post("/v1/chat/completions", json=said("ana"), headers=headers)
    assert first.headers["x-ratelimit-remaining-tokens"] == "5"
    assert first.json()["usage"]["total_tokens"] == 8
    second = await client.post("/v1/chat/completions", json=said("ana"), headers=headers)
    assert (second.status_code, second.headers["retry-after"]) == (429, "48")
