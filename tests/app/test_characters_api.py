from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.services import Services
from app.tables import CharacterRevision

Rows = Any
AsOwner = Any
ALL = {"If-Match": "*"}


@pytest.fixture
async def stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> httpx.Response:
    answer = await client.post("/api/characters", json=mira)
    assert answer.status_code == 201, answer.text
    return answer


def fields(body: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What a PUT takes of what a POST took."""
    return {name: value for name, value in body.items() if name not in ("slug", "lore", "shared")} | changed


async def test_a_created_character_reads_back_as_it_was_sent(
    client: httpx.AsyncClient, stored: httpx.Response, mira: dict[str, Any]
) -> None:
    assert stored.headers["location"] == "/api/characters/mira"
    assert stored.headers["etag"] == '"1"'
    read = await client.get("/api/characters/mira")
    assert read.headers["etag"] == '"1"'
    assert read.json() == stored.json()
    assert read.json().items() >= fields(mira).items()
    assert (read.json()["lore_entries"], read.json()["lines"], read.json()["shared"]) == (1, 0, False)
    assert read.json()["created_at"].endswith(("Z", "+00:00"))


@pytest.mark.usefixtures("stored")
async def test_a_change_replaces_the_fields_and_needs_the_etag_that_was_read(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    body = fields(mira, name="Mira the Elder", greeting="")
    missing = await client.put("/api/characters/mira", json=body)
    assert (missing.status_code, missing.json()["title"]) == (428, "revision_missing")
    assert '"1"' in missing.json()["detail"]
    changed = await client.put("/api/characters/mira", json=body, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (changed.json()["name"], changed.json()["greeting"]) == ("Mira the Elder", "")
    assert changed.json()["lore_entries"] == 1, "lore is not a field and stays"
    stale = await client.put("/api/characters/mira", json=fields(mira), headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["title"]) == (412, "stale_revision")
    assert (await client.get("/api/characters/mira")).json() == changed.json()
    for spelling in ('W/"2"', " 3 ", "*"):
        answer = await client.put("/api/characters/mira", json=fields(mira), headers={"If-Match": spelling})
        assert answer.status_code == 200, spelling
    stale_delete = await client.delete("/api/characters/mira", headers={"If-Match": '"1"'})
    assert stale_delete.status_code == 412
    assert (await client.delete("/api/characters/mira")).status_code == 428


@pytest.mark.usefixtures("stored")
async def test_every_revision_is_kept(client: httpx.AsyncClient, services: Services, mira: dict[str, Any]) -> None:
    for number in range(3):
        body = fields(mira, persona=f"Persona {number}.")
        assert (await client.put("/api/characters/mira", json=body, headers=ALL)).status_code == 200
    assert (await client.put("/api/characters/mira/lore", json=[], headers=ALL)).status_code == 200
    async with services.db.read() as db:
        kept = list(await db.scalars(select(CharacterRevision).order_by(CharacterRevision.revision)))
    assert [row.revision for row in kept] == [1, 2, 3, 4, 5]
    personas = [mira["persona"], "Persona 0.", "Persona 1.", "Persona 2.", "Persona 2."]
    assert [row.document["persona"] for row in kept] == personas


@pytest.mark.usefixtures("stored")
async def test_of_two_changes_at_once_with_the_same_etag_exactly_one_wins(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    async def change(number: int) -> httpx.Response:
        body = fields(mira, persona=f"Written by {number}.")
        return await client.put("/api/characters/mira", json=body, headers={"If-Match": '"1"'})

    answers = await asyncio.gather(*map(change, range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    won = next(number for number, answer in enumerate(answers) if answer.status_code == 200)
    now = (await client.get("/api/characters/mira")).json()
    assert (now["persona"], now["revision"]) == (f"Written by {won}.", 2)


@pytest.mark.usefixtures("stored")
async def test_a_taken_slug_is_a_conflict_and_stores_nothing(
    client: httpx.AsyncClient, rows: Rows, mira: dict[str, Any]
) -> None:
    before = await rows()
    answer = await client.post("/api/characters", json=mira | {"name": "Another"})
    assert (answer.status_code, answer.json()["title"], answer.json()["param"]) == (409, "slug_taken", "slug")
    assert await rows() == before
    assert (await client.get("/api/characters/mira")).json()["name"] == "Mira"


async def test_of_two_creations_of_a_slug_at_once_exactly_one_wins(
    client: httpx.AsyncClient, rows: Rows, mira: dict[str, Any]
) -> None:
    answers = await asyncio.gather(*(client.post("/api/characters", json=mira) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert (await rows()).items() >= {"characters": 1, "character_revisions": 1, "lore_entries": 1}.items()


@pytest.mark.usefixtures("stored")
async def test_a_deleted_character_is_gone_until_it_is_restored_with_everything_it_had(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    lines = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."
    assert (await client.post("/api/characters/mira/lines", content=lines)).status_code == 202
    before = (await client.get("/api/characters/mira")).json()
    assert (await client.delete("/api/characters/mira", headers={"If-Match": '"1"'})).status_code == 204
    for method, path in (
        ("GET", ""),
        ("GET", "/lore"),
        ("GET", "/lines"),
        ("DELETE", ""),
    ):
        answer = await client.request(method, f"/api/characters/mira{path}", headers=ALL)
        assert (answer.status_code, answer.json()["title"]) == (404, "character_not_found"), (method, path)
    assert (await client.put("/api/characters/mira", json=fields(mira), headers=ALL)).status_code == 404
    assert (await client.get("/api/characters")).json()["items"] == []
    assert all(model["id"] != "char/mira" for model in (await client.get("/v1/models")).json()["data"])
    restored = await client.post("/api/characters/mira/restore")
    assert restored.status_code == 200
    assert restored.headers["etag"] not in ('"1"', '"2"'), "an ETag read before the deletion must be stale"
    assert restored.json() == before | {name: restored.json()[name] for name in ("revision", "updated_at")}
    assert (await client.get("/api/characters/mira")).json() == restored.json()
    again = await client.post("/api/characters/mira/restore")
    assert (again.status_code, again.json()["title"]) == (404, "character_not_found")


@pytest.mark.usefixtures("stored")
async def test_the_slug_of_a_deleted_character_can_be_used_again_and_then_blocks_its_return(
    client: httpx.AsyncClient, rows: Rows, mira: dict[str, Any]
) -> None:
    await client.delete("/api/characters/mira", headers=ALL)
    assert (await client.post("/api/characters", json=mira | {"name": "Second"})).status_code == 201
    before = await rows()
    blocked = await client.post("/api/characters/mira/restore")
    assert (blocked.status_code, blocked.json()["title"]) == (409, "conflict")
    assert await rows() == before
    assert (await client.get("/api/characters/mira")).json()["name"] == "Second"
    await client.delete("/api/characters/mira", headers=ALL)
    assert (await client.post("/api/characters/mira/restore")).json()["name"] == "Second", "the last one deleted"


async def test_a_shared_character_is_everyones_to_talk_with_and_an_admins_to_change(
    as_owner: AsOwner, rows: Rows, mira: dict[str, Any]
) -> None:
    admin, bo = await as_owner("ops", admin=True), await as_owner("bo")
    refused = await bo.post("/api/characters", json=mira | {"shared": True})
    assert (refused.status_code, refused.json()["title"]) == (403, "forbidden")
    assert (await rows())["characters"] == 0
    assert (await admin.post("/api/characters", json=mira | {"shared": True})).status_code == 201
    assert (await bo.get("/api/characters/mira")).json()["shared"] is True
    before = await rows()
    for answer in (
        await bo.put("/api/characters/mira", json=fields(mira), headers=ALL),
        await bo.delete("/api/characters/mira", headers=ALL),
        await bo.put("/api/characters/mira/lore", json=[], headers=ALL),
        await bo.post("/api/characters/mira/lines", content="Sam: Hello?\nMira: Hello there, Sam, my friend."),
        await bo.delete("/api/characters/mira/lines"),
        await bo.delete("/api/characters/mira/lines/1"),
    ):
        assert (answer.status_code, answer.json()["title"]) == (403, "forbidden"), answer.request
    assert await rows() == before
    changed = await admin.put("/api/characters/mira", json=fields(mira, name="M."), headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert (await bo.get("/api/characters/mira")).json()["name"] == "M."


async def test_ones_own_character_hides_the_shared_one_of_the_same_slug(
    as_owner: AsOwner, mira: dict[str, Any]
) -> None:
    admin, bo, cy = await as_owner("ops", admin=True), await as_owner("bo"), await as_owner("cy")
    await admin.post("/api/characters", json=mira | {"shared": True, "name": "Everyone's"})
    assert (await bo.post("/api/characters", json=mira | {"name": "Bo's"})).status_code == 201
    assert (await bo.get("/api/characters/mira")).json()["name"] == "Bo's"
    assert [item["name"] for item in (await bo.get("/api/characters")).json()["items"]] == ["Bo's"]
    assert [item["name"] for item in (await cy.get("/api/characters")).json()["items"]] == ["Everyone's"]
    await bo.delete("/api/characters/mira", headers=ALL)
    assert (await bo.get("/api/characters/mira")).json()["name"] == "Everyone's"


async def test_restoring_brings_back_ones_own_character_although_a_shared_one_was_deleted_later(
    as_owner: AsOwner, mira: dict[str, Any]
) -> None:
    admin, bo = await as_owner("ops", admin=True), await as_owner("bo")
    await bo.post("/api/characters", json=mira | {"name": "Bo's"})
    await bo.delete("/api/characters/mira", headers=ALL)
    await admin.post("/api/characters", json=mira | {"shared": True})
    await admin.delete("/api/characters/mira", headers=ALL)
    restored = await bo.post("/api/characters/mira/restore")
    assert restored.status_code == 200, restored.text
    assert restored.json()["name"] == "Bo's"
    assert (await bo.post("/api/characters/mira/restore")).status_code == 404
    assert (await admin.post("/api/characters/mira/restore")).json()["shared"] is True


async def test_an_owner_whose_name_holds_a_slash_is_not_reachable_through_a_slug(
    as_owner: AsOwner, mira: dict[str, Any]
) -> None:
    """Owners `x` and `x/y`: the first one's slug `y/mira` must not spell the second one's `mira`."""
    x, xy = await as_owner("x"), await as_owner("x/y")
    assert (await xy.post("/api/characters", json=mira)).status_code == 201
    body = {"model": "char/y/mira", "messages": [{"role": "user", "content": "Hello?"}]}
    assert (await x.post("/v1/chat/completions", json=body)).status_code == 404
    assert (await x.get("/v1/models/char/y/mira")).status_code == 404
    assert (await x.post("/api/sessions", json={"character": "y/mira"})).status_code == 404


async def test_characters_are_listed_by_slug_page_by_page(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    slugs = [f"{letter}-{number}" for letter in "cab" for number in (10, 9, 1)]
    for number, slug in enumerate(slugs):
        answer = await client.post("/api/characters", json=mira | {"slug": slug, "shared": number % 2 == 0})
        assert answer.status_code == 201
    seen: list[str] = []
    after = None
    for _page in range(5):
        query = {"limit": "2"} | ({"after": after} if after else {})
        page = (await client.get("/api/characters", params=query)).json()
        seen += [item["slug"] for item in page["items"]]
        after = page["next"]
    assert after is None
    whole = (await client.get("/api/characters")).json()
    assert seen == [item["slug"] for item in whole["items"]]
    assert sorted(seen) == sorted(slugs)
    assert whole["next"] is None
    found = (await client.get("/api/characters", params={"q": "a-1"})).json()["items"]
    assert {item["slug"] for item in found} == {"a-1", "a-10"}
    assert (await client.get("/api/characters", params={"q": "%"})).json()["items"] == [], "% is no wildcard"
    for wrong in ({"limit": "0"}, {"limit": "201"}, {"limit": "x"}, {"q": "x" * 101}):
        answer = await client.get("/api/characters", params=wrong)
        assert (answer.status_code, answer.json()["param"]) == (422, next(iter(wrong))), wrong


@pytest.mark.usefixtures("stored")
async def test_the_lorebook_is_read_and_replaced_in_its_order(client: httpx.AsyncClient) -> None:
    read = await client.get("/api/characters/mira/lore")
    assert [entry["name"] for entry in read.json()] == ["quay"]
    book = [
        {"name": "灯塔", "keys": ["灯塔", "/light.?house/i"], "secondary_keys": ["夜"], "logic": "not_any"}
        | {"content": "灯塔已经熄了。", "order": -5, "scan_depth": 2, "whole_words": True, "case_sensitive": False},
        {"content": "Always.", "constant": True, "enabled": False},
    ]
    missing = await client.put("/api/characters/mira/lore", json=book)
    assert missing.status_code == 428
    put = await client.put("/api/characters/mira/lore", json=book, headers={"If-Match": '"1"'})
    assert (put.status_code, put.headers["etag"]) == (200, '"2"')
    stored = (await client.get("/api/characters/mira/lore")).json()
    assert stored == put.json()
    assert [entry.items() >= sent.items() for entry, sent in zip(stored, book, strict=True)] == [True, True]
    stale = await client.put("/api/characters/mira/lore", json=[], headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert (await client.get("/api/characters/mira")).json()["lore_entries"] == 2
    assert (await client.put("/api/characters/mira/lore", json=[], headers={"If-Match": "*"})).json() == []


@pytest.mark.usefixtures("stored")
async def test_a_lorebook_with_one_bad_entry_changes_nothing(client: httpx.AsyncClient, rows: Rows) -> None:
    before = await rows()
    book = [{"content": "fine"}, {"content": "odd", "logic": "sometimes"}]
    answer = await client.put("/api/characters/mira/lore", json=book, headers=ALL)
    assert (answer.status_code, answer.json()["param"]) == (422, "1.logic")
    assert await rows() == before
    assert (await client.get("/api/characters/mira")).headers["etag"] == '"1"'


BAD: list[tuple[dict[str, Any], str]] = [
    ({"nmae": "typing error"}, "nmae"),
    ({"name": ""}, "name"),
    ({"name": "  "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": 5}, "name"),
    ({"persona": ""}, "persona"),
    ({"persona": "x" * 60_001}, "persona"),
    ({"language": "fr"}, "language"),
    ({"strategy": "best"}, "strategy"),
    ({"slug": "Mira"}, "slug"),
    ({"slug": ""}, "slug"),
    ({"slug": "-mira"}, "slug"),
    ({"slug": "mi/ra"}, "slug"),
    ({"slug": "mira\n"}, "slug"),
    ({"slug": "x" * 81}, "slug"),
    ({"slug": "米拉"}, "slug"),
    ({"stages": [{"name": "a", "affinity": 101}]}, "stages.0.affinity"),
    ({"stages": [{"name": "a", "affinity": "warm"}]}, "stages.0.affinity"),
    ({"stages": [{"name": "a", "affinity": 1}] * 2}, ""),
    ({"stages": [{"name": "a", "affinity": 1}, {"name": "b", "affinity": 1}]}, ""),
    ({"stages": [{"name": f"s{n}", "affinity": n} for n in range(21)]}, "stages"),
    ({"alternate_greetings": "Hello"}, "alternate_greetings"),
    ({"tags": ["ok", ""]}, "tags.1"),
    ({"lore": [{"keys": ["no content"]}]}, "lore.0.content"),
    ({"lore": [{"content": "x", "scan_depth": -1}]}, "lore.0.scan_depth"),
    ({"lore": [{"content": "x", "colour": "red"}]}, "lore.0.colour"),
]


async def test_a_wrong_field_is_named_in_a_problem_document_and_nothing_is_stored(
    client: httpx.AsyncClient, rows: Rows, mira: dict[str, Any]
) -> None:
    before = await rows()
    for wrong, field in BAD:
        answer = await client.post("/api/characters", json=mira | wrong)
        assert answer.status_code == 422, wrong
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"] == "urn:moodline:invalid_request"
        assert (problem["title"], problem["status"]) == ("invalid_request", 422)
        assert [error["field"] for error in problem["errors"]] == [field], problem
        assert problem["errors"][0]["message"] in problem["detail"]
        assert not problem["detail"].startswith("Value error"), problem["detail"]
        assert problem.get("param", "") == field
    assert await rows() == before


async def test_several_wrong_fields_are_all_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/characters", json={"slug": "mira", "language": "fr", "colour": "red"})
    assert {error["field"] for error in answer.json()["errors"]} == {"name", "persona", "language", "colour"}
    assert "3 more" in answer.json()["detail"]


async def test_chinese_names_and_emoji_survive(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    body = mira | {"name": "柴米🧵", "language": "zh", "persona": "她补网。\u200d👩‍👩‍👧", "tags": ["渔村", "émigré"]}
    assert (await client.post("/api/characters", json=body)).status_code == 201
    read = (await client.get("/api/characters/mira")).json()
    assert (read["name"], read["persona"], read["tags"]) == (body["name"], body["persona"], body["tags"])
