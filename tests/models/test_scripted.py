import asyncio
from contextlib import aclosing

import pytest

from models.engine import EngineBroke, EngineRefused, EngineUnavailable, Finish, Sampling
from models.scene import Message
from models.scripted import ScriptedEngine

HELLO = [Message("user", "你好")]


async def say(engine: ScriptedEngine, sampling: Sampling | None = None) -> tuple[str, Finish]:
    *pieces, finish = [piece async for piece in engine.stream(HELLO, sampling or Sampling())]
    return "".join(map(str, pieces)), finish


async def test_replies_come_in_order_and_the_requests_are_recorded() -> None:
    engine = ScriptedEngine(["一", "two"])
    assert await say(engine) == ("一", Finish("stop", 2, 1))
    assert await say(engine) == ("two", Finish("stop", 2, 3))
    assert [asked.messages for asked in engine.asked] == [tuple(HELLO)] * 2


async def test_the_session_and_owner_are_recorded() -> None:
    engine = ScriptedEngine(["x"])
    _ = [piece async for piece in engine.stream(HELLO, Sampling(seed=3), session="s", owner="o")]
    asked = engine.asked[0]
    assert (asked.session, asked.owner, asked.sampling.seed) == ("s", "o", 3)


async def test_stop_strings_and_the_token_limit_are_kept() -> None:
    engine = ScriptedEngine(["Aye.\nUser: hm", "Aye."])
    assert await say(engine, Sampling(stop=("\nUser:",))) == ("Aye.", Finish("stop", 2, 10))
    assert await say(engine, Sampling(max_tokens=2)) == ("Ay", Finish("length", 2, 2))


async def test_an_exception_is_raised_instead_of_a_reply() -> None:
    engine = ScriptedEngine([EngineRefused("no")])
    with pytest.raises(EngineRefused, match="no"):
        await say(engine)


async def test_a_reply_can_break_off_in_the_middle() -> None:
    engine = ScriptedEngine([("half", EngineBroke("gone"))])
    stream = engine.stream(HELLO, Sampling())
    assert "".join([str(await anext(stream)) for _ in "half"]) == "half"
    with pytest.raises(EngineBroke, match="gone"):
        await anext(stream)


async def test_an_empty_script_says_so() -> None:
    with pytest.raises(EngineUnavailable, match="no reply left"):
        await say(ScriptedEngine())


async def test_an_event_holds_the_reply_back() -> None:
    gate = asyncio.Event()
    engine = ScriptedEngine(["ab"], pace=gate)
    reply = asyncio.create_task(say(engine))
    await asyncio.sleep(0)
    assert not reply.done()
    gate.set()
    assert (await reply)[0] == "ab"


async def test_closing_ends_the_streams_under_way() -> None:
    engine = ScriptedEngine(["abc"])
    async with aclosing(engine.stream(HELLO, Sampling())) as stream:
        assert await anext(stream) == "a"
        await engine.close()
        with pytest.raises(EngineBroke):
            await anext(stream)
    with pytest.raises(EngineUnavailable):
        await engine.check()
