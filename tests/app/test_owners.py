"""Another owner's things do not exist: every route that the document lists is tried with their ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.services import Services
from app.tables import Base
from models.scripted import ScriptedEngine

Fixture = Any
Ids = dict[str, str]
LINES = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."
TALK = {"model": "char/{slug}", "user": "same", "messages": [{"role": "user", "content": "My cat is Pickle."}]}
REQUESTS: dict[str, list[dict[str, Any]]] = {
    "users_read_all": [{"params": {"user": "{user}"}}],
    "users_remove": [{"params": {"user": "{user}"}}],
    "openai_complete": [
        {"json": TALK},
        {"json": TALK, "headers": {"X-Session-Id": "{session_id}"}},
        {"json": TALK | {"metadata": {"session_id": "{session_id}"}}},
    ],
    "characters_change": [{"json": {"name": "Stolen", "persona": "Stolen."}}],
    "characters_change_lore": [{"json": []}],
    "groups_create": [{"json": {"slug": "x", "name": "Thieves", "members": [{"character": "{slug}"}]}}],
    "groups_change": [
        {"json": {"name": "Thieves"}},
        {"json": {"name": "Thieves", "members": [{"character": "{slug}"}]}},
    ],
    "groups_join": [{"json": {}}],
    "lorebooks_create": [{"json": {"name": "Stolen", "character": "{slug}"}}],
    "lorebooks_import_book": [{"params": {"character": "{slug}"}, "json": {"entries": {}}}],
    "lorebooks_replace": [{"json": {"name": "Stolen"}}, {"json": {"name": "Stolen", "character": "{slug}"}}],
    "lorebooks_change": [{"json": {"name": "Stolen"}}],
    "lorebooks_try_stored": [{"json": {}}],
    "lorebooks_add_entries": [{"json": [{"content": "Stolen."}]}],
    "lorebooks_order_entries": [{"json": {"ids": []}}],
    "lorebooks_change_entry": [{"json": {"content": "Stolen."}}],
    "lines_upload": [{"content": LINES}],
    "lines_delete_lines": [{}, {"params": {"import_id": "{import_id}"}}],
    "sessions_create": [{"json": {"character": "{slug}", "user": "same"}}],
    "sessions_change_session": [{"json": {"title": "Stolen"}}],
    "sessions_fork": [{"json": {}}, {"json": {"message_id": "{message_id}"}}],
    "turns_take": [{"json": {"text": "Aye?"}}, {"json": {"text": "Aye?", "message_id": "{message_id}"}}],
    "messages_choose": [{"json": {"message_id": "{message_id}"}}],
    "messages_edit": [{"json": {"text": "Stolen."}}],
    "messages_pin": [{"json": {"pinned": True}}],
    "sessions_import_session": [{"params": {"character": "{slug}"}, "content": '{"mes": "Stolen."}'}],
    "sessions_list_sessions": [{"params": {"character": "{slug}"}}, {"params": {"before": "{session_id}"}}],
    "memories_list_memories": [{"params": {"character": "{slug}"}}],
    "bonds_read": [{"params": {"user": "{user}"}}],
    "bonds_history": [{"params": {"user": "{user}"}}],
    "bonds_list_events": [{"params": {"user": "{user}"}}],
    "bonds_list_bonds": [{"params": {"character": "{slug}"}}],
    "bonds_change": [
        {"params": {"user": "{user}"}, "json": {"affinity": 99}},
        {"params": {"user": "{user}"}, "json": {"affinity": 99, "message_id": "{message_id}"}},
    ],
    "bonds_add_event": [
        {"params": {"user": "{user}"}, "json": {"name": "theft", "changes": {"affinity": 9}}},
        {"params": {"user": "{user}"}, "json": {"name": "x", "changes": {}, "message_id": "{message_id}"}},
    ],
    "bonds_take_back": [{"params": {"user": "{user}"}}],
    "bonds_try_out": [{"params": {"user": "{user}"}, "json": {"steps": [{"feeling": {"joy": 1}}]}}],
    "personas_list_personas": [{"params": {"after": "{persona_id}"}}],
    "personas_create": [{"json": {"name": "Thief", "character": "{slug}"}}],
    "personas_change": [{"json": {"name": "Thief"}}, {"json": {"name": "Thief", "character": "{slug}"}}],
    "memories_change": [{"json": {"text": "stolen", "pinned": True}}],
}
"""What a route is asked with, where it takes more than its path; a name in braces is an id."""
NOBODY: Ids = {
    "user": "nobody",
    "slug": "nobody",
    "character": "nobody",
    "group": "nobody",
    "name": "char/nobody",
    "import_id": "0" * 32,
    "lorebook_id": "0" * 32,
    "entry_id": "987654321",
    "line_id": "987654321",
    "memory_id": "987654321",
    "event_id": "987654321",
    "persona_id": "0" * 32,
    "session_id": "0" * 32,
    "message_id": "0" * 32,
    "turn_id": "0" * 32,
}
ID_LIKE = re.compile(
    r"(^|[_-])(ids?|slug|character|session|message|turn|memory|event|persona|parent|leaf|import|before|after)$", re.I
)
NO_IDS = {
    "continue_final_message": "a switch",
    "last-event-id": "a place in a stream of one's own",
    "after": "a slug or a number to go on from, within what is one's own",
    "tool_call_id": "the client's own",
    "openai_complete id": "of a tool call, the client's own",
    "stop_token_ids": "of the language model's words",
    "characters_create slug": "the new one's",
    "characters_import_character slug": "the new one's",
    "groups_create slug": "the new one's",
    "memories_list_memories before": "a number to go on from",
    "bonds_list_bonds before": "a number to go on from",
    "bonds_list_events before": "a number to go on from",
    "persona": "a name among those of the user",
    "lorebooks_order_entries ids": "of entries, looked up within the lorebook that the path names",
    "bonds_try_out event": "the name of one that the character's rules have",
}
"""Fields that look like ids and name nothing that somebody owns."""
SERVERS_OWN = {"/api/adapters"}
"""Lists for admins, of what the server has and no owner."""


@dataclass(frozen=True)
class Route:
    """A route as the document has it, and one request to it."""

    method: str
    path: str
    name: str
    request: dict[str, Any]

    @property
    def places(self) -> list[str]:
        """The ids that it takes."""
        return sorted(set(re.findall(r"\{(\w+)\}", self.path + json.dumps(self.request, ensure_ascii=False))))

    async def ask(self, http: httpx.AsyncClient, ids: Ids) -> httpx.Response:
        """Ask it with these ids."""

        def filled(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: filled(inner) for key, inner in value.items()}
            if isinstance(value, list):
                return [filled(inner) for inner in value]
            return re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], value) if isinstance(value, str) else value

        request = filled(self.request)
        headers = {"If-Match": "*"} | request.pop("headers", {})
        return await http.request(self.method, filled(self.path), headers=headers, **request)


@pytest.fixture
async def ana(as_owner: Fixture) -> httpx.AsyncClient:
    http: httpx.AsyncClient = await as_owner("ana")
    return http


@pytest.fixture
async def bo(as_owner: Fixture) -> httpx.AsyncClient:
    http: httpx.AsyncClient = await as_owner("bo", admin=True)
    return http


@pytest.fixture
async def ids(ana: httpx.AsyncClient, engine: ScriptedEngine, mira: dict[str, Any]) -> Ids:
    """One of everything that has an id, ana's."""
    return await world(ana, engine, mira)


