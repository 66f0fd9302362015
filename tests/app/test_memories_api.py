from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.embedding import Embedding
from app.main import create_app
from app.memory.formation import memory_terms
from app.reindex import count_waiting, embed_waiting
from app.services import Services
from app.tables import Bond, Memory
from models.scripted import ScriptedEngine
from retrieval.cache import BankCache
from retrieval.context import in_context
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors

Fixture = Any


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/api/memories", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def recalled(client: httpx.AsyncClient, engine: ScriptedEngine, said: str) -> list[dict[str, Any]]:
    """What is considered when something is said without being remembered."""
    engine.replies.append("Hm.")
    body = {"model": "char/mira", "user": "ana", "messages": [{"role": "user", "content": said}]}
    answer = await client.post("/v1/chat/completions", json=body)
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    newest = (await listed(client, limit=1))[0]
    assert (await client.delete(f"/api/memories/{newest['id']}")).status_code == 204
    memories: list[dict[str, Any]] = trace["memories"]
    return memories


async def test_a_turn_leaves_a_memory_with_what_was_said_and_how_it_felt(
    client: httpx.AsyncClient, talk: Fixture
) -> None:
    answer = await talk("mira", "I am so sad, my grandmother died.", "Sit with me.")
    (memory,) = await listed(client)
    assert memory["text"] == "ana: I am so sad, my grandmother died.\nMira: Sit with me."
    assert (memory["character"], memory["user"]) == ("mira", "ana")
    assert memory["session_id"] == answer.headers["x-session-id"]
    assert (memory["pinned"], memory["uses"]) == (False, 0)
    assert tuple(memory["emotion"]) == EMOTIONS
    assert max(memory["emotion"], key=memory["emotion"].__getitem__) == "sadness"
    assert 0.3 < memory["importance"] <= 1.0


async def test_memories_are_listed_newest_first_page_by_page_and_by_user_and_character(
    client: httpx.AsyncClient, talk: Fixture, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira | {"slug": "other"})
    for number, (slug, user) in enumerate((("mira", "ana"), ("mira", "bo"), ("other", "ana"), ("mira", ""))):
        await talk(slug, f"This is number {number}.", user=user)
    everything = await listed(client)
    numbers = [int(memory["text"].split("number ")[1][0]) for memory in everything]
    assert numbers == [3, 2, 1, 0]
    first = (await client.get("/api/memories", params={"limit": 3})).json()
    rest = (await client.get("/api/memories", params={"limit": 3, "before": first["next"]})).json()
    assert [*first["items"], *rest["items"]] == everything
    assert rest["next"] is None
    assert [memory["user"] for memory in await listed(client, user="bo")] == ["bo"]
    assert [memory["user"] for memory in await listed(client, user="")] == [""]
    assert [memory["character"] for memory in await listed(client, character="other")] == ["other"]
    assert await listed(client, character="other", user="bo") == []
    assert (await client.get("/api/memories", params={"character": "nobody"})).status_code == 404
    for wrong in ({"before": -1}, {"before": 2**63}, {"limit": 0}, {"pinned": "maybe"}):
        answer = await client.get("/api/memories", params=wrong)
        assert (answer.status_code, answer.json()["param"]) == (422, next(iter(wrong))), wrong


async def test_a_pinned_memory_is_always_considered_and_found_by_its_pin(
    client: httpx.AsyncClient, talk: Fixture
) -> None:
    await talk("mira", "The password of the boathouse is herring.")
    await talk("mira", "Nice weather.")
    weather, password = await listed(client)
    pinned = await client.patch(f"/api/memories/{password['id']}", json={"pinned": True, "importance": 0.9})
    assert pinned.status_code == 200
    assert pinned.json() == password | {"pinned": True, "importance": 0.9}
    assert [memory["id"] for memory in await listed(client, pinned="true")] == [password["id"]]
    assert [memory["id"] for memory in await listed(client, pinned="false")] == [weather["id"]]
    unpinned = await client.patch(f"/api/memories/{password['id']}", json={"pinned": False})
    assert unpinned.json()["importance"] == 0.9
    assert (await client.patch(f"/api/memories/{password['id']}", json={})).json() == unpinned.json()


async def test_an_edited_memory_is_felt_anew_and_found_by_its_new_words(
    client: httpx.AsyncClient, services: Services, talk: Fixture, engine: ScriptedEngine
) -> None:
    await talk("mira", "I keep bees behind the church.")
    await talk("mira", "I like soup.")
    assert next(m["text"].split("\n")[0] for m in await recalled(client, engine, "Bees and honey!")).endswith("church.")
    _soup, bees = await listed(client)
    answer = await client.patch(f"/api/memories/{bees['id']}", json={"text": " 我怕黑，一个人睡不着。 "})
    assert answer.status_code == 200
    assert answer.json()["text"] == "我怕黑，一个人睡不着。"
    assert answer.json()["emotion"] != bees["emotion"]
    found = await recalled(client, engine, "你怕黑吗？")
    assert found[0]["id"] == bees["id"]
    assert found[0]["text"] == "我怕黑，一个人睡不着。"
    async with services.db.read() as db:
        row = await db.get_one(Memory, bees["id"])
    vectors = await services.embedding.passages([row.text])
    assert float(row.vector @ vectors[0]) == pytest.approx(1, abs=1e-3)
    assert row.terms.tolist() == memory_terms(row.text, row.created_at).tolist()
    assert row.encoder == services.recipe


