"""What the embedded engine makes of the OpenAI dialect's parameters, with the real SmolLM2."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from transformers import AutoTokenizer

from models.engine import OPTIONAL, CallPart, Event, Finish, ParameterRefused, Sampling, Token, Tools
from models.local import LocalEngine
from models.scene import Message
from models.tools import Call, Calling, Result
from models.unsaid import WIDE

PIRATE = [
    Message("system", "You are Captain Mira, a pirate. Answer in short sentences."),
    Message("user", "Hello captain! Where are we going?"),
]
GREEDY: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0}
FEELING = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["glad", "sad", "angry"]},
        "strength": {"type": "integer", "minimum": 1, "maximum": 9},
        "why": {"type": "string", "maxLength": 40},
    },
    "required": ["mood", "strength", "why"],
    "additionalProperties": False,
}
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "parameters": {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/place"}, "unit": {"enum": ["C", "F"]}},
        "required": ["place", "unit"],
        "additionalProperties": False,
        "$defs": {"place": {"type": "string", "maxLength": 20}},
    },
}
TIME = {"name": "time.now", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}


async def say(
    engine: LocalEngine, messages: list[Message] | None = None, **sampling: Any
) -> tuple[str, list[Token], Finish, list[Event]]:
    events = [event async for event in engine.stream(messages or PIRATE, Sampling(**GREEDY | sampling))]
    text = "".join(event for event in events if isinstance(event, str))
    finish = events[-1]
    assert isinstance(finish, Finish)
    return text, [event for event in events if isinstance(event, Token)], finish, events


@pytest.fixture(scope="module")
def tokenizer(unpacked: Path) -> Any:
    return AutoTokenizer.from_pretrained(unpacked, local_files_only=True)


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def tools(*functions: dict[str, Any], choice: Any = "required") -> Tools:
    return Tools(tuple({"type": "function", "function": function} for function in functions), choice)


async def test_it_claims_everything(smollm: LocalEngine) -> None:
    assert smollm.abilities == OPTIONAL


async def test_log_probabilities_are_one_a_token_and_spell_the_text(smollm: LocalEngine) -> None:
    text, tokens, finish, _ = await say(smollm, max_tokens=12, logprobs=3)
    assert len(tokens) == finish.completion_tokens == 12
    assert "".join(token.text for token in tokens) == text
    assert b"".join(token.data or b"" for token in tokens).decode() == text
    for token in tokens:
        assert len(token.top) == 3
        assert token.top[0].data == token.data, "greedy takes the likeliest"
        assert token.logprob == pytest.approx(token.top[0].logprob)
        assert [other.logprob for other in token.top] == sorted((o.logprob for o in token.top), reverse=True)
        assert sum(math.exp(other.logprob) for other in token.top) <= 1.0001


async def test_log_probabilities_are_those_of_the_checkpoint(
    smollm: LocalEngine, tokenizer: Any, unpacked: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    stock = AutoModelForCausalLM.from_pretrained(unpacked, dtype=torch.float32, local_files_only=True)
    turns = [{"role": message.role, "content": message.content} for message in PIRATE]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    with torch.inference_mode():
        expected = stock(**prompt).logits[0, -1].log_softmax(-1)
    # Whatever the taste: bias, penalties and temperature change the choice, not what it was chosen from.
    _, (first,), _, _ = await say(smollm, max_tokens=1, logprobs=5, logit_bias=((100, 5.0),), repetition_penalty=1.5)
    best = expected.topk(5)
    assert [other.logprob for other in first.top] == pytest.approx(best.values.tolist(), abs=0.15)
    assert first.logprob <= first.top[0].logprob


async def test_no_alternatives_are_named_when_none_are_asked_for(smollm: LocalEngine) -> None:
    _, tokens, _, _ = await say(smollm, max_tokens=3, logprobs=0)
    assert [token.top for token in tokens] == [()] * 3
    _, tokens, _, _ = await say(smollm, max_tokens=3)
    assert tokens == []


async def test_tokens_that_are_parts_of_a_character_spell_it_together(smollm: LocalEngine) -> None:
    repeat = [
        Message("system", "Repeat the user's words exactly."),
        *(Message(role, text) for text in ("你好，船长😀", "我们去海边🌊吧") for role in ("user", "assistant")),  # type: ignore[arg-type]
        Message("user", "龙王很生气🐉"),
    ]
    text, tokens, _, _ = await say(smollm, repeat, max_tokens=24, logprobs=2)
    assert any("\u4e00" <= character <= "\u9fff" for character in text)
    assert text.startswith("".join(token.text for token in tokens if token.text))
    assert any(not token.text and token.data for token in tokens), "no character was split"
    assert b"".join(token.data or b"" for token in tokens).decode("utf-8", "ignore") == text
    assert all(other.text for token in tokens for other in token.top)


async def test_the_end_of_a_reply_is_an_alternative_without_bytes(smollm: LocalEngine) -> None:
    question = [Message("system", "Answer with one word."), Message("user", "What is the capital of France?")]
    _, tokens, finish, _ = await say(smollm, question, max_tokens=30, logprobs=20)
    assert finish.completion_tokens == len(tokens) + 1, "the token that ends the reply is counted, not spelled"
    ends = [other for token in tokens for other in token.top if other.text == "<|im_end|>"]
    assert ends
    assert all(other.data is None for other in ends)


async def test_a_bias_of_100_makes_a_token_and_of_minus_100_unmakes_it(smollm: LocalEngine, tokenizer: Any) -> None:
    (sea,) = tokenizer(" sea", add_special_tokens=False).input_ids
    text, *_ = await say(smollm, max_tokens=3, logit_bias=((sea, 100.0),))
    assert text == " sea sea sea"
    plain, tokens, *_ = await say(smollm, max_tokens=6, logprobs=0)
    first = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(tokens[0].text))[0]
    other, *_ = await say(smollm, max_tokens=6, logit_bias=((first, -100.0),))
    assert not other.startswith(tokens[0].text)
    assert plain.startswith(tokens[0].text)


async def test_tokens_outside_the_vocabulary_are_refused_by_name(smollm: LocalEngine) -> None:
    for wrong in ({"logit_bias": ((49152, 1.0),)}, {"stop_token_ids": (2**31 - 1,)}):
        with pytest.raises(ParameterRefused, match="0 to 49151") as refused:
            await say(smollm, **wrong)
        assert refused.value.param == next(iter(wrong))


async def test_a_reply_is_as_long_as_it_must_be(smollm: LocalEngine) -> None:
    question = [Message("system", "Answer with one word."), Message("user", "What is the capital of France?")]
    _, _, finish, _ = await say(smollm, question, max_tokens=40)
    assert finish.completion_tokens < 30
    _, _, finish, _ = await say(smollm, question, max_tokens=40, min_tokens=30)
    assert finish.completion_tokens >= 30


async def test_bad_words_are_not_said_with_or_without_a_space_before(smollm: LocalEngine) -> None:
    plain, *_ = await say(smollm, max_tokens=12)
    words = [word.strip(".,!'\"") for word in plain.split() if len(word) > 3][:3]
    other, *_ = await say(smollm, max_tokens=40, bad_words=tuple(words))
    assert not any(f" {word}" in other or other.startswith(word) for word in words), other


async def test_chinese_bad_words_are_not_said_whichever_tokens_spell_them(smollm: LocalEngine) -> None:
    asked = [Message("user", "请跟我说：船长在海边等着大家，船长在等着你。")]
    plain, *_ = await say(smollm, asked, max_tokens=40)
    words = tuple({plain[place : place + 2] for place in range(0, len(plain) - 1, 3) if WIDE.match(plain[place:])})
    assert words, plain
    other, *_ = await say(smollm, asked, max_tokens=40, bad_words=words)
    assert not any(word in other for word in words), other


async def test_a_token_can_end_the_reply(smollm: LocalEngine, tokenizer: Any) -> None:
    plain, tokens, *_ = await say(smollm, max_tokens=12, logprobs=0)
    fifth = tokenizer(tokens[5].text, add_special_tokens=False).input_ids[0]
    text, _, finish, _ = await say(smollm, max_tokens=12, stop_token_ids=(fifth,))
    assert plain.startswith(text)
    assert len(text) < len(plain)
    assert finish.reason == "stop"


async def test_a_stop_string_is_in_the_text_when_it_is_asked_for(smollm: LocalEngine) -> None:
    plain, *_ = await say(smollm, max_tokens=20)
    stop = plain[8:15]
    text, _, finish, _ = await say(smollm, max_tokens=20, stop=(stop,), include_stop=True)
    assert text == plain[: plain.index(stop) + len(stop)]
    assert finish.reason == "stop"


@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_an_answer_keeps_to_its_schema(smollm: LocalEngine, temperature: float) -> None:
    text, tokens, finish, _ = await say(
        smollm, max_tokens=120, temperature=temperature, seed=3, response_format=form(FEELING), logprobs=1
    )
    answer = json.loads(text)
    jsonschema.validate(answer, FEELING)
    assert text == json.dumps(answer, ensure_ascii=False)
    assert finish.reason == "stop"
    assert "".join(token.text for token in tokens) == text


async def test_an_answer_can_be_any_object(smollm: LocalEngine) -> None:
    text, _, finish, _ = await say(smollm, max_tokens=60, response_format={"type": "json_object"})
    assert text.startswith("{")
    if finish.reason == "stop":
        assert isinstance(json.loads(text), dict)


async def test_an_answer_in_chinese_keeps_to_its_schema(smollm: LocalEngine) -> None:
    schema = {"type": "object", "properties": {"心情": {"enum": ["高兴", "难过"]}}, "required": ["心情"]}
    asked = [Message("user", "你今天心情怎么样？")]
    text, *_ = await say(smollm, asked, max_tokens=60, response_format=form(schema | {"additionalProperties": False}))
    assert json.loads(text)["心情"] in ("高兴", "难过")


async def test_a_schema_cut_off_by_the_limit_says_length(smollm: LocalEngine) -> None:
    text, _, finish, _ = await say(smollm, max_tokens=4, response_format=form(FEELING))
    assert text.startswith('{"mood"')
    assert (finish.reason, finish.completion_tokens) == ("length", 4)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"$ref": "http://example.com/schema.json"},
        {"type": "string", "pattern": "(?=x)y"},
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
        {"enum": []},
        {"type": "object", "properties": {"a": 5}},
    ],
    ids=str,
)
async def test_a_schema_that_can_not_be_followed_is_refused_with_the_reason(
    smollm: LocalEngine, schema: dict[str, Any]
) -> None:
    with pytest.raises(ParameterRefused, match=r"can't be followed: ....") as refused:
        await say(smollm, max_tokens=5, response_format=form(schema))
    assert refused.value.param == "response_format"


async def test_schemas_made_to_be_expensive_are_refused_or_followed_but_never_wedge_it(smollm: LocalEngine) -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    wide = {"anyOf": [{"type": "object", "properties": {f"k{n}": {"type": "string"}}} for n in range(2000)]}
    regex = {"type": "string", "pattern": "^(" + "|".join(f"(a{{0,{n}}}b?){{1,50}}" for n in range(1, 60)) + ")$"}
    for schema in (deep, wide, regex, {"type": "string", "maxLength": 10**12}):
        with suppress(ParameterRefused):
            await say(smollm, max_tokens=8, response_format=form(schema))
    assert (await say(smollm, max_tokens=2))[2].completion_tokens == 2


def called(events: list[Event]) -> tuple[str, str]:
    """The name of the function that was called, and its arguments."""
    first, *rest = [event for event in events if isinstance(event, CallPart)]
    assert first.id.startswith("call_")
    assert first.name
    assert not any(part.id or part.name for part in rest)
    assert not any(isinstance(event, str) for event in events)
    return first.name, first.arguments + "".join(part.arguments for part in rest)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=str)
async def test_a_function_that_must_be_called_is_called_with_arguments_of_its_schema(
    smollm: LocalEngine, choice: Any
) -> None:
    asked = [Message("user", "What is the weather in Paris?")]
    listed = tools(WEATHER, choice=choice) if choice == "required" else tools(TIME, WEATHER, choice=choice)
    _, _, finish, events = await say(smollm, asked, max_tokens=80, tools=listed)
    name, arguments = called(events)
    assert name == "get_weather"
    jsonschema.validate(json.loads(arguments), WEATHER["parameters"])
    assert arguments == json.dumps(json.loads(arguments), ensure_ascii=False), "white space without end"
    assert finish.reason == ("tool_calls" if choice == "required" else "stop"), "as OpenAI has it"
    assert sum(isinstance(event, CallPart) for event in events) > 3, "the arguments stream"


async def test_one_of_several_functions_is_called(smollm: LocalEngine) -> None:
    asked = [Message("user", "What time is it?")]
    _, _, finish, events = await say(smollm, asked, max_tokens=80, tools=tools(WEATHER, TIME))
    name, arguments = called(events)
    assert name in ("get_weather", "time.now")
    assert isinstance(json.loads(arguments), dict)
    assert finish.reason == "tool_calls"


async def test_a_call_that_is_cut_off_says_length(smollm: LocalEngine) -> None:
    _, _, finish, events = await say(smollm, max_tokens=16, tools=tools(WEATHER))
    name, arguments = called(events)
    assert name == "get_weather"
    assert finish.reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(arguments)


async def test_whether_to_call_is_left_to_it(smollm: LocalEngine, tokenizer: Any) -> None:
    """The bias of the tokens that begin a call decides, for so small a model decides badly."""
    opening, brace = (tokenizer.convert_tokens_to_ids(token) for token in ('{"', "{"))
    asked = [Message("user", "What is the weather in Paris?")]
    calls = {"tools": tools(TIME, WEATHER, choice="auto"), "max_tokens": 80}
    _, _, finish, events = await say(smollm, asked, **calls, logit_bias=((opening, 100.0),), logprobs=1)
    name, arguments = called([event for event in events if not isinstance(event, Token)])
    assert name in ("get_weather", "time.now")
    assert isinstance(json.loads(arguments), dict)
    assert finish.reason == "tool_calls"
    assert not any(isinstance(event, Token) for event in events), "a call is not what is said"
    never = ((opening, -100.0), (brace, -100.0))
    text, tokens, finish, events = await say(smollm, asked, **calls | {"max_tokens": 8}, logit_bias=never, logprobs=1)
    assert text.strip()
    assert "".join(token.text for token in tokens) == text
    assert not any(isinstance(event, CallPart) for event in events)
    begun = [*asked, Message("assistant", "The weather in Paris")]
    text, *_ = await say(smollm, begun, **calls)
    assert "{" not in text
    text, *_ = await say(smollm, max_tokens=5, tools=tools(WEATHER, choice="none"))
    assert text


async def test_an_answer_instead_of_a_call_keeps_to_its_schema(smollm: LocalEngine) -> None:
    calls = tools({**WEATHER, "name": "w"}, choice="auto")
    mood = {"type": "object", "properties": {"mood": {"enum": ["glad", "sad"]}}, "required": ["mood"]}
    text, _, finish, events = await say(smollm, max_tokens=60, tools=calls, response_format=form(mood))
    if finish.reason == "tool_calls":
        assert called(events)[0] == "w"
    else:
        assert json.loads(text)["mood"] in ("glad", "sad")


async def test_calls_and_their_results_are_read_as_text(smollm: LocalEngine) -> None:
    history = [
        Message("user", "What is the capital of France? Use the tool."),
        Calling("assistant", "", (Call("c1", "lookup", '{"country": "France"}'),)),
        Result("tool", "The capital of France is Paris.", "c1"),
    ]
    text, *_ = await say(smollm, history, max_tokens=20)
    assert "Paris" in text


async def test_a_seeded_reply_is_the_same_with_and_without_log_probabilities(smollm: LocalEngine) -> None:
    plain, *_ = await say(smollm, max_tokens=10, temperature=1.0, seed=5)
    scored, *_ = await say(smollm, max_tokens=10, temperature=1.0, seed=5, logprobs=4)
    assert plain == scored
