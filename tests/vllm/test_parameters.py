"""What real vLLM makes of the OpenAI dialect's parameters."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import pytest

from models.engine import CallPart, Event, Finish, ParameterRefused, Tools
from models.scene import Message
from models.tools import Call, Calling, Result
from models.vllm import VllmEngine
from tests.vllm.test_contract import events, say

FEELING = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["glad", "sad", "angry"]},
        "strength": {"type": "integer", "minimum": 1, "maximum": 9},
        "心情": {"enum": ["高兴", "难过"]},
        "why": {"type": "string", "maxLength": 40},
    },
    "required": ["mood", "strength", "心情", "why"],
    "additionalProperties": False,
}
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
        "required": ["place", "unit"],
        "additionalProperties": False,
    },
}


def tools(choice: Any) -> Tools:
    return Tools(({"type": "function", "function": WEATHER},), choice)


async def test_bad_words_are_not_said_with_or_without_a_space_before(vllm: VllmEngine) -> None:
    plain, _ = await say(vllm, max_tokens=40)
    words = [word.strip(".,!'\"") for word in plain.split() if word.strip(".,").isalpha() and len(word) > 4]
    held = []
    for word in dict.fromkeys(words):
        try:
            other, _ = await say(vllm, max_tokens=40, bad_words=(word,))
        except ParameterRefused:
            continue
        held.append(word)
        assert f" {word}" not in other
        assert not other.startswith(word)
    assert len(held) >= 3


@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_an_answer_keeps_to_its_schema_on_one_line(vllm: VllmEngine, temperature: float) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "feeling", "schema": FEELING}}
    text, finish = await say(vllm, max_tokens=160, temperature=temperature, seed=3, response_format=form)
    jsonschema.validate(json.loads(text), FEELING)
    assert "\n" not in text
    assert finish.reason == "stop"


async def test_an_answer_can_be_any_object(vllm: VllmEngine) -> None:
    text, finish = await say(vllm, max_tokens=60, response_format={"type": "json_object"})
    assert text.startswith("{")
    if finish.reason == "stop":
        assert isinstance(json.loads(text), dict)


async def test_a_schema_that_can_not_be_followed_is_refused(vllm: VllmEngine) -> None:
    for schema in ({"type": "objekt"}, {"$ref": "http://example.com/schema.json"}):
        form = {"type": "json_schema", "json_schema": {"name": "wrong", "schema": schema}}
        with pytest.raises(ParameterRefused):
            await say(vllm, max_tokens=5, response_format=form)


def called(heard: list[Event]) -> tuple[str, str]:
    """The name of the function that was called, and its arguments."""
    first, *rest = [event for event in heard if isinstance(event, CallPart)]
    assert first.id
    assert first.name
    assert not any(part.id or part.name for part in rest)
    return first.name, first.arguments + "".join(part.arguments for part in rest)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=str)
async def test_a_function_that_must_be_called_is_called_with_arguments_of_its_schema(
    vllm: VllmEngine, choice: Any
) -> None:
    heard = await events(vllm, [Message("user", "What is the weather in Paris?")], max_tokens=80, tools=tools(choice))
    name, arguments = called(heard)
    assert name == "get_weather"
    jsonschema.validate(json.loads(arguments), WEATHER["parameters"])
    assert not any(isinstance(event, str) for event in heard)
    finish = heard[-1]
    assert isinstance(finish, Finish)
    assert finish.reason == ("tool_calls" if choice == "required" else "stop")


async def test_whether_to_call_is_left_to_the_model(vllm: VllmEngine) -> None:
    for choice in ("auto", "none"):
        text, finish = await say(vllm, max_tokens=10, tools=tools(choice))
        assert text
        assert finish.reason == "length"


async def test_calls_and_their_results_are_read(vllm: VllmEngine) -> None:
    history = [
        Message("user", "What is the capital of France? Use the tool."),
        Calling("assistant", "", (Call("c1", "lookup", '{"country": "France"}'),)),
        Result("tool", "The capital of France is Paris.", "c1"),
    ]
    text, _ = await say(vllm, history, max_tokens=20)
    assert "Paris" in text


async def test_a_reply_is_as_long_as_it_must_be(vllm: VllmEngine) -> None:
    question = [Message("system", "Answer with one word."), Message("user", "What is the capital of France?")]
    _, short = await say(vllm, question, max_tokens=40)
    _, long = await say(vllm, question, max_tokens=40, min_tokens=30)
    assert short.completion_tokens < 30 <= long.completion_tokens


async def test_a_bias_of_minus_100_unmakes_a_token(vllm: VllmEngine) -> None:
    plain, _ = await say(vllm, max_tokens=3)
    first = (await vllm._served.tokenize(plain))["tokens"][0]
    other, _ = await say(vllm, max_tokens=3, logit_bias=((first, -100.0),))
    assert other.split()[0] != plain.split()[0]
    text, finish = await say(vllm, max_tokens=3, stop_token_ids=(first,))
    assert (text, finish.reason) == ("", "stop")


async def test_seeded_requests_with_more_prompt_than_a_step_holds_are_all_answered(vllm: VllmEngine) -> None:
    """vLLM's CPU build dies of a seeded request whose prompt it computes in pieces."""

    async def asked(number: int) -> str:
        told = Message("system", f"Talk number {number}. " + "You know the sea and all of its moods. " * 150)
        text, _ = await say(vllm, [told, Message("user", "Hello?")], max_tokens=4, temperature=1.0, seed=7)
        return text

    texts = await asyncio.gather(*(asked(number) for number in range(8)))

    assert all(texts)
    await vllm.check()
