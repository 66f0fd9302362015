"""The OpenAPI document is true: a tester that knows nothing but it finds nothing that it does not tell."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from app.auth import create_key
from app.services import Services
from app.settings import Settings
from models.scripted import ScriptedEngine

Fixture = Any
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
CONFIG = Path(__file__).with_name("schemathesis.toml")
LONG_RUN = int(os.environ.get("MOODLINE_OPENAPI_SECONDS", "0"))
"""Seconds that each run below takes; unset, a few examples a route."""
LINES = "Sam: Is it mended?\nMira: Almost, give me an hour and some light."


class EndlessScript(deque[Any]):
    """Always the same reply."""

    def __bool__(self) -> bool:
        return True

    def popleft(self) -> str:
        return "Aye."


@pytest.fixture
def engine() -> ScriptedEngine:
    engine = ScriptedEngine()
    engine.replies = EndlessScript()
    return engine


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, what) for path, methods in document["paths"].items() for method, what in methods.items()]


def test_every_route_has_a_readable_name_of_its_own_and_says_what_it_does(document: dict[str, Any]) -> None:
    names = [what["operationId"] for _path, _method, what in operations(document)]
    assert len(set(names)) == len(names)
    for path, _method, what in operations(document):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", what["operationId"]), what["operationId"]
        assert what.get("description") or what.get("summary"), path


def test_every_route_with_a_key_tells_of_its_errors_in_its_familys_shape(document: dict[str, Any]) -> None:
    for path, method, what in operations(document):
        if not path.startswith(("/v1", "/api")):
            continue
        family = (
            ("application/json", "OpenAIError") if path.startswith("/v1") else ("application/problem+json", "Problem")
        )
        errors = {int(status): answer for status, answer in what["responses"].items() if int(status) >= 400}
        assert {400, 401, 403, 429, 500} <= set(errors), (method, path)
        for status, error in errors.items():
            media, shape = family
            assert error["content"][media]["schema"]["$ref"].endswith(f"/{shape}"), (method, path, status)


def test_bounds_are_told_to_the_last_digit(document: dict[str, Any]) -> None:
    for name in ("ChatRequest", "TurnRequest"):
        seed = document["components"]["schemas"][name]["properties"]["seed"]["anyOf"][0]
        assert str(seed) == str({"type": "integer", "exclusiveMaximum": 2**63, "minimum": -(2**63)})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_server_that_asks_for_keys_is_silent_on_every_route_without_one(
    document: dict[str, Any], serve: Fixture
) -> None:
    http = await serve(require_key=True)
    open_to_all = []
    for path, method, _what in operations(document):
        answer = await http.request(method, re.sub(r"\{\w+\}", "1", path))
        if answer.status_code != 401:
            open_to_all.append(path)
    assert open_to_all == ["/healthz", "/readyz", "/metrics"]


async def seed(http: httpx.AsyncClient, mira: dict[str, Any]) -> dict[str, list[Any]]:
    """One of everything, and the values by which it is found."""
    (await http.post("/api/characters", json=mira)).raise_for_status()
    (await http.post("/api/characters", json=mira | {"slug": "lost"})).raise_for_status()
    (await http.delete("/api/characters/lost", headers={"If-Match": "*"})).raise_for_status()
    upload = await http.post("/api/characters/mira/lines", content=LINES)
    messages = [{"role": "user", "content": "My cat is Pickle."}]
    turns = [
        await http.post("/v1/chat/completions", json={"model": "char/mira", "user": user, "messages": messages})
        for user in ("ana", "bo")
    ]
    sessions = [turn.headers["x-session-id"] for turn in turns]
    branches = [(await http.get(f"/api/sessions/{session}")).json()["branch"] for session in sessions]
    lines = (await http.get("/api/characters/mira/lines")).json()["items"]
    memories = (await http.get("/api/memories")).json()["items"]
    changes = {"name": "gift", "changes": {"affinity": 9}}
    gifts = [await http.post("/api/bonds/mira/events", params={"user": user}, json=changes) for user in ("ana", "bo")]
    personas = [
        await http.post("/api/personas", params={"user": user}, json={"name": user.title()}) for user in ("ana", "bo")
    ]
    group = {"slug": "harbour", "name": "Harbour", "members": [{"character": "mira"}]}
    (await http.post("/api/groups", json=group)).raise_for_status()
    return {
        "group": ["harbour"],
        "slug": ["mira", "lost"],
        "name": ["char/mira", "scripted"],
        "user": ["ana", "bo"],
        "if_match": ["*", '"1"', '"2"'],
        "session_id": sessions,
        "message_id": [message["id"] for branch in branches for message in branch],
        "turn_id": [turn.headers["x-moodline-turn"] for turn in turns],
        "import_id": [upload.json()["id"]],
        "line_id": [line["id"] for line in lines],
        "memory_id": [memory["id"] for memory in memories],
        "event_id": [gift.json()["event"]["id"] for gift in gifts],
        "persona_id": [persona.json()["id"] for persona in personas],
    }


def write_config(folder: Path, found: dict[str, list[Any]]) -> Path:
    """The configuration, with the dictionaries that it names."""
    parts = [f'hooks = "{CONFIG.with_name("schemathesis_hooks.py")}"', CONFIG.read_text()]
    parts += [f"[dictionaries.{name}]\nvalues = {values!r}" for name, values in found.items()]
    config = folder / "schemathesis.toml"
    config.write_text("\n".join(parts))
    return config


async def examine(address: str, config: Path, *options: str) -> None:
    """Run schemathesis; it must find nothing."""
    bounds = ["--max-time", str(LONG_RUN)] if LONG_RUN else ["--max-examples", "4", "--seed", "1"]
    command = [SCHEMATHESIS, "--config-file", config, "run", f"{address}/openapi.json", *bounds, *options]
    with anyio.fail_after(LONG_RUN * 2 + 900):
        done = await anyio.run_process(list(map(str, command)), check=False, cwd=config.parent, stderr=-2)
    report = done.stdout.decode()
    assert done.returncode == 0, report
    print(report)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_tester_that_knows_only_the_document_finds_no_fault_without_a_key(
    address: str, tmp_path: Path, mira: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        config = write_config(tmp_path, await seed(http, mira))
    await examine(address, config)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestWithAKey:
    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path) -> Settings:
        limits = {"requests_per_minute": 0, "streams": 0}
        home = tmp_path / "home"
        return Settings(home=home, database_url=database_url, require_key=True, **limits, _env_file=None)

    async def test_a_tester_that_knows_only_the_document_finds_no_fault_with_a_key(
        self, address: str, tmp_path: Path, mira: dict[str, Any], services: Services
    ) -> None:
        async with services.db.write() as db:
            key = await create_key(db, "ana", "tester", admin=False)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as http:
            config = write_config(tmp_path, await seed(http, mira))
        await examine(address, config, "--header", f"Authorization:Bearer {key}")
