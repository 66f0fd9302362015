"""Any number of processes may share a PostgreSQL database: it makes no difference which of them is asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import select

from app.db import Database
from app.tables import Bond, Memory, Message, Session, Trace
from tests.e2e.conftest import Server

CHARACTER = {
    "slug": "mira",
    "name": "Mira",
    "persona": "Mends nets.",
    "stages": [{"name": "stranger", "affinity": 0}, {"name": "friend", "affinity": 2}],
}
LINES = "\n\n".join(
    f"Sam: {asked}\nMira: {answer}"
    for asked, answer in (
        ("Is the net mended?", "Almost, give me an hour and some light."),
        ("Do you fear the storm?", "Only what it takes with it."),
        ("Who taught you?", "My mother, and the sea."),
    )
)
SAID = (
    "My cat is called Pickle.",
    "I love the harbour in the morning.",
    "My brother fears the storm.",
    "What is my cat called?",
    "Is the net mended by now?",
)


class Front:
    """One client of some processes: it asks them in turn."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        self.asked = 0

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        server = self.servers[self.asked % len(self.servers)]
        self.asked += 1
        answer = server.http.request(method, path, **more)
        assert answer.is_success, answer.text
        return answer

    def turn(self, user: str, talk: list[dict[str, str]]) -> str:
        """A turn with a window so short that all but the last exchange must be recalled.

        It begins when nothing waits to be indexed: what follows an edited memory is not recalled before it is.
        """
        self.servers[0].wait_until(self.quiet)
        body = {"model": "char/mira", "user": user, "messages": talk, "moodline": {"window": 2}}
        answer = self.ask("POST", "/v1/chat/completions", json=body)
        talk.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
        return answer.headers["x-session-id"]

    def quiet(self) -> bool:
        """Whether the background of every process is done; what waits is counted in the database they share."""
        return "\nmoodline_rows_waiting_for_vectors 0.0\n" in self.servers[0].http.get("/metrics").text

    def live(self) -> None:
        """Talk with two users, and change what was said and is remembered."""
        self.ask("POST", "/api/characters", json=CHARACTER)
        place = self.ask("POST", "/api/characters/mira/lines", content=LINES).headers["location"]
        self.servers[0].wait_until(lambda: self.servers[0].http.get(place).json()["status"] == "done")
        talks: dict[str, list[dict[str, str]]] = {"ana": [], "bo": []}
        for said in SAID:
            for user, talk in talks.items():
                talk.append({"role": "user", "content": said})
                session = self.turn(user, talk)
        # Bo has the last reply made anew, and the third thing he said put otherwise.
        talks["bo"].pop()
        self.turn("bo", talks["bo"])
        oldest = self.ask("GET", "/api/memories?user=ana").json()["items"][-1]["id"]
        self.ask("PATCH", f"/api/memories/{oldest}", json={"text": "ana: My cat is called Gherkin."})
        branch = self.ask("GET", f"/api/sessions/{session}").json()["branch"]
        changed = {"text": "My sister loves the storm.", "following": "keep"}
        path = f"/api/sessions/{session}/messages/{branch[4]['id']}"
        self.ask("PATCH", path, json=changed, headers={"If-Match": "*"})
        for user, talk in talks.items():
            if user == "bo":
                branch = self.ask("GET", f"/api/sessions/{session}").json()["branch"]
                talk[:] = [{"role": message["role"], "content": message["text"]} for message in branch]
            for said in ("Who fears the storm?", "And what of my cat?"):
                talk.append({"role": "user", "content": said})
                self.turn(user, talk)


async def left_behind(url: str) -> dict[str, Any]:
    """Everything that was stored, ids by the order in which they came, without times."""
    db = Database(url, 1)
    try:
        async with db.read() as found:
            # A copy has the time of what it is a copy of.
            told = select(Message).order_by(Message.created_at, Message.origin_id.is_not(None), Message.depth)
            messages = list(await found.scalars(told))
            sessions = list(await found.scalars(select(Session).order_by(Session.created_at)))
            number = {row.id: n for n, row in enumerate([*sessions, *messages])} | {None: None}
            memories = list(await found.scalars(select(Memory).order_by(Memory.id)))
            traces = list(await found.scalars(select(Trace).order_by(Trace.created_at)))
            bonds = list(await found.scalars(select(Bond).order_by(Bond.id)))
    finally:
        await db.close()
    return {
        "sessions": [(s.user, s.title, s.revision, number[s.leaf_id]) for s in sessions],
        "messages": [
            (number[m.session_id], number[m.parent_id], m.role, m.text, m.active, number[m.origin_id]) for m in messages
        ],
        "memories": [(m.id, m.text, m.retired, m.uses, m.previous_id, m.encoder) for m in memories],
        "recalled": [
            [[one["id"] for one in trace.document[kind] if one["kept"]] for kind in ("lines", "memories")]
            for trace in traces
        ],
        "prompts": [[message["content"] for message in trace.document["prompt"]] for trace in traces],
        "bonds": [(b.user, round(b.affinity, 4), b.stage, b.turns) for b in bonds],
    }


@pytest.fixture
def two_databases(postgres: str, postgres_template: str) -> Iterator[list[str]]:
    names = [f"test_{os.urandom(6).hex()}" for _ in range(2)]
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    yield [str(httpx.URL(postgres).copy_with(scheme="postgresql+psycopg", path=f"/{name}")) for name in names]
    with psycopg.connect(postgres, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_requests_that_alternate_between_two_processes_leave_what_one_process_leaves(
    two_databases: list[str], peer: str, serve: Callable[..., Server]
) -> None:
    upstream = {"engine": "upstream", "upstream_url": peer, "upstream_dialect": "openai"}
    left = []
    for url, processes in zip(two_databases, (1, 2), strict=True):
        servers = [serve(database_url=url, **upstream) for _ in range(processes)]
        Front(servers).live()
        for server in servers:
            server.close()
        left.append(asyncio.run(left_behind(url)))
    one, two = left
    assert len(one["messages"]) >= 30
    assert any(memories for _lines, memories in one["recalled"]), "else nothing was recalled that could differ"
    for kind in one:
        assert two[kind] == one[kind], kind