async def chain(services: Services) -> list[Memory]:
    async with services.db.read() as db:
        return list(await db.scalars(select(Memory).order_by(Memory.id)))


async def test_an_exchange_is_indexed_with_the_one_before_it_on_its_branch(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine
) -> None:
    engine.replies += ["The storm took it.", "It was blue.", "It was green.", "Good day."]
    asked = [{"role": "user", "content": "What became of your boat?"}]
    told = [
        *asked,
        {"role": "assistant", "content": "The storm took it."},
        {"role": "user", "content": "And its colour?"},
    ]
    for messages in (asked, told, told, [{"role": "user", "content": "Hello."}]):
        answer = await client.post("/v1/chat/completions", json={"model": "char/mira", "messages": messages})
        assert answer.status_code == 200
    first, colour, regenerated, other = await chain(services)
    assert [row.previous_id for row in (first, colour, regenerated, other)] == [None, first.id, first.id, None]
    expected = await services.embedding.passages(
        [in_context(colour.text, first.text, colour.created_at), in_context(other.text, "", other.created_at)]
    )
    assert float(colour.context @ expected[0]) == pytest.approx(1, abs=1e-3)
    assert float(other.context @ expected[1]) == pytest.approx(1, abs=1e-3)


async def test_what_followed_a_changed_or_forgotten_memory_no_longer_holds_its_words(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine
) -> None:
    engine.replies += ["Where?", "Never there."]
    asked = [{"role": "user", "content": "I hid the money in the oven."}]
    told = [*asked, {"role": "assistant", "content": "Where?"}, {"role": "user", "content": "Tell nobody."}]
    for messages in (asked, told):
        await client.post("/v1/chat/completions", json={"model": "char/mira", "messages": messages})
    first, second = await chain(services)
    changes = [
        (client.patch(f"/api/memories/{first.id}", json={"text": "I baked a cake."}), "I baked a cake."),
        (client.delete(f"/api/memories/{first.id}"), ""),
    ]
    for change, before in changes:
        assert (await change).is_success
        assert await count_waiting(services) == 1
        await embed_waiting(services)
        row = (await chain(services))[-1]
        expected = await services.embedding.passages([in_context(row.text, before, row.created_at)])
        assert row.id == second.id
        assert float(row.context @ expected[0]) == pytest.approx(1, abs=1e-3)
        assert row.encoder == services.recipe
    assert (await chain(services))[-1].previous_id is None


class Held:
    """A real encoder that holds passages up until somebody opens the gate."""

    def __init__(self, encoder: Encoder) -> None:
        self.id, self.dimension, self.encode_queries = encoder.id, encoder.dimension, encoder.encode_queries
        self.entered, self.gate = threading.Event(), threading.Event()
        self._encoder = encoder

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.entered.set()
        assert self.gate.wait(30)
        return self._encoder.encode_passages(texts)


@pytest.fixture
async def held(services: Services, loaded_encoder: Any) -> tuple[Services, Held]:
    """The same server as another process, which embeds nothing until it may."""
    encoder = Held(loaded_encoder[0])
    embedding = Embedding(lambda: (encoder, loaded_encoder[1]))
    await embedding.start()
    return replace(services, embedding=embedding), encoder


async def remembers_what_is_said_before(services: Services, row: Memory, before: str) -> bool:
    expected = await services.embedding.passages([in_context(row.text, before, row.created_at)])
    return float(row.context @ expected[0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("change", ["edited", "forgotten"])
async def test_what_was_said_before_can_change_while_a_turn_is_embedded(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine, held: tuple[Services, Held], change: str
) -> None:
    other, encoder = held
    engine.replies += ["Where?", "Never there."]
    asked = [{"role": "user", "content": "I hid the money in the oven."}]
    told = [*asked, {"role": "assistant", "content": "Where?"}, {"role": "user", "content": "Tell nobody."}]
    await client.post("/v1/chat/completions", json={"model": "char/mira", "messages": asked})
    (first,) = await chain(services)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(other)), base_url="http://localhost") as http:
        turn = asyncio.create_task(http.post("/v1/chat/completions", json={"model": "char/mira", "messages": told}))
        await asyncio.to_thread(encoder.entered.wait, 30)
        place = f"/api/memories/{first.id}"
        request = client.delete(place) if change == "forgotten" else client.patch(place, json={"text": "I baked."})
        assert (await request).is_success
        encoder.gate.set()
        assert (await turn).status_code == 200
    assert await count_waiting(services) == 1
    await embed_waiting(services)
    assert await remembers_what_is_said_before(
        services, (await chain(services))[-1], "" if change == "forgotten" else "I baked."
    )


