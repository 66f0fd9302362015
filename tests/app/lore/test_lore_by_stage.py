from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

Fixture = Any
CAUSES = ("turn", "joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
QUIET = {cause: {"affinity": 0} for cause in CAUSES}
NAMES = {"zh": ("陌生", "熟悉", "恋人"), "en": ("Stranger", "Friend", "Lover")}
KEYS = {
    "zh": [
        r"/好感度[:：]\s*([0-9]|[1-3][0-9])\b/",
        r"/好感度[:：]\s*([4-6][0-9])\b/",
        r"/好感度[:：]\s*([7-9][0-9]|100)\b/",
    ],
    "en": [
        r"/affection:\s*([0-9]|[1-3]\d)(?!\d)/i",
        r"/affection:\s*([4-6]\d)(?!\d)/i",
        r"/affection:\s*([7-9]\d|100)(?!\d)/i",
    ],
}


def card(language: str) -> dict[str, Any]:
    """A card whose author wrote stages as lore that a status line calls."""
    entries = [
        {
            "keys": [key],
            "content": f"Now: {name}.",
            "comment": name,
            "extensions": {"group": "bond"},
            "enabled": True,
            "insertion_order": 10,
        }
        for key, name in zip(KEYS[language], NAMES[language], strict=True)
    ]
    texts = {"description": "补网的人，话不多。" if language == "zh" else "Mends nets.", "first_mes": "", "tags": []}
    book = {"entries": entries, "extensions": {}}
    data = {"name": "Mira", **texts, "character_book": book, "extensions": {"moodline": {"bond": {"feelings": QUIET}}}}
    return {"spec": "chara_card_v3", "spec_version": "3.0", "data": data}


async def fates(client: httpx.AsyncClient, talk: Fixture, said: str, **more: Any) -> dict[str, str]:
    """What became of each entry in a turn that begins a talk of its own."""
    answer = await talk("mira", f"{said} 好感度：99, affection: 5", f"I heard you say: {said}", **more)
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    return {fate["name"]: fate["reason"] for fate in trace["lore"]}


async def set_affinity(client: httpx.AsyncClient, slug: str, affinity: float) -> None:
    answer = await client.patch(f"/api/bonds/{slug}?user=ana", json={"affinity": affinity})
    assert answer.status_code == 200, answer.text


async def moved(client: httpx.AsyncClient, slug: str, by: float) -> str:
    """The stage after something happened."""
    event = {"name": "time", "changes": {"affinity": by}}
    answer = await client.post(f"/api/bonds/{slug}/events?user=ana", json=event)
    stage: str = answer.json()["bond"]["stage"]
    return stage


@pytest.mark.parametrize("language", ["zh", "en"])
async def test_stages_that_a_card_wrote_as_lore_follow_the_bond_with_hysteresis(
    client: httpx.AsyncClient, talk: Fixture, language: str
) -> None:
    made = await client.post("/api/characters/import?slug=mira", json=card(language))
    assert made.status_code == 201, made.text
    names = NAMES[language]
    assert [(stage["name"], stage["affinity"]) for stage in made.json()["stages"]] == list(
        zip(names, (0, 40, 70), strict=True)
    )
    assert f"stages in character_book: {', '.join(names)}" in made.json()["card"]["understood"]
    await set_affinity(client, "mira", 45)
    assert await fates(client, talk, "Hello.") == {names[0]: "stage", names[1]: "constant", names[2]: "stage"}
    assert await moved(client, "mira", -8) == names[1], "37 is less than 40, but no 5 less"
    assert (await fates(client, talk, "Is it late?"))[names[1]] == "constant"
    assert await moved(client, "mira", -8) == names[0]
    told = await fates(client, talk, "Where is your boat?")
    assert told == {names[0]: "constant", names[1]: "stage", names[2]: "stage"}
    out = json.loads((await client.get("/api/characters/mira/export?format=json")).content)
    assert out["data"]["character_book"] == card(language)["data"]["character_book"], "the card says what it said"


async def test_a_stage_that_was_renamed_or_moved_goes_along_in_the_card(client: httpx.AsyncClient) -> None:
    made = (await client.post("/api/characters/import?slug=mira", json=card("en"))).json()
    fields = {name: made[name] for name in ("name", "persona", "language", "bond")}
    stages = [made["stages"][0] | {"name": "Nobody"}, made["stages"][1] | {"affinity": 30}, made["stages"][2]]
    renamed = await client.put("/api/characters/mira", json=fields | {"stages": stages}, headers={"If-Match": "*"})
    assert renamed.status_code == 200, renamed.text
    before = (await client.get("/api/characters/mira/lore")).json()
    assert [entry["stages"] for entry in before] == [["Nobody"], ["Friend"], ["Lover"]], "lore follows its stage"
    exported = (await client.get("/api/characters/mira/export?version=v2")).content
    again = await client.post(
        "/api/characters/import?slug=again", content=exported, headers={"content-type": "application/json"}
    )
    assert again.json()["stages"] == stages
    assert (await client.get("/api/characters/again/lore")).json() == before
    twice = (await client.get("/api/characters/again/export?version=v2")).content
    assert twice == exported


async def test_an_entry_that_names_stages_is_called_by_its_keys_at_those_alone(
    client: httpx.AsyncClient, mira: dict[str, Any], talk: Fixture
) -> None:
    lore = [
        {"name": "late", "keys": ["hello"], "content": "She waves.", "stages": ["friend"]},
        {"name": "both", "keys": ["hello"], "content": "She looks up.", "stages": ["friend", "stranger"]},
        {"name": "mute", "keys": ["eels"], "content": "x", "stages": ["stranger"]},
    ]
    stages = [{"name": "stranger", "affinity": 0}, {"name": "friend", "affinity": 40}]
    bond = {"feelings": QUIET}
    made = await client.post("/api/characters", json=mira | {"lore": lore, "stages": stages, "bond": bond})
    assert made.status_code == 201, made.text
    assert await fates(client, talk, "Hello.") == {"late": "stage", "both": "key", "mute": "no match"}
    await set_affinity(client, "mira", 50)
    assert await fates(client, talk, "Hello again.") == {"late": "key", "both": "key", "mute": "stage"}
    tried = await fates(client, talk, "Hello, you.", moodline={"stage": "stranger"})
    assert tried["late"] == "stage", "a stage that is tried counts for lore, too"


async def test_a_ladder_of_a_characters_own_lore_takes_the_stages_that_begin_where_its_rungs_do(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    lore = [{"name": str(n), "keys": [key], "content": "x", "group": "g"} for n, key in enumerate(KEYS["zh"])]
    stages = [{"name": name, "affinity": at} for name, at in (("a", 0), ("b", 40), ("c", 70))]
    assert (await client.post("/api/characters", json=mira | {"lore": [], "stages": stages})).status_code == 201
    put = await client.put("/api/characters/mira/lore", json=lore, headers={"If-Match": "*"})
    assert [entry["stages"] for entry in put.json()] == [["a"], ["b"], ["c"]]
    plain = await client.put(
        "/api/characters/mira/lore", json=[one | {"stages": []} for one in lore], headers={"If-Match": "*"}
    )
    assert [(entry["stages"], entry["constant"]) for entry in plain.json()] == [([], False)] * 3, (
        "who says so has it so"
    )
