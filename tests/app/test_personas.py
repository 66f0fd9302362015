from __future__ import annotations

from typing import Any

import httpx
import pytest

from models.scripted import ScriptedEngine

Fixture = Any
ANA = {"name": "Ana", "text": "{{user}} pilots the ferry and mistrusts {{char}}."}


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    for slug in ("mira", "lin"):
        assert (await client.post("/api/characters", json=mira | {"slug": slug})).status_code == 201


async def add(client: httpx.AsyncClient, user: str = "u1", **fields: Any) -> dict[str, Any]:
    answer = await client.post("/api/personas", params={"user": user}, json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def told(talk: Fixture, engine: ScriptedEngine, slug: str = "mira", user: str = "u1", **more: Any) -> str:
    """What the character is told before the talk."""
    await talk(slug, "Hello.", user=user, **more)
    return engine.asked[-1].messages[0].content


async def test_the_default_persona_is_who_the_character_talks_with(
    client: httpx.AsyncClient, talk: Fixture, engine: ScriptedEngine
) -> None:
    assert "talking with u1" in await told(talk, engine)
    await add(client, **ANA)
    prompt = await told(talk, engine)
    assert "talking with Ana" in prompt
    assert "## Who Ana is\nAna pilots the ferry and mistrusts Mira." in prompt
    assert "knows Ana." in prompt, "macros of the card stand for the same"
    assert "u1" not in prompt
    assert "talking with u2" in await told(talk, engine, user="u2")
    begun = await client.post("/api/sessions", json={"character": "mira", "user": "u1"})
    assert begun.json()["branch"][0]["text"] == "Mind the ropes, Ana."
    memories = (await client.get("/api/memories", params={"user": "u1"})).json()["items"]
    assert memories[0]["text"].startswith("Ana: Hello.")


async def test_one_for_a_character_goes_before_the_default_and_one_for_the_turn_before_both(
    client: httpx.AsyncClient, talk: Fixture, engine: ScriptedEngine
) -> None:
    await add(client, **ANA)
    await add(client, name="船长", character="lin")
    await add(client, name="Nemo", default=False)
    assert "talking with Ana" in await told(talk, engine)
    assert "talking with 船长" in await told(talk, engine, "lin")
    assert "talking with Nemo" in await told(talk, engine, "lin", moodline={"persona": "Nemo"})
    assert "talking with u1" in await told(talk, engine, "lin", moodline={"persona": ""})
    body = {"model": "char/mira", "user": "u1", "messages": [{"role": "user", "content": "Hi."}]}
    wrong = await client.post("/v1/chat/completions", json=body | {"moodline": {"persona": "船长"}})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "moodline.persona")
    assert "'Ana', 'Nemo'" in wrong.json()["error"]["message"]


async def test_a_new_default_takes_the_place_of_the_old_one(client: httpx.AsyncClient) -> None:
    first = await add(client, **ANA)
    only = await add(client, name="For Lin", character="lin")
    second = await add(client, name="Nemo")
    other = await add(client, "u2", **ANA)
    page = (await client.get("/api/personas?limit=2")).json()
    rest = (await client.get("/api/personas", params={"after": page["next"]})).json()
    assert [one["name"] for one in page["items"] + rest["items"]] == ["Ana", "Ana", "For Lin", "Nemo"]
    found = {one["id"]: one for one in (await client.get("/api/personas?user=u1")).json()["items"]}
    assert {key: one["default"] for key, one in found.items()} == {
        first["id"]: False,
        only["id"]: True,
        second["id"]: True,
    }
    assert found[first["id"]]["revision"] == 2
    assert (await client.get(f"/api/personas/{other['id']}")).json()["default"]


async def test_a_persona_is_changed_by_who_has_read_it_and_deleted(client: httpx.AsyncClient) -> None:
    made = await add(client, **ANA)
    path = f"/api/personas/{made['id']}"
    assert (await client.put(path, json=ANA)).status_code == 428
    changed = await client.put(path, json=ANA | {"text": "Sells eels."}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["text"], changed.headers["etag"]) == (200, "Sells eels.", '"2"')
    assert (await client.put(path, json=ANA, headers={"If-Match": '"1"'})).status_code == 412
    assert (await client.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.get("/api/personas?user=u1")).json()["items"] == []


async def test_a_name_that_is_taken_and_a_character_that_is_not_there_are_refused(
    client: httpx.AsyncClient, rows: Fixture
) -> None:
    await add(client, **ANA)
    before = await rows()
    again = await client.post("/api/personas?user=u1", json=ANA)
    assert (again.status_code, again.json()["title"]) == (409, "name_taken")
    nobody = await client.post("/api/personas?user=u1", json={"name": "X", "character": "nobody"})
    assert nobody.status_code == 404
    assert await rows() == before


async def test_a_user_of_whom_only_a_persona_is_kept_is_known_exported_and_forgotten(
    client: httpx.AsyncClient,
) -> None:
    await add(client, **ANA)
    assert [user["user"] for user in (await client.get("/api/users")).json()["items"]] == ["u1"]
    assert '"kind": "persona"' in (await client.get("/api/users/export?user=u1")).text
    assert (await client.delete("/api/users?user=u1")).json()["removed"] == {"personas": 1}
    assert (await client.get("/api/personas?user=u1")).json()["items"] == []


async def test_what_is_edited_exported_and_drafted_calls_the_two_by_the_names_they_talk_under(
    client: httpx.AsyncClient, mira: dict[str, Any], talk: Fixture, engine: ScriptedEngine
) -> None:
    await client.post("/api/characters", json=mira | {"slug": "mimi", "nickname": "Mimi"})
    await add(client, **ANA)
    await add(client, name="Nemo", default=False)
    session = (await talk("mimi", "Hello.", user="u1")).headers["x-session-id"]
    found = await client.get(f"/api/sessions/{session}")
    said = next(message for message in found.json()["branch"] if message["role"] == "user")
    place, etag = f"/api/sessions/{session}", {"If-Match": found.headers["etag"]}
    edit = {"text": "Good evening.", "following": "keep"}
    edited = await client.patch(f"{place}/messages/{said['id']}", json=edit, headers=etag)
    assert edited.status_code in (200, 201), edited.text
    memories = (await client.get("/api/memories", params={"user": "u1", "character": "mimi"})).json()["items"]
    assert "Ana: Good evening.\nMimi: Aye." in [memory["text"] for memory in memories]
    chat = (await client.get(f"{place}/export?format=sillytavern")).text
    assert '"user_name":"Ana"' in chat.replace(": ", ":")
    assert '"character_name":"Mimi"' in chat.replace(": ", ":")
    engine.replies.extend(["Is it late?", "Is it early?"])
    for wish, name in (({}, "Ana"), ({"persona": "Nemo"}, "Nemo")):
        await client.post(f"{place}/turns", json={"mode": "impersonate", **wish})
        assert f"Write what {name} says next" in engine.asked[-1].messages[-1].content
        assert "you are not Mimi" in engine.asked[-1].messages[-1].content
