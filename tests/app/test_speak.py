"""What is done to a reply while it streams: thoughts hidden, repetition taken back, loops and other speakers ended."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.services import Services
from models.scripted import THOUGHT, ScriptedEngine
from tests.never_twice import NEVER_TWICE

SEA = "The sea is grey this morning, and the gulls are late."
MARA = {"slug": "mara", "name": "Mara", "language": "en", "persona": "Mara keeps the lighthouse."}


@pytest.fixture(autouse=True)
async def mara(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/characters", json=MARA)).status_code == 201


async def say(client: httpx.AsyncClient, *talk: str, **more: Any) -> httpx.Response:
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(talk)]
    answer = await client.post(
        "/v1/chat/completions", json={"model": "char/mara", "user": "ana", "messages": messages} | more
    )
    assert answer.status_code == 200, answer.text
    return answer


def spoken(answer: httpx.Response) -> tuple[str, str]:
    choice = answer.json()["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


async def trace_of(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    trace: dict[str, Any] = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    return trace


async def counted(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


async def test_a_reply_that_nearly_repeats_an_earlier_one_is_tried_once_more_and_warmer(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["Oh, the sea is grey this morning, and gulls are late!", "Ask the gulls."]
    before = await counted(client, 'moodline_resamples_total{why="echo"}')
    answer = await say(client, "How is the sea?", SEA, "And now?", seed=5, temperature=0.5)
    assert spoken(answer) == ("Ask the gulls.", "stop")
    first, second = (asked.sampling for asked in engine.asked)
    assert (second.seed, second.temperature) == (first.seed + 1, pytest.approx(0.8))
    trace = await trace_of(client, answer)
    assert trace["taken_back"] == ["Oh, the sea is grey this morning, and gulls are late!"]
    assert (trace["engine"]["resampled"], trace["engine"]["attempts"]) == ("echo", 2)
    assert await counted(client, 'moodline_resamples_total{why="echo"}') == before + 1


async def test_a_second_attempt_that_repeats_too_is_let_through(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += [SEA, SEA]
    assert spoken(await say(client, "How is the sea?", SEA, "And now?")) == (SEA, "stop")


@pytest.mark.parametrize("sentence", ["I will wait for you here. ", "我会一直在这里等你。"])
async def test_a_reply_that_goes_round_in_circles_ends_with_a_sentence(
    client: httpx.AsyncClient, engine: ScriptedEngine, sentence: str
) -> None:
    engine.replies.append(f"Aye. {sentence * 60}")
    answer = await say(client, "Will you wait?", max_tokens=2000)
    text, reason = spoken(answer)
    assert (text.strip(), reason) == (f"Aye. {sentence * 2}".strip(), "stop")
    assert answer.json()["usage"]["completion_tokens"] < 300
    assert (await trace_of(client, answer))["engine"]["cut"] == "loop"
    assert await counted(client, 'moodline_replies_cut_total{why="loop"}') > 0


@pytest.mark.parametrize("label", ["ana:", "**ana**：", "[User]:", "用户："])
async def test_who_else_begins_to_speak_ends_the_reply(
    client: httpx.AsyncClient, engine: ScriptedEngine, label: str
) -> None:
    engine.replies.append(f"Mara: I told ana: sleep.\n\n{label} Good night!\nMara: Bye.")
    answer = await say(client, "Good night.", logprobs=True)
    assert spoken(answer) == ("I told ana: sleep.", "stop")
    told = answer.json()["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in told) == "I told ana: sleep."
    assert (await trace_of(client, answer))["engine"]["cut"] == "speaker"


async def test_a_reply_that_is_only_anothers_words_is_tried_again(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["ana: Good night!", "Sleep well."]
    answer = await say(client, "Good night.")
    assert spoken(answer) == ("Sleep well.", "stop")
    assert (await trace_of(client, answer))["engine"]["resampled"] == "speaker"


async def test_a_reply_that_ends_with_anothers_name_ends_before_it(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("Good night.\nana:")
    answer = await say(client, "Good night.")
    assert spoken(answer) == ("Good night.", "stop")
    assert (await trace_of(client, answer))["engine"]["cut"] == "speaker"


async def test_a_name_in_a_thought_ends_nothing(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies.append("<think>So far:\nana: Good night.\nI should be kind.</think>Sleep well.")
    assert spoken(await say(client, "Good night."))[0] == "Sleep well."


async def test_thoughts_that_a_server_tells_apart_are_kept_in_the_trace(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.opened = "<think>"
    engine.replies.append(f"{THOUGHT}He is sad.{THOUGHT}Sit down.")
    answer = await say(client, "I am sad.", stream=True)
    assert "He is sad" not in answer.text
    trace = await trace_of(client, answer)
    assert (trace["reply"], trace["hidden"]) == ("Sit down.", "He is sad.")


async def test_a_thought_that_the_template_began_is_hidden(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.opened = "<think>"
    engine.replies.append("He is sad.\n</think>\n\nSit down.")
    assert spoken(await say(client, "I am sad."))[0] == "Sit down."


async def test_a_reply_of_thoughts_alone_is_tried_again(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["<think>He is sad.</think>", "Sit down."]
    answer = await say(client, "I am sad.")
    assert spoken(answer) == ("Sit down.", "stop")
    assert (await trace_of(client, answer))["engine"]["resampled"] == "thoughts"


async def test_thoughts_up_to_the_limit_are_an_empty_answer_and_no_message(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("<think>" + "He is sad. What can I say to him? " * 3)
    answer = await say(client, "I am sad.", max_tokens=40)
    assert spoken(answer) == ("", "length")
    assert len(engine.asked) == 1
    sessions = (await client.get("/api/sessions", params={"user": "ana"})).json()
    assert sessions["items"] == []
    turn = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}")).json()
    assert (turn["text"], turn["finish_reason"]) == ("", "length")


async def test_thoughts_that_take_all_of_a_reply_that_nobody_limited_are_given_more_room(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    limit = services.settings.reply_tokens
    doubts = NEVER_TWICE[: 2 * limit]
    engine.replies += [f"<think>{doubts}</think>", f"<think>{doubts}</think>Sit down."]
    answer = await say(client, "I am sad.")
    assert spoken(answer) == ("Sit down.", "stop")
    assert (await trace_of(client, answer))["engine"]["resampled"] == "thoughts"
    assert [asked.sampling.max_tokens for asked in engine.asked] == [limit, 4 * limit]


async def test_a_thought_without_end_is_broken_off(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["<think>" + "Wait, let me think about it again. " * 100, "Sit down."]
    assert spoken(await say(client, "I am sad.", max_tokens=4000)) == ("Sit down.", "stop")


async def test_thoughts_that_a_client_sends_back_are_no_history(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["Sit down.", "There."]
    first = await say(client, "I am sad.")
    again = await say(client, "I am sad.", "<think>He is sad.</think>\nSit down.", "Thanks.")
    assert again.headers["x-session-id"] == first.headers["x-session-id"]
    assert all("<think>" not in message.content for message in engine.asked[-1].messages)


async def test_an_object_that_is_asked_for_may_hold_anyones_name(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    text = '{\n"user": "ana",\n"list": [' + '"wait here for me",\n' * 9 + '"x"]}'
    engine.replies.append(text)
    assert spoken(await say(client, "As JSON.", response_format={"type": "json_object"}))[0] == text


async def test_the_bare_language_models_thoughts_are_handed_on_apart(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += [f"{THOUGHT}Hm.{THOUGHT}Aye."] * 2
    body = {"model": "scripted", "messages": [{"role": "user", "content": "Hm?"}]}
    message = (await client.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Aye.", "Hm.")
    streamed = (await client.post("/v1/chat/completions", json=body | {"stream": True})).text
    assert '"delta":{"reasoning_content":"H"}' in streamed.replace(" ", "")
