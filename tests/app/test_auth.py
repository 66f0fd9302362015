from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from app.auth import create_key
from app.errors import Forbidden
from app.services import Services
from app.settings import is_loopback
from app.tables import SHARED, ApiKey, now
from models.scripted import ScriptedEngine

Fixture = Any
PLACES = ("/v1/models", "/api/characters")


@pytest.fixture
async def key(services: Services) -> str:
    async with services.db.write() as db:
        return await create_key(db, "ana", "laptop", admin=False)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def told(answer: httpx.Response) -> tuple[str, str]:
    """Code and message of an error, which must have the shape of its route's family."""
    body = answer.json()
    if answer.request.url.path.startswith("/v1"):
        assert answer.headers["content-type"] == "application/json"
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return body["error"]["code"], body["error"]["message"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(body)
    assert (body["status"], body["type"]) == (answer.status_code, f"urn:moodline:{body['title']}")
    return body["title"], body["detail"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_loopback_server_needs_no_key_and_takes_any_placeholder(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    assert (await client.post("/api/characters", json=mira | {"shared": True})).status_code == 201, "no admin"
    for headers in ({}, bearer("none"), bearer("sk-proj-123"), bearer(""), {"Authorization": "Basic YTpi"}):
        for place in PLACES:
            assert (await client.get(place, headers=headers)).status_code == 200, headers


async def test_a_key_of_ours_counts_on_an_open_server_too(
    client: httpx.AsyncClient, key: str, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira)
    assert (await client.get("/api/characters/mira")).status_code == 200
    assert (await client.get("/api/characters/mira", headers=bearer(key))).status_code == 404, (
        "it is the local person's"
    )
    for place in PLACES:
        wrong = await client.get(place, headers=bearer("ml-wrong"))
        assert (wrong.status_code, told(wrong)[0]) == (401, "invalid_api_key")


async def test_a_server_that_asks_for_keys_takes_only_keys_it_knows(
    serve: Fixture, services: Services, key: str
) -> None:
    http = await serve(require_key=True)
    async with services.db.write() as db:
        revoked = await create_key(db, "ana", "lost phone", admin=True)
        await db.execute(update(ApiKey).where(ApiKey.name == "lost phone").values(revoked_at=now()))
    none: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        bearer(" "),
        {"Authorization": key},
    )
    basic = ({"Authorization": f"Basic {key}"}, {"X-API-Key": key})
    for headers in (*none, *basic):
        for place in PLACES:
            answer = await http.get(place, headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"] == "Bearer"
            assert told(answer)[0] == "invalid_api_key"
            assert "moodline keys create" in told(answer)[1]
    long, odd = "ml-" + "x" * 100_000, "ml-\x80\xff'; DROP TABLE api_keys; --"
    for wrong in (revoked, key[:-1], key + "x", key.upper(), "ml-", long, odd, f"{key} {key}"):
        for place in PLACES:
            answer = await http.get(place, headers={"Authorization": f"Bearer {wrong}".encode("latin-1")})
            assert (answer.status_code, told(answer)[0]) == (401, "invalid_api_key"), wrong
            assert wrong not in answer.text, "a key is never repeated"
    for right in (f"Bearer {key}", f"bearer {key}", f"BEARER   {key} "):
        for place in PLACES:
            assert (await http.get(place, headers={"Authorization": right})).status_code == 200, right


async def test_a_key_is_stored_as_a_digest_only(services: Services, key: str) -> None:
    async with services.db.read() as db:
        row = (await db.scalars(select(ApiKey))).one()
    assert key.startswith("ml-")
    assert len(key) > 40
    assert key not in str(vars(row))
    assert row.prefix == key[:8]


async def test_nobody_can_be_everybody(services: Services) -> None:
    async with services.db.write() as db:
        with pytest.raises(Forbidden):
            await create_key(db, SHARED, "x", admin=True)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_route_but_health_and_docs_asks_for_a_key(serve: Fixture) -> None:
    http = await serve(require_key=True)
    spec = (await http.get("/openapi.json")).json()
    open_routes = set()
    for path, methods in spec["paths"].items():
        for method in methods:
            place = path.replace("{line_id}", "1").replace("{memory_id}", "1").replace("{", "").replace("}", "")
            answer = await http.request(method, place, json={})
            assert answer.status_code < 500 or path == "/readyz", (method, path)
            if answer.status_code != 401:
                open_routes.add(path)
    assert open_routes == {"/healthz", "/readyz", "/metrics"}


FOREIGN = [
    "evil.example",
    "moodline.local:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "0.0.0.0",
    "[::2]",
]
FOREIGN += ["", "[::1", "::1", "[", "localhost@evil.example", "evil.example#localhost", "192.168.1.5:8000", "*"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_open_server_answers_to_loopback_names_only(client: httpx.AsyncClient) -> None:
    for host in ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8000"):
        for place in (*PLACES, "/healthz"):
            assert (await client.get(place, headers={"Host": host})).status_code == 200, host
    for host in FOREIGN:
        for place in (*PLACES, "/healthz", "/docs"):
            answer = await client.get(place, headers={"Host": host})
            assert (answer.status_code, told(answer)[0]) == (403, "forbidden"), host
            assert "MOODLINE_REQUIRE_KEY" in told(answer)[1]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_open_server_refuses_pages_of_another_origin(client: httpx.AsyncClient, rows: Fixture) -> None:
    before = await rows()
    host = {"Host": "127.0.0.1:8000"}
    for origin in ("https://evil.example", "http://localhost:8000", "http://127.0.0.1:3000", "null", "http://[", "x"):
        answer = await client.post("/api/sessions", json={"character": "x"}, headers={**host, "Origin": origin})
        assert (answer.status_code, told(answer)[0]) == (403, "forbidden"), origin
        assert "access-control-allow-origin" not in answer.headers
    for path in PLACES:
        same = await client.get(path, headers={**host, "Origin": "http://127.0.0.1:8000"})
        assert same.status_code == 200
    assert await rows() == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_simple_form_of_another_site_can_not_change_anything(
    client: httpx.AsyncClient, rows: Fixture, mira: dict[str, Any]
) -> None:
    """Browsers send such a request without asking first, and some without an Origin."""
    before = await rows()
    for media in ("text/plain", "application/x-www-form-urlencoded"):
        content = httpx.Request("POST", "http://x", json=mira).content
        answer = await client.post("/api/characters", content=content, headers={"content-type": media})
        assert answer.status_code == 415, media
    assert await rows() == before


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_server_that_asks_for_keys_answers_to_any_name(serve: Fixture, key: str) -> None:
    http = await serve(bearer(key), require_key=True)
    for host in ("moodline.example", "10.0.0.7:8000", "", "[::1"):
        assert (await http.get("/v1/models", headers={"Host": host})).status_code == 200, host
    from_page = await http.get("/v1/models", headers={"Host": "a.example", "Origin": "https://b.example"})
    assert from_page.status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_every_response_has_a_request_id_of_its_own(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies.append(RuntimeError("a fault nobody thought of"))
    bare = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
    answers = [
        await client.get("/healthz"),
        await client.get("/v1/models"),
        await client.get("/v1/nowhere"),
        await client.get("/nowhere", headers={"x-request-id": "not mine"}),
        await client.get("/api/characters/%00"),
        await client.delete("/v1/models"),
        await client.get("/v1/models", headers={"Host": "evil.example"}),
        await client.get("/v1/models", headers=bearer("ml-wrong")),
        await client.post("/api/characters", content=b"{", headers={"content-type": "application/json"}),
        await client.post("/v1/chat/completions", content=b"x" * 5_000_000),
        await client.post("/v1/chat/completions", json=bare),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 400, 405, 403, 401, 400, 413, 500]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(found) == 1 and found[0].startswith("req_") for found in ids), ids
    assert len({found[0] for found in ids}) == len(ids)
    code, message = told(answers[-1])
    assert code == "server_error"
    assert ids[-1][0] in message
    assert "nobody thought" not in message, "what broke is for the log only"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_unknown_routes_and_methods_are_told_in_the_shape_of_their_family(client: httpx.AsyncClient) -> None:
    for path in ("/v1/nowhere", "/v1", "/v1/chat", "/api/nowhere", "/api/characters/a/b/c", "/nowhere", "/"):
        answer = await client.get(path)
        assert (answer.status_code, told(answer)[0]) == (404, "not_found"), path
        assert f"GET {path}" in told(answer)[1]
    for method, path in (
        ("GET", "/v1/chat/completions"),
        ("DELETE", "/v1/models"),
        ("PATCH", "/api/characters/mira"),
        ("POST", "/api/memories"),
        ("TRACE", "/api/characters"),
    ):
        answer = await client.request(method, path)
        assert (answer.status_code, told(answer)[0]) == (405, "method_not_allowed"), path
        assert answer.headers["allow"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_options_and_refused_methods_name_every_method_of_a_path(client: httpx.AsyncClient) -> None:
    for path, methods in (
        ("/v1/models", "GET, HEAD, OPTIONS"),
        ("/v1/chat/completions", "OPTIONS, POST"),
        ("/api/characters", "GET, HEAD, OPTIONS, POST"),
    ):
        answer = await client.options(path)
        assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b"")
        assert (await client.request("TRACE", path)).headers["allow"] == methods
    assert (await client.options("/v1/nowhere")).status_code == 404


async def test_head_is_get_without_a_body(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        for path in ("/v1/models", "/healthz", "/v1/nowhere"):
            got, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.content) == (got.status_code, b"")
            assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_who_calls_is_settled_before_the_body_is_read(serve: Fixture) -> None:
    http = await serve(require_key=True)
    for content in (b"{", b"\xff", b"", b"[]", b"x" * 5_000_000):
        for path in ("/v1/chat/completions", "/api/characters", "/v1/nowhere"):
            answer = await http.post(path, content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, told(answer)[0]) == (401, "invalid_api_key"), content[:9]
    error = (await http.post("/v1/chat/completions", content=b"{")).json()["error"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_clients_own_request_id_comes_back_when_it_is_sane(client: httpx.AsyncClient) -> None:
    for mine in ("req-7", "01890a5d-ac96-774b-bcce-b302099a8057", "a" * 128):
        for path in ("/v1/models", "/nowhere"):
            assert (await client.get(path, headers={"X-Request-Id": mine})).headers["x-request-id"] == mine
    for odd in ("", "a b", "a" * 129, "é", "<script>", 'a"b'):
        answer = await client.get("/v1/models", headers={b"x-request-id": odd.encode("latin-1")})
        assert answer.headers["x-request-id"].startswith("req_")


def test_loopback_is_this_machine_only() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.255.0.1", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.", "example.com", "127.0.0.1.evil")))