async def chat(http: httpx.AsyncClient, engine: ScriptedEngine, slug: str = "mira", **headers: str) -> httpx.Response:
    engine.replies.append("Aye.")
    return await http.post("/v1/chat/completions", json=TALK | {"model": f"char/{slug}"}, headers=headers)


async def world(http: httpx.AsyncClient, engine: ScriptedEngine, mira: dict[str, Any]) -> Ids:
    assert (await http.post("/api/characters", json=mira)).status_code == 201
    upload = await http.post("/api/characters/mira/lines", content=LINES)
    turn = await chat(http, engine)
    session = turn.headers["x-session-id"]
    gift = await http.post("/api/bonds/mira/events?user=same", json={"name": "gift", "changes": {"affinity": 9}})
    persona = await http.post("/api/personas?user=same", json={"name": "Ana", "text": "Has a cat, Pickle."})
    book = (await http.post("/api/lorebooks", json={"name": "Pickle", "entries": [{"content": "x"}]})).json()
    entries = (await http.get(f"/api/lorebooks/{book['id']}/entries")).json()
    group = {"slug": "harbour", "name": "Pickle's", "members": [{"character": "mira"}]}
    assert (await http.post("/api/groups", json=group)).status_code == 201
    return {
        "group": "harbour",
        "character": "mira",
        "lorebook_id": book["id"],
        "entry_id": entries[0]["id"],
        "user": "same",
        "slug": "mira",
        "name": "char/mira",
        "import_id": upload.json()["id"],
        "line_id": str((await http.get("/api/characters/mira/lines")).json()["items"][0]["id"]),
        "session_id": session,
        "message_id": (await http.get(f"/api/sessions/{session}")).json()["branch"][0]["id"],
        "persona_id": persona.json()["id"],
        "event_id": str(gift.json()["event"]["id"]),
        "turn_id": turn.headers["x-moodline-turn"],
        "memory_id": str((await http.get("/api/memories")).json()["items"][0]["id"]),
    }


