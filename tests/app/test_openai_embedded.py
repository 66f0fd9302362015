"""The official client, the server and the embedded language model, all real."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel, Field
from transformers import AutoTokenizer

from models.local import LocalEngine
from models.weights import checkpoint

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ASKED: Any = [{"role": "user", "content": "Hello! How do you feel today?"}]


class Mood(Enum):
    GLAD = "glad"
    SAD = "sad"


class Reason(BaseModel):
    text: str = Field(max_length=30)
    weight: int | None = Field(ge=0, le=9)


class Feeling(BaseModel):
    mood: Mood
    strong: bool
    reasons: list[Reason] = Field(min_length=1, max_length=2)


class GetWeather(BaseModel):
    """The weather of a place."""

    place: str = Field(max_length=20)
    days: int = Field(ge=1, le=7)


@pytest.fixture(scope="module")
async def engine(weights_home: Path) -> AsyncIterator[LocalEngine]:
    engine = LocalEngine(None, weights_home, context_length=2048, max_streams=8)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def official(address: str, mira: dict[str, Any]) -> AsyncIterator[openai.AsyncOpenAI]:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


@pytest.fixture(params=["bare", "character"])
def model(request: pytest.FixtureRequest, engine: LocalEngine) -> str:
    return engine.name if request.param == "bare" else "char/mira"


async def test_an_answer_is_parsed_into_the_class_that_was_asked_for(official: openai.AsyncOpenAI, model: str) -> None:
    answer = await official.chat.completions.parse(
        model=model, messages=ASKED, response_format=Feeling, max_tokens=200, seed=1
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert isinstance(choice.message.parsed, Feeling)
    assert choice.message.parsed.reasons


async def test_a_stream_is_parsed_too(official: openai.AsyncOpenAI, model: str) -> None:
    async with official.chat.completions.stream(
        model=model, messages=ASKED, response_format=Feeling, max_tokens=200, seed=2
    ) as stream:
        async for event in stream:
            last = event
        final = await stream.get_final_completion()
    assert last.type in ("content.done", "chunk")
    assert isinstance(final.choices[0].message.parsed, Feeling)


async def test_a_tool_that_must_be_called_is_parsed(official: openai.AsyncOpenAI, model: str) -> None:
    answer = await official.chat.completions.parse(
        model=model,
        messages=[{"role": "user", "content": "What will the weather be in Oslo this week?"}],
        tools=[openai.pydantic_function_tool(GetWeather)],
        tool_choice="required",
        max_tokens=100,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    assert isinstance(choice.message.tool_calls[0].function.parsed_arguments, GetWeather)


@pytest.mark.parametrize("bias", [100, -100])
async def test_a_tool_that_may_be_called_is_or_words_are_said(
    official: openai.AsyncOpenAI, weights_home: Path, model: str, bias: int
) -> None:
    """The bias of the tokens that begin a call decides, for so small a model decides badly."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(None, weights_home), local_files_only=True)
    beginnings = ['{"'] if bias > 0 else ['{"', "{"]
    # Words that find no end would be an error of the client's.
    ended: dict[str, Any] = {} if bias > 0 else {"stop": [".", ","]}
    async with official.chat.completions.stream(
        model=model,
        messages=[{"role": "user", "content": "What will the weather be in Oslo this week?"}],
        tools=[openai.pydantic_function_tool(GetWeather)],
        logit_bias={str(tokenizer.convert_tokens_to_ids(token)): bias for token in beginnings},
        max_tokens=100,
        seed=1,
        **ended,
    ) as stream:
        kinds = {event.type async for event in stream}
        choice = (await stream.get_final_completion()).choices[0]
    if bias > 0:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls
        assert isinstance(choice.message.tool_calls[0].function.parsed_arguments, GetWeather)
        assert "tool_calls.function.arguments.delta" in kinds
        assert not choice.message.content
    else:
        assert choice.finish_reason in ("stop", "length")
        assert choice.message.content
        assert not choice.message.tool_calls


