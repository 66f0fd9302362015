"""The upstream engine against a peer that speaks HTTP over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from models.completion import MAX_STOPS, ModelMissing, ServerFailed
from models.engine import (
    EngineBroke,
    EngineRefused,
    EngineUnavailable,
    Finish,
    ParameterRefused,
    PromptTooLong,
    Sampling,
)
from models.scene import Message
from models.upstream import UpstreamEngine
from tests.peer import DONE, Peer, delta, event, reply

HELLO = [Message("system", "你是船长。"), Message("user", "Hello?")]


@pytest.fixture
async def engine(peer: Peer) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(f"{peer.address}/v1/", api_key="k-secret", begin_seconds=1, idle_seconds=0.5)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def vllm(peer: Peer) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(f"{peer.address}/v1", "mira", dialect="vllm")
    await engine.start()
    yield engine
    await engine.close()


async def say(engine: UpstreamEngine, sampling: Sampling | None = None, **who: str) -> tuple[str, Finish]:
    *pieces, finish = [piece async for piece in engine.stream(HELLO, sampling or Sampling(), **who)]
    assert isinstance(finish, Finish)
    return "".join(map(str, pieces)), finish


async def test_vllm_is_told_to_go_on_with_a_reply_that_is_begun(peer: Peer, vllm: UpstreamEngine) -> None:
    peer.chunks = reply(" grey.")
    begun = [*HELLO, Message("assistant", "The sea is")]
    text, _ = [piece async for piece in vllm.stream(begun, Sampling())]
    assert text == " grey."
    asked = peer.asked[-1]
    assert asked["messages"][-1] == {"role": "assistant", "content": "The sea is"}
    assert (asked["add_generation_prompt"], asked["continue_final_message"]) == (False, True)


async def test_other_servers_get_what_is_begun_as_the_last_message(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = reply(" grey.")
    async for _ in engine.stream([*HELLO, Message("assistant", "The sea is")], Sampling()):
        pass
    assert peer.asked[-1]["messages"][-1] == {"role": "assistant", "content": "The sea is"}
    assert "continue_final_message" not in peer.asked[-1]


async def test_an_empty_last_message_asks_vllm_for_another_reply(peer: Peer, vllm: UpstreamEngine) -> None:
    peer.chunks = reply("Aye.")
    async for _ in vllm.stream([*HELLO, Message("assistant", "Ahoy."), Message("assistant", "")], Sampling()):
        pass
    assert peer.asked[-1]["messages"][-1] == {"role": "assistant", "content": "Ahoy."}
    assert "continue_final_message" not in peer.asked[-1]


async def test_the_text_and_the_servers_own_token_counts_arrive(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("Aye", ", 水手", "😀!", finish="length")]
    assert await say(engine) == ("Aye, 水手😀!", Finish("length", 21, 7, 16))


async def test_name_and_context_length_come_from_the_server(engine: UpstreamEngine) -> None:
    assert (engine.name, engine.context_length) == ("mira", 4096)


async def test_characters_split_over_packets_are_put_together(peer: Peer, engine: UpstreamEngine) -> None:
    stream = b"".join(reply("龙王🐉", "生气\u2028了\x85"))
    peer.chunks = [stream[at : at + 3] for at in range(0, len(stream), 3)]
    assert (await say(engine))[0] == "龙王🐉生气\u2028了\x85"


async def test_surrogates_split_over_events_are_put_together(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [event(delta(text), ascii_only=True) for text in ("a\ud83d", "\ude00b", "\udc00")] + reply()
    text, _ = await say(engine)
    assert text == "a😀b\ufffd"


async def test_comments_and_every_kind_of_line_end_are_understood(peer: Peer, engine: UpstreamEngine) -> None:
    chunks = [chunk.replace(b"\n", b"\r\n") for chunk in reply("one", "two")]
    peer.chunks = [
        b"\xef\xbb\xbf: keep-alive\n\n",
        b"retry: 5\rid: 1\r\r",
        *chunks[:2],
        b": still here\r\n\r\n",
        *chunks[2:],
    ]
    assert (await say(engine))[0] == "onetwo"


async def test_only_known_fields_are_sent(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("x")]
    sampling = Sampling(9, 0.5, 0.8, 40, 0.1, 1.2, 0.3, 0.4, 5, ("\nUser:",))
    await say(engine, sampling, session="s 1\r\nX-Evil: 1", owner="tenant")
    assert peer.asked[0] == {
        "model": "mira",
        "messages": [{"role": "system", "content": "你是船长。"}, {"role": "user", "content": "Hello?"}],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.8,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.4,
        "seed": 5,
        "stop": ["\nUser:"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert peer.heads[0]["authorization"] == "Bearer k-secret"
    assert peer.heads[0]["x-session-id"] == "s%201%0D%0AX-Evil%3A%201"
    assert "x-evil" not in peer.heads[0]


async def test_vllm_also_gets_its_own_fields(peer: Peer, vllm: UpstreamEngine) -> None:
    peer.chunks = [*reply("x")]
    await say(vllm, Sampling(top_k=40, min_p=0.1, repetition_penalty=1.2), owner="tenant")
    asked = peer.asked[0]
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"], asked["cache_salt"]) == (
        40,
        0.1,
        1.2,
        "tenant",
    )
    assert "authorization" not in peer.heads[0]
    assert "x-session-id" not in peer.heads[0]


async def test_control_tokens_are_neutralised_before_they_leave(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("x")]
    _ = [piece async for piece in engine.stream([Message("user", "<|im_end|>\ud83d")], Sampling())]
    assert "<|im_end|>" not in peer.asked[0]["messages"][0]["content"]


async def test_stop_strings_hold_even_when_the_server_lets_them_through(peer: Peer, engine: UpstreamEngine) -> None:
    stops = (*(f"stop{number}" for number in range(MAX_STOPS)), "\nUser:")
    peer.chunks = [*reply("Aye.", "\nUs", "er", ": me", " too")]
    text, finish = await say(engine, Sampling(stop=stops))
    assert (text, finish.reason, finish.completion_tokens) == ("Aye.", "stop", 4)
    assert len(peer.asked[0]["stop"]) == MAX_STOPS


async def test_tokens_are_estimated_when_the_server_does_not_count(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("a", "b", usage=None)]
    _, finish = await say(engine)
    assert finish.completion_tokens == 2
    assert finish.prompt_tokens > 10


async def test_closing_the_generator_closes_the_response(peer: Peer, engine: UpstreamEngine) -> None:
    peer.endless = True
    async with aclosing(engine.stream(HELLO, Sampling())) as stream:
        await anext(stream)
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_cancelling_the_consumer_closes_the_response(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("x")[:2], 30.0]
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in engine.stream(HELLO, Sampling()):
            heard.set()

    task = asyncio.create_task(listen())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(peer.left.wait(), 5)


async def test_a_slow_consumer_slows_the_server(peer: Peer, engine: UpstreamEngine) -> None:
    peer.endless = True
    async with aclosing(engine.stream(HELLO, Sampling())) as stream:
        await anext(stream)
        before = -1
        while before != peer.sent:  # until the sockets between us are full
            before = peer.sent
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
        assert peer.sent == before


async def test_a_server_that_answered_a_moment_ago_is_not_asked_again_but_one_that_failed_since_is(
    peer: Peer, engine: UpstreamEngine
) -> None:
    peer.models = {"data": []}
    await engine.check()
    peer.chunks = [*reply("x")[:2], OSError("broken")]
    with pytest.raises(EngineBroke):
        await say(engine)
    with pytest.raises(EngineUnavailable, match="lists nothing"):
        await engine.check()
    with pytest.raises(EngineUnavailable):
        await engine.check()
    peer.chunks = list(reply("x"))
    assert (await say(engine))[0] == "x"
    await engine.check()


async def test_a_proxy_of_the_environment_is_gone_through(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("HTTP_PROXY", peer.address)
        patch.setenv("http_proxy", peer.address)
        patch.delenv("NO_PROXY", raising=False)
        patch.delenv("no_proxy", raising=False)
        engine = UpstreamEngine("http://llm.invalid/v1")
        await engine.start()
        assert engine.name == "mira"
        await engine.close()


async def test_closing_the_engine_ends_its_streams(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("x")[:2], 30.0]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "x"
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    await engine.close()
    with pytest.raises(EngineBroke, match="closed"):
        await waiting
    with pytest.raises(EngineUnavailable):
        await engine.check()


async def test_nobody_listening_is_said_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        engine = UpstreamEngine(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", "mira")
        with pytest.raises(EngineUnavailable, match="Is the server running"):
            await engine.start()
        with pytest.raises(EngineUnavailable):
            await say(engine)
        with pytest.raises(EngineUnavailable):
            await engine.check()
        await engine.close()


async def test_an_engine_that_could_not_start_works_once_the_server_is_there(peer: Peer) -> None:
    listed, peer.models, peer.status = peer.models, None, 503
    engine = UpstreamEngine(f"{peer.address}/v1")
    with pytest.raises(EngineUnavailable, match="503"):
        await engine.start()
    peer.models, peer.status, peer.chunks = listed, 200, [*reply("up")]
    assert (await say(engine))[0] == "up"
    await engine.close()


async def test_a_model_that_is_not_served_is_named_with_those_that_are(peer: Peer) -> None:
    engine = UpstreamEngine(f"{peer.address}/v1", "nemo")
    with pytest.raises(EngineRefused, match=r"nemo.*mira, other"):
        await engine.start()
    with pytest.raises(EngineUnavailable, match="nemo"):
        await engine.check()
    await engine.close()


async def test_an_address_without_v1_is_explained(peer: Peer) -> None:
    engine = UpstreamEngine(peer.address)
    with pytest.raises(EngineRefused, match="end in /v1"):
        await engine.start()
    await engine.close()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="http://localhost:8000/v1"):
        UpstreamEngine("localhost:8000")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b"overloaded", ServerFailed),
        (429, b'{"error":{"message":"slow down"}}', EngineUnavailable),
        (500, b"<html>oops</html>", ServerFailed),
        (400, b'{"error":{"message":"This model\'s maximum context length is 4096 tokens."}}', PromptTooLong),
        (400, b'{"message":"The prompt is too long","code":400}', PromptTooLong),
        (400, b'{"error":{"message":"temperature must be non-negative"}}', ParameterRefused),
        (401, b'{"error":{"message":"bad key"}}', EngineRefused),
        (404, b"", ModelMissing),
        (307, b"", EngineRefused),
    ],
)
async def test_http_errors_become_the_engines_own(
    peer: Peer, engine: UpstreamEngine, status: int, body: bytes, error: type[Exception]
) -> None:
    peer.status, peer.chunks = status, [body] if body else []
    with pytest.raises(error, match=str(status)) as raised:
        await say(engine)
    assert raised.type is error
    assert "k-secret" not in str(raised.value)


async def test_an_error_event_in_the_middle_breaks_the_reply(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("half a rep")[:2], event({"error": {"message": "CUDA out of memory", "code": 500}}), DONE]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "half a rep"
    with pytest.raises(EngineBroke, match="CUDA"):
        await anext(stream)


@pytest.mark.parametrize("code", [429, 500, 400])
async def test_whatever_goes_wrong_after_the_first_word_breaks_the_reply(
    peer: Peer, engine: UpstreamEngine, code: int
) -> None:
    peer.chunks = [*reply("half")[:2], event({"error": {"message": "no more", "type": "x", "code": code}})]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "half"
    with pytest.raises(EngineBroke, match="no more"):
        await anext(stream)


async def test_a_server_that_is_slow_is_listened_to_as_long_as_it_speaks(peer: Peer, engine: UpstreamEngine) -> None:
    first, *pieces = reply(*"slow")
    peer.chunks = [first, *[part for piece in pieces for part in (0.3, piece)]]
    assert (await say(engine))[0] == "slow"


async def test_bytes_that_are_not_what_they_claim_are_a_failure(peer: Peer, engine: UpstreamEngine) -> None:
    peer.headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    peer.chunks = [b"this was never compressed"]
    with pytest.raises(EngineUnavailable):
        await say(engine)


async def test_a_server_of_another_protocol_is_a_failure() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        engine = UpstreamEngine(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "mira")
        with pytest.raises(EngineUnavailable, match="can't be reached"):
            await engine.start()
        with pytest.raises(EngineUnavailable):
            await say(engine)
        await engine.close()


async def test_an_error_event_before_any_text_is_like_an_http_error(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [event({"error": {"message": "maximum context length is 10", "code": 400}}), DONE]
    with pytest.raises(PromptTooLong):
        await say(engine)
    peer.chunks = [event({"error": "busy"}), DONE]
    with pytest.raises(EngineUnavailable, match="busy"):
        await say(engine)


async def test_a_connection_lost_in_the_middle_breaks_the_reply(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("half")[:2], RuntimeError("the peer dies")]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "half"
    with pytest.raises(EngineBroke):
        await anext(stream)


async def test_a_stream_that_ends_without_a_reason_breaks_the_reply(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("half")[:2]]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "half"
    with pytest.raises(EngineBroke, match="middle"):
        await anext(stream)


async def test_a_stream_that_ends_without_done_after_its_reason_is_whole(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("whole")[:-1]]
    assert (await say(engine))[0] == "whole"


async def test_an_event_that_is_no_json_is_a_failure(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [b"data: {oops\n\n"]
    with pytest.raises(EngineUnavailable, match="not JSON"):
        await say(engine)


async def test_strange_events_are_passed_over(peer: Peer, engine: UpstreamEngine) -> None:
    strange = [{}, {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}, {"usage": 3}, delta("")]
    peer.chunks = [*map(event, strange), *reply("fine")]
    assert (await say(engine))[0] == "fine"


async def test_a_server_that_never_answers_is_unavailable(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [30.0]
    with pytest.raises(EngineUnavailable, match="within 1 seconds"):
        await say(engine)


async def test_a_server_that_only_keeps_the_connection_alive_is_unavailable(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [b": wait\n\n", *[part for _ in range(50) for part in (0.05, b": wait\n\n")]]
    with pytest.raises(EngineUnavailable, match="nothing came for 1 seconds"):
        await say(engine)


async def test_a_server_that_falls_silent_breaks_the_reply(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("half")[:2], 30.0]
    stream = engine.stream(HELLO, Sampling())
    assert await anext(stream) == "half"
    with pytest.raises(EngineBroke, match=r"nothing came for 0\.5 seconds"):
        await anext(stream)


async def test_a_page_instead_of_a_stream_is_explained(peer: Peer, engine: UpstreamEngine) -> None:
    peer.headers, peer.chunks = {"content-type": "text/html"}, [b"<html>"]
    with pytest.raises(EngineRefused, match="text/html"):
        await say(engine)


async def test_an_endless_line_is_cut_short(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [b"data: " + b"x" * 2**20] + [b"x" * 2**20] * 9
    with pytest.raises(EngineUnavailable, match="longer than"):
        await say(engine)


async def test_many_streams_share_the_engine(peer: Peer, engine: UpstreamEngine) -> None:
    peer.chunks = [*reply("a", "b", "c")]
    assert {(await reply_)[0] for reply_ in asyncio.as_completed([say(engine) for _ in range(30)])} == {"abc"}


async def test_vllm_counts_tokens_with_its_own_tokenizer_once_per_text(peer: Peer, vllm: UpstreamEngine) -> None:
    seen: list[dict[str, Any]] = []
    both = asyncio.Event()

    async def tokenizing(body: dict[str, Any]) -> Any:
        seen.append(body)
        if len(seen) == 2:
            both.set()
        await asyncio.wait_for(both.wait(), 5)  # only requests that run together get past
        return {"count": len(body["prompt"].split())}

    peer.tokenizing = tokenizing
    assert await vllm.count(["a b c", "d", "a b c", ""]) == [3, 1, 3, 0]
    assert await vllm.count(["d", "a b c"]) == [1, 3]
    assert sorted(body["prompt"] for body in seen) == ["a b c", "d"]
    assert seen[0] == {"model": "mira", "prompt": seen[0]["prompt"], "add_special_tokens": False}


async def test_a_server_without_tokenize_is_explained(peer: Peer, vllm: UpstreamEngine) -> None:
    with pytest.raises(EngineRefused, match="404"):
        await vllm.count(["text"])

    async def nonsense(_: Any) -> Any:
        return {"tokens": []}

    peer.tokenizing = nonsense
    with pytest.raises(EngineRefused, match="vLLM"):
        await vllm.count(["text"])


async def test_other_servers_tokens_are_estimated(engine: UpstreamEngine) -> None:
    assert await engine.count(["", "你好", "hello world"]) == [0, 3, 4]
