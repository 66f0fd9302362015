from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.services import Services
from app.tables import Session

Fixture = Any


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    assert (await client.post("/api/characters", json=mira)).status_code == 201


async def begin(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/api/sessions", json={"character": "mira", "user": "ana"} | body)


async def branch(client: httpx.AsyncClient, session: str) -> list[str]:
    return [message["text"] for message in (await client.get(f"/api/sessions/{session}")).json()["branch"]]


async def test_a_session_begins_with_the_greeting_that_was_chosen(client: httpx.AsyncClient) -> None:
    for number, greeting in enumerate(("Mind the ropes, ana.", "You again, ana?", "Mira nods.")):
        begun = await begin(client, greeting=number)
        assert begun.status_code == 201
        session = begun.json()
        assert (session["character"], session["user"], session["messages"]) == ("mira", "ana", 1)
        root = session["branch"][0]
        assert (root["text"], root["role"], root["parent_id"], root["siblings"]) == (greeting, "assistant", None, [])
        assert (await client.get(f"/api/sessions/{session['id']}")).json() == session


async def test_a_greeting_the_character_has_not_is_refused_and_nothing_begins(
    client: httpx.AsyncClient, rows: Fixture
) -> None:
    before = await rows()
    for number in (3, 10**30):
        answer = await begin(client, greeting=number)
        assert (answer.status_code, answer.json()["param"]) == (422, "greeting")
        assert "choose 0 to 2" in answer.json()["detail"]
    assert (await begin(client, greeting=-1)).status_code == 422
    assert await rows() == before


async def test_a_character_without_a_greeting_begins_in_silence(
    client: httpx.AsyncClient, mira: dict[str, Any]
) -> None:
    silent = {name: mira[name] for name in ("name", "persona")} | {"slug": "silent"}
    await client.post("/api/characters", json=silent)
    session = (await begin(client, character="silent")).json()
    assert (session["branch"], session["messages"]) == ([], 0)
    refused = await begin(client, character="silent", greeting=1)
    assert refused.status_code == 422
    assert "no greeting" in refused.json()["detail"]


async def test_the_greeting_fits_the_stage_and_names_an_unnamed_user(
    client: httpx.AsyncClient, talk: Fixture, mira: dict[str, Any]
) -> None:
    stages = [
        {"name": "stranger", "affinity": 0},
        {"name": "friend", "affinity": 50, "greeting": "{{user}}, my friend!"},
    ]
    body = mira | {"slug": "staged", "stages": stages, "language": "zh"}
    await client.post("/api/characters", json=body)
    await talk("staged", "Good day.")
    await client.patch("/api/bonds/staged?user=ana", json={"affinity": 60})
    assert (await begin(client, character="staged")).json()["branch"][0]["text"] == "ana, my friend!"
    stranger = await begin(client, character="staged", user=" ")
    assert stranger.json()["branch"][0]["text"] == "Mind the ropes, 来客."
    assert stranger.json()["user"] == ""


async def test_a_conversation_is_read_along_its_current_branch_with_its_siblings(
    client: httpx.AsyncClient, talk: Fixture
) -> None:
    session = (await begin(client)).json()["id"]
    await talk("mira", "Is it done?", "Not yet.", session=session)
    await talk("mira", "And now?", "Now it is.", session=session)
    read = (await client.get(f"/api/sessions/{session}")).json()
    texts = ["Mind the ropes, ana.", "Is it done?", "Not yet.", "And now?", "Now it is."]
    assert [message["text"] for message in read["branch"]] == texts
    assert [message["role"] for message in read["branch"]] == ["assistant", "user"] * 2 + ["assistant"]
    parents = [message["parent_id"] for message in read["branch"]]
    assert parents == [None, *(message["id"] for message in read["branch"][:-1])]
    trace = await client.get(f"/api/turns/{read['branch'][-1]['turn_id']}/trace")
    assert trace.json()["session_id"] == session
    said = [("assistant", texts[0]), ("user", texts[1]), ("assistant", texts[2]), ("user", "And next week?")]
    messages = [{"role": role, "content": content} for role, content in said]
    await talk("mira", "", "Ask the wind.", session=session, messages=messages)
    branched = (await client.get(f"/api/sessions/{session}")).json()
    assert [message["text"] for message in branched["branch"][3:]] == ["And next week?", "Ask the wind."]
    assert branched["branch"][3]["siblings"] == [read["branch"][3]["id"]]
    assert branched["messages"] == 7
    assert branched["updated_at"] > read["updated_at"]


async def test_a_session_is_named_after_what_was_first_said_in_it(client: httpx.AsyncClient, talk: Fixture) -> None:
    long = "  My   brother\nis at sea " + "and far away " * 20
    implicit = (await talk("mira", long)).headers["x-session-id"]
    explicit = (await begin(client)).json()["id"]
    await talk("mira", long, session=explicit)
    await talk("mira", "Something else.", session=explicit)
    titles = {item["id"]: item["title"] for item in (await client.get("/api/sessions")).json()["items"]}
    assert titles[implicit] == titles[explicit]
    assert titles[explicit].startswith("My brother is at sea and far away")
    assert len(titles[explicit]) <= 60


async def test_sessions_are_listed_latest_first_page_by_page_and_by_user_and_character(
    client: httpx.AsyncClient, services: Services, mira: dict[str, Any]
) -> None:
    await client.post("/api/characters", json=mira | {"slug": "other"})
    made = [(await begin(client, user=user)).json()["id"] for user in ("ana", "bo", "ana", "", "bo")]
    made.append((await begin(client, character="other")).json()["id"])
    async with services.db.write() as db:
        # Two of the same moment must neither hide each other nor come twice.
        moment = (await db.get_one(Session, made[2])).updated_at
        await db.execute(update(Session).where(Session.id == made[1]).values(updated_at=moment))
    seen: list[str] = []
    before = None
    for _page in range(4):
        query = {"limit": "2"} | ({"before": before} if before else {})
        page = (await client.get("/api/sessions", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert before is None
    assert sorted(seen) == sorted(made)
    assert seen[:3] == [made[5], made[4], made[3]]
    assert set(seen[3:5]) == {made[1], made[2]}
    for query, expected in (
        ({"user": "bo"}, {made[1], made[4]}),
        ({"user": ""}, {made[3]}),
        ({"user": "cy"}, set()),
        ({"character": "other"}, {made[5]}),
        ({"character": "other", "user": "bo"}, set()),
    ):
        found = (await client.get("/api/sessions", params=query)).json()["items"]
        assert {item["id"] for item in found} == expected, query
        assert all(item["messages"] == 1 for item in found)
    assert (await client.get("/api/sessions", params={"character": "nobody"})).status_code == 404
    assert (await client.get("/api/sessions", params={"before": "0" * 32})).status_code == 404


async def test_a_deleted_session_is_gone_but_what_it_left_stays(
    client: httpx.AsyncClient, talk: Fixture, rows: Fixture
) -> None:
    session = (await begin(client)).json()["id"]
    await talk("mira", "Remember the storm.", "I do.", session=session)
    before = await rows()
    everything = {"If-Match": "*"}
    assert (await client.delete(f"/api/sessions/{session}")).status_code == 428
    assert (await client.delete(f"/api/sessions/{session}", headers=everything)).status_code == 204
    for answer in (
        await client.get(f"/api/sessions/{session}"),
        await client.delete(f"/api/sessions/{session}", headers=everything),
        await client.get("/api/sessions", params={"before": session}),
    ):
        assert (answer.status_code, answer.json()["title"]) == (404, "session_not_found")
    body = {"model": "char/mira", "user": "ana", "messages": [{"role": "user", "content": "Hello?"}]}
    continued = await client.post("/v1/chat/completions", json=body, headers={"x-session-id": session})
    assert (continued.status_code, continued.json()["error"]["code"]) == (404, "session_not_found")
    assert (await client.get("/api/sessions")).json()["items"] == []
    assert (await client.get("/api/memories")).json()["items"] == []
    assert [m["retired"] for m in (await client.get("/api/memories?retired=true")).json()["items"]] == [True]
    assert await rows() == before
    again = await talk("mira", "Remember the storm.", "Which one?")
    assert again.headers["x-session-id"] != session, "a deleted session does not come back by itself"


async def test_sessions_outlive_a_change_and_a_deletion_of_their_character(
    client: httpx.AsyncClient, talk: Fixture, mira: dict[str, Any]
) -> None:
    session = (await begin(client)).json()["id"]
    await talk("mira", "Hello.", "Hello to you.", session=session)
    everything = {"If-Match": "*"}
    fields = {"name": "Mirabel", "persona": mira["persona"]}
    await client.put("/api/characters/mira", json=fields, headers=everything)
    expected = ["Mind the ropes, ana.", "Hello.", "Hello to you."]
    assert await branch(client, session) == expected
    await client.delete("/api/characters/mira", headers=everything)
    assert await branch(client, session) == expected
    assert (await begin(client)).status_code == 404
    await client.post("/api/characters/mira/restore")
    await talk("mira", "Still here?", "Always.", session=session)
    assert await branch(client, session) == [*expected, "Still here?", "Always."]
