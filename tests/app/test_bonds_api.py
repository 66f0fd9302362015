from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select

from app.bond.store import lock_bond
from app.db import Database
from app.services import Services
from app.sessions.store import Scope
from app.tables import Character
from retrieval.emotion import EMOTIONS

Fixture = Any
SHOWING_UP = 0.5
STAGES = [
    {"name": "friend", "affinity": 2, "greeting": "You!"},
    {"name": "stranger", "affinity": 0},
]


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira | {"stages": STAGES})).status_code == 201


async def read(client: httpx.AsyncClient, user: str = "ana", slug: str = "mira") -> dict[str, Any]:
    answer = await client.get(f"/api/bonds/{slug}", params={"user": user})
    assert answer.status_code == 200, answer.text
    bond: dict[str, Any] = answer.json()
    return bond


async def test_before_they_meet_the_bond_is_the_one_they_will_begin_with(
    client: httpx.AsyncClient, rows: Fixture
) -> None:
    before = await rows()
    bond = await read(client)
    calm = dict.fromkeys(EMOTIONS, 0.0)
    expected = {"character": "mira", "user": "ana", "affinity": 0.0, "stage": "stranger", "mood": calm, "turns": 0}
    expected["variables"] = {}
    assert bond == expected
    assert await rows() == before, "looking is not meeting"


async def test_the_bond_grows_with_every_turn_of_that_user_only(client: httpx.AsyncClient, talk: Fixture) -> None:
    await talk("mira", "What time does the ferry leave?")
    first = await read(client)
    assert first["turns"] == 1
    assert first["affinity"] >= SHOWING_UP
    await talk("mira", "Thank you, I am so happy that you helped me! You are wonderful!")
    second = await read(client)
    assert second["turns"] == 2
    assert second["affinity"] > first["affinity"] + SHOWING_UP
    assert max(second["mood"].values()) > 0.1
    await talk("mira", "I love this place, thank you for being so kind to me!")
    assert (await read(client))["stage"] == "friend"
    assert (await read(client, "bo"))["turns"] == 0
    begun = await client.post("/api/sessions", json={"character": "mira", "user": "ana"})
    assert begun.json()["branch"][0]["text"] == "You!", "the greeting fits the stage"


async def test_a_turn_that_is_not_stored_leaves_the_bond_as_it_was(client: httpx.AsyncClient, talk: Fixture) -> None:
    await talk("mira", "Thank you, thank you!", store=False)
    assert (await read(client))["turns"] == 0


async def test_the_stage_is_told_for_the_character_as_it_is_now(client: httpx.AsyncClient, talk: Fixture) -> None:
    await talk("mira", "Hello.")
    body = {"name": "Mira", "persona": "P.", "stages": [{"name": "sworn", "affinity": 0.1}]}
    await client.put("/api/characters/mira", json=body, headers={"If-Match": "*"})
    assert (await read(client))["stage"] == "sworn"
    await client.put("/api/characters/mira", json=body | {"stages": []}, headers={"If-Match": "*"})
    assert (await read(client))["stage"] == ""


@contextmanager
def asked(db: Database) -> Iterator[list[str]]:
    """The statements that a database is sent."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(db.engine.sync_engine, "before_cursor_execute", note)
    yield statements
    event.remove(db.engine.sync_engine, "before_cursor_execute", note)


async def test_bonds_are_listed_with_as_few_questions_however_many_they_are(
    client: httpx.AsyncClient, talk: Fixture, services: Services
) -> None:
    for user in ("ana", "bo", "cy"):
        await talk("mira", "Good morning!", user=user)
    counts = []
    for limit in (1, 3):
        tries = []
        for _ in range(5):  # work in the background may ask something at the same time, but not every time
            with asked(services.db) as statements:
                listed = (await client.get("/api/bonds", params={"limit": limit})).json()["items"]
            tries.append(len(statements))
        counts.append(min(tries))
        assert [bond["user"] for bond in listed] == ["cy", "bo", "ana"][:limit]
        assert [bond["turns"] for bond in listed] == [1] * limit
    assert counts[0] == counts[1]


async def test_the_bond_of_an_unknown_character_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/bonds/nobody")
    assert (answer.status_code, answer.json()["title"]) == (404, "character_not_found")


async def test_a_bond_that_two_turns_make_at_once_counts_both(services: Services) -> None:
    async with services.db.read() as db:
        character = (await db.scalars(select(Character.id))).one()
    scope = Scope("local", "ana", character)

    async def move() -> None:
        async with services.db.write() as db:
            bond = await lock_bond(db, scope)
            bond.turns += 1

    await asyncio.gather(*(move() for _ in range(6)))
    async with services.db.write() as db:
        assert (await lock_bond(db, scope)).turns == 6
