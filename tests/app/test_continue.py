"""Replies that are begun: a prefill that only the client has, and the stored reply that goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.services import Services
from app.tables import Bond, Memory
from models.scripted import ScriptedEngine

Talk = list[tuple[str, str]]


@pytest.fixture
async def mira(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/characters", json={"slug": "mira", "name": "Mira", "persona": "Mends nets."})
    assert answer.status_code == 201, answer.text


async def say(client: httpx.AsyncClient, *talk: tuple[str, str], **more: Any) -> httpx.Response:
    messages = [{"role": role, "content": content} for role, content in talk]
    return await client.post(
        "/v1/chat/completions", json={"model": "char/mira", "user": "ana", "messages": messages} | more
    )


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


async def branch(client: httpx.AsyncClient, answer: httpx.Response) -> list[str]:
    session = (await client.get(f"/api/sessions/{answer.headers['x-session-id']}")).json()
    return [message["text"] for message in session["branch"]]


async def recallable(services: Services) -> tuple[list[str], int]:
    async with services.db.read() as db:
        memories = list(await db.scalars(select(Memory.text).where(~Memory.retired)))
        return memories, await db.scalar(select(Bond.turns)) or 0


ASKED = ("user", "How is the sea?")


@pytest.mark.usefixtures("mira")
async def test_a_prefill_is_gone_on_with_and_stored_whole(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    engine.replies.append(" grey: Mira sees it.")
    answer = await say(client, ASKED, ("assistant", "Mira: The sea is"))
    assert text_of(answer) == " grey: Mira sees it.", "only what is new, to the byte"
    assert engine.asked[-1].messages[-1].content == "The sea is", "its name is no part of it"
    assert engine.asked[-1].messages[-2].content == "How is the sea?"
    assert await branch(client, answer) == ["How is the sea?", "The sea is grey: Mira sees it."]
    assert await recallable(services) == (["ana: How is the sea?\nMira: The sea is grey: Mira sees it."], 1)


@pytest.mark.usefixtures("mira")
@pytest.mark.parametrize("sent", ["The sea is grey", " The sea\nis grey ", "The sea"], ids=["whole", "wrapped", "part"])
async def test_continuing_makes_the_stored_reply_longer_and_counts_the_exchange_once(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services, sent: str
) -> None:
    engine.replies += ["The sea is grey", " and cold.", "Aye."]
    first = await say(client, ASKED)
    longer = await say(client, ASKED, ("assistant", sent))
    assert text_of(longer) == " and cold."
    assert longer.headers["x-session-id"] == first.headers["x-session-id"]
    session = (await client.get(f"/api/sessions/{longer.headers['x-session-id']}")).json()
    assert [message["text"] for message in session["branch"]] == ["How is the sea?", f"{sent} and cold."]
    assert len(session["branch"][-1]["siblings"]) == 1, "the shorter one is still there"
    assert await recallable(services) == (
        [f"ana: How is the sea?\nMira: {sent.strip()}{sent[len(sent.rstrip()) :]} and cold."],
        1,
    )
    after = await say(client, ASKED, ("assistant", f"{sent} and cold."), ("user", "And the sky?"))
    assert await branch(client, after) == ["How is the sea?", f"{sent} and cold.", "And the sky?", "Aye."]


@pytest.mark.usefixtures("mira")
async def test_a_nudge_after_the_reply_to_continue_is_a_late_note(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["The sea is grey", " and cold."]
    await say(client, ASKED)
    nudge = "[Continue your last message without repeating its original content.]"
    answer = await say(client, ASKED, ("assistant", "The sea is grey"), ("system", nudge))
    assert text_of(answer) == " and cold."
    asked = engine.asked[-1].messages
    assert [message.role for message in asked[-2:]] == ["user", "assistant"]
    assert nudge in "".join(message.content for message in asked if message.role == "system")


@pytest.mark.usefixtures("mira")
async def test_a_continuation_that_begins_the_reply_again_is_taken_back(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    begun = "The sea is grey and cold today."
    engine.replies += [begun, " Bring a coat."]
    assert text_of(await say(client, ASKED, ("assistant", begun))) == " Bring a coat."


@pytest.mark.usefixtures("mira")
async def test_a_continuation_that_says_nothing_leaves_all_as_it_was(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["The sea is grey.", ""]
    first = await say(client, ASKED)
    assert text_of(await say(client, ASKED, ("assistant", "The sea is grey."))) == ""
    assert await branch(client, first) == ["How is the sea?", "The sea is grey."]


@pytest.mark.usefixtures("mira")
async def test_what_is_begun_stands_after_what_tools_answered(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies.append(" calm.")
    call = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "How is the sea?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "low"},
        {"role": "assistant", "content": "It is"},
    ]
    body = {"model": "char/mira", "user": "ana", "messages": messages}
    assert text_of(await client.post("/v1/chat/completions", json=body)) == " calm."
    assert [message.role for message in engine.asked[-1].messages[-4:]] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.usefixtures("mira")
async def test_messages_without_text_say_nothing(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["Grey.", "Aye."]
    await say(client, ASKED, ("assistant", " "))
    answer = await say(client, ("user", ""), ASKED, ("assistant", "Grey."), ("user", "Still?"), ("assistant", ""))
    assert await branch(client, answer) == ["How is the sea?", "Grey.", "Still?", "Aye."]


@pytest.mark.parametrize(
    ("talk", "flags", "param"),
    [
        (
            [ASKED, ("assistant", "The")],
            {"add_generation_prompt": True, "continue_final_message": True},
            "continue_final_message",
        ),
        ([ASKED], {"continue_final_message": True}, "continue_final_message"),
        ([ASKED], {"add_generation_prompt": False}, "add_generation_prompt"),
        ([ASKED, ("assistant", "The")], {"add_generation_prompt": True}, "add_generation_prompt"),
        ([ASKED, ("assistant", "The")], {"continue_final_message": False}, "continue_final_message"),
        ([("assistant", "Mind the ropes.")], {}, "messages"),
        ([("system", "Be brief.")], {}, "messages"),
        ([("user", " "), ("assistant", "The")], {}, "messages"),
    ],
)
@pytest.mark.usefixtures("mira")
async def test_what_can_not_be_gone_on_with_is_refused_by_name(
    client: httpx.AsyncClient, talk: Talk, flags: dict[str, bool], param: str
) -> None:
    answer = await say(client, *talk, **flags)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("flags", "last"),
    [
        ({}, "The sea is"),
        ({"add_generation_prompt": False, "continue_final_message": True}, "The sea is"),
        ({"add_generation_prompt": True}, ""),
        ({"continue_final_message": False}, ""),
    ],
)
async def test_the_bare_language_model_goes_on_or_begins_anew_as_the_flags_say(
    client: httpx.AsyncClient, engine: ScriptedEngine, flags: dict[str, bool], last: str
) -> None:
    engine.replies.append(" grey.")
    assert text_of(await say(client, ASKED, ("assistant", "The sea is"), model="scripted", **flags)) == " grey."
    assert engine.asked[-1].messages[-1].content == last
