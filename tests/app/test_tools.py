"""Calls of tools through the whole server: the official client, the server, an engine that talks to a peer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from app.services import Services
from models.upstream import UpstreamEngine
from tests.peer import DONE, Peer, delta, event, reply

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}
CALLS = [
    {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"place": '}},
    {"index": 0, "function": {"arguments": '"quay"}'}},
]
ASKED: Any = [{"role": "user", "content": "Will it rain?"}]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def engine(peer: Peer) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(f"{peer.address}/v1", "other")
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def official(address: str, mira: dict[str, Any]) -> AsyncIterator[openai.AsyncOpenAI]:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def calling(*, said: str = "") -> list[bytes]:
    text = [event(delta(said))] if said else []
    parts = [event({"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]}) for part in CALLS]
    return [*text, *parts, event(delta(finish="tool_calls")), DONE]


@pytest.mark.parametrize("model", ["other", "char/mira"])
async def test_a_call_comes_back_whole_and_in_parts(official: openai.AsyncOpenAI, peer: Peer, model: str) -> None:
    peer.chunks = calling()
    answer = await official.chat.completions.create(model=model, messages=ASKED, tools=[WEATHER])
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "weather", '{"place": "quay"}')
    assert peer.asked[-1]["tools"] == [WEATHER]
    assert peer.asked[-1]["tool_choice"] == "auto"
    peer.chunks = calling()
    async with official.chat.completions.stream(model=model, messages=ASKED, tools=[WEATHER]) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"place": "quay"}'


async def test_a_call_of_a_character_is_not_yet_its_reply(
    official: openai.AsyncOpenAI, peer: Peer, services: Services, rows: Any
) -> None:
    before = await rows()
    peer.chunks = calling(said="Let me look.")
    answer = await official.chat.completions.create(
        model="char/mira", user="ana", messages=ASKED, tools=[WEATHER], tool_choice="required"
    )
    message = answer.choices[0].message
    assert message.content == "Let me look."
    # The record of a turn under way is kept for some hours, whatever became of it.
    assert await rows() | {"turns": 0} == before, "nothing was answered yet"
    peer.chunks = [*reply("Rain by noon.")]
    result = {"role": "tool", "tool_call_id": "c1", "content": "rain at 12"}
    history = [*ASKED, message.model_dump(exclude_none=True), result]
    answer = await official.chat.completions.create(model="char/mira", user="ana", messages=history, tools=[WEATHER])
    assert answer.choices[0].message.content == "Rain by noon."
    *_, said, called, told = peer.asked[-1]["messages"]
    assert said["content"].endswith("Will it rain?")
    assert called["tool_calls"][0]["function"]["arguments"] == '{"place": "quay"}'
    assert (told["role"], told["content"], told["tool_call_id"]) == ("tool", "rain at 12", "c1")
    after = await rows()
    assert after["messages"] - before["messages"] == 2
    assert after["memories"] - before["memories"] == 1
    # The talk goes on: what was called is done with, and matching is by what was said.
    peer.chunks = [*reply("Nets are in.")]
    history += [{"role": "assistant", "content": "Rain by noon."}, {"role": "user", "content": "And the nets?"}]
    await official.chat.completions.create(model="char/mira", user="ana", messages=history, tools=[WEATHER])
    assert not any(message["role"] == "tool" for message in peer.asked[-1]["messages"])
    assert (await rows())["sessions"] == 1


async def test_calls_and_results_pass_through_to_the_bare_language_model(
    official: openai.AsyncOpenAI, peer: Peer
) -> None:
    peer.chunks = [*reply("Rain.")]
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    history: Any = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "rain"}]},
    ]
    await official.chat.completions.create(model="other", messages=history)
    assert peer.asked[-1]["messages"] == [
        *ASKED,
        history[1],
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]


async def test_what_the_peer_refuses_is_a_400_in_our_shape(official: openai.AsyncOpenAI, peer: Peer) -> None:
    peer.status = 400
    peer.chunks = [b'{"object":"error","message":"bad schema","type":"BadRequestError","param":null,"code":400}']
    with pytest.raises(openai.BadRequestError) as refused:
        await official.chat.completions.create(model="other", messages=ASKED)
    assert (refused.value.type, refused.value.code) == ("invalid_request_error", "invalid_request")
    assert "bad schema" in refused.value.message


async def test_a_parameter_that_plain_servers_do_not_know_is_refused(official: openai.AsyncOpenAI) -> None:
    for extra in ({"top_k": 5}, {"min_p": 0.1}, {"min_tokens": 3}):
        with pytest.raises(openai.BadRequestError) as refused:
            await official.chat.completions.create(model="other", messages=ASKED, extra_body=extra)
        assert refused.value.code == "unsupported_parameter"
        assert refused.value.param == next(iter(extra))
