from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio
import httpx
import numpy as np
import pytest
from sqlalchemy import delete, select, update

from app import reindex
from app.embedding import Embedding
from app.errors import Unavailable
from app.main import create_app
from app.reindex import count_waiting, embed_waiting, keep_embedded
from app.services import Services
from app.tables import Bond, Character, Floats, Line, Memory, Message
from models.scripted import ScriptedEngine
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors

Fixture = Any
LINES = "/api/characters/mira/lines"
SAID = [
    "The net is mended and dry.",
    "The lamp is out, and so is the tide.",
    "Bread first, then the boat.",
    "Nobody swims here after dark.",
    "My mother sang that song to me.",
]
SCRIPT = "\n\n".join(f"Sam: Question number {n}?\nMira: {said}" for n, said in enumerate(SAID))


class Mirrored:
    """Another encoder: the vectors of a real one, back to front. `gate` holds it up until somebody opens it."""

    def __init__(self, encoder: Encoder) -> None:
        self.id, self.dimension = "mirrored", encoder.dimension
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self._encoder = encoder

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._turn(self._encoder.encode_queries(texts))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.entered.set()
        assert self.gate.wait(30)
        return self._turn(self._encoder.encode_passages(texts))

    def _turn(self, vectors: Vectors) -> Vectors:
        return np.ascontiguousarray(vectors[:, ::-1])


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201
    assert (await client.post(LINES, content=SCRIPT)).status_code == 202


@pytest.fixture
def mirrored(loaded_encoder: Any) -> Mirrored:
    return Mirrored(loaded_encoder[0])


@pytest.fixture
async def changed(services: Services, mirrored: Mirrored, loaded_encoder: Any) -> Services:
    """The same rows, after somebody has set another encoder and started again."""
    embedding = Embedding(lambda: (mirrored, loaded_encoder[1]))
    await embedding.start()
    return replace(services, embedding=embedding)


async def encoders(services: Services) -> list[str | None]:
    async with services.db.read() as db:
        found = [*await db.scalars(select(Line.encoder)), *await db.scalars(select(Memory.encoder))]
    return sorted(found, key=str)


async def test_another_encoder_gives_every_line_and_memory_a_vector_of_its_own(
    services: Services, changed: Services, talk: Fixture
) -> None:
    await embed_waiting(services)
    await talk("mira", "I keep bees.")
    before = services.recipe
    assert await encoders(services) == [before] * 6
    assert await count_waiting(services) == 0
    assert await count_waiting(changed) == 6
    assert await embed_waiting(changed) == 6
    assert await encoders(services) == [changed.recipe] * 6
    async with services.db.read() as db:
        rows = [*await db.scalars(select(Line)), *await db.scalars(select(Memory))]
    expected = await services.embedding.passages([getattr(row, "key", None) or row.text for row in rows])
    assert changed.recipe.startswith("mirrored+")
    for row, vector in zip(rows, expected, strict=True):
        assert float(row.vector @ vector[::-1]) > 0.999
        assert row.emotion.shape == (8,)
        assert len(row.terms)
    assert await count_waiting(services) == 6, "and back again"


