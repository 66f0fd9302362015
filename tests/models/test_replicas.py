"""Several servers as one engine, against peers that speak HTTP over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing

import pytest

from models import replicas, upstream
from models.engine import EngineBroke, EngineUnavailable, Finish, ParameterRefused, Sampling
from models.replicas import Replicas
from models.scene import Message
from models.upstream import UpstreamEngine
from tests.peer import Peer, reply, serve_peer

HELLO = [Message("user", "Hello?")]
SESSIONS = [f"session {number}" for number in range(40)]


@pytest.fixture
async def peers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Peer]]:
    monkeypatch.setattr(replicas, "LOOK_SECONDS", 0.05)
    async with AsyncExitStack() as stack:
        served = [await stack.enter_async_context(serve_peer()) for _ in range(3)]
        for number, peer in enumerate(served):
            live(peer, str(number))
        yield served


@pytest.fixture
async def engine(peers: list[Peer]) -> AsyncIterator[Replicas]:
    engine = Replicas([UpstreamEngine(f"{peer.address}/v1", idle_seconds=5) for peer in peers])
    await engine.start()
    yield engine
    await engine.close()


async def who(engine: Replicas, session: str = "") -> str:
    """Which peer answers."""
    text, finish = [event async for event in engine.stream(HELLO, Sampling(), session=session)]
    assert isinstance(finish, Finish)
    return str(text)


async def one_of(engine: Replicas, answers: str) -> str:
    """A session that is this peer's."""
    owners = {session: await who(engine, session) for session in SESSIONS}
    return next(session for session, peer in owners.items() if peer == answers)


MODELS = {"data": [{"id": "mira", "max_model_len": 4096, "owned_by": "vllm"}]}


def die(peer: Peer) -> None:
    """It answers nothing but that it can't."""
    peer.status, peer.models, peer.headers, peer.chunks = 503, None, {"content-type": "text/plain"}, [b"gone"]


def live(peer: Peer, text: str) -> None:
    """It says `text`."""
    peer.status, peer.models, peer.headers, peer.chunks = (
        200,
        MODELS,
        {"content-type": "text/event-stream"},
        reply(text),
    )


async def in_trouble(engine: Replicas, number: int) -> None:
    async with asyncio.timeout(60):
        while len(engine._troubles) < number:
            await asyncio.sleep(0.02)


async def until(engine: Replicas, session: str, answers: str) -> None:
    async with asyncio.timeout(30):
        while await who(engine, session) != answers:
            await asyncio.sleep(0.02)


async def test_a_session_stays_with_one_server_and_sessions_are_spread(engine: Replicas) -> None:
    first = [await who(engine, session) for session in SESSIONS]
    assert [await who(engine, session) for session in SESSIONS] == first
    assert min(first.count(number) for number in "012") >= 4
    assert (engine.name, engine.context_length, engine.streams) == ("mira", 4096, 3 * 256)


async def test_only_the_sessions_of_a_server_that_died_move_and_they_come_back(
    engine: Replicas, peers: list[Peer]
) -> None:
    before = {session: await who(engine, session) for session in SESSIONS}
    die(peers[1])
    during = {session: await who(engine, session) for session in SESSIONS}
    assert {session for session in SESSIONS if during[session] != before[session]} == {
        session for session in SESSIONS if before[session] == "1"
    }
    assert set(during.values()) == {"0", "2"}
    asked = len(peers[1].asked)
    assert asked - list(before.values()).count("1") <= 2, "it is left out, not asked each time"
    await engine.check()
    live(peers[1], "1")
    moved = next(session for session in SESSIONS if before[session] == "1")
    await until(engine, moved, "1")
    assert {session: await who(engine, session) for session in SESSIONS} == before


