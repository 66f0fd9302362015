"""The model `group/<slug>` for OpenAI clients, which know nothing of groups and send the whole talk each time."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app.check.everything import everything
from app.groups.spoken import Spoken, lines_of
from app.services import Services
from models.scripted import ScriptedEngine

Fixture = Any
Messages = list[dict[str, str]]


@pytest.fixture
def ask(client: httpx.AsyncClient, engine: ScriptedEngine) -> Fixture:
    """Asks the group; the reply is added to the messages, as clients do."""

    async def complete(messages: Messages, *replies: str, headers: Any = None, **more: Any) -> httpx.Response:
        engine.replies += replies
        body = {"model": "group/harbour", "user": "ana", "messages": messages} | more
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert not engine.replies
        if not body.get("stream"):
            messages.append(answer.json()["choices"][0]["message"] | {})
        return answer

    return complete


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def branch_of(client: httpx.AsyncClient, session: str) -> list[tuple[str | None, str]]:
    found = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    return [(message["speaker"], message["text"]) for message in found]


NAMES = {"Mara": "m", "Bob": "b", "小龙": "l"}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Mara: Aye.\n\nBob: No.", [("m", "Aye."), ("b", "No.")]),
        ("**Mara:** Aye.\n**Bob**: No.", [("m", "Aye."), ("b", "No.")]),
        ("小龙：好。\n\nMara: Good, I said to Bob: no.", [("l", "好。"), ("m", "Good, I said to Bob: no.")]),
        ("Mara: One.\n\nTwo.\nMara: three.", [("m", "One.\n\nTwo.\nMara: three.")]),
        ("Well.\nBob: No.", [("?", "Well."), ("b", "No.")]),
        ("Nobody: x", [("?", "Nobody: x")]),
        ("Mara:\n\nBob: No.", [("b", "No.")]),
    ],
)
def test_a_reply_that_comes_back_is_parted_at_its_speakers(text: str, lines: list[tuple[str, str]]) -> None:
    assert lines_of(text, NAMES, "?") == [Spoken("assistant", said, speaker) for speaker, said in lines]


async def test_lines_have_their_speakers_names_and_a_client_that_sends_all_back_finds_its_talk(
    client: httpx.AsyncClient, form: Fixture, ask: Fixture, engine: ScriptedEngine, services: Services
) -> None:
    await form("mara", "bob", order="list")
    messages = [user("Is all well?")]
    first = await ask(messages, "It is.", "Bob the Miller: For whom?")
    assert first.json()["choices"][0]["message"]["content"] == "Mara: It is.\n\nBob the Miller: For whom?"
    assert first.headers["x-moodline-speakers"] == "mara,bob"
    messages.append(user("For me."))
    second = await ask(messages, "Then yes.", "Good.")
    assert second.headers["x-session-id"] == first.headers["x-session-id"]
    session = first.headers["x-session-id"]
    said = [(None, "Is all well?"), ("mara", "It is."), ("bob", "For whom?"), (None, "For me."), ("mara", "Then yes.")]
    assert await branch_of(client, session) == [*said, ("bob", "Good.")]
    assert [m.content for m in engine.asked[-1].messages if m.role == "assistant"] == ["For whom?"]
    again = messages[:3]
    await ask(again, "Perhaps.", "No.")
    assert (await branch_of(client, session))[-2:] == [("mara", "Perhaps."), ("bob", "No.")]
    edited = [*messages[:2], user("For all of us.")]
    await ask(edited, "Aye.", "Aye, aye.")
    assert (await branch_of(client, session))[3:] == [
        (None, "For all of us."),
        ("mara", "Aye."),
        ("bob", "Aye, aye."),
    ]
    assert len((await client.get("/api/sessions")).json()["items"]) == 1
    assert await everything(services.db) == {}


async def test_a_named_session_takes_the_new_message_alone(
    client: httpx.AsyncClient, form: Fixture, ask: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = (await ask([user("Is all well?")], "It is.", "Aye.")).headers["x-session-id"]
    await ask([user("And now?")], "Still.", "Aye.", headers={"x-session-id": session})
    assert len(await branch_of(client, session)) == 6
    other = await client.post("/api/characters", json={"slug": "x", "name": "X", "persona": "x"})
    assert other.status_code == 201
    body = {"model": "char/x", "user": "ana", "messages": [user("Hi.")]}
    assert (await client.post("/v1/chat/completions", json=body, headers={"x-session-id": session})).status_code == 404


async def test_a_talk_that_was_begun_elsewhere_is_taken_over_with_its_speakers(
    client: httpx.AsyncClient, form: Fixture, ask: Fixture, engine: ScriptedEngine, services: Services
) -> None:
    await form("mara", "bob", order="list")
    told = {"role": "assistant", "content": "I came by sea.", "name": "Mara"}
    messages = [user("Hello."), told, {"role": "assistant", "content": "Bob the Miller: By mule."}, user("Both wet?")]
    answer = await ask(messages, "I am.", "Not I.")
    assert await branch_of(client, answer.headers["x-session-id"]) == [
        *[(None, "Hello."), ("mara", "I came by sea."), ("bob", "By mule."), (None, "Both wet?")],
        *[("mara", "I am."), ("bob", "Not I.")],
    ]
    assert [m.content for m in engine.asked[0].messages if m.role == "assistant"] == ["I came by sea."]
    assert await everything(services.db) == {}


async def test_a_stream_has_one_reply_with_every_line_and_counts_all_tokens(
    client: httpx.AsyncClient, form: Fixture, ask: Fixture
) -> None:
    await form("mara", "bob", order="list")
    answer = await ask([user("Is all well?")], "It is.", "Aye.", stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == "Mara: It is.\n\nBob the Miller: Aye."
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]] == ["stop"]
    assert chunks[-1]["usage"]["completion_tokens"] == len("It is.") + len("Aye.")
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_what_is_not_stored_is_heard_by_who_speaks_next_and_leaves_nothing(
    form: Fixture, ask: Fixture, engine: ScriptedEngine, rows: Fixture
) -> None:
    await form("mara", "bob", order="list")
    before = await rows()
    await ask([user("Is all well?")], "It is.", "Aye.", store=False)
    assert engine.asked[-1].messages[-1].content == "Mara: It is."
    assert await rows() == before


async def test_a_line_that_is_begun_is_gone_on_with_by_its_speaker(
    client: httpx.AsyncClient, form: Fixture, ask: Fixture
) -> None:
    await form("mara", "bob", order="list")
    messages = [user("Is all well?"), {"role": "assistant", "content": "Mara: It is.\n\nBob the Miller: Well, I"}]
    answer = await ask(messages, " hope so.")
    assert answer.json()["choices"][0]["message"]["content"] == " hope so."
    session = answer.headers["x-session-id"]
    assert (await branch_of(client, session))[1:] == [("mara", "It is."), ("bob", "Well, I hope so.")]


async def test_a_client_may_name_who_speaks_and_is_answered_where_speakers_are_chosen_by_hand(
    form: Fixture, ask: Fixture, client: httpx.AsyncClient
) -> None:
    await form("mara", "bob", order="manual")
    named = await ask([user("Bob?")], "Aye.", headers={"x-moodline-speakers": "bob"})
    assert named.headers["x-moodline-speakers"] == "bob"
    drawn = await ask([user("Anyone?")], "Aye.", moodline={"trace": True})
    assert drawn.headers["x-moodline-speakers"] in ("mara", "bob")
    assert drawn.json()["moodline"]["turns"][0]["speaker"] == drawn.headers["x-moodline-speakers"]
    await client.put("/api/groups/harbour/members/bob", json={"muted": True}, headers={"If-Match": "*"})
    body = {"model": "group/harbour", "messages": [user("Hi.")]}
    muted = await client.post("/v1/chat/completions", json=body | {"moodline": {"speakers": "bob"}})
    assert (muted.status_code, muted.json()["error"]["code"]) == (422, "muted")
    await client.put("/api/groups/harbour/members/mara", json={"muted": True}, headers={"If-Match": "*"})
    nobody = await client.post("/v1/chat/completions", json=body)
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, "nobody_speaks")


async def test_groups_are_listed_as_models_and_refuse_what_is_for_one_speaker(
    client: httpx.AsyncClient, form: Fixture, as_owner: Fixture
) -> None:
    await form("mara", "bob")
    listed = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
    assert listed[:3] == ["char/bob", "char/mara", "group/harbour"]
    assert (await client.get("/v1/models/group/harbour")).json()["id"] == "group/harbour"
    body = {"model": "group/harbour", "messages": [user("Hi.")]}
    for name, value in (("n", 2), ("response_format", {"type": "json_object"})):
        refused = await client.post("/v1/chat/completions", json=body | {name: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    other = await as_owner("bo")
    for model in ("group/harbour", "char/group/harbour", "group/nobody"):
        answer = await other.post("/v1/chat/completions", json=body | {"model": model})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    alone = {"model": "char/mara", "messages": [user("Hi.")], "moodline": {"speakers": "bob"}}
    assert (await client.post("/v1/chat/completions", json=alone)).status_code == 400
