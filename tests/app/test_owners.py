from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.services import Services
from app.tables import Base
from models.scripted import ScriptedEngine

Fixture = Any
LINES = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."
BODIES: dict[str, Any] = {
    "put /api/characters/{slug}": {"name": "Stolen", "persona": "Stolen."},
    "put /api/characters/{slug}/lore": [],
    "patch /api/memories/{memory_id}": {"text": "stolen", "pinned": True},
}


async def chat(http: httpx.AsyncClient, engine: ScriptedEngine, slug: str = "mira", **headers: str) -> httpx.Response:
    engine.replies.append("Aye.")
    body = {"model": f"char/{slug}", "user": "same", "messages": [{"role": "user", "content": "My cat is Pickle."}]}
    return await http.post("/v1/chat/completions", json=body, headers=headers)


@pytest.fixture
async def ana(as_owner: Fixture) -> httpx.AsyncClient:
    http: httpx.AsyncClient = await as_owner("ana")
    return http


@pytest.fixture
async def bo(as_owner: Fixture) -> httpx.AsyncClient:
    http: httpx.AsyncClient = await as_owner("bo", admin=True)
    return http


@pytest.fixture
async def ids(ana: httpx.AsyncClient, engine: ScriptedEngine, mira: dict[str, Any]) -> dict[str, str]:
    """One of everything that has an id, ana's."""
    assert (await ana.post("/api/characters", json=mira)).status_code == 201
    upload = await ana.post("/api/characters/mira/lines", content=LINES)
    turn = await chat(ana, engine)
    return {
        "slug": "mira",
        "name": "char/mira",
        "import_id": upload.json()["id"],
        "line_id": str((await ana.get("/api/characters/mira/lines")).json()["items"][0]["id"]),
        "session_id": turn.headers["x-session-id"],
        "turn_id": turn.headers["x-moodline-turn"],
        "memory_id": str((await ana.get("/api/memories")).json()["items"][0]["id"]),
    }


async def everything(services: Services) -> dict[str, list[str]]:
    """Every row of every table."""
    async with services.db.read() as db:
        tables = Base.metadata.sorted_tables
        return {table.name: sorted(map(str, await db.execute(select(table)))) for table in tables}


async def routes_with_ids(http: httpx.AsyncClient) -> list[tuple[str, str]]:
    paths = (await http.get("/openapi.json")).json()["paths"]
    found = [(method, path) for path, methods in paths.items() for method in methods if "{" in path]
    # What takes things away comes last, so that it is still there for those before.
    return sorted(found, key=lambda route: (route[0] == "delete", -route[1].count("/")))


async def ask(http: httpx.AsyncClient, method: str, path: str, ids: dict[str, str]) -> httpx.Response:
    more: dict[str, Any] = {"content": LINES} if path.endswith("/lines") and method == "post" else {}
    if f"{method} {path}" in BODIES:
        more = {"json": BODIES[f"{method} {path}"]}
    return await http.request(method, path.format_map(ids), headers={"If-Match": "*"}, **more)


async def test_nothing_of_another_owner_is_found_by_any_route(
    ana: httpx.AsyncClient, bo: httpx.AsyncClient, ids: dict[str, str], services: Services, mira: dict[str, Any]
) -> None:
    before = await everything(services)
    routes = await routes_with_ids(ana)
    assert len(routes) >= 18
    for method, path in routes:
        answer = await ask(bo, method, path, ids)
        assert answer.status_code == 404, (method, path, answer.text)
        assert "Pickle" not in answer.text
    assert await everything(services) == before
    assert (await bo.post("/api/characters", json=mira)).status_code == 201
    before = await everything(services)
    # A character of one's own must not be the door to what hangs on another's.
    for method, path in routes:
        if path.count("{") == 2:
            answer = await ask(bo, method, path, ids)
            assert answer.status_code == 404, (method, path, answer.text)
    await bo.delete("/api/characters/mira/lines", params={"import_id": ids["import_id"]})
    after = await everything(services)
    assert after["lines"] == before["lines"]


async def test_the_owner_itself_is_let_in_by_every_one_of_those_routes(
    ana: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    """Else the test above would pass on a server where everything is a 404."""
    for method, path in await routes_with_ids(ana):
        if path.endswith("/restore"):
            continue
        answer = await ask(ana, method, path, ids)
        assert answer.status_code in (200, 202, 204), (method, path, answer.text)
    assert (await ask(ana, "post", "/api/characters/{slug}/restore", ids)).status_code == 200


async def test_a_deleted_character_is_not_restored_for_another_owner(
    ana: httpx.AsyncClient, bo: httpx.AsyncClient, ids: dict[str, str]
) -> None:
    await ask(ana, "delete", "/api/characters/{slug}", ids)
    assert (await ask(bo, "post", "/api/characters/{slug}/restore", ids)).status_code == 404


@pytest.mark.usefixtures("ids")
async def test_lists_hold_only_ones_own(ana: httpx.AsyncClient, bo: httpx.AsyncClient) -> None:
    for path in ("/api/characters", "/api/sessions", "/api/memories", "/api/memories?user=same"):
        assert len((await ana.get(path)).json()["items"]) == 1, path
        assert (await bo.get(path)).json()["items"] == [], path
    for path in ("/api/sessions?character=mira", "/api/memories?character=mira"):
        assert (await bo.get(path)).status_code == 404, path
    assert "char/mira" not in (await bo.get("/v1/models")).text


async def test_another_owners_session_is_neither_continued_nor_told_apart_from_none(
    bo: httpx.AsyncClient, ids: dict[str, str], engine: ScriptedEngine, services: Services, mira: dict[str, Any]
) -> None:
    stranger = await chat(bo, engine)
    assert (stranger.status_code, stranger.json()["error"]["code"]) == (404, "model_not_found")
    await bo.post("/api/characters", json=mira)
    before = await everything(services)
    theirs = await chat(bo, engine, **{"x-session-id": ids["session_id"]})
    none = await chat(bo, engine, **{"x-session-id": "0" * 32})
    assert theirs.status_code == none.status_code == 404
    assert theirs.text.replace(ids["session_id"], "") == none.text.replace("0" * 32, "")
    assert await everything(services) == before


async def test_owners_whose_users_have_the_same_name_share_nothing_of_a_shared_character(
    ana: httpx.AsyncClient, bo: httpx.AsyncClient, engine: ScriptedEngine, mira: dict[str, Any]
) -> None:
    await bo.post("/api/characters", json=mira | {"shared": True})
    first, second = await chat(ana, engine), await chat(bo, engine)
    assert first.headers["x-session-id"] != second.headers["x-session-id"], "the same words, but not the same talk"
    trace = (await bo.get(f"/api/turns/{second.headers['x-moodline-turn']}/trace")).json()
    assert trace["memories"] == []
    for http in (ana, bo):
        assert (await http.get("/api/bonds/mira?user=same")).json()["turns"] == 1
        assert len((await http.get("/api/memories")).json()["items"]) == 1
        assert len((await http.get("/api/sessions")).json()["items"]) == 1
    assert [asked.owner for asked in engine.asked] == ["ana", "bo"], "caches of prompts are kept apart too"