async def test_vectors_of_two_encoders_are_never_compared(
    services: Services, changed: Services, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def considered(parts: Services) -> int:
        engine.replies.append("Aye.")
        transport = httpx.ASGITransport(create_app(parts))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            asked = {"model": "char/mira", "messages": [{"role": "user", "content": "Is it dry?"}]}
            answer = await http.post("/v1/chat/completions", json=asked)
            trace = (await http.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
        return len(trace["lines"])

    monkeypatch.setattr(reindex, "BATCH", 2)
    await embed_waiting(services)
    assert await considered(services) == 5
    assert await considered(changed) == 0
    assert await reindex._embed_lines(changed) == 2
    assert await considered(changed) == 2
    assert await considered(services) == 3
    await embed_waiting(changed)
    assert await considered(changed) == 5
    assert await considered(services) == 0


async def test_stopping_between_two_batches_loses_nothing(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reindex, "BATCH", 2)

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await embed_waiting(services, stop)
    assert await count_waiting(services) == 3, "the first batch is stored"
    assert await embed_waiting(services) == 3, "and only the rest is done again"
    assert await count_waiting(services) == 0


async def test_stopping_within_a_batch_stores_nothing_of_it(changed: Services, mirrored: Mirrored) -> None:
    mirrored.gate.clear()
    task = asyncio.create_task(embed_waiting(changed))
    await anyio.to_thread.run_sync(mirrored.entered.wait)
    task.cancel()
    mirrored.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await count_waiting(changed) == 5
    assert await embed_waiting(changed) == 5


async def test_embedding_twice_at_once_is_harmless(
    client: httpx.AsyncClient, services: Services, talk: Fixture, changed: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex, "BATCH", 2)
    await talk("mira", "I keep bees.")
    await asyncio.gather(*(embed_waiting(changed) for _ in range(3)))
    assert await encoders(services) == [changed.recipe] * 6
    assert await count_waiting(changed) == 0
    lines = (await client.get(LINES)).json()["items"]
    assert [line["dialogue"][-1][1] for line in lines] == SAID


async def test_a_memory_edited_meanwhile_keeps_the_vector_of_its_new_text(
    services: Services, changed: Services, mirrored: Mirrored, talk: Fixture
) -> None:
    await embed_waiting(services)
    await talk("mira", "I keep bees.")
    async with services.db.write() as db:
        await db.execute(delete(Line))
    mirrored.gate.clear()
    task = asyncio.create_task(embed_waiting(changed))
    await anyio.to_thread.run_sync(mirrored.entered.wait)
    edited = np.full(384, 0.5, np.float32)
    async with services.db.write() as db:
        await db.execute(update(Memory).values(text="我不养蜜蜂了。", vector=edited, encoder=changed.recipe))
    mirrored.gate.set()
    await task
    async with services.db.read() as db:
        memory = (await db.scalars(select(Memory))).one()
    assert memory.text == "我不养蜜蜂了。"
    np.testing.assert_array_equal(memory.vector, edited)


async def test_the_background_and_a_turn_never_wait_for_each_other_crosswise(
    services: Services, changed: Services, talk: Fixture
) -> None:
    for said in ("I keep bees.", "I sold the bees."):
        await talk("mira", said)
    async with services.db.write() as db:
        await db.execute(delete(Line))
        first, last = await db.scalars(select(Memory.id).order_by(Memory.id))
    async with services.db.write() as db:
        await db.execute(select(Bond).with_for_update())
        await db.execute(update(Memory).where(Memory.id == last).values(uses=1))
        task = asyncio.create_task(embed_waiting(changed))
        await asyncio.wait({task}, timeout=1.5)
        await db.execute(update(Memory).where(Memory.id == first).values(uses=1))
    assert await task == 2
    assert await encoders(services) == [changed.recipe] * 2


async def test_a_line_removed_meanwhile_does_not_come_back(
    client: httpx.AsyncClient, changed: Services, mirrored: Mirrored
) -> None:
    mirrored.gate.clear()
    task = asyncio.create_task(embed_waiting(changed))
    await anyio.to_thread.run_sync(mirrored.entered.wait)
    assert (await client.delete(LINES)).status_code == 204
    mirrored.gate.set()
    await task
    assert (await client.get(LINES)).json()["items"] == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_server_embeds_what_arrives_by_itself(client: httpx.AsyncClient, services: Services) -> None:
    async def done() -> None:
        while await count_waiting(services):
            await asyncio.sleep(0.02)

    keeper = asyncio.create_task(keep_embedded(services))
    with anyio.fail_after(30):
        await done()
        more = "Sam: And what do you do at night, Mira?\nMira: Count the boats, and hope to reach the number."
        assert (await client.post(LINES, content=more)).status_code == 202
        await done()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)
    assert all(line["embedded"] for line in (await client.get(LINES)).json()["items"])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_rows_wait_while_the_encoder_loads_or_is_broken(services: Services, loaded_encoder: Any) -> None:
    def broken() -> Any:
        raise OSError("the weights are not here")

    embedding = Embedding(broken)
    parts = replace(services, embedding=embedding)
    keeper = asyncio.create_task(keep_embedded(parts))
    for expected in ("still loading", "the weights are not here"):
        with pytest.raises(Unavailable, match=expected):
            await embed_waiting(parts)
        with pytest.raises(OSError, match="weights"):
            await embedding.start()
    embedding._load = lambda: loaded_encoder
    await embedding.start()
    parts.wake.set()
    with anyio.fail_after(30):
        while await count_waiting(parts):
            await asyncio.sleep(0.02)
    assert not keeper.done()
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)


async def heard(services: Services) -> list[list[float]]:
    async with services.db.read() as db:
        rows = await db.scalars(select(Line).order_by(Line.id))
        return [row.emotion.tolist() for row in rows]


def scores(**felt: int) -> str:
    """What a language model answers that keeps to the schema."""
    return json.dumps(dict.fromkeys(EMOTIONS, 1) | felt)


def asking(services: Services) -> Services:
    """The same, told to ask the language model."""
    return replace(services, settings=services.settings.model_copy(update={"emotion": "model"}))


async def test_the_language_model_is_asked_how_lines_feel_when_the_settings_say_so(
    services: Services, engine: ScriptedEngine
) -> None:
    engine.replies.extend([scores(fear=10)] * len(SAID))
    assert await embed_waiting(asking(services)) == len(SAID)
    assert await heard(services) == [[0, 0, 1, 0, 0, 0, 0, 0]] * len(SAID)
    assert sorted(asked.messages[-1].content for asked in engine.asked) == sorted(SAID)


