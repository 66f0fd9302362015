"""Conversations as files: what goes out comes back, SillyTavern's come in, and hostile ones leave nothing behind."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select

from app.reindex import embed_waiting
from app.services import Services
from app.tables import Message

Fixture = Any
GREETING = "Mind the ropes, ana."


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201


@pytest.fixture
async def grown(client: httpx.AsyncClient, talk: Fixture) -> str:
    """A session with swipes, an edit and its copies, a deleted branch, a note."""
    session = str((await client.post("/api/sessions", json={"character": "mira", "user": "ana"})).json()["id"])
    everything, path = {"If-Match": "*"}, f"/api/sessions/{session}"
    await talk("mira", "I love it here!", "Aye.", session=session)
    history = [{"role": "assistant", "content": GREETING}, {"role": "user", "content": "I love it here!"}]
    await talk("mira", "", "Aye, aye.", session=session, messages=history)
    await talk("mira", "My cat is called Pickle. 😀", "好名字。", session=session)
    await talk("mira", "I am sad.", "Sit.", session=session)
    branch = (await client.get(path)).json()["branch"]
    await client.patch(f"{path}/messages/{branch[3]['id']}", json={"text": "My dog is Olive."}, headers=everything)
    await talk("mira", "And now?", "Tea.", session=session)
    last = (await client.get(path)).json()["branch"][-1]["id"]
    await client.delete(f"{path}/messages/{last}", headers=everything)
    await client.patch(path, json={"note": "It is night.", "note_depth": 2, "pinned": True}, headers=everything)
    return session


async def bring(client: httpx.AsyncClient, content: str | bytes, **query: str) -> httpx.Response:
    headers = {"content-type": "application/jsonl"}
    return await client.post("/api/sessions/import", content=content, params=query, headers=headers)


def renamed(exported: str) -> list[Any]:
    """The lines of a file, with ids by their place."""
    lines = [json.loads(line) for line in exported.splitlines()]
    places: dict[str | None, Any] = {line["id"]: n for n, line in enumerate(lines[1:])}
    for line in lines:
        for field in ("id", "parent", "origin", "leaf"):
            if field in line:
                line[field] = places.get(line[field], line[field])
    return lines


async def standing(client: httpx.AsyncClient, user: str = "ana") -> tuple[Any, set[tuple[str, bool]]]:
    found = []
    for retired in ("false", "true"):
        query = {"limit": "200", "user": user, "retired": retired}
        found += (await client.get("/api/memories", params=query)).json()["items"]
    bond = (await client.get("/api/bonds/mira", params={"user": user})).json()
    return bond, {(memory["text"], memory["retired"]) for memory in found}


async def test_a_conversation_comes_back_from_its_file_with_every_branch(
    client: httpx.AsyncClient, services: Services, grown: str
) -> None:
    await embed_waiting(services)
    before = await standing(client)
    file = await client.get(f"/api/sessions/{grown}/export")
    assert file.headers["content-type"].startswith("application/jsonl")
    assert f'filename="mira-{grown}.jsonl"' in file.headers["content-disposition"]
    await client.delete(f"/api/sessions/{grown}", headers={"If-Match": "*"})
    assert (await standing(client))[0]["turns"] == 0
    brought = await bring(client, file.text)
    assert brought.status_code == 201, brought.text
    session = brought.json()
    assert brought.headers["location"] == f"/api/sessions/{session['id']}"
    assert (session["note"], session["note_depth"], session["pinned"], session["left_out"]) == (
        "It is night.",
        2,
        True,
        0,
    )
    again = await client.get(f"/api/sessions/{session['id']}/export")
    assert renamed(again.text) == renamed(file.text)
    assert not {line["id"] for line in map(json.loads, again.text.splitlines()[1:])} & set(file.text.split('"'))
    assert (await standing(client))[0] == before[0], "what was felt is in the file"
    await embed_waiting(services)
    bond, remembered = await standing(client)
    assert bond == before[0]
    assert {text for text, retired in remembered if not retired} == {text for text, gone in before[1] if not gone}
    async with services.db.read() as db:
        for row in await db.scalars(select(Message).where(Message.session_id == session["id"])):
            parent = await db.get(Message, row.parent_id) if row.parent_id else None
            assert row.depth == (parent.depth + 1 if parent else 0)


async def test_what_people_made_of_memories_goes_with_the_conversation_and_comes_back_with_it(
    client: httpx.AsyncClient, services: Services, grown: str
) -> None:
    plain = {
        form: (await client.get(f"/api/sessions/{grown}/export?format={form}")).text
        for form in ("jsonl", "sillytavern")
    }
    assert '"memory"' not in plain["jsonl"], "what came of itself comes of itself again"
    await embed_waiting(services)
    ids = {memory["text"]: memory["id"] for memory in (await client.get("/api/memories?user=ana")).json()["items"]}
    dog, sad = ids["ana: My dog is Olive.\nMira: 好名字。"], ids["ana: I am sad.\nMira: Sit."]
    love = ids["ana: I love it here!\nMira: Aye, aye."]
    await client.patch(f"/api/memories/{dog}", json={"text": "Ana has a dog. 它叫Olive。", "pinned": True})
    await client.patch(f"/api/memories/{sad}", json={"importance": 0.25})
    await client.delete(f"/api/memories/{love}")
    told = (await client.get(f"/api/sessions/{grown}/export")).text
    marks = {line["text"]: line["memory"] for line in map(json.loads, told.splitlines()[1:]) if "memory" in line}
    assert marks == {
        "好名字。": {"text": "Ana has a dog. 它叫Olive。", "importance": None, "pinned": True, "forgotten": False},
        "Sit.": {"text": None, "importance": 0.25, "pinned": False, "forgotten": False},
        "Aye, aye.": {"text": None, "importance": None, "pinned": False, "forgotten": True},
    }
    assert (await client.get(f"/api/sessions/{grown}/export?format=sillytavern")).text == plain["sillytavern"]
    await client.delete(f"/api/sessions/{grown}", headers={"If-Match": "*"})
    session = (await bring(client, told)).json()["id"]
    again = await client.get(f"/api/sessions/{session}/export")
    assert renamed(again.text) == renamed(told)
    await embed_waiting(services)
    assert renamed((await client.get(f"/api/sessions/{session}/export")).text) == renamed(told)
    there = {memory["text"]: memory for memory in (await client.get("/api/memories?user=ana")).json()["items"]}
    assert there["Ana has a dog. 它叫Olive。"]["pinned"]
    assert there["ana: I am sad.\nMira: Sit."]["importance"] == 0.25
    assert not [text for text in there if "Aye, aye." in text or "My dog is" in text]
    shown = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    assert [row["text"] for row in shown if row["pinned"]] == ["My dog is Olive.", "好名字。"]


async def test_a_file_goes_to_another_user_or_owner_and_touches_nothing_of_whom_it_is_from(
    client: httpx.AsyncClient, services: Services, grown: str, talk: Fixture
) -> None:
    fork = (await client.post(f"/api/sessions/{grown}/fork", json={})).json()["id"]
    file = (await client.get(f"/api/sessions/{fork}/export")).text
    before = await standing(client)
    brought = (await bring(client, file, user="bo")).json()
    assert brought["user"] == "bo"
    assert all(row["origin_id"] is None for row in brought["branch"]), "originals of another session are nobody's here"
    assert await standing(client) == before
    await embed_waiting(services)
    assert (await standing(client, "bo"))[0]["affinity"] == pytest.approx(
        (await standing(client))[0]["affinity"], abs=0.01
    )
    await client.delete(f"/api/sessions/{brought['id']}", headers={"If-Match": "*"})
    assert (await standing(client))[1] == before[1]


SILLYTAVERN = "\n".join(
    json.dumps(line, ensure_ascii=False)
    for line in (
        {
            "user_name": "Ana",
            "character_name": "Mira",
            "create_date": "2024-1-5 @14h 2m 3s 45ms",
            "chat_metadata": {"note_prompt": "It is night.", "note_depth": 1, "tainted": True},
        },
        {
            "name": "Mira",
            "is_user": False,
            "is_system": False,
            "send_date": "January 5, 2024 2:02pm",
            "mes": "Hello, {{user}}.",
            "extra": {},
            "swipes": ["Go away.", "Hello, Ana."],
            "swipe_id": 1,
            "swipe_info": [{}, {}],
        },
        {"name": "Ana", "is_user": True, "send_date": "2024-01-05T14:03:00.000Z", "mes": "My cat is called Pickle."},
        {"name": "Note", "is_system": True, "is_user": False, "mes": "Hidden."},
        {"name": "Mira", "is_user": False, "send_date": 1704463500000, "mes": "Noted.", "swipe_id": 7, "swipes": []},
        {"name": "Sam", "is_user": False, "mes": "猫？", "send_date": "yesterday"},
        {"name": "Ana", "is_user": True, "mes": ""},
    )
)


async def test_sillytaverns_chats_come_in_with_their_swipes_and_their_note(
    client: httpx.AsyncClient, services: Services
) -> None:
    brought = await bring(
        client, "\ufeff" + SILLYTAVERN.replace("\n", "\r\n") + "\r\n\r\n", character="mira", user="ana"
    )
    assert brought.status_code == 201, brought.text
    session = brought.json()
    texts = ["Hello, Ana.", "My cat is called Pickle.", "Noted.", "猫？"]
    assert [row["text"] for row in session["branch"]] == texts
    assert [row["name"] for row in session["branch"]] == [None, None, None, "Sam"]
    assert [row["created_at"][:16] for row in session["branch"]] == [
        "2024-01-05T14:02",
        "2024-01-05T14:03",
        "2024-01-05T14:05",
        "2024-01-05T14:05",
    ]
    assert len(session["branch"][0]["siblings"]) == 1
    assert (session["note"], session["note_depth"], session["left_out"]) == ("It is night.", 1, 2)
    assert (session["title"], session["created_at"][:19]) == ("My cat is called Pickle.", "2024-01-05T14:02:03")
    await embed_waiting(services)
    bond, remembered = await standing(client)
    assert bond["turns"] == 1
    assert remembered == {("ana: My cat is called Pickle.\nMira: Noted.", False)}
    exported = await client.get(f"/api/sessions/{session['id']}/export?format=sillytavern")
    head, *lines = map(json.loads, exported.text.splitlines())
    assert (head["user_name"], head["character_name"]) == ("ana", "Mira")
    assert head["chat_metadata"]["note_prompt"] == "It is night."
    assert [(line["mes"], line["is_user"], line["name"]) for line in lines] == [
        ("Hello, Ana.", False, "Mira"),
        (texts[1], True, "ana"),
        ("Noted.", False, "Mira"),
        ("猫？", False, "Sam"),
    ]
    assert (lines[0]["swipes"], lines[0]["swipe_id"]) == (["Go away.", "Hello, Ana."], 1)
    again = (await bring(client, exported.text, character="mira", user="cy")).json()
    assert [(row["text"], row["name"]) for row in again["branch"]] == list(
        zip(texts, [None, None, None, "Sam"], strict=True)
    )


def native(*lines: dict[str, Any], **head: Any) -> str:
    first = {"moodline": "session", "version": 1, "character": "mira"} | head
    return "\n".join(json.dumps(line) for line in (first, *lines))


HI = {"id": "a", "role": "user", "text": "Hi."}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "does not begin with a line of JSON"),
        ("\n{}", "does not begin with a line of JSON"),
        ("nonsense", "Line 1: "),
        ("{}", "Line 1: this is neither an export of ours nor a SillyTavern chat"),
        ('{"title": "Notes"}', "Line 1: this is neither"),
        (b"\xff\xfe", "not UTF-8 (byte 0)"),
        ("[" * 100_000, "Line 1: "),
        (native(version=2), "Line 1: version"),
        (native(note_depth=-1), "Line 1: note_depth"),
        (native(HI, leaf="b"), "Line 1: the leaf 'b'"),
        (native(HI, {**HI}), "Line 3: there is a message 'a' already"),
        (native({**HI, "parent": "b"}, {**HI, "id": "b", "parent": "a"}), "Line 2: what it hangs below, 'b'"),
        (native({**HI, "parent": "a"}), "Line 2: what it hangs below, 'a'"),
        (native({**HI, "role": "system"}), "Line 2: role"),
        (native({**HI, "text": " "}), "Line 2: the message is empty"),
        (native({**HI, "text": "x" * 32_001}), "Line 2: the message has 32,001 characters; the limit is 32,000"),
        (native({**HI, "text": 7}), "Line 2: text"),
        (native({**HI, "emotion": [0.5] * 7}), "Line 2: emotion"),
        (native({**HI, "created_at": "soon"}), "Line 2: created_at"),
        (native({**HI, "created_at": "0001-01-01T00:00:00+14:00"}), "Line 2: created_at"),
        (native(created_at="9999-12-31T23:59:59-14:00"), "Line 1: created_at"),
        (native(HI) + "\n{", "Line 3: "),
        (native(HI) + '\n{"id": "b", "role": "user", "text": "\\ud800"}', "Line 3: "),
        ('{"mes": "Hi."}\n{"name": "Ana"}', "Line 2: there is no `mes`"),
        (json.dumps({"mes": "x", "swipes": ["y"] * 201}), "Line 1: swipes"),
        (json.dumps({"mes": "x" * 32_001}), "Line 1: the message has 32,001"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_file_that_can_not_be_read_says_where_and_leaves_nothing_behind(
    client: httpx.AsyncClient, rows: Fixture, content: str | bytes, told: str
) -> None:
    before = await rows()
    answer = await bring(client, content, character="mira")
    assert answer.status_code == 422, answer.text
    assert answer.json()["title"] == "unreadable_file"
    assert told in answer.json()["detail"]
    assert await rows() == before


async def test_an_upload_is_a_form_or_a_body_of_bounded_size_for_a_character_of_ones_own(
    serve: Fixture, client: httpx.AsyncClient, rows: Fixture
) -> None:
    file = {"file": ("chat.jsonl", native(HI), "application/octet-stream")}
    assert (await client.post("/api/sessions/import", files=file)).status_code == 201
    before = await rows()
    assert (await client.post("/api/sessions/import", files={"other": b"x"})).status_code == 400
    small = await serve(max_upload_bytes=100)
    assert (await bring(small, native(HI, HI, HI))).status_code == 413
    assert (await bring(client, native(HI, character="nobody"))).status_code == 404
    unnamed = await bring(client, SILLYTAVERN)
    assert (unnamed.status_code, unnamed.json()["param"]) == (422, "character")
    assert (await client.get(f"/api/sessions/{'0' * 32}/export")).status_code == 404
    assert await rows() == before


async def test_what_a_file_claims_of_times_and_feelings_is_bounded_and_its_leaf_need_not_be_one(
    client: httpx.AsyncClient, services: Services
) -> None:
    reply = {"id": "b", "parent": "a", "role": "assistant", "text": "Aye.\x00"}
    felt = {**HI, "emotion": [1e30, -5.0, 0, 0, 0, 0, 0, 0], "created_at": "2999-01-01T00:00:00"}
    brought = await bring(client, native(felt, reply, leaf="a"))
    assert brought.status_code == 201, brought.text
    session = brought.json()
    assert [row["text"] for row in session["branch"]] == ["Hi.", "Aye.\ufffd"]
    assert session["branch"][0]["created_at"] < "2900"
    async with services.db.read() as db:
        stored = await db.get_one(Message, session["branch"][0]["id"])
    assert stored.emotion is not None
    assert np.array_equal(stored.emotion, np.eye(8, dtype=np.float32)[0])


async def test_the_address_for_files_tells_its_own_methods_and_not_those_of_a_session(
    client: httpx.AsyncClient,
) -> None:
    for path, methods in (("import", "OPTIONS, POST"), ("0" * 32, "DELETE, GET, HEAD, OPTIONS, PATCH")):
        answer = await client.options(f"/api/sessions/{path}")
        assert (answer.status_code, answer.headers["allow"]) == (204, methods)
