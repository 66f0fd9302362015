"""What a server of revision 0007 had stored: `0007.zip` is the backup that it made after three turns with Mira."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.backup.load import load
from app.check.everything import everything
from app.reindex import embed_waiting
from app.services import Services
from models.scripted import ScriptedEngine

OLD = Path(__file__).with_name("0007.zip")


@pytest.fixture
async def database_url(empty_url: str) -> str:
    """The old tables with the old rows, brought to the newest revision."""
    await load(empty_url, OLD, replace=False, progress=lambda _step, _more: None)
    return empty_url


async def test_a_conversation_of_an_older_server_goes_on_with_its_memories_its_bond_and_its_lore(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services
) -> None:
    assert await everything(services.db) == {}
    await embed_waiting(services)
    bond = (await client.get("/api/bonds/mira", params={"user": "ana"})).json()
    assert (bond["stage"], bond["turns"]) == ("friend", 3)
    assert bond["affinity"] == pytest.approx(5.45, abs=0.005)
    (session,) = (await client.get("/api/sessions")).json()["items"]
    branch = (await client.get(f"/api/sessions/{session['id']}")).json()["branch"]
    talk = [{"role": message["role"], "content": message["text"]} for message in branch]
    assert len(talk) == 6
    engine.replies.append("Pickle, and he is not fond of mackerel.")
    talk.append({"role": "user", "content": "What is my cat called, and does he eat mackerel?"})
    body = {"model": "char/mira", "user": "ana", "messages": talk, "moodline": {"window": 2}}
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.headers["x-session-id"] == session["id"]
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    assert any("My cat is called Pickle" in memory["text"] for memory in trace["memories"] if memory["kept"])
    system = "\n".join(message["content"] for message in trace["prompt"] if message["role"] == "system")
    for told in ("Mira trusts ana.", "The harbour freezes in January.", "Mackerel is forbidden in the galley"):
        assert told in system
    after = (await client.get("/api/bonds/mira", params={"user": "ana"})).json()
    assert (after["turns"], after["affinity"] > bond["affinity"]) == (4, True)
    assert (await client.get(f"/api/sessions/{session['id']}")).json()["branch"][:6] == branch
    assert await everything(services.db) == {}