async def test_a_language_model_that_fails_is_done_without(
    services: Services, engine: ScriptedEngine, loaded_encoder: Any
) -> None:
    assert not engine.replies, "it has nothing to say, which is an engine's error"
    assert await embed_waiting(asking(services)) == len(SAID)
    encoder, tagger = loaded_encoder
    assert np.array(await heard(services)) == pytest.approx(
        tagger.tag(SAID, encoder.encode_passages(SAID)), abs=0.02
    ), "the lines feel as the tagger hears them"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_a_turn_leaves_is_felt_by_the_language_model_where_it_is_chosen(
    services: Services, engine: ScriptedEngine
) -> None:
    chosen = asking(services)
    engine.replies.extend([scores()] * len(SAID))
    await embed_waiting(chosen)
    engine.replies.append("Aye.")
    transport = httpx.ASGITransport(create_app(chosen))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        asked = {"model": "char/mira", "messages": [{"role": "user", "content": "My boat sank."}]}
        assert (await http.post("/v1/chat/completions", json=asked)).status_code == 200
    assert await count_waiting(chosen) == 1
    assert chosen.wake.is_set()
    engine.replies.append(scores(sadness=9, anger=4))
    assert await embed_waiting(chosen) == 1
    async with services.db.read() as db:
        memory = (await db.scalars(select(Memory))).one()
    told = dict(zip(EMOTIONS, memory.emotion.tolist(), strict=True))
    assert told["sadness"] == pytest.approx(8 / 9)
    assert told["anger"] == pytest.approx(3 / 9)
    assert memory.encoder == services.recipe


async def test_a_memory_is_heard_anew_as_the_turn_heard_it_and_an_edited_one_by_all_it_says(
    client: httpx.AsyncClient, services: Services, talk: Fixture
) -> None:
    async def felt() -> Floats:
        async with services.db.read() as db:
            return (await db.scalars(select(Memory))).one().emotion

    async def anew() -> Floats:
        async with services.db.write() as db:
            await db.execute(update(Memory).values(encoder="of yore", emotion=np.zeros(len(EMOTIONS), np.float32)))
        await embed_waiting(services)
        return await felt()

    answer = "I hate you! Get out of my sight, you disgusting liar!"
    await talk("mira", "We won, I'm so happy and proud of you!", answer)
    by_turn = await felt()
    assert EMOTIONS[int(by_turn.argmax())] == "joy"
    assert await anew() == pytest.approx(by_turn, abs=0.15)
    [memory] = (await client.get("/api/memories")).json()["items"]
    edited = await client.patch(f"/api/memories/{memory['id']}", json={"text": f"Mira: {answer}"})
    assert edited.status_code == 200, edited.text
    assert EMOTIONS[int((await anew()).argmax())] == "anger"


async def test_hearing_what_was_said_makes_nobody_known_again_who_was_erased(services: Services, talk: Fixture) -> None:
    await talk("mira", "We won!")
    async with services.db.write() as db:
        await db.execute(update(Message).values(emotion=None))
        await db.execute(update(Memory).values(encoder="of yore"))
        await db.execute(delete(Bond))
    await embed_waiting(services)
    assert await count_waiting(services) == 0
    async with services.db.read() as db:
        assert list(await db.scalars(select(Bond.user))) == []


class Gloomy:
    """Hears sadness in everything."""

    id = "gloomy"

    def tag(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        sad = np.zeros(len(EMOTIONS), np.float32)
        sad[EMOTIONS.index("sadness")] = 1.0
        return np.tile(sad, (len(vectors), 1))


async def test_what_another_tagger_heard_is_heard_anew_and_recalled_meanwhile(
    services: Services, loaded_encoder: Any, talk: Fixture
) -> None:
    async def stored() -> list[Line | Memory]:
        async with services.db.read() as db:
            memories = await db.scalars(select(Memory).order_by(Memory.id))
            return [*await db.scalars(select(Line).order_by(Line.id)), *memories]

    await embed_waiting(services)
    await talk("mira", "I keep bees.")
    before = await stored()
    assert await count_waiting(services) == 0

    embedding = Embedding(lambda: (loaded_encoder[0], Gloomy()))
    await embedding.start()
    gloomy = replace(services, embedding=embedding)
    assert await count_waiting(gloomy) == len(before)
    transport = httpx.ASGITransport(create_app(gloomy))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        first = await talk("mira", "Do you remember the bees?", http=http)
        trace = (await http.get(f"/api/turns/{first.headers['x-moodline-turn']}/trace")).json()
    assert len(trace["lines"]) == len(SAID)
    assert any("bees" in memory["text"] for memory in trace["memories"])

    async with services.db.read() as db:
        was = (await db.scalars(select(Character.lines_revision))).one(), (await db.scalars(select(Bond))).one()
    assert await embed_waiting(gloomy) == len(before), "the turn's own memory was heard by the new one"
    assert await count_waiting(gloomy) == 0
    async with services.db.read() as db:
        now = (await db.scalars(select(Character.lines_revision))).one(), (await db.scalars(select(Bond))).one()
    assert now[0] > was[0]
    assert now[1].memory_revision > was[1].memory_revision
    for row, earlier in zip(await stored(), before, strict=False):
        assert row.emotion is not None
        assert EMOTIONS[int(row.emotion.argmax())] == "sadness"
        assert (row.tagger, row.encoder) == ("gloomy", services.recipe)
        assert row.vector is not None
        assert np.array_equal(row.vector, earlier.vector), "nothing was embedded anew"
