"""Groups are made, changed, hidden and brought back; members come and go."""

from __future__ import annotations

from typing import Any

import httpx

Fixture = Any


async def test_a_group_has_its_members_in_order_and_is_no_character(client: httpx.AsyncClient, form: Fixture) -> None:
    group = await form("bob", "mara", order="list", scenario="Night falls.")
    assert [(m["character"], m["name"], m["talkativeness"], m["muted"]) for m in group["members"]] == [
        ("bob", "Bob the Miller", 0.5, False),
        ("mara", "Mara", 0.5, False),
    ]
    assert (group["model"], group["order"], group["scenario"]) == ("group/harbour", "list", "Night falls.")
    assert (await client.get("/api/groups/harbour")).json() == group
    assert (await client.get("/api/groups")).json()["items"] == [group]
    assert {one["slug"] for one in (await client.get("/api/characters")).json()["items"]} == {"mara", "bob"}
    assert (await client.post("/api/lorebooks", json={"name": "x", "character": "group/harbour"})).status_code == 404
    assert (await client.get("/api/bonds")).json()["items"] == []


async def test_members_join_are_muted_and_leave_and_who_stays_keeps_how_it_takes_part(
    client: httpx.AsyncClient, form: Fixture
) -> None:
    await form("mara", "bob", "lin", members=[{"character": "mara", "talkativeness": 0.9}, {"character": "bob"}])
    any_revision = {"If-Match": "*"}
    joined = await client.put("/api/groups/harbour/members/lin", json={}, headers=any_revision)
    assert [m["character"] for m in joined.json()["members"]] == ["mara", "bob", "lin"]
    muted = await client.put("/api/groups/harbour/members/mara", json={"muted": True}, headers={"If-Match": '"2"'})
    assert (muted.json()["members"][0]["muted"], muted.json()["members"][0]["talkativeness"]) == (True, 0.9)
    left = await client.delete("/api/groups/harbour/members/bob", headers=any_revision)
    assert [m["character"] for m in left.json()["members"]] == ["mara", "lin"]
    body = {"name": "Quay", "members": [{"character": "lin"}, {"character": "mara"}]}
    turned = await client.put("/api/groups/harbour", json=body, headers=any_revision)
    assert [(m["character"], m["talkativeness"]) for m in turned.json()["members"]] == [("lin", 0.5), ("mara", 0.9)]
    stale = await client.delete("/api/groups/harbour/members/mara", headers={"If-Match": '"2"'})
    assert stale.status_code == 412
    assert (await client.delete("/api/groups/harbour/members/mara")).status_code == 428
    assert (await client.delete("/api/groups/harbour/members/bob", headers=any_revision)).status_code == 404


async def test_a_deleted_character_is_no_member_until_it_is_restored(client: httpx.AsyncClient, form: Fixture) -> None:
    await form("mara", "bob", members=[{"character": "mara", "talkativeness": 0.1}, {"character": "bob"}])
    await client.delete("/api/characters/mara", headers={"If-Match": "*"})
    group = (await client.get("/api/groups/harbour")).json()
    assert [m["character"] for m in group["members"]] == ["bob"]
    body = {"name": "Quay", "members": [{"character": "bob"}]}
    assert (await client.put("/api/groups/harbour", json=body, headers={"If-Match": "*"})).status_code == 200
    await client.post("/api/characters/mara/restore")
    group = (await client.get("/api/groups/harbour")).json()
    assert [(m["character"], m["talkativeness"]) for m in group["members"]] == [("bob", 0.5), ("mara", 0.1)]


async def test_a_member_is_as_talkative_as_its_card_says(client: httpx.AsyncClient, form: Fixture) -> None:
    await form("bob")
    for slug, told in (("loud", "0.85"), ("odd", "NaN"), ("wild", 7)):
        card = {"spec": "chara_card_v2", "spec_version": "2.0"}
        data = {"name": slug, "description": "x", "extensions": {"talkativeness": told}}
        made = await client.post("/api/characters/import", json=card | {"data": data}, params={"slug": slug})
        assert made.status_code == 201, made.text
        await client.put(f"/api/groups/harbour/members/{slug}", json={}, headers={"If-Match": "*"})
    group = (await client.get("/api/groups/harbour")).json()
    assert {m["character"]: m["talkativeness"] for m in group["members"]} == {
        **{"bob": 0.5, "loud": 0.85},
        **{"odd": 0.5, "wild": 1.0},
    }


async def test_a_group_is_hidden_and_brought_back_and_its_slug_is_free_meanwhile(
    client: httpx.AsyncClient, form: Fixture, rows: Fixture
) -> None:
    group = await form()
    before = await rows()
    again = await client.post("/api/groups", json={"slug": "harbour", "name": "Other"})
    assert (again.status_code, again.json()["title"]) == (409, "slug_taken")
    nobody = {"slug": "x", "name": "X", "members": [{"character": "nobody"}]}
    assert (await client.post("/api/groups", json=nobody)).status_code == 404
    twice = {"slug": "x", "name": "X", "members": [{"character": "mara"}, {"character": "mara"}]}
    assert (await client.post("/api/groups", json=twice)).status_code == 422
    assert await rows() == before
    await client.delete("/api/groups/harbour", headers={"If-Match": "*"})
    assert (await client.get("/api/groups/harbour")).status_code == 404
    back = await client.post("/api/groups/harbour/restore")
    assert back.json()["members"] == group["members"]
    assert (await client.post("/api/characters/harbour/restore")).status_code == 404
    one_page = (await client.get("/api/groups?limit=1")).json()
    assert (len(one_page["items"]), one_page["next"]) == (1, None)


async def test_a_character_may_have_the_slug_of_a_group_and_another_owner_sees_neither(
    client: httpx.AsyncClient, form: Fixture, as_owner: Fixture
) -> None:
    await form()
    made = await client.post("/api/characters", json={"slug": "harbour", "name": "Harbour", "persona": "x"})
    assert made.status_code == 201
    other = await as_owner("bo")
    assert (await other.get("/api/groups")).json()["items"] == []
    assert (await other.get("/api/groups/harbour")).status_code == 404
