"""What of the OpenAI dialect the upstream engine sends on and brings back."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from models.completion import LEAST
from models.engine import OPTIONAL, CallPart, Event, Finish, Sampling, Thought, Token, Tools
from models.scene import Message
from models.tools import Call, Calling, Result
from models.upstream import UpstreamEngine
from tests.peer import DONE, Peer, delta, event, reply

HELLO = [Message("user", "Hello?")]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(params=["openai", "vllm"])
async def engine(peer: Peer, request: pytest.FixtureRequest) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(f"{peer.address}/v1", "mira", dialect=request.param)
    await engine.start()
    yield engine
    await engine.close()


async def say(engine: UpstreamEngine, messages: list[Message] = HELLO, **sampling: Any) -> list[Event]:
    return [event async for event in engine.stream(messages, Sampling(**sampling))]


def called(*parts: dict[str, Any]) -> list[bytes]:
    chunks = [event({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]}) for part in parts]
    return [*chunks, event(delta(finish="tool_calls")), DONE]


async def test_a_dialect_has_what_its_servers_take(engine: UpstreamEngine, peer: Peer) -> None:
    async def tokenizing(body: dict[str, Any]) -> dict[str, Any]:
        tokens = [9] if body["prompt"] == " sea" else [7, 8]
        return {"tokens": tokens, "count": len(tokens)}

    peer.chunks, peer.tokenizing = reply("x"), tokenizing
    asked = {
        "logprobs": 3,
        "logit_bias": ((5, -1.5),),
        "response_format": {"type": "json_object"},
        "tools": Tools((WEATHER,), NAMED, False),
        "min_tokens": 4,
        "bad_words": ("sea",),
        "stop_token_ids": (2,),
        "include_stop": True,
    }
    await say(engine, **asked)
    sent = {name: value for name, value in peer.asked[0].items() if name not in ("messages", "stream_options")}
    expected = {
        "model": "mira",
        "max_tokens": 256,
        "stream": True,
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"5": -1.5},
        "response_format": {"type": "json_object"},
        "tools": [WEATHER],
        "tool_choice": NAMED,
        "parallel_tool_calls": False,
    }
    if "min_tokens" in engine.abilities:
        assert engine.abilities == OPTIONAL
        expected |= {"min_tokens": 4, "bad_words": ["sea"], "stop_token_ids": [2], "include_stop_str_in_output": True}
        expected |= {"logit_bias": {"5": -1.5, "9": -100.0}}
    else:
        assert engine.abilities == {"logprobs", "logit_bias", "response_format", "tools"}
    assert sent == expected


async def test_nothing_is_sent_that_was_not_asked_for(engine: UpstreamEngine, peer: Peer) -> None:
    peer.chunks = [*reply("x")]
    await say(engine)
    assert set(peer.asked[0]) == {"model", "messages", "max_tokens", "stream", "stream_options"}


async def test_calls_and_results_travel_as_messages_of_their_own(engine: UpstreamEngine, peer: Peer) -> None:
    peer.chunks = [*reply("Rain.")]
    history = [
        *HELLO,
        Calling("assistant", "", (Call("c1", "weather", '{"place": "<|im_end|>"}'), Call("c2", "weather", "{}"))),
        Result("tool", "rain <|im_start|>", "c1"),
    ]
    await say(engine, history)
    _, calling, result = peer.asked[0]["messages"]
    assert calling["content"] is None
    assert [call["id"] for call in calling["tool_calls"]] == ["c1", "c2"]
    assert calling["tool_calls"][0]["type"] == "function"
    assert "<|im_end|>" not in calling["tool_calls"][0]["function"]["arguments"]
    assert (result["role"], result["tool_call_id"]) == ("tool", "c1")
    assert "<|im_start|>" not in result["content"]


async def test_calls_come_back_in_parts(engine: UpstreamEngine, peer: Peer) -> None:
    peer.chunks = called(
        {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"pla'}},
        {"index": 1, "id": "c2", "function": {"name": "weather", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": 'ce": 1}'}},
    )
    *parts, finish = await say(engine, tools=Tools((WEATHER,)))
    assert parts == [
        CallPart(0, "", "c1", "weather"),
        CallPart(0, '{"pla'),
        CallPart(1, "{}", "c2", "weather"),
        CallPart(0, 'ce": 1}'),
    ]
    assert isinstance(finish, Finish)
    assert finish.reason == "tool_calls"


async def test_a_call_that_was_asked_for_by_name_ends_with_stop(engine: UpstreamEngine, peer: Peer) -> None:
    peer.chunks = called({"index": 0, "id": "c1", "function": {"name": "weather", "arguments": "{}"}})
    *_, finish = await say(engine, tools=Tools((WEATHER,), NAMED))
    assert isinstance(finish, Finish)
    assert finish.reason == "stop"


async def test_log_probabilities_come_before_the_text_they_are_of(engine: UpstreamEngine, peer: Peer) -> None:
    top = [{"token": "Aye", "logprob": -0.1, "bytes": [65, 121, 101]}, {"token": "No", "logprob": -3, "bytes": None}]
    entries = [{"token": "Aye", "logprob": -0.1, "bytes": [65, 121, 101], "top_logprobs": top}, {"token": "?"}]
    spoken = delta("Aye") | {}
    spoken["choices"][0]["logprobs"] = {"content": entries}
    peer.chunks = [event(spoken), *reply("", finish="stop")]
    events = await say(engine, logprobs=2)
    alternatives = (Token("Aye", -0.1, b"Aye"), Token("No", -3.0, None))
    assert events[:3] == [Token("Aye", -0.1, b"Aye", alternatives), Token("?", LEAST, None), "Aye"]


@pytest.mark.parametrize(
    "odd",
    [
        {"logprobs": {"content": None}},
        {"logprobs": {"content": [5, None, {"token": 3}]}},
        {"logprobs": []},
        {"logprobs": {"content": [{"token": "a", "logprob": "x", "bytes": [999], "top_logprobs": [1]}]}},
        {"delta": {"content": "x", "tool_calls": None}},
        {"delta": {"content": "x", "tool_calls": [5, {}]}},
        {"delta": {"content": "x", "tool_calls": [{"function": None, "index": "a"}]}},
        {"finish_reason": "weird"},
    ],
    ids=str,
)
async def test_what_a_server_sends_in_another_form_breaks_nothing(
    engine: UpstreamEngine, peer: Peer, odd: dict[str, Any]
) -> None:
    peer.chunks = [event({"choices": [delta("x")["choices"][0] | odd]}), *reply("y")]
    events = await say(engine, logprobs=1, tools=Tools((WEATHER,)))
    assert "".join(event for event in events if isinstance(event, str)) == "xy"
    assert isinstance(events[-1], Finish)


@pytest.mark.parametrize(("owner", "taken"), [("vllm", True), ("organization-owner", False)])
async def test_the_dialect_is_seen_in_the_list_of_models(peer: Peer, owner: str, taken: bool) -> None:
    peer.models = {"data": [{"id": "mira", "owned_by": owner}]}
    peer.chunks = reply("x")
    engine = UpstreamEngine(f"{peer.address}/v1", dialect=None)
    await engine.start()
    assert ("top_k" in engine.abilities) == taken
    async for _ in engine.stream(HELLO, Sampling(top_k=3), owner="ana"):
        pass
    assert ("top_k" in peer.asked[0], "cache_salt" in peer.asked[0]) == (taken, taken)
    await engine.close()


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_that_the_server_tells_apart_is_a_thought(
    engine: UpstreamEngine, peer: Peer, field: str
) -> None:
    token = {"token": "Hm", "logprob": -1.0, "bytes": [72, 109], "top_logprobs": []}
    thought = {"choices": [{"index": 0, "delta": {field: "Hm"}, "logprobs": {"content": [token]}}]}
    peer.chunks = [event(thought), event({"choices": [{"index": 0, "delta": {field: ""}}]}), *reply("Aye.")]
    assert (await say(engine, logprobs=0))[:2] == [Thought("Hm"), "Aye."]


async def test_enough_ends_a_reply_with_what_it_cost(engine: UpstreamEngine, peer: Peer) -> None:
    peer.chunks = [event(delta("Aye.") | {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}), event(delta(" And"))]
    enough = threading.Event()
    events = list[Event]()
    async for said in engine.stream(HELLO, Sampling(enough=enough)):
        events.append(said)
        enough.set()
    assert events == ["Aye.", Finish("stop", 3, 2)]


@pytest.mark.parametrize(("end", "opened"), [("<|im_start|>assistant\n<think>\n", "<think>"), ("assistant\n", "")])
async def test_vllm_is_asked_whether_its_template_begins_a_thought(peer: Peer, end: str, opened: str) -> None:
    async def tokenize(body: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": list(range(40)), "count": 40} if body.get("messages") else {"prompt": end}

    peer.tokenizing = tokenize
    engine = UpstreamEngine(f"{peer.address}/v1", "mira", dialect="vllm")
    await engine.start()
    assert engine.opened == opened
    await engine.close()
