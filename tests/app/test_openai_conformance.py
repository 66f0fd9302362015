"""What the OpenAI suites of vLLM, llama.cpp and SGLang, and OpenAI's own client, expect of a chat completion.

The behaviours are theirs, the tests ours. The exact replies come from the scripted engine, one token a character; what
the embedded language model does with the parameters is in tests/models/test_local_parameters.py.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from app.services import Services
from models.scripted import ScriptedEngine

Chunk = dict[str, Any]
BARE: dict[str, Any] = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
MIRA: dict[str, Any] = {"model": "char/mira", "user": "ana", "messages": [{"role": "user", "content": "Hi"}]}
EITHER = pytest.mark.parametrize("asked", [BARE, MIRA], ids=["bare", "character"])
PATH = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def http(address: str, mira: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
        yield http


@pytest.fixture
async def official(address: str, http: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


async def ask(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    return whole


async def refuse(http: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await http.post(PATH, json=body)
    assert answer.status_code == 400, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error


async def stream(http: httpx.AsyncClient, body: dict[str, Any]) -> list[Chunk]:
    """The chunks of a stream whose frame is exactly OpenAI's."""
    async with http.stream("POST", PATH, json=body | {"stream": True}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        raw = (await answer.aread()).decode()
    *events, end = raw.split("\n\n")
    assert end == ""
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    assert events[-1] == "data: [DONE]"
    assert events.count("data: [DONE]") == 1
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len({(chunk.get("id"), chunk.get("created"), chunk.get("model")) for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    return chunks


def texts(chunks: list[Chunk]) -> dict[int, str]:
    said: dict[int, str] = {}
    for choice in (choice for chunk in chunks for choice in chunk["choices"]):
        said[choice["index"]] = said.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return said


@EITHER
async def test_a_whole_answer_has_every_field_of_openais(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.replies.append("Aye aye.")
    whole = await ask(http, asked)
    assert whole["id"].startswith("chatcmpl-")
    assert whole["object"] == "chat.completion"
    assert isinstance(whole["created"], int)
    assert whole["model"] == asked["model"]
    assert whole["system_fingerprint"].startswith("fp_")
    assert whole["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Aye aye.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    usage = whole["usage"]
    assert usage["completion_tokens"] == len("Aye aye.")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


@EITHER
async def test_a_stream_begins_with_the_role_and_ends_with_an_empty_delta(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.replies.append("Aye, 水手😀.")
    first, *middle, last = await stream(http, asked)
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    for chunk in middle:
        choice = chunk["choices"][0]
        assert set(choice["delta"]) == {"content"}
        assert choice["delta"]["content"]
        assert choice["finish_reason"] is None
        assert "usage" not in chunk
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in middle) == "Aye, 水手😀."


@EITHER
async def test_usage_comes_last_with_no_choices_and_is_null_before(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.replies.append("Aye.")
    *chunks, last = await stream(http, asked | {"stream_options": {"include_usage": True}})
    assert all("usage" in chunk and chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 4
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 4
    engine.replies.append("Aye.")
    chunks = await stream(http, asked | {"stream_options": {"include_usage": False}})
    assert not any("usage" in chunk for chunk in chunks)


@EITHER
async def test_several_choices_are_counted_together_and_the_prompt_once(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.replies += ["One.", "Two, two.", "三。"]
    whole = await ask(http, asked | {"n": 3})
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["One.", "Two, two.", "三。"]
    assert whole["usage"]["completion_tokens"] == len("One.Two, two.三。")
    assert whole["usage"]["prompt_tokens"] == sum(len(m.content) for m in engine.asked[-1].messages)
    assert len(engine.asked) == 3


@EITHER
async def test_choices_of_a_stream_interleave_and_each_has_its_own_role_and_finish(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.pace = 0.003
    replies = ["A long first reply, with a second sentence.", "Another that is about as long as the first one."]
    engine.replies += replies
    chunks = await stream(http, asked | {"n": 2, "stream_options": {"include_usage": True}})
    assert texts(chunks) == dict(enumerate(replies))
    order = [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice["delta"].get("content")]
    assert order != sorted(order), "one after the other"
    for index in (0, 1):
        own = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
        assert [c["delta"].get("role") for c in own] == ["assistant"] + [None] * (len(own) - 1)
        assert [c["finish_reason"] for c in own] == [None] * (len(own) - 1) + ["stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == sum(map(len, replies))


async def test_choices_get_seeds_of_their_own(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["One.", "Two."] * 2
    await ask(http, BARE | {"n": 2, "seed": 2**63 - 1})
    await ask(http, BARE | {"n": 2})
    assert [asked.sampling.seed for asked in engine.asked] == [2**63 - 1, -(2**63), None, None]


async def test_all_choices_of_a_character_are_stored_as_swipes_and_the_first_is_current(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["One.", "Two.", "Three."]
    answer = await http.post(PATH, json=MIRA | {"n": 3})
    session = (await http.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    assert [message["text"] for message in session["branch"]] == ["Hi", "One."]
    memories = (await http.get("/api/memories")).json()["items"]
    assert len(memories) == 1
    assert "One." in memories[0]["text"]
    for reply in ("Two.", "Three."):
        engine.replies.append("Go on.")
        history = [*MIRA["messages"], {"role": "assistant", "content": reply}, {"role": "user", "content": "And?"}]
        again = await http.post(PATH, json=MIRA | {"messages": history})
        assert again.headers["x-session-id"] == answer.headers["x-session-id"], "a swipe can be gone on from"
    trace = (await http.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    assert (trace["reply"], trace["other_replies"]) == ("One.", ["Two.", "Three."])


async def test_one_choice_that_fails_ends_the_answer_and_what_was_said_is_kept(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    from models.engine import EngineBroke

    engine.pace = 0.002
    engine.replies += ["A reply that goes on and on and on.", ("Two, then", EngineBroke("gone"))]
    async with http.stream("POST", PATH, json=MIRA | {"n": 2, "stream": True}) as answer:
        session = answer.headers["x-session-id"]
        raw = (await answer.aread()).decode()
    assert '"error":{"message":"gone"' in raw
    assert raw.endswith("data: [DONE]\n\n")
    branch = (await http.get(f"/api/sessions/{session}")).json()["branch"]
    assert branch[-1]["text"]
    assert "A reply that goes on and on and on.".startswith(branch[-1]["text"])


@EITHER
async def test_a_stop_string_ends_the_reply_and_is_not_in_it(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    for stop in ("END", ["never", "END"]):
        for more, expected in (({}, "One two "), ({"include_stop_str_in_output": True}, "One two END")):
            engine.replies += ["One two END three"] * 2
            whole = await ask(http, asked | {"stop": stop} | more)
            assert whole["choices"][0]["message"]["content"] == expected
            assert whole["choices"][0]["finish_reason"] == "stop"
            assert texts(await stream(http, asked | {"stop": stop} | more)) == {0: expected}


@EITHER
async def test_a_reply_that_is_cut_off_says_length(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    for limits, expected in (
        ({"max_tokens": 5}, "Six l"),
        ({"max_completion_tokens": 3}, "Six"),
        ({"max_tokens": 2, "max_completion_tokens": 4}, "Six "),
    ):
        engine.replies.append("Six letters")
        choice = (await ask(http, asked | limits))["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == (expected, "length"), limits


@EITHER
@pytest.mark.parametrize("top", [None, 0, 1, 5, 20])
async def test_log_probabilities_spell_the_text(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any], top: int | None
) -> None:
    more = {"logprobs": True} | ({} if top is None else {"top_logprobs": top})
    engine.replies += ["Aye, 水手😀."] * 2
    whole = await ask(http, asked | more)
    choice = whole["choices"][0]
    content = choice["logprobs"]["content"]
    assert choice["logprobs"]["refusal"] is None
    assert "".join(entry["token"] for entry in content) == choice["message"]["content"]
    assert len(content) == whole["usage"]["completion_tokens"]
    for entry in content:
        assert set(entry) == {"token", "logprob", "bytes", "top_logprobs"}
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert entry["logprob"] <= 0
        assert len(entry["top_logprobs"]) == (top or 0)
        assert all(set(other) == {"token", "logprob", "bytes"} for other in entry["top_logprobs"])
    chunks = await stream(http, asked | more)
    streamed = [chunk["choices"][0] for chunk in chunks]
    assert [e for c in streamed if c["logprobs"] for e in c["logprobs"]["content"]] == content
    for c in streamed:
        if c["logprobs"]:
            assert "".join(entry["token"] for entry in c["logprobs"]["content"]) == c["delta"]["content"]
    assert streamed[0]["logprobs"] is None
    assert streamed[-1]["logprobs"] is None


@EITHER
async def test_without_log_probabilities_the_field_is_null(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any]
) -> None:
    engine.replies += ["Aye."] * 2
    assert (await ask(http, asked | {"logprobs": False}))["choices"][0]["logprobs"] is None
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in await stream(http, asked))


async def test_log_probabilities_of_a_character_are_those_of_what_is_seen(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("<think>She is back.</think>\nMira: Hello <think>or not</think>you.")
    choice = (await ask(http, MIRA | {"logprobs": True}))["choices"][0]
    assert choice["message"]["content"] == "Hello you."
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == "Hello you."


async def test_a_repeated_reply_that_is_taken_back_leaves_no_log_probabilities(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    said = "The tide is out and the boats are dry."
    history = [*MIRA["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "And now?"}]
    engine.replies += [said, "The tide is coming in."]
    choice = (await ask(http, MIRA | {"messages": history, "logprobs": True}))["choices"][0]
    assert choice["message"]["content"] == "The tide is coming in."
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == "The tide is coming in."


SAMPLING = {
    "temperature": (0.3, "temperature", 0.3),
    "top_p": (0.5, "top_p", 0.5),
    "top_k": (7, "top_k", 7),
    "min_p": (0.1, "min_p", 0.1),
    "presence_penalty": (-2, "presence_penalty", -2),
    "frequency_penalty": (2, "frequency_penalty", 2),
    "repetition_penalty": (1.3, "repetition_penalty", 1.3),
    "seed": (-5, "seed", -5),
    "logit_bias": ({"17": -100, "4": 2.5}, "logit_bias", ((17, -100), (4, 2.5))),
    "min_tokens": (3, "min_tokens", 3),
    "bad_words": (["sea"], "bad_words", ("sea",)),
    "stop_token_ids": ([2, 3], "stop_token_ids", (2, 3)),
    "include_stop_str_in_output": (True, "include_stop", True),
    "response_format": ({"type": "json_object"}, "response_format", {"type": "json_object"}),
}


@EITHER
@pytest.mark.parametrize("name", SAMPLING)
async def test_a_sampling_parameter_reaches_the_engine(
    http: httpx.AsyncClient, engine: ScriptedEngine, asked: dict[str, Any], name: str
) -> None:
    sent, field, received = SAMPLING[name]
    engine.replies.append("{}")
    await ask(http, asked | {name: sent})
    assert getattr(engine.asked[-1].sampling, field) == received


OPTIONS = {
    "logprobs": True,
    "logit_bias": {"5": 1},
    "response_format": {"type": "json_object"},
    "tools": [WEATHER],
    "top_k": 5,
    "min_p": 0.5,
    "repetition_penalty": 1.5,
    "min_tokens": 2,
    "bad_words": ["x"],
    "stop_token_ids": [1],
    "include_stop_str_in_output": True,
}


@pytest.mark.parametrize("name", OPTIONS)
async def test_what_an_engine_can_not_do_is_refused_by_name(
    http: httpx.AsyncClient, engine: ScriptedEngine, name: str
) -> None:
    engine.abilities = frozenset()
    for asked in (BARE, MIRA, BARE | {"stream": True}):
        error = await refuse(http, asked | {name: OPTIONS[name]})
        assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert engine.asked == []


OFF = {
    "logprobs": False,
    "logit_bias": {},
    "response_format": {"type": "text"},
    "top_k": -1,
    "min_p": 0,
    "repetition_penalty": 1.0,
    "min_tokens": 0,
    "bad_words": [],
    "stop_token_ids": [],
    "include_stop_str_in_output": False,
}


async def test_a_parameter_that_is_off_needs_no_ability(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.abilities = frozenset()
    for name, value in OFF.items():
        engine.replies.append("Aye.")
        await ask(http, BARE | {name: value})


@pytest.mark.parametrize(
    "unknown",
    [
        {"service_tier": "auto"},
        {"reasoning_effort": "low"},
        {"metadata": {"a": "b"}},
        {"parallel_tool_calls": False},
        {"verbosity": "low"},
        {"priority": 3, "cache_salt": "x", "session_id": "s"},
        {"modalities": ["text"]},
        {"frobnicate": [{"deep": 1}]},
    ],
    ids="+".join,
)
async def test_a_field_that_changes_nothing_here_is_accepted(
    http: httpx.AsyncClient, engine: ScriptedEngine, unknown: dict[str, Any]
) -> None:
    engine.replies.append("Aye.")
    await ask(http, BARE | unknown)


async def test_every_role_and_every_form_of_content_is_read(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"mood":"x"}'}}
    engine.replies.append("Aye.")
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "system", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]},
        {"role": "user", "content": "Weather?", "name": "ana"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "user", "content": [{"type": "text", "text": "And?"}]},
    ]
    await ask(http, BARE | {"messages": messages})
    told = [(message.role, message.content) for message in engine.asked[-1].messages]
    assert told == [
        ("system", "Be kind."),
        ("system", "Be brief."),
        ("user", "Weather?"),
        ("assistant", ""),
        ("tool", "rain"),
        ("assistant", "I won't."),
        ("tool", "1"),
        ("user", "And?"),
    ]


async def test_a_prompt_over_the_context_is_context_length_exceeded(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    from models.engine import PromptTooLong

    engine.replies += [PromptTooLong("too long")] * 2
    for more in ({}, {"stream": True}):
        assert (await refuse(http, BARE | more))["code"] == "context_length_exceeded"
    long = {"messages": [{"role": "user", "content": "sea " * 1500}]}
    assert (await refuse(http, MIRA | long))["code"] == "context_length_exceeded"


async def test_an_engine_that_refuses_a_value_is_a_400_that_names_it(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    from models.engine import ParameterRefused

    engine.replies += [ParameterRefused("no such token", "logit_bias")] * 2
    for more in ({}, {"stream": True}):
        error = await refuse(http, BARE | more)
        assert (error["param"], error["message"]) == ("logit_bias", "no such token")


async def test_what_was_refused_leaves_the_server_as_it_was(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    for wrong in ({"logprobs": True, "top_logprobs": 21}, {"n": 0}, {"tools": []}, {"messages": []}, {"seed": 2**64}):
        for streamed in (False, True):
            await refuse(http, BARE | wrong | {"stream": streamed})
    engine.replies.append("Aye.")
    assert (await ask(http, BARE))["choices"][0]["message"]["content"] == "Aye."


async def test_a_body_that_is_no_object_is_refused(http: httpx.AsyncClient) -> None:
    for body in ("[]", '"hi"', "5", "null", "[[]]"):
        answer = await http.post(PATH, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error"), body


async def test_errors_have_one_shape_whatever_went_wrong(http: httpx.AsyncClient) -> None:
    plain = {"content-type": "text/plain"}
    for answer, status, code in (
        (await http.get("/v1/nothing"), 404, "not_found"),
        (await http.get(PATH), 405, "method_not_allowed"),
        (await http.post(PATH, content="{}", headers=plain), 415, "unsupported_media_type"),
        (await http.post(PATH, content=b"{", headers={"content-type": "application/json"}), 400, "invalid_json"),
        (await http.post(PATH, content=b"x" * (5 * 2**20)), 413, "too_large"),
        (await http.get("/v1/models", headers={"authorization": "Bearer ml-x"}), 401, "invalid_api_key"),
        (await http.get("/v1/models", headers={"host": "evil.example"}), 403, "forbidden"),
        (await http.post(PATH, json=BARE | {"model": "no"}), 404, "model_not_found"),
        (await http.post(PATH, json=BARE), 503, "engine_unavailable"),
    ):
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        assert error["type"] == {403: "permission_error", 503: "server_error"}.get(status, "invalid_request_error")
        assert answer.headers["x-request-id"]


async def test_the_fingerprint_is_the_same_in_every_answer_and_chunk(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["Aye."] * 3
    prints = {(await ask(http, BARE))["system_fingerprint"], (await ask(http, MIRA))["system_fingerprint"]}
    prints |= {chunk["system_fingerprint"] for chunk in await stream(http, BARE)}
    assert len(prints) == 1


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_trace_comes_along_when_it_is_asked_for(
    http: httpx.AsyncClient, engine: ScriptedEngine, streamed: bool
) -> None:
    engine.replies += ["Aye."] * 2
    body = MIRA | {"moodline": {"trace": True}, "messages": [{"role": "user", "content": "Where is the old quay?"}]}
    if streamed:
        *before, last = await stream(http, body)
        assert not any("moodline" in chunk for chunk in before)
    else:
        last = await ask(http, body)
    trace = last["moodline"]
    assert trace["lore"] == ["The old quay sank in spring."]
    assert trace["turn_id"]
    assert trace["strategy"] == "calibrated"
    assert trace["prompt_tokens"]
    assert set(trace["timings_ms"]) >= {"resolve", "feel", "recall", "remember"}
    plain = await ask(http, body | {"moodline": {}, "store": False})
    assert "moodline" not in plain


async def test_what_a_client_can_not_put_into_the_body_goes_into_headers(
    http: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["Aye."] * 2
    headers = {
        "X-Moodline-User": "%E5%AE%89",
        "X-Moodline-Strategy": "s-e",
        "X-Moodline-Layout": "classic",
        "X-Moodline-Window": "8",
        "X-Moodline-Trace": "true",
    }
    body = {"model": "char/mira", "messages": [{"role": "user", "content": "Hi"}]}
    answer = (await http.post(PATH, json=body, headers=headers)).json()
    assert (answer["moodline"]["strategy"], answer["moodline"]["layout"]) == ("s-e", "classic")
    assert [memory["user"] for memory in (await http.get("/api/memories")).json()["items"]] == ["安"]
    both = body | {"user": "ana", "store": False, "moodline": {"strategy": "c-a"}}
    answer = (await http.post(PATH, json=both, headers=headers)).json()
    assert answer["moodline"]["strategy"] == "c-a", "the body wins"
    for name, value in (("Window", "1"), ("Strategy", "best"), ("Trace", "perhaps"), ("User", "x" * 201)):
        refused = await http.post(PATH, json=body, headers={f"X-Moodline-{name}": value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, f"x-moodline-{name.lower()}")


async def test_a_stage_can_be_tried_for_one_turn(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    stages = [
        {"name": "stranger", "affinity": 0, "persona": "Distant."},
        {"name": "wife", "affinity": 9, "persona": "Dear."},
    ]
    made = {"slug": "lin", "name": "Lin", "persona": "Paints.", "stages": stages}
    (await http.post("/api/characters", json=made)).raise_for_status()
    for stage, seen, unseen in (
        (None, "Distant.", "Dear."),
        ("wife", "Dear.", "Distant."),
        ("", "Paints.", "Distant."),
    ):
        engine.replies.append("Aye.")
        body = MIRA | {"model": "char/lin", "moodline": {"stage": stage}, "store": False}
        await ask(http, body)
        prompt = " ".join(message.content for message in engine.asked[-1].messages)
        assert seen in prompt, stage
        assert unseen not in prompt, stage
    error = await refuse(http, MIRA | {"model": "char/lin", "moodline": {"stage": "ex"}})
    assert "'wife'" in error["message"]


async def test_the_models_are_listed_and_read_by_ids_with_a_slash(official: openai.AsyncOpenAI) -> None:
    listed = {model.id: model async for model in official.models.list()}
    assert {"char/mira", "scripted"} <= set(listed)
    assert all(model.object == "model" and model.owned_by == "moodline" for model in listed.values())
    for name in ("char/mira", "scripted"):
        assert (await official.models.retrieve(name)).id == name
    with pytest.raises(openai.NotFoundError):
        await official.models.retrieve("char/nobody")


async def test_the_official_client_reads_choices_and_log_probabilities(
    official: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    engine.replies += ["One.", "Two."]
    answer = await official.chat.completions.create(**BARE, n=2, logprobs=True, top_logprobs=2)
    assert [choice.message.content for choice in answer.choices] == ["One.", "Two."]
    for choice in answer.choices:
        assert choice.logprobs is not None
        assert choice.logprobs.content is not None
        assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
        assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


async def test_the_official_stream_helper_puts_the_choices_together(
    official: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    engine.replies += ["One, slowly.", "Two, slowly."]
    async with official.chat.completions.stream(
        **BARE, n=2, logprobs=True, top_logprobs=1, stream_options={"include_usage": True}
    ) as events:
        kinds = [event.type async for event in events]
        final = await events.get_final_completion()
    assert kinds.count("content.done") == 2
    assert "logprobs.content.delta" in kinds
    assert [choice.message.content for choice in final.choices] == ["One, slowly.", "Two, slowly."]
    assert final.usage is not None
    assert final.usage.completion_tokens == 24


async def test_the_official_client_parses_an_answer_of_a_schema(
    official: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    from pydantic import BaseModel

    class Feeling(BaseModel):
        mood: str

    for model in ("scripted", "char/mira"):
        engine.replies.append('{"mood": "glad"}')
        answer = await official.chat.completions.parse(**BARE | {"model": model}, response_format=Feeling)
        assert answer.choices[0].message.parsed == Feeling(mood="glad")
        form = engine.asked[-1].sampling.response_format
        assert form is not None
        assert form["json_schema"]["schema"]["required"] == ["mood"]


async def test_the_same_object_twice_is_not_a_repetition(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    said = '{"mood": "a little tired and sad"}'
    history = [*MIRA["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "And now?"}]
    engine.replies.append(said)
    body = MIRA | {"messages": history, "response_format": {"type": "json_object"}}
    assert (await ask(http, body))["choices"][0]["message"]["content"] == said


async def test_the_official_clients_error_classes(official: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        await official.chat.completions.create(**BARE, temperature=3)
    assert (wrong.value.param, wrong.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        await official.chat.completions.create(**BARE | {"model": "gpt-4"})
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.AuthenticationError) as unknown:
        await official.with_options(api_key="ml-wrong").models.list()
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.InternalServerError) as down:
        await official.chat.completions.create(**BARE)
    assert (down.value.status_code, down.value.code) == (503, "engine_unavailable")
    assert down.value.request_id
    assert down.value.response.headers["retry-after"]


async def test_the_official_client_sees_the_headers(official: openai.AsyncOpenAI, engine: ScriptedEngine) -> None:
    engine.replies.append("Aye.")
    raw = await official.chat.completions.with_raw_response.create(**MIRA, extra_headers={"x-request-id": "mine-1"})
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.request_id == "mine-1"
    assert raw.headers["x-session-id"]
    assert raw.headers["x-moodline-turn"]
    assert raw.parse().choices[0].message.content == "Aye."


async def test_an_error_in_mid_stream_is_raised_by_the_official_client(
    official: openai.AsyncOpenAI, engine: ScriptedEngine
) -> None:
    from models.engine import EngineBroke

    for failure, code in ((EngineBroke("gone"), "engine_error"), (RuntimeError("secret"), "server_error")):
        engine.replies.append(("Well", failure))
        chunks = await official.chat.completions.create(**BARE, stream=True)
        said = [(await anext(chunks)).choices[0].delta.content for _ in range(5)]
        assert "".join(filter(None, said)) == "Well"
        with pytest.raises(openai.APIError) as broke:
            await anext(chunks)
        assert broke.value.code == code
        assert "secret" not in broke.value.message


async def test_the_synchronous_client_works_as_well(
    address: str, services: Services, engine: ScriptedEngine, http: httpx.AsyncClient
) -> None:
    import asyncio

    engine.replies += ["Aye.", "Aye aye."]

    def talk() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
            whole = client.chat.completions.create(**BARE)
            chunks = client.chat.completions.create(**MIRA, stream=True)
            return whole.choices[0].message.content, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    assert await asyncio.to_thread(talk) == ("Aye.", "Aye aye.")