async def test_choices_differ_and_are_counted_together(official: openai.AsyncOpenAI, model: str) -> None:
    answer = await official.chat.completions.create(
        model=model, messages=ASKED, n=3, max_tokens=12, temperature=1.2, seed=7, logprobs=True, top_logprobs=2
    )
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 36
    for choice in answer.choices:
        assert choice.logprobs is not None
        content = choice.logprobs.content or []
        assert "".join(entry.token for entry in content) == choice.message.content
        assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in content)


async def test_the_same_seed_gives_the_same_choices_in_a_stream(
    official: openai.AsyncOpenAI, engine: LocalEngine
) -> None:
    asked: dict[str, Any] = {"model": engine.name, "messages": ASKED, "n": 2, "max_tokens": 10, "temperature": 0}
    whole = await official.chat.completions.create(**asked)
    said = {0: "", 1: ""}
    async for chunk in await official.chat.completions.create(**asked, stream=True):
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
    assert said == {choice.index: choice.message.content for choice in whole.choices}


async def test_a_bias_forbids_and_an_unknown_token_is_refused(
    official: openai.AsyncOpenAI, engine: LocalEngine
) -> None:
    asked: dict[str, Any] = {"model": engine.name, "messages": ASKED, "max_tokens": 1, "temperature": 0}
    plain = await official.chat.completions.create(**asked, logprobs=True, top_logprobs=1)
    assert engine._checkpoint is not None
    token = engine._checkpoint.tokenizer(plain.choices[0].message.content, add_special_tokens=False).input_ids[0]
    other = await official.chat.completions.create(**asked, logit_bias={str(token): -100})
    assert other.choices[0].message.content != plain.choices[0].message.content
    with pytest.raises(openai.BadRequestError) as refused:
        await official.chat.completions.create(**asked, logit_bias={"49152": 1})
    assert refused.value.param == "logit_bias"


async def test_a_schema_that_can_not_be_followed_is_refused_before_a_stream_begins(
    official: openai.AsyncOpenAI, model: str
) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objekt"}}}
    for streamed in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            await official.chat.completions.create(model=model, messages=ASKED, response_format=form, stream=streamed)
        assert refused.value.param == "response_format"
        assert "objekt" in refused.value.message


async def test_a_crowd_of_every_kind_is_served_at_once(official: openai.AsyncOpenAI, engine: LocalEngine) -> None:
    asked: dict[str, Any] = {"messages": ASKED, "max_tokens": 24, "seed": 4}
    plain, listed, formed, choices = await asyncio.gather(
        official.chat.completions.create(model=engine.name, **asked),
        official.chat.completions.create(model=engine.name, **asked, logprobs=True, top_logprobs=20),
        official.chat.completions.create(model="char/mira", **asked, response_format={"type": "json_object"}),
        official.chat.completions.create(model="char/mira", **asked, n=4),
    )
    assert plain.choices[0].message.content
    assert listed.choices[0].logprobs is not None
    assert (formed.choices[0].message.content or "").startswith("{")
    if formed.choices[0].finish_reason == "stop":
        json.loads(formed.choices[0].message.content or "")
    assert len(choices.choices) == 4


async def test_a_group_answers_line_by_line_and_is_found_again_by_the_whole_talk(
    official: openai.AsyncOpenAI, address: str
) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        (
            await http.post("/api/characters", json={"slug": "bob", "name": "Bob", "persona": "A miller."})
        ).raise_for_status()
        members = [{"character": "mira"}, {"character": "bob"}]
        group = {"slug": "quay", "name": "Quay", "order": "list", "members": members}
        (await http.post("/api/groups", json=group)).raise_for_status()
        talk: Any = [*ASKED]
        sessions = set()
        for asked in ("And you, Bob?", ""):
            heard = await official.chat.completions.with_raw_response.create(
                model="group/quay", messages=talk, user="ana", max_tokens=12, temperature=0
            )
            reply = heard.parse().choices[0].message.content or ""
            assert reply.startswith("Mira: ")
            assert "\n\nBob: " in reply
            sessions.add(heard.headers["x-session-id"])
            talk += [{"role": "assistant", "content": reply}, {"role": "user", "content": asked}]
        shown = (await http.get(f"/api/sessions/{sessions.pop()}")).json()["branch"]
    assert [message["speaker"] for message in shown] == [None, "mira", "bob", None, "mira", "bob"]
    assert not sessions
