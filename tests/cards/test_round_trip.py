"""Export and import again: a fixed point in every carrier and version, and nothing that a card said is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.characters.card import Card, read
from app.characters.entries import lore_fields
from app.characters.export import Format, Origin, Version, write
from app.characters.fields import body_of, data_of, empty_data
from app.characters.reading import CardError, Json, Report
from app.characters.schemas import CharacterFields, LoreEntryIn
from app.lore.document import entry_of
from tests.cards.test_vectors import READ, vector

WAYS: list[tuple[Format, Version]] = [("json", "v2"), ("json", "v3"), ("png", "v2"), ("png", "v3"), ("charx", "v3")]
DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "cards").is_dir(), reason="MOODLINE_BENCH_DATA has no cards")


def cycle(card: Card, content: bytes, way: tuple[Format, Version]) -> tuple[Card, bytes]:
    """The card exported, and read again."""
    written = write(card.data, card.outer, Origin(content, card.carrier), *way)
    return read(written, "again"), written


def told(data: Json) -> Json:
    """What a card says, without the places of its assets, which each carrier has its own way to write."""
    rest = {name: value for name, value in data.items() if name not in ("assets", "group_only_greetings")}
    return rest | {"group": data.get("group_only_greetings", [])}


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("name", READ)
def test_an_export_says_what_the_card_said_and_is_a_fixed_point(name: str, way: tuple[Format, Version]) -> None:
    card = read(vector(name), name)
    again, written = cycle(card, vector(name), way)
    assert told(again.data) == told(card.data)
    assert again.outer == card.outer
    assert again.report.repaired == []
    assert cycle(again, written, way)[1] == written


@pytest.mark.parametrize("name", [name for name in READ if name.endswith((".png", ".charx", ".jpg", ".webp"))])
def test_pictures_and_assets_survive_the_ways_through_every_carrier(name: str) -> None:
    content, card = vector(name), read(vector(name), name)
    for way in (("png", "v3"), ("charx", "v3"), ("png", "v2"), ("charx", "v3"), ("png", "v3")):
        card, content = cycle(card, content, way)  # type: ignore[arg-type]
    last = cycle(card, content, ("charx", "v3"))[1]
    assert cycle(*cycle(card, content, ("charx", "v3")), ("charx", "v3"))[1] == last


@pytest.mark.parametrize("name", READ)
def test_a_character_that_nobody_changed_is_still_what_its_card_said(name: str) -> None:
    data = read(vector(name), name).data
    body = body_of(data, "slug", Report())
    fields = CharacterFields.model_validate(body.model_dump(exclude={"slug", "shared", "lore"}))
    assert data_of(fields, [entry.model_dump() for entry in body.lore], data) == data


def test_what_was_changed_since_is_exported_and_the_rest_is_as_it_came() -> None:
    data = read(vector("v3.json"), "v3.json").data
    body = body_of(data, "slug", Report())
    lore = [entry.model_dump() for entry in body.lore]
    changes = {"greeting": "New.", "style": "Dry.", "tags": ["sea"], "depth_prompt": None, "language": "zh"}
    fields = CharacterFields.model_validate(body.model_dump(exclude={"slug", "shared", "lore"}) | changes)
    edited = [
        lore[1] | {"content": "Gulls never lie.", "order": 3},
        lore[2],
        {**lore[0], "keys": ["new"], "content": "N", "name": "n"},
    ]
    now = data_of(fields, edited, data)
    assert (now["first_mes"], now["tags"], now["description"]) == ("New.", ["sea"], data["description"])
    assert now["extensions"]["moodline"] == {"style": "Dry.", "language": "zh"}
    assert "depth_prompt" not in now["extensions"]
    assert now["extensions"]["acme"] == data["extensions"]["acme"]
    first, second, third = now["character_book"]["entries"]
    assert (first["id"], first["content"], first["insertion_order"]) == ("b-2", "Gulls never lie.", 3)
    assert first["extensions"]["acme/colour"] == "blue"
    assert second == data["character_book"]["entries"][2]
    assert (third["keys"], third.get("id")) == (["new"], None)
    read_again = body_of(read(write(now, {}, None, "json", "v2")).data, "slug", Report())
    assert read_again.model_dump(exclude={"slug", "lore"}) == {**fields.model_dump(), "shared": False}
    assert [entry.model_dump() for entry in read_again.lore] == edited


def test_a_character_that_never_was_a_card_becomes_one() -> None:
    stages = [{"name": "crew", "affinity": 50, "persona": "Warm.", "style": "", "greeting": ""}]
    fields = CharacterFields.model_validate({"name": "米拉", "persona": "补网。", "language": "zh", "stages": stages})
    data = data_of(fields, [], empty_data("米拉"))
    card = read(write(data, {}, None, "png", "v3"))
    assert (card.form, card.data["description"]) == ("V3", "补网。")
    assert body_of(card.data, "x", Report()).model_dump()["stages"] == fields.model_dump()["stages"]


def test_what_only_we_have_is_read_from_our_extension_and_written_there() -> None:
    body = body_of(read(vector("moodline.json"), "moodline.json").data, "x", Report())
    assert [(stage.name, stage.affinity, stage.strategy) for stage in body.stages] == [
        ("stranger", 0, None),
        ("朋友", 40, "c-m"),
    ]
    assert (body.bond.start, body.bond.variables["trust"].start, body.bond.judged) == (5, 10, 3)
    assert (body.bond.events["gift"], body.strategy) == ({"affinity": 8, "trust": 1}, "calibrated")
    assert [entry.stages for entry in body.lore] == [["朋友"], []]
    fields = CharacterFields.model_validate(body.model_dump(exclude={"slug", "shared", "lore"}))
    lore = [entry.model_dump() for entry in body.lore]
    lore[0]["stages"], lore[1]["stages"] = ["stranger", "朋友"], None
    for way in WAYS:
        data = read(write(data_of(fields, lore, empty_data(fields.name)), {}, None, *way)).data
        again = body_of(data, "x", Report())
        assert again.model_dump(exclude={"lore"}) == body.model_dump(exclude={"lore"})
        assert [entry.model_dump() for entry in again.lore] == lore


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("ladder-zh.json", [("陌生", 0), ("熟悉", 40), ("恋人", 70)]),
        ("ladder-en.json", [("Cold", 0), ("Warm", 30)]),
    ],
)
def test_stages_written_as_lore_are_stages_and_lore_that_names_them(name: str, stages: list[tuple[str, float]]) -> None:
    body = body_of(read(vector(name), name).data, "x", Report())
    assert [(stage.name, stage.affinity) for stage in body.stages] == stages
    assert [(entry.stages, entry.constant) for entry in body.lore] == [([stage], True) for stage, _ in stages]


def test_v2_has_neither_fields_nor_decorators_of_v3() -> None:
    card = read(vector("v3.json"), "v3.json")
    second = json.loads(write(card.data, card.outer, None, "json", "v2"))
    assert (second["spec"], second["spec_version"]) == ("chara_card_v2", "2.0")
    assert not {"nickname", "assets", "source", "group_only_greetings"} & second["data"].keys()
    entry = second["data"]["character_book"]["entries"][2]
    assert entry["content"] == "The quay creaks."
    assert "use_regex" not in entry
    with pytest.raises(CardError, match="CHARX"):
        write(card.data, card.outer, None, "charx", "v2")


@needs_data
def test_a_real_card_is_read_whole() -> None:
    content = (DATA / "cards" / "Seraphina.png").read_bytes()
    expected = json.loads((DATA / "cards" / "Seraphina_card_data.json").read_text(encoding="utf-8"))["data"]
    card = read(content, "Seraphina.png")
    book = card.data.pop("character_book")
    assert card.data == {name: expected[name] for name in card.data}
    assert book == {"extensions": {}, **expected["character_book"]}
    card = read(content, "Seraphina.png")
    for way in WAYS:
        again, written = cycle(card, content, way)
        assert told(again.data) == told(card.data)
        assert cycle(again, written, way)[1] == written


@needs_data
def test_a_file_of_many_real_characters_gives_each() -> None:
    content = (DATA / "characterglm" / "character.json").read_bytes()
    for name, one in json.loads(content).items():
        card = read(content, "character.json", name)
        assert (card.data["name"], card.data["description"]) == (one["bot_name"], one["bot_info"])
        assert body_of(card.data, "x", Report()).language == "zh"


def test_what_only_world_info_knows_reaches_the_engine_of_lore_and_can_be_changed() -> None:
    data = read(vector("v2.json"), "v2.json").data
    body = body_of(data, "slug", Report())
    entry = entry_of("1", body.lore[0].model_dump())
    assert (entry.probability, entry.priority, entry.position, entry.depth) == (80, 5, "before", 4)
    assert (entry.keys, entry.secondary_keys, entry.order) == (("quay", "码头"), ("storm",), 10)
    assert (body.lore_settings.scan_depth, body.lore_settings.recursive) == (3, True)
    lore = [one.model_dump() for one in body.lore]
    changed = lore[0] | {"probability": 50, "sticky": 2, "position": "after", "priority": None}
    fields = CharacterFields.model_validate(body.model_dump(exclude={"slug", "shared", "lore"}))
    now = data_of(fields, [changed, lore[1]], data)
    first, second = now["character_book"]["entries"]
    assert (first["extensions"]["probability"], first["extensions"]["sticky"], first["position"]) == (
        50,
        2,
        "after_char",
    )
    assert first["extensions"]["acme/colour"] == "blue"
    assert second == data["character_book"]["entries"][1]
    again = body_of(read(write(now, {}, None, "json", "v3")).data, "slug", Report())
    assert [one.model_dump() for one in again.lore] == [changed, lore[1]]


def test_an_entry_that_no_engine_understands_is_read_without_what_is_wrong() -> None:
    odd = {
        "probability": 900,
        "depth": -4,
        "role": 77,
        "position": 99,
        "group": "g" * 600,
        "triggers": ["never"],
        "sticky": -1,
    }
    entry = {"keys": ["a"], "content": "b", "enabled": True, "insertion_order": 10**30, "extensions": odd}
    document = LoreEntryIn.model_validate(lore_fields(entry))
    assert (document.keys, document.content, document.probability, document.group) == (["a"], "b", 100, "")
    assert (document.depth, document.role, document.triggers, document.sticky) == (0, "system", [], 0)