async def test_a_second_edit_while_the_first_is_indexed_is_not_lost(
    client: httpx.AsyncClient, services: Services, engine: ScriptedEngine, held: tuple[Services, Held]
) -> None:
    other, encoder = held
    engine.replies += ["Where?", "Never there."]
    asked = [{"role": "user", "content": "I hid the money in the oven."}]
    told = [*asked, {"role": "assistant", "content": "Where?"}, {"role": "user", "content": "Tell nobody."}]
    for messages in (asked, told):
        await client.post("/v1/chat/completions", json={"model": "char/mira", "messages": messages})
    first, _second = await chain(services)
    await client.patch(f"/api/memories/{first.id}", json={"text": "I baked a cake."})
    indexing = asyncio.create_task(embed_waiting(other))
    await asyncio.to_thread(encoder.entered.wait, 30)
    await client.patch(f"/api/memories/{first.id}", json={"text": "I mended the net."})
    encoder.gate.set()
    await indexing
    assert await count_waiting(services) == 0
    assert await remembers_what_is_said_before(services, (await chain(services))[-1], "I mended the net.")


async def test_a_forgotten_memory_is_never_recalled_again_and_its_conversation_stays(
    client: httpx.AsyncClient, talk: Fixture, engine: ScriptedEngine
) -> None:
    said = await talk("mira", "I keep bees behind the church.")
    await talk("mira", "I like soup.")
    assert len(await recalled(client, engine, "Bees?")) == 2
    _soup, bees = await listed(client)
    assert (await client.delete(f"/api/memories/{bees['id']}")).status_code == 204
    assert (await client.delete(f"/api/memories/{bees['id']}")).status_code == 404
    assert (await client.patch(f"/api/memories/{bees['id']}", json={"pinned": True})).status_code == 404
    assert [memory["text"].split("\n")[0] for memory in await recalled(client, engine, "Bees?")] == [
        "ana: I like soup."
    ]
    session = await client.get(f"/api/sessions/{said.headers['x-session-id']}")
    assert session.json()["branch"][0]["text"] == "I keep bees behind the church."


async def test_an_index_that_has_seen_everything_ranks_like_a_new_one(
    client: httpx.AsyncClient, services: Services, talk: Fixture, engine: ScriptedEngine
) -> None:
    """SQLite gives the id of the last row again once that row is gone, so ids alone don't tell what is new."""

    def by_meaning(memories: list[dict[str, Any]]) -> dict[int, float]:
        return {memory["id"]: memory["components"]["semantic"] for memory in memories}

    for said in ("I keep bees behind the church.", "I like soup.", "The ferry was late."):
        await talk("mira", said)
    assert len(await recalled(client, engine, "Who sings at night?")) == 3
    newest = (await listed(client))[0]
    await client.delete(f"/api/memories/{newest['id']}")
    await talk("mira", "My grandmother sings at night.", store=True)
    warm = await recalled(client, engine, "Who sings at night?")
    new = create_app(replace(services, memories=BankCache(2**20)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(new), base_url="http://localhost") as http:
        cold = await recalled(http, engine, "Who sings at night?")
    assert by_meaning(warm) == pytest.approx(by_meaning(cold), abs=1e-3)
    assert max(warm, key=lambda memory: memory["components"]["semantic"])["text"].startswith("ana: My grandmother")


async def test_a_wrong_change_of_a_memory_is_refused_and_changes_nothing(
    client: httpx.AsyncClient, talk: Fixture
) -> None:
    await talk("mira", "I keep bees.")
    (memory,) = await listed(client)
    for wrong, field in (
        ({"text": ""}, "text"),
        ({"text": " \n "}, "text"),
        ({"text": "x" * 20_001}, "text"),
        ({"importance": 1.01}, "importance"),
        ({"importance": -0.1}, "importance"),
        ({"pinned": "maybe"}, "pinned"),
        ({"emotion": {"joy": 1}}, "emotion"),
        ({"pinned": True, "id": 7}, "id"),
    ):
        answer = await client.patch(f"/api/memories/{memory['id']}", json=wrong)
        assert (answer.status_code, answer.json()["param"]) == (422, field), wrong
    assert await listed(client) == [memory]
    for missing in (0, memory["id"] + 1, 2**63 - 1):
        assert (await client.patch(f"/api/memories/{missing}", json={"pinned": True})).status_code == 404
        assert (await client.delete(f"/api/memories/{missing}")).status_code == 404


async def test_many_edits_at_once_are_all_noticed_by_the_index(
    client: httpx.AsyncClient, services: Services, talk: Fixture
) -> None:
    for number in range(4):
        await talk("mira", f"This is number {number}.")
    memories = await listed(client)
    before = await revision(services)
    answers = await asyncio.gather(
        *(
            client.patch(f"/api/memories/{memory['id']}", json={"text": f"Edit of {memory['id']}"})
            for memory in memories
        )
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    assert await revision(services) == before + 4


async def revision(services: Services) -> int:
    """The only bond's."""
    async with services.db.read() as db:
        return (await db.scalars(select(Bond.memory_revision))).one()
