"""Talks of groups leave and come back: as files, over a restart, and after their members went."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from app.check.everything import everything
from app.reindex import embed_waiting
from app.retention import prune
from app.services import Services, build
from app.settings import Settings
from models.scripted import ScriptedEngine

Fixture = Any
SILLYTAVERN = [
    {"user_name": "Ana", "character_name": "unused"},
    {"name": "Ana", "is_user": True, "mes": "Is it late?"},
    {"name": "Mara", "is_user": False, "mes": "It is."},
    {"name": "Old Tom", "is_user": False, "mes": "It is not."},
]


@pytest.fixture
async def talk(client: httpx.AsyncClient, form: Fixture, engine: ScriptedEngine) -> str:
    """A talk of Mara and Bob, in which Bob has not heard the beginning."""
    await form("mara", order="list")
    first = await say(client, engine, "group/harbour", "A secret: swordfish.", "I keep it.")
    await form("mara", "bob", slug="spare")
    await client.put("/api/groups/harbour/members/bob", json={}, headers={"If-Match": "*"})
    session = first.headers["x-session-id"]
    await say(client, engine, "group/harbour", "Good evening.", "Evening.", "Good evening.", session=session)
    return session


async def say(
    http: httpx.AsyncClient, engine: ScriptedEngine, model: str, said: str, *replies: str, session: str = ""
) -> httpx.Response:
    engine.replies += replies
    body = {"model": model, "user": "ana", "messages": [{"role": "user", "content": said}]}
    answer = await http.post("/v1/chat/completions", json=body, headers={"x-session-id": session} if session else {})
    assert answer.status_code == 200, answer.text
    return answer


async def heard(http: httpx.AsyncClient, session: str) -> list[tuple[str | None, str, list[str]]]:
    branch = (await http.get(f"/api/sessions/{session}")).json()["branch"]
    return [(message["speaker"], message["text"], message["heard_by"]) for message in branch]


async def test_a_talk_of_a_group_comes_back_from_its_file_with_who_heard_what(
    client: httpx.AsyncClient, talk: str, services: Services
) -> None:
    answer = await client.get(f"/api/sessions/{talk}/export")
    assert f'filename="group-harbour-{talk}.jsonl"' in answer.headers["content-disposition"]
    before = await heard(client, talk)
    await client.delete("/api/users?user=ana")
    back = await client.post("/api/sessions/import", content=answer.text)
    assert back.status_code == 201, back.text
    assert await heard(client, back.json()["id"]) == before
    assert before[0][2] == ["mara"]
    await embed_waiting(services)
    memories = (await client.get("/api/memories", params={"character": "bob", "user": "ana"})).json()["items"]
    assert sorted(memory["text"] for memory in memories) == [
        "Mara: Evening.\nBob the Miller: Good evening.",
        "ana: Good evening.\nMara: Evening.",
    ]
    bonds = (await client.get("/api/bonds?user=ana")).json()["items"]
    assert {bond["character"]: bond["turns"] for bond in bonds} == {"mara": 2, "bob": 1}
    assert await everything(services.db) == {}


async def test_a_chat_of_sillytavern_is_taken_over_by_the_names_of_its_speakers(
    client: httpx.AsyncClient, form: Fixture, services: Services
) -> None:
    await form("mara", "bob")
    content = "\n".join(json.dumps(line) for line in SILLYTAVERN)
    query = {"character": "group/harbour", "user": "ana"}
    back = await client.post("/api/sessions/import", content=content, params=query)
    assert back.status_code == 201, back.text
    assert [(m["speaker"], m["name"]) for m in back.json()["branch"]] == [
        (None, None),
        ("mara", "Mara"),
        (None, "Old Tom"),
    ]
    written = await client.get(f"/api/sessions/{back.json()['id']}/export?format=sillytavern")
    assert '"Old Tom"' in written.text
    assert await everything(services.db) == {}


async def test_another_process_goes_on_with_a_group_where_one_stopped(
    client: httpx.AsyncClient, talk: str, services: Services, settings: Settings, running: Fixture
) -> None:
    engine = ScriptedEngine()
    parts = build(settings, engine=engine, embedding=services.embedding)
    async with running(parts) as (http, _server):
        assert await heard(http, talk) == await heard(client, talk)
        await say(http, engine, "group/harbour", "What was the secret?", "Which?", "What secret?", session=talk)
    await parts.db.close()
    mara, bob = ("\n".join(message.content for message in asked.messages) for asked in engine.asked)
    assert "swordfish" in mara
    assert "swordfish" not in bob


async def test_a_member_that_went_for_good_leaves_its_lines(
    client: httpx.AsyncClient, talk: str, services: Services, engine: ScriptedEngine
) -> None:
    await client.delete("/api/characters/bob", headers={"If-Match": "*"})
    await prune(services.db, services.settings.model_copy(update={"deleted_days": 1e-9}))
    assert (await heard(client, talk))[-1] == (None, "Good evening.", ["mara"])
    await say(client, engine, "group/harbour", "Is Bob gone?", "He is.", session=talk)
    assert "Bob the Miller: Good evening." in [message.content for message in engine.asked[-1].messages]
    await client.delete(f"/api/sessions/{talk}", headers={"If-Match": "*"})
    await client.post(f"/api/sessions/{talk}/restore")
    assert await everything(services.db) == {}


async def test_a_group_that_went_for_good_takes_its_talks_along(
    client: httpx.AsyncClient, talk: str, services: Services
) -> None:
    await client.delete("/api/groups/harbour", headers={"If-Match": "*"})
    assert (await client.get(f"/api/sessions/{talk}")).status_code == 200
    await prune(services.db, services.settings.model_copy(update={"deleted_days": 1e-9}))
    assert (await client.get(f"/api/sessions/{talk}")).status_code == 404
    memories = (await client.get("/api/memories", params={"character": "mara", "user": "ana"})).json()["items"]
    assert memories == []
    assert {bond["turns"] for bond in (await client.get("/api/bonds?user=ana")).json()["items"]} == {0}
    assert await everything(services.db) == {}
