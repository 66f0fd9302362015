"""The whole turn, with everything real but the language model, on both databases."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from app.reindex import embed_waiting
from app.services import Services
from app.settings import Settings
from app.tables import Base, Bond, Memory, Message, Session, Trace
from models.engine import EngineBroke, EngineUnavailable
from models.scripted import ScriptedEngine

MARA: dict[str, Any] = {
    "slug": "mara",
    "name": "Mara",
    "language": "en",
    "persona": "{{char}} keeps the lighthouse and writes letters to {{user}}.",
    "style": "Short sentences.",
    "greeting": "The lamp is lit, {{user}}.",
    "stages": [
        {"name": "stranger", "affinity": 0, "persona": "Mara is polite to {{user}}."},
        {"name": "friend", "affinity": 2, "persona": "Mara is glad to see {{user}}."},
    ],
    "lore": [
        {"name": "storm", "keys": ["storm"], "content": "The storm of '87 took the pier."},
        {"name": "rule", "content": "Nobody lights the lamp but {{char}}.", "constant": True},
    ],
}
LINES = "\n\n".join(
    f"Sailor: {asked}\nMara: {said}"
    for asked, said in (
        ("Are you ever lonely up here?", "Lonely is a word for towns. I have the lamp, and the lamp has me."),
        ("What do you eat?", "Fish, mostly, and bread when the boat is kind enough to come."),
        ("I lost my brother at sea.", "Then sit. We will not talk until the kettle is done, and not after either."),
    )
)


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    # The scripted engine counts characters, so the context is wide.
    return Settings(home=tmp_path / "home", database_url=database_url, context_tokens=40_000, window=4, _env_file=None)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=40_000)


@pytest.fixture
async def mara(client: httpx.AsyncClient, services: Services) -> None:
    answer = await client.post("/api/characters", json=MARA)
    assert answer.status_code == 201, answer.text
    answer = await client.post(
        "/api/characters/mara/lines?format=script", content=LINES, headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 202, answer.text
    assert await embed_waiting(services) == 3


async def say(
    client: httpx.AsyncClient, messages: list[tuple[str, str]] | str, user: str = "ana", **more: Any
) -> httpx.Response:
    listed = [("user", messages)] if isinstance(messages, str) else messages
    body = {
        "model": "char/mara",
        "user": user,
        "messages": [{"role": role, "content": content} for role, content in listed],
    }
    return await client.post("/v1/chat/completions", json=body | more)


async def trace_of(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, Any]:
    found = await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")
    assert found.status_code == 200, found.text
    trace: dict[str, Any] = found.json()
    return trace


async def rows(services: Services, table: type[Base]) -> int:
    async with services.db.read() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


@pytest.mark.usefixtures("mara")
async def test_a_turn_answers_in_openais_shape_and_can_be_explained(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("The storm is over. Tea?")
    answer = await say(client, "Was there a storm here? I feel so sad and lonely tonight.")
    body = answer.json()
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The storm is over. Tea?", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"] > 0
    trace = await trace_of(client, answer)
    assert max(trace["emotion"], key=trace["emotion"].__getitem__) == "sadness"
    assert {fate["name"]: fate["fired"] for fate in trace["lore"]} == {"storm": True, "rule": True}
    assert len(trace["lines"]) == 3
    assert "Lonely is a word for towns" in trace["lines"][0]["answer"]
    prompt = "\n".join(message["content"] for message in trace["prompt"])
    assert "Lonely is a word for towns" in prompt
    assert "The storm of '87 took the pier." in prompt
    assert "Mara keeps the lighthouse and writes letters to ana." in prompt
    assert "Mara is polite to ana." in prompt
    assert "{{" not in prompt
    assert {"resolve", "feel", "recall", "lore", "render", "first_token", "total"} <= set(trace["timings_ms"])


@pytest.mark.usefixtures("mara")
async def test_what_left_the_window_is_remembered_and_what_is_in_it_is_not_repeated(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    talk: list[tuple[str, str]] = []
    for said in (
        "My cat is called Pickle and she is afraid of thunder.",
        "What do you see from the window?",
        "Do gulls sleep?",
        "I had soup for lunch.",
        "Tell me about the pier.",
        "What was my cat called again?",
    ):
        engine.replies.append(f"I heard you say: {said}")
        answer = await say(client, [*talk, ("user", said)])
        talk += [("user", said), ("assistant", answer.json()["choices"][0]["message"]["content"])]
    trace = await trace_of(client, answer)
    recalled = [memory["text"] for memory in trace["memories"] if memory["kept"]]
    assert any("Pickle" in text for text in recalled)
    shown = [message["content"] for message in trace["prompt"] if message["role"] != "system"]
    assert not any("Pickle" in text for text in shown)
    assert "Pickle" in trace["prompt"][-2]["content"]
    pier = next(memory for memory in trace["memories"] if "pier" in memory["text"])
    assert not pier["kept"]
    assert pier["reason"] == "the prompt shows it already"
    assert [memory["rank"] for memory in trace["memories"]] == list(range(1, len(trace["memories"]) + 1))
    assert "pier" not in trace["prompt"][-2]["content"]


@pytest.mark.usefixtures("mara")
async def test_another_user_never_sees_a_memory(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["Noted.", "I don't know you."]
    await say(client, "My cat is called Pickle.", user="ana")
    trace = await trace_of(client, await say(client, "What is my cat called?", user="bo"))
    assert trace["memories"] == []
    assert "Pickle" not in str(trace)


@pytest.mark.usefixtures("mara")
async def test_a_client_without_session_ids_grows_one_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["One.", "Two."]
    first = await say(client, "Hello there.")
    second = await say(client, [("user", "  Hello\nthere. "), ("assistant", "One."), ("user", "And then?")])
    assert first.headers["x-session-id"] == second.headers["x-session-id"]
    session = (await client.get(f"/api/sessions/{first.headers['x-session-id']}")).json()
    assert [m["text"] for m in session["branch"]] == ["Hello there.", "One.", "And then?", "Two."]
    assert await rows(services, Session) == 1
    assert await rows(services, Message) == 4


@pytest.mark.usefixtures("mara")
async def test_regenerating_and_editing_make_siblings(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies += ["One.", "Another.", "Edited."]
    await say(client, "Hello there.")
    again = await say(client, "Hello there.")
    session = (await client.get(f"/api/sessions/{again.headers['x-session-id']}")).json()
    assert [m["text"] for m in session["branch"]] == ["Hello there.", "Another."]
    assert len(session["branch"][1]["siblings"]) == 1
    await say(client, [("user", "Hello there."), ("assistant", "One."), ("user", "Go on.")])
    assert await rows(services, Session) == 1
    assert await rows(services, Message) == 5


@pytest.mark.usefixtures("mara")
async def test_an_explicit_session_takes_only_the_new_message(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    made = (await client.post("/api/sessions", json={"character": "mara", "user": "ana"})).json()
    assert [m["text"] for m in made["branch"]] == ["The lamp is lit, ana."]
    engine.replies += ["Come in.", "Sit."]
    for said in ("May I come in?", "Where?"):
        body = {"model": "char/mara", "user": "ana", "messages": [{"role": "user", "content": said}]}
        answer = await client.post("/v1/chat/completions", json=body, headers={"x-session-id": made["id"]})
        assert answer.headers["x-session-id"] == made["id"]
    session = (await client.get(f"/api/sessions/{made['id']}")).json()
    assert [m["text"] for m in session["branch"]] == [
        "The lamp is lit, ana.",
        "May I come in?",
        "Come in.",
        "Where?",
        "Sit.",
    ]
    sent = engine.asked[-1].messages
    assert [m.content for m in sent if m.role != "system"][:3] == [
        "The lamp is lit, ana.",
        "May I come in?",
        "Come in.",
    ]
    stranger = {"model": "char/mara", "user": "bo", "messages": [{"role": "user", "content": "Hi"}]}
    refused = await client.post("/v1/chat/completions", json=stranger, headers={"x-session-id": made["id"]})
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "session_not_found"


@pytest.mark.usefixtures("mara")
async def test_store_false_leaves_no_trace_at_all(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append("Our secret.")
    answer = await say(client, "Tell nobody.", store=False)
    assert answer.json()["choices"][0]["message"]["content"] == "Our secret."
    assert "x-moodline-turn" not in answer.headers
    for table in (Session, Message, Memory, Bond, Trace):
        assert await rows(services, table) == 0


@pytest.mark.usefixtures("mara")
async def test_an_engine_that_is_down_is_a_503_and_stores_nothing(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    for stream in (False, True):
        engine.replies.append(EngineUnavailable("The engine is out for lunch."))
        answer = await say(client, "Hello?", stream=stream)
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "The engine is out for lunch."
        assert "retry-after" in answer.headers
    assert await rows(services, Session) == await rows(services, Message) == await rows(services, Trace) == 0


@pytest.mark.usefixtures("mara")
async def test_an_engine_that_breaks_while_speaking_ends_the_stream_and_keeps_what_was_said(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(("Half a thou", EngineBroke("The engine fell over.")))
    answer = await say(client, "Think aloud, please.", stream=True)
    events = [line for line in answer.text.split("\n\n") if line]
    assert events[-1] == "data: [DONE]"
    assert "The engine fell over." in events[-2]
    session = (await client.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    assert [(m["text"], m["outcome"]) for m in session["branch"]] == [
        ("Think aloud, please.", "finished"),
        ("Half a thou", "failed"),
    ]


@pytest.mark.usefixtures("mara")
async def test_a_reply_is_stored_though_the_encoder_fails_and_is_remembered_once_it_works(
    client: httpx.AsyncClient,
    engine: ScriptedEngine,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def failing(_texts: Any) -> Any:
        raise RuntimeError("the encoder is out of memory")

    engine.replies += ["Pickle it is.", "Your cat."]
    with monkeypatch.context() as broken:
        broken.setattr(services.embedding, "passages", failing)
        answer = await say(client, "My cat is called Pickle.")
    assert answer.json()["choices"][0]["message"]["content"] == "Pickle it is."
    async with services.db.read() as db:
        assert len((await db.scalars(select(Memory))).one().vector) == 0
    assert await embed_waiting(services) == 1
    trace = await trace_of(
        client, await say(client, [("user", "Good morning."), ("assistant", "Aye."), ("user", "Who is Pickle?")])
    )
    assert [memory["text"] for memory in trace["memories"]] == ["ana: My cat is called Pickle.\nMara: Pickle it is."]


@pytest.mark.usefixtures("mara")
async def test_a_reply_that_repeats_an_earlier_one_is_taken_back_once(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["The sea is grey this morning.", "The sea is grey this morning.", "Ask me something else."]
    await say(client, "How is the sea?")
    answer = await say(
        client,
        [("user", "How is the sea?"), ("assistant", "The sea is grey this morning."), ("user", "And the sky?")],
    )
    assert answer.json()["choices"][0]["message"]["content"] == "Ask me something else."
    trace = await trace_of(client, answer)
    assert trace["taken_back"] == ["The sea is grey this morning."]
    assert trace["engine"]["attempts"] == 2


@pytest.mark.usefixtures("mara")
async def test_thoughts_and_the_speakers_name_stay_out_of_the_reply(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("<think>He is sad. Careful.</think>\nMara: Sit down, friend.")
    answer = await say(client, "I am sad.")
    assert answer.json()["choices"][0]["message"]["content"] == "Sit down, friend."
    trace = await trace_of(client, answer)
    assert trace["hidden"] == "He is sad. Careful."
    session = (await client.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    assert session["branch"][-1]["text"] == "Sit down, friend."


@pytest.mark.usefixtures("mara")
async def test_a_character_never_speaks_for_the_user(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies.append("Good night.\nana: Good night, Mara!\nMara: Bye.")
    answer = await say(client, "Good night.")
    assert answer.json()["choices"][0]["message"]["content"] == "Good night."


@pytest.mark.usefixtures("mara")
async def test_kindness_moves_the_bond_to_its_next_stage(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    for number in range(6):
        engine.replies.append(f"Reply number {number}.")
        answer = await say(client, f"Thank you so much, I am so happy to talk with you! ({number})")
    trace = await trace_of(client, answer)
    assert trace["bond"]["before"]["stage"] == "friend"
    assert any("Mara is glad to see ana." in message["content"] for message in trace["prompt"])
    bond = (await client.get("/api/bonds/mara?user=ana")).json()
    assert bond["turns"] == 6
    assert bond["stage"] == "friend"
    assert (await client.get("/api/bonds/mara?user=bo")).json()["stage"] == "stranger"


@pytest.mark.usefixtures("mara")
async def test_the_late_layout_keeps_its_prefix_from_turn_to_turn_and_classic_does_not(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    for layout in ("late", "classic"):
        talk: list[tuple[str, str]] = []
        engine.asked.clear()
        for said in ("Is the storm coming?", "I lost my brother at sea."):
            engine.replies.append(f"{layout} answer to {said}")
            answer = await say(client, [*talk, ("user", said)], user=layout, moodline={"layout": layout})
            talk += [("user", said), ("assistant", answer.json()["choices"][0]["message"]["content"])]
        before, after = (asked.messages for asked in engine.asked)
        if layout == "late":
            assert after[0] == before[0]
            assert [m.role for m in after] == ["system", "user", "assistant", "system", "user"]
        else:
            assert after[0] != before[0]
            assert [m.role for m in after] == ["system", "user", "assistant", "user"]


@pytest.mark.usefixtures("mara")
async def test_a_clients_own_system_prompt_is_kept_and_labelled(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("Aye.")
    await say(client, [("system", "Answer in one word."), ("user", "Ready?")])
    first = engine.asked[-1].messages[0].content
    assert "Further notes from the app\nAnswer in one word." in first


@pytest.mark.usefixtures("mara")
async def test_what_a_client_instructs_in_the_talk_or_after_it_stays_late(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append("Aye.")
    talk = [
        ("system", "Answer in one word."),
        ("developer", "Never say why."),
        ("user", "Hello."),
        ("assistant", "Hm."),
        ("system", "It is raining."),
        ("user", "Ready?"),
        ("system", "Be cold."),
    ]
    answer = await say(client, talk)
    asked = engine.asked[-1].messages
    assert [message.role for message in asked] == ["system", "user", "assistant", "system", "user"]
    assert "Further notes from the app\nAnswer in one word.\n\nNever say why." in asked[0].content
    assert "The app's notes on this reply\nIt is raining.\n\nBe cold.\n\nReply to" in asked[3].content
    assert asked[-1].content == "Ready?"
    session = (await client.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    assert [m["text"] for m in session["branch"]] == ["Hello.", "Hm.", "Ready?", "Aye."]


@pytest.mark.usefixtures("mara")
async def test_instructions_that_do_not_fit_are_named_and_nothing_is_cut_from_them(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await say(client, [("user", "Ready?"), ("system", "word " * 6_000)], max_tokens=19_000)
    assert answer.status_code == 400
    assert "the client's own instructions" in answer.json()["error"]["message"]
    assert await rows(services, Message) == 0


@pytest.mark.usefixtures("mara")
async def test_a_prompt_that_can_not_fit_says_so_and_stores_nothing(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await say(client, "word " * 6_000, max_tokens=19_000)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    assert await rows(services, Message) == 0


@pytest.mark.parametrize("model", ["char/mara", "scripted"])
@pytest.mark.usefixtures("mara")
async def test_a_reply_may_have_what_the_prompt_leaves_and_is_told_when_that_is_less(
    client: httpx.AsyncClient, engine: ScriptedEngine, model: str
) -> None:
    engine.replies.extend(["Aye."] * 3)
    most = engine.context_length
    told = []
    for asked in (most // 2 - 10, most // 2 + 10, most):
        answer = await say(client, "Is it late?", model=model, max_tokens=asked)
        allowed = engine.asked[-1].sampling.max_tokens
        prompt = sum(len(message.content) for message in engine.asked[-1].messages)
        told.append(answer.headers.get("x-moodline-max-tokens"))
        assert told[-1] == (str(allowed) if allowed < asked else None)
        assert prompt + allowed < most + 50, "what joins two texts is counted as one token"
    assert told[:2] == [None, None]
    assert told[2] is not None
    assert most - int(told[2]) < prompt + 200, "room for what a template adds, and no more"
    too_much = await say(client, "Is it late?", model=model, max_tokens=5, max_completion_tokens=most + 1)
    assert (too_much.status_code, too_much.json()["error"]["param"]) == (400, "max_completion_tokens")


@pytest.mark.usefixtures("mara")
async def test_the_bare_language_model_passes_through_untouched(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append("Raw.")
    body = {"model": "scripted", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["content"] == "Raw."
    assert [(m.role, m.content) for m in engine.asked[-1].messages] == [("system", "S"), ("user", "U")]
    assert await rows(services, Message) == 0


@pytest.mark.usefixtures("mara")
async def test_turns_are_counted_by_how_they_ended(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    def counts(text: str) -> dict[str, float]:
        return {
            line.split()[0]: float(line.split()[1])
            for line in text.splitlines()
            if line.startswith(("moodline_turns_total", "moodline_step_seconds_count"))
        }

    before = counts((await client.get("/metrics")).text)
    engine.replies += ["Aye.", EngineUnavailable("Out for lunch.")]
    await say(client, "Ready?")
    await say(client, "Still there?")
    after = counts((await client.get("/metrics")).text)
    grown = {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
    assert grown['moodline_turns_total{outcome="finished"}'] == 1
    assert grown['moodline_turns_total{outcome="failed"}'] == 1
    assert grown['moodline_step_seconds_count{step="recall"}'] == 2


async def test_what_reads_differently_every_turn_is_told_late(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    persona = "Keeps the light.\nHer clock says {{time}}, {{user}}."
    (await client.post("/api/characters", json=MARA | {"persona": persona})).raise_for_status()
    engine.replies.append("Aye.")
    await say(client, "Ready?")
    first, *_, late, said = engine.asked[-1].messages
    assert "Keeps the light." in first.content
    assert "Her clock says" not in first.content
    assert "Her clock says" in late.content
    assert late.content.startswith("## Right now")
    assert said.content == "Ready?"


async def test_another_stage_leaves_the_beginning_of_the_prompt_as_it_was(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    stages = [
        {"name": "stranger", "affinity": 0, "persona": "Is wary.", "style": "Whispers."},
        {"name": "friend", "affinity": 2, "persona": "Is glad."},
    ]
    (await client.post("/api/characters", json=MARA | {"stages": stages})).raise_for_status()
    engine.replies += ["Aye.", "Aye."]
    for stage in ("stranger", "friend"):
        await say(client, "Ready?", user=stage, moodline={"stage": stage})
    stranger, friend = (asked.messages for asked in engine.asked)
    assert stranger[0].content.replace("stranger", "friend") == friend[0].content
    assert "Between Mara and stranger now: stranger\nIs wary.\nWhispers." in stranger[-2].content
    assert "Between Mara and friend now: friend\nIs glad." in friend[-2].content