async def test_a_server_that_is_gone_is_asked_again_when_it_is_back() -> None:
    async with serve_peer() as one:
        one.chunks = reply("one")
        async with serve_peer() as other:
            other.chunks = reply("other")
            engine = Replicas([UpstreamEngine(f"{peer.address}/v1") for peer in (one, other)])
            await engine.start()
            (mine, *_) = [session for session in SESSIONS if await who(engine, session) == "other"]
            port = int(other.address.rsplit(":", 1)[1])
        assert await who(engine, mine) == "one"
        async with serve_peer(port) as again:
            again.chunks = reply("again")
            await until(engine, mine, "again")
        await engine.close()


async def test_a_reply_that_has_begun_is_not_said_by_another(engine: Replicas, peers: list[Peer]) -> None:
    for peer in peers:
        peer.chunks = [*reply("half")[:2], RuntimeError("it dies")]
    async with aclosing(engine.stream(HELLO, Sampling(), session="s")) as stream:
        assert await anext(stream) == "half"
        with pytest.raises(EngineBroke):
            await anext(stream)
    assert sum(len(peer.asked) for peer in peers) == 1


async def test_whoever_waits_for_a_server_that_hangs_is_answered_by_another(
    engine: Replicas, peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CHECK_SECONDS", 0.2)
    session = await one_of(engine, "1")
    peers[1].hangs = asyncio.Event()
    async with asyncio.timeout(60):  # the server alone would be given 120 seconds
        assert await who(engine, session) in ("0", "2")
    peers[1].hangs.set()


async def test_whoever_waits_for_the_only_server_that_is_left_goes_on_waiting(
    engine: Replicas, peers: list[Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CHECK_SECONDS", 0.2)
    session = await one_of(engine, "1")
    for peer in (peers[0], peers[2]):
        die(peer)
    await in_trouble(engine, 2)
    peers[1].hangs = asyncio.Event()
    waiting = asyncio.create_task(who(engine, session))
    await in_trouble(engine, 3)
    assert not waiting.done()
    peers[1].hangs.set()
    assert await waiting == "1"


async def test_a_request_that_is_refused_is_not_asked_of_another(engine: Replicas, peers: list[Peer]) -> None:
    for peer in peers:
        peer.status, peer.chunks = 400, [b'{"error": {"message": "no such temperature"}}']
    with pytest.raises(ParameterRefused):
        await who(engine, "s")
    assert sum(len(peer.asked) for peer in peers) == 1


async def test_with_none_left_it_is_unavailable_until_one_is_back(engine: Replicas, peers: list[Peer]) -> None:
    for peer in peers:
        die(peer)
    with pytest.raises(EngineUnavailable, match="503"):
        await who(engine, "s")
    with pytest.raises(EngineUnavailable, match="503"):
        await engine.check()
    live(peers[0], "0")
    assert await who(engine, "s") == "0", "the last hope is asked even before it was looked at"
    await engine.check()


async def test_starting_without_any_server_says_so() -> None:
    async with serve_peer() as peer:
        die(peer)
        engine = Replicas([UpstreamEngine(f"{peer.address}/v1")])
        with pytest.raises(EngineUnavailable, match="503"):
            await engine.start()
        await engine.close()


async def test_without_a_session_a_request_goes_where_least_is_under_way(engine: Replicas, peers: list[Peer]) -> None:
    for peer in peers:
        peer.endless = True
    streams = [engine.stream(HELLO, Sampling()) for _ in peers]
    for stream in streams:
        await anext(stream)
    assert [len(peer.asked) for peer in peers] == [1, 1, 1]
    for stream in streams:
        await stream.aclose()
    await asyncio.gather(*(asyncio.wait_for(peer.left.wait(), 10) for peer in peers))


async def test_tokens_are_counted_by_one_that_is_there(peers: list[Peer]) -> None:
    async def tokenizing(body: dict[str, str]) -> dict[str, int]:
        return {"count": len(body["prompt"])}

    for peer in peers:
        peer.tokenizing = tokenizing
    engine = Replicas([UpstreamEngine(f"{peer.address}/v1", dialect=None) for peer in peers])
    await engine.start()
    assert "top_k" in engine.abilities
    die(peers[0])
    assert await engine.count(["abc", "船"]) == [3, 1]
    await engine.close()