async def everything(services: Services) -> dict[str, str]:
    """A digest of every row of every table."""
    async with services.db.read() as db:
        found = {
            table.name: sorted(map(repr, await db.execute(select(table)))) for table in Base.metadata.sorted_tables
        }
    return {
        table: f"{len(rows)} rows, {hashlib.sha256(repr(rows).encode()).hexdigest()}" for table, rows in found.items()
    }


def routes(document: dict[str, Any]) -> list[Route]:
    """Every request that names an id. What takes things away comes last, and what brings it back right after."""
    found = [
        Route(method, path, what["operationId"], request)
        for path, methods in document["paths"].items()
        for method, what in methods.items()
        for request in REQUESTS.get(what["operationId"], [{}])
    ]
    found = [route for route in found if route.places]

    def order(route: Route) -> tuple[Any, ...]:
        path = route.path.removesuffix("/restore")
        return (route.method == "delete" or path != route.path, -path.count("/"), path, path != route.path)

    return sorted(found, key=order)


def fields_that_look_like_ids(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The operations' parameters and body fields that seem to name something."""
    for methods in document["paths"].values():
        for what in methods.values():
            names = {parameter["name"] for parameter in what.get("parameters", []) if parameter["in"] != "path"}
            for content in what.get("requestBody", {}).get("content", {}).values():
                names |= set(properties(document, content.get("schema", {})))
            yield from ((what["operationId"], name) for name in names if ID_LIKE.search(name))


def properties(document: dict[str, Any], schema: Any, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The names of all properties of a schema, nested ones too."""
    if isinstance(schema, list):
        for inner in schema:
            yield from properties(document, inner, seen)
    if not isinstance(schema, dict):
        return
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name and name not in seen:
        yield from properties(document, document["components"]["schemas"][name], seen | {name})
    yield from schema.get("properties", {})
    for key, inner in schema.items():
        if key not in ("examples", "example", "default"):
            yield from properties(document, inner if key != "properties" else list(inner.values()), seen)


def told(answer: httpx.Response, ids: Ids) -> tuple[int, str, list[str]]:
    """An answer without the ids that were asked for."""
    text = answer.text
    for value in sorted(ids.values(), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text)
    return answer.status_code, text, sorted(set(answer.headers) - {"content-length"})


async def refused_like_nothing(http: httpx.AsyncClient, route: Route, ids: Ids, nobody: Ids) -> None:
    theirs, none = await route.ask(http, ids), await route.ask(http, nobody)
    assert theirs.status_code == 404, (route, theirs.status_code, theirs.text)
    assert told(theirs, ids) == told(none, nobody), route
    assert "Pickle" not in theirs.text


def test_the_sweep_knows_every_id_that_a_route_takes(document: dict[str, Any]) -> None:
    for route in routes(document):
        unknown = set(route.places) - set(NOBODY)
        assert not unknown, f"{route.name} takes {unknown}: let `world` make one and NOBODY name one that is not there"
    asked = {name: json.dumps(requests) for name, requests in REQUESTS.items()}
    for operation, name in fields_that_look_like_ids(document):
        if name in NO_IDS or f"{operation} {name}" in NO_IDS:
            continue
        known = re.search(rf'"{name}": "[^"]*\{{', asked.get(operation, ""), re.I)
        assert known, f"{operation} takes {name!r}: say in REQUESTS how it is asked for, or in NO_IDS why it is none"
    assert set(REQUESTS) <= {what["operationId"] for methods in document["paths"].values() for what in methods.values()}


async def test_nothing_of_another_owner_is_found_changed_or_told_apart_from_nothing(
    document: dict[str, Any], bo: httpx.AsyncClient, ids: Ids, services: Services
) -> None:
    before = await everything(services)
    for route in routes(document):
        await refused_like_nothing(bo, route, ids, NOBODY)
        assert await everything(services) == before, route


async def test_ones_own_things_are_no_door_to_anothers(
    document: dict[str, Any],
    bo: httpx.AsyncClient,
    ids: Ids,
    services: Services,
    engine: ScriptedEngine,
    mira: dict[str, Any],
) -> None:
    own = await world(bo, engine, mira)
    before = await everything(services)
    for route in routes(document):
        for place in set(route.places) - {"slug", "name", "user", "group", "character"}:
            # A slug or a user's name of the other's is one's own, too.
            await refused_like_nothing(bo, route, own | {place: ids[place]}, own | {place: NOBODY[place]})
            assert await everything(services) == before, (route, place)


async def test_the_owner_itself_is_let_in_by_every_one_of_those_routes(
    document: dict[str, Any], ana: httpx.AsyncClient, bo: httpx.AsyncClient, ids: Ids, engine: ScriptedEngine
) -> None:
    """Else the tests above would pass on a server where everything is a 404."""
    engine.replies += ["Aye."] * 50
    for route in routes(document):
        if route.path.endswith("/restore"):
            await refused_like_nothing(bo, route, ids, NOBODY)
        answer = await route.ask(ana, ids)
        assert answer.is_success, (route, answer.status_code, answer.text)


@pytest.mark.usefixtures("ids")
async def test_lists_hold_only_ones_own(
    document: dict[str, Any], ana: httpx.AsyncClient, bo: httpx.AsyncClient, ids: Ids
) -> None:
    theirs = {value for name, value in ids.items() if name not in ("line_id", "memory_id", "event_id", "entry_id")} | {
        "Pickle"
    }
    lists = [
        path
        for path, methods in document["paths"].items()
        if path.startswith(("/api/", "/v1/"))
        and path not in SERVERS_OWN
        and "{" not in path
        and "get" in methods
        and not any(parameter["required"] for parameter in methods["get"].get("parameters", []))
    ]
    assert len(lists) >= 4
    for path in lists:
        for query in ("", "?user=same", "?q=Pickle", "?q=mira", "?deleted=true"):
            mine = await bo.get(path + query)
            assert mine.status_code == 200, (path, query, mine.text)
            assert not [value for value in theirs if value in mine.text], (path, query)
        assert [value for value in theirs if value in (await ana.get(path)).text], path


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
