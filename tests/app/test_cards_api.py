"""Cards through the routes, into the prompt, and out again, on both databases."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from app.characters.schemas import CharacterFields
from app.services import Services
from app.settings import Settings
from models.scripted import ScriptedEngine
from tests.cards.test_vectors import EXPECTED, REFUSED, vector

Rows = Any
AsOwner = Any
IMPORT = "/api/characters/import"


@pytest.fixture
def settings(database_url: str, tmp_path: Any) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url, context_tokens=40_000, _env_file=None)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(context_length=40_000)


async def brought(client: httpx.AsyncClient, name: str, **params: Any) -> httpx.Response:
    answer = await client.post(IMPORT, files={"file": (name, vector(name))}, params=params)
    assert answer.status_code == 201, answer.text
    return answer


async def test_a_card_becomes_a_character_and_its_file_comes_back_as_it_was(client: httpx.AsyncClient) -> None:
    answer = await brought(client, "both.png")
    made = answer.json()
    assert answer.headers["location"] == "/api/characters/mira-mi-la"
    assert (made["name"], made["nickname"], made["greeting"]) == (
        "Mira 米拉",
        "Mimi",
        EXPECTED["v3.json"]["data"]["first_mes"],
    )
    assert made["alternate_greetings"] == ["You again?", "又是你？"]
    assert made["depth_prompt"] == {"prompt": "Her hands are cold.", "depth": 4, "role": "system"}
    assert (made["lore_entries"], made["creator"], made["tags"]) == (3, "Ana", ["Harbour", "中文"])
    assert (made["card"]["form"], made["card"]["carrier"], made["card"]["repaired"]) == ("V3", "png", [])
    assert {"description", "character_book"} <= set(made["card"]["understood"])
    assert {"extensions.acme", "assets"} <= set(made["card"]["kept"])
    original = await client.get("/api/characters/mira-mi-la/export", params={"format": "original"})
    assert original.content == vector("both.png")
    assert original.headers["content-type"] == "image/png"
    assert original.headers["content-disposition"] == 'attachment; filename="mira-mi-la.png"'
    assert original.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["v1.json", "v2.json", "v3.json", "card.charx", "webui.yaml", "李云龙.txt", "comment-big.webp"]
)
@pytest.mark.parametrize("raw", [False, True], ids=["form", "raw"])
async def test_every_carrier_comes_in_as_a_form_and_as_a_body(client: httpx.AsyncClient, name: str, raw: bool) -> None:
    media = {"json": "application/json", "yaml": "application/yaml", "webp": "image/webp", "txt": "text/plain"}
    ending = name.rpartition(".")[2]
    headers = {"content-type": media.get(ending, "application/octet-stream")}
    content = vector(name)
    if raw:
        answer = await client.post(IMPORT, content=content, headers=headers)
    else:
        answer = await client.post(IMPORT, files={"file": (name, content)})
    assert answer.status_code == 201, answer.text
    slug = answer.json()["slug"]
    exported = await client.get(f"/api/characters/{slug}/export", params={"format": "json", "version": "v2"})
    data = json.loads(exported.content)["data"]
    expected = EXPECTED[name]["data"]
    assert (data["description"], data["first_mes"]) == (expected["description"], expected["first_mes"])


@pytest.mark.parametrize("name", ["v2.json", "ccv3.png", "asset-colon.png", "card.charx", "messy-book-native.json"])
@pytest.mark.parametrize("way", ["json", "png", "charx"])
async def test_an_export_that_comes_back_is_exported_the_same(client: httpx.AsyncClient, name: str, way: str) -> None:
    first = await brought(client, name, slug="one")
    exported = await client.get("/api/characters/one/export", params={"format": way})
    again = await client.post(IMPORT, content=exported.content, params={"slug": "two"})
    assert again.json()["card"]["repaired"] == []
    same = ("name", "persona", "greeting", "lore_entries", "tags", "system_prompt", "mes_example", "language")
    assert [again.json()[field] for field in same] == [first.json()[field] for field in same]
    assert (await client.get("/api/characters/two/export", params={"format": way})).content == exported.content


async def test_an_edited_character_is_exported_as_it_is_now_and_the_original_as_it_was(
    client: httpx.AsyncClient,
) -> None:
    await brought(client, "v3.json", slug="mira")
    lore = (await client.get("/api/characters/mira/lore")).json()
    made = (await client.get("/api/characters/mira")).json()
    fields = {name: made[name] for name in CharacterFields.model_fields} | {"greeting": "Changed."}
    await client.put("/api/characters/mira", json=fields, headers={"If-Match": "*"})
    await client.put("/api/characters/mira/lore", json=lore[:1], headers={"If-Match": "*"})
    data = json.loads((await client.get("/api/characters/mira/export")).content)["data"]
    was = EXPECTED["v3.json"]["data"]
    assert (data["first_mes"], data["character_book"]["entries"]) == ("Changed.", was["character_book"]["entries"][:1])
    assert data["creation_date"] == was["creation_date"]
    assert data["modification_date"] > was["modification_date"]
    original = await client.get("/api/characters/mira/export", params={"format": "original"})
    assert original.content == vector("v3.json")


async def test_a_character_made_by_hand_is_exported_too_and_has_no_original(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira)
    missing = await client.get("/api/characters/mira/export", params={"format": "original"})
    assert (missing.status_code, missing.json()["title"]) == (404, "not_found")
    exported = await client.get("/api/characters/mira/export", params={"format": "charx"})
    with zipfile.ZipFile(io.BytesIO(exported.content)) as archive:
        card = json.loads(archive.read("card.json"))
    assert (card["spec"], card["data"]["character_book"]["entries"][0]["keys"]) == ("chara_card_v3", ["quay"])
    again = await client.post(IMPORT, content=exported.content)
    assert again.json()["slug"] == "mira-2", "the slug of its name is taken"


async def test_what_a_card_says_reaches_the_prompt_in_its_places(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    await brought(client, "v3.json", slug="mira")
    entries = (await client.get("/api/characters/mira/lore")).json()
    certain = [entry | {"probability": 100} for entry in entries]
    changed = await client.put("/api/characters/mira/lore", json=certain, headers={"If-Match": "*"})
    assert changed.status_code == 200, changed.text
    engine.replies.append("Aye.")
    said = [{"role": "user", "content": "Is the quaaay far?"}]
    answer = await client.post("/v1/chat/completions", json={"model": "char/mira", "user": "Bo", "messages": said})
    assert answer.status_code == 200, answer.text
    messages = engine.asked[-1].messages
    first, end = messages[0].content, "\n".join(message.content for message in messages[1:])
    assert first.startswith("You are Mimi")
    assert "Never hurry." in first
    for part in ("Mimi mends nets.\n她认识Bo。", "dry, patient", "A quay at dusk.", "Bo: 冷吗？\nMimi: 海风而已。"):
        assert part in first
    assert first.count("never mention being an AI") == 1
    assert "The quay creaks." in end
    assert "Gulls lie." in first + end, "a constant entry"
    assert "Her hands are cold." in end
    assert "Answer in two sentences. Reply to Bo's next message as Mimi." in end
    for silent in ("people who like the sea", "Harbour\n", "1.2", "Ana", "<START>", "{{original}}", "acme"):
        assert silent not in first + end


async def test_examples_give_way_when_the_card_is_long(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    talks = "\n<START>\n".join(f"{{{{char}}}}: talk {number} " + "word " * 1_000 for number in range(9))
    card = {"name": "Bo", "description": "A cat.", "mes_example": talks}
    await client.post(IMPORT, json=card)
    engine.replies.append("Mrr.")
    said = [{"role": "user", "content": "Hello"}]
    await client.post("/v1/chat/completions", json={"model": "char/bo", "messages": said})
    prompt = engine.asked[-1].messages[0].content
    assert "Bo: talk 0" in prompt
    assert "talk 8" not in prompt
    assert len(prompt) < 14_000


@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_card_leaves_nothing(client: httpx.AsyncClient, rows: Rows, name: str) -> None:
    before = await rows()
    answer = await client.post(IMPORT, files={"file": (name, vector(name))})
    assert (answer.status_code, answer.json()["title"]) == (422, "unreadable_card"), answer.text
    for words in EXPECTED[name]["error"]:
        assert words in answer.json()["detail"]
    assert await rows() == before


async def test_what_is_too_long_for_a_character_is_refused_by_name_and_leaves_nothing(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    before = await rows()
    for card, words in (
        ({"scenario": "x" * 60_001}, "scenario: String should have at most 60000 characters"),
        ({"alternate_greetings": ["x"] * 201}, "alternate_greetings: List should have at most 200 items"),
        (
            {"character_book": {"entries": [{"keys": [], "content": "x"}] * 5_001}},
            "lore: List should have at most 5000",
        ),
    ):
        answer = await client.post(
            IMPORT, json={"spec": "chara_card_v2", "data": {"name": "Bo", "description": "x"} | card}
        )
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
    assert await rows() == before


async def test_one_of_many_is_picked_and_a_taken_slug_is_a_conflict(client: httpx.AsyncClient, rows: Rows) -> None:
    picked = await brought(client, "characterglm-many.json", pick="李四", slug="li")
    assert (picked.json()["name"], picked.json()["language"], picked.json()["scenario"]) == (
        "张三",
        "zh",
        "{{user}}：城里人",
    )
    before = await rows()
    again = await client.post(IMPORT, content=vector("v1.json"), params={"slug": "li"})
    assert (again.status_code, again.json()["title"]) == (409, "slug_taken")
    assert await rows() == before


async def test_recall_settings_of_chatharuhi_are_kept(client: httpx.AsyncClient) -> None:
    made = (await brought(client, "haruhi.json")).json()
    assert (made["slug"], made["recall_lines"], made["persona"]) == ("li-yun-long", 6, "你是李云龙。\n\n直爽。")


async def test_a_file_over_the_limit_is_refused_with_the_settings_name(
    services: Services, serve: Any, rows: Rows
) -> None:
    client = await serve(max_card_bytes=2_000)
    before = await rows()
    for request in ({"content": b"{" + b" " * 2_000}, {"files": {"file": ("a.json", b"{" + b" " * 2_000)}}):
        answer = await client.post(IMPORT, **request)
        assert answer.status_code == 413
        assert "MOODLINE_MAX_CARD_BYTES" in answer.json()["detail"]
    assert await rows() == before


async def test_a_card_belongs_to_whoever_imported_it(as_owner: AsOwner) -> None:
    ana, bo = await as_owner("ana"), await as_owner("bo")
    await brought(ana, "v1.json", slug="mine")
    assert (await bo.get("/api/characters/mine/export", params={"format": "original"})).status_code == 404
    refused = await bo.post(IMPORT, content=vector("v1.json"), params={"shared": "true"})
    assert refused.status_code == 403
