from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from app.check.everything import everything
from app.services import Services
from app.sessions.removal import remove_messages
from app.tables import Bond, BondEvent, Message
from retrieval.emotion import EMOTIONS

Fixture = Any
STAGES = [
    {"name": "stranger", "affinity": 0, "persona": "Keeps her distance."},
    {"name": "friend", "affinity": 12, "persona": "Shares her bread.", "greeting": "You!", "strategy": "ordinary"},
    {"name": "sworn", "affinity": 30, "persona": "Would drown for {{user}}."},
]
RULES = {
    "start": 2,
    "hysteresis": 4,
    "inertia": 0.5,
    "variables": {"trust": {"start": 1, "least": -3, "most": 3}},
    "feelings": {
        "anger": {"affinity": -6, "trust": -1},
        "disgust": {"affinity": -6},
        "joy": {"affinity": 4, "trust": 1},
    },
    "events": {"gift": {"affinity": 9, "trust": 0.5}, "broken promise": {"affinity": -20}},
}
KIND = "Thank you, I am so happy that you helped me! You are wonderful, I love it here!"
ANGRY = "I am furious with you! I hate this, you disgusting liar!"
ZH_KIND = "谢谢你，我今天好开心，有你在真好！"


@pytest.fixture(autouse=True)
async def _stored(client: httpx.AsyncClient, mira: dict[str, Any]) -> None:
    body = mira | {"stages": STAGES, "bond": RULES}
    assert (await client.post("/api/characters", json=body)).status_code == 201


@pytest.fixture
def ask(client: httpx.AsyncClient) -> Fixture:
    """Ask a bond route of ana's with mira; returns the status and the answer."""

    async def send(method: str, path: str = "", user: str = "ana", **more: Any) -> tuple[int, Any]:
        answer = await client.request(method, f"/api/bonds/mira{path}", params={"user": user}, **more)
        return answer.status_code, answer.json() if answer.content else None

    return send


def short(bond: dict[str, Any]) -> tuple[float, str, float, int]:
    return bond["affinity"], bond["stage"], bond["variables"]["trust"], bond["turns"]


async def sound(services: Services) -> bool:
    """Whether every bond is the sum of what it is made of."""
    return await everything(services.db) == {}


async def test_an_event_moves_the_bond_as_its_character_says_and_can_be_taken_back(ask: Fixture) -> None:
    status, gift = await ask("POST", "/events", json={"name": "gift", "note": "a knife"})
    assert status == 201
    assert short(gift["bond"]) == (11, "stranger", 1.5, 0)
    assert gift["event"] | {"created_at": "", "id": 0} == {
        "id": 0,
        "kind": "event",
        "name": "gift",
        "numbers": {"affinity": 9, "trust": 0.5},
        "note": "a knife",
        "message_id": None,
        "created_at": "",
    }
    _status, own = await ask("POST", "/events", json={"name": "a song", "changes": {"affinity": 2}})
    assert short(own["bond"]) == (13, "friend", 1.5, 0)
    assert [event["name"] for event in (await ask("GET", "/events"))[1]] == ["a song", "gift"]
    status, bond = await ask("DELETE", f"/events/{gift['event']['id']}")
    assert (status, short(bond)) == (200, (4, "stranger", 1, 0))
    assert (await ask("DELETE", f"/events/{gift['event']['id']}"))[0] == 404
    assert short((await ask("GET", user="bo"))[1]) == (2, "stranger", 1, 0), "another user's is another bond"


async def test_affinity_stage_and_variables_can_be_set(ask: Fixture) -> None:
    _status, changed = await ask("PATCH", json={"affinity": 33, "note": "a story begins in the middle"})
    assert short(changed["bond"]) == (33, "sworn", 1, 0)
    _status, changed = await ask("PATCH", json={"stage": "friend", "variables": {"trust": -9}})
    assert short(changed["bond"]) == (12, "friend", -3, 0), "bounds hold"
    assert [(event["kind"], event["name"]) for event in (await ask("GET", "/events"))[1]] == [
        ("set", "friend"),
        ("set", ""),
    ]
    _status, moved = await ask("POST", "/events", json={"name": "x", "changes": {"affinity": -4}})
    assert short(moved["bond"]) == (8, "friend", -3, 0), "a stage lingers"
    _status, moved = await ask("POST", "/events", json={"name": "x", "changes": {"affinity": -0.5}})
    assert short(moved["bond"]) == (7.5, "stranger", -3, 0)


@pytest.mark.parametrize(
    ("method", "path", "body", "word"),
    [
        ("POST", "/events", {"name": "wedding"}, "'gift', 'broken promise'"),
        ("POST", "/events", {"name": "x", "changes": {"luck": 1}}, "affinity, trust"),
        ("POST", "/events", {"name": "gift", "message_id": "0" * 32}, "no message"),
        ("PATCH", "", {"stage": "wed"}, "'stranger', 'friend', 'sworn'"),
        ("PATCH", "", {"variables": {"luck": 1}}, "affinity, trust"),
        ("PATCH", "", {}, "name what to set"),
        ("PATCH", "", {"affinity": 101}, "less than or equal to 100"),
        ("PATCH", "", {"affinity": 1, "stage": "friend"}, "one of the two"),
        ("POST", "/simulate", {"steps": []}, "at least 1"),
        ("POST", "/simulate", {"steps": [{}]}, "one of"),
        ("POST", "/simulate", {"steps": [{"event": "wedding"}]}, "'gift', 'broken promise'"),
        ("POST", "/simulate", {"steps": [{"put": {"luck": 1}}]}, "affinity, trust"),
    ],
)
async def test_what_can_not_be_done_is_refused_with_what_can_and_nothing_is_kept(
    ask: Fixture, rows: Fixture, method: str, path: str, body: dict[str, Any], word: str
) -> None:
    before = await rows()
    status, problem = await ask(method, path, json=body)
    assert status in (404, 422)
    assert word in problem["detail"] + str(problem.get("errors"))
    assert await rows() == before


@pytest.mark.parametrize(
    ("bond", "word"),
    [
        ({"variables": {"affinity": {}}}, "affinity"),
        ({"variables": {"trust": {"start": 5, "most": 3}}}, "between"),
        ({"events": {"gift": {"trust": 1}}}, "'trust'"),
        ({"feelings": {"hate": {"affinity": 1}}}, "hate"),
        ({"feelings": {"joy": {"affinity": 1e12}}}, "1000000000"),
        ({"inertia": 1.5}, "inertia"),
        ({"hysterisis": 1}, "hysterisis"),
    ],
)
async def test_rules_that_mean_nothing_are_refused(
    client: httpx.AsyncClient, mira: dict[str, Any], bond: dict[str, Any], word: str
) -> None:
    answer = await client.post("/api/characters", json=mira | {"slug": "other", "bond": bond})
    assert answer.status_code == 422
    assert word in answer.text


async def test_trying_out_stores_nothing_and_ends_where_the_same_steps_would(
    ask: Fixture, talk: Fixture, rows: Fixture
) -> None:
    steps = [{"said": KIND}, {"event": "gift"}, {"said": ANGRY}, {"changes": {"trust": -1}}, {"put": {"affinity": 31}}]
    before = await rows()
    status, tried = await ask("POST", "/simulate", json={"steps": steps, "begin": "strangers"})
    assert status == 200
    assert await rows() == before
    assert short(tried["before"]) == (2, "stranger", 1, 0)
    await talk("mira", KIND)
    await ask("POST", "/events", json={"name": "gift"})
    await talk("mira", ANGRY)
    await ask("POST", "/events", json={"name": "x", "changes": {"trust": -1}})
    _status, real = await ask("PATCH", json={"affinity": 31})
    assert {**real["bond"], "character": None, "user": None} == {
        **tried["after"][-1],
        "character": None,
        "user": None,
    }
    _status, onwards = await ask("POST", "/simulate", json={"steps": [{"feeling": {"anger": 1}}]})
    assert onwards["before"]["affinity"] == 31
    assert onwards["after"][0]["affinity"] == 31 + 0.5 - 6
    assert onwards["after"][0]["stage"] == "friend"


async def test_what_belongs_to_a_message_counts_while_its_branch_is_current(
    ask: Fixture, talk: Fixture, client: httpx.AsyncClient, services: Services
) -> None:
    session = (await talk("mira", "Here, a knife for you.")).headers["x-session-id"]
    branch = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    reply = branch[-1]["id"]
    alone = (await ask("GET"))[1]["affinity"]
    _status, told = await ask("POST", "/events", json={"name": "gift", "message_id": reply})
    assert told["bond"]["affinity"] == pytest.approx(alone + 9)
    await talk("mira", "Here, a knife for you.", "No.")
    assert (await ask("GET"))[1]["affinity"] < alone + 5, "another reply is current"
    chosen = await client.put(f"/api/sessions/{session}/leaf", json={"message_id": reply}, headers={"If-Match": "*"})
    assert chosen.status_code == 200, chosen.text
    assert (await ask("GET"))[1]["affinity"] == pytest.approx(alone + 9)
    assert await sound(services)
    await client.delete(f"/api/sessions/{session}", headers={"If-Match": "*"})
    assert short((await ask("GET"))[1]) == (2, "stranger", 1, 0)
    assert len((await ask("GET", "/events"))[1]) == 1, "it is told still"


async def test_other_rules_sum_up_anew_what_was_said(
    ask: Fixture, talk: Fixture, client: httpx.AsyncClient, mira: dict[str, Any], services: Services
) -> None:
    await talk("mira", KIND)
    warm = (await ask("GET"))[1]["affinity"]
    fields = {key: value for key, value in mira.items() if key not in ("slug", "lore")}
    cold = fields | {"stages": STAGES, "bond": RULES | {"feelings": {"joy": {"affinity": -1}}}}
    changed = await client.put("/api/characters/mira", json=cold, headers={"If-Match": "*"})
    assert changed.status_code == 200, changed.text
    assert (await ask("GET"))[1]["affinity"] < warm
    assert await sound(services), "a bond of earlier rules is no fault"
    await talk("mira", f"Once more: {KIND}")
    _status, history = await ask("GET", "/history")
    assert [step["kind"] for step in history["items"]] == ["said", "said"]
    assert history["items"][-1]["affinity"] == (await ask("GET"))[1]["affinity"]
    assert await sound(services)


async def test_a_bond_from_before_there_were_rules_is_read_by_those_of_now(
    ask: Fixture, talk: Fixture, services: Services
) -> None:
    await talk("mira", KIND)
    now = (await ask("GET"))[1]
    async with services.db.write() as db:
        await db.execute(update(Bond).values(rules="", variables=None, affinity=50, stage="sworn"))
    assert (await ask("GET"))[1] == now


async def test_bonds_are_listed_by_user_and_character(client: httpx.AsyncClient, talk: Fixture) -> None:
    for user in ("ana", "bo", "cy"):
        await talk("mira", KIND, user=user)
    page = (await client.get("/api/bonds", params={"limit": 2})).json()
    assert [bond["user"] for bond in page["items"]] == ["cy", "bo"]
    rest = (await client.get("/api/bonds", params={"limit": 2, "before": page["next"]})).json()
    assert ([bond["user"] for bond in rest["items"]], rest["next"]) == (["ana"], None)
    bo = (await client.get("/api/bonds", params={"user": "bo", "character": "mira"})).json()
    assert [(bond["user"], bond["character"], bond["turns"]) for bond in bo["items"]] == [("bo", "mira", 1)]


async def test_a_stage_chooses_how_memories_are_ranked(ask: Fixture, talk: Fixture) -> None:
    async def strategy() -> str:
        answer = await talk("mira", "Is it low tide?", moodline={"trace": True})
        return str(answer.json()["moodline"]["strategy"])

    assert await strategy() == "calibrated"
    await ask("PATCH", json={"stage": "friend"})
    assert await strategy() == "ordinary"


def stepped(state: dict[str, Any], emotion: list[float]) -> None:
    """The rules once more, in plain words."""
    felt = dict(zip(EMOTIONS, emotion, strict=True))
    points = {"joy": 4, "acceptance": 3, "fear": 0.5, "surprise": 0.5, "sadness": 0.5, "anticipation": 1}
    points |= {"anger": -6, "disgust": -6}
    state["affinity"] = min(100, max(0, state["affinity"] + 0.5 + sum(points[name] * felt[name] for name in felt)))
    state["trust"] = min(3, max(-3, state["trust"] + felt["joy"] - felt["anger"]))
    up = [stage["name"] for stage in STAGES if state["affinity"] >= stage["affinity"]][-1]
    kept = next(stage for stage in STAGES if stage["name"] == state["stage"])["affinity"] - 4
    order = [stage["name"] for stage in STAGES]
    if state["affinity"] < kept or order.index(up) > order.index(state["stage"]):
        state["stage"] = up


async def test_a_relationship_of_forty_turns_goes_up_and_down_as_the_rules_say(
    ask: Fixture, talk: Fixture, client: httpx.AsyncClient, services: Services
) -> None:
    seen, history = [], []
    for said in [KIND, ZH_KIND] * 7 + [ANGRY] * 16 + [KIND] * 10:
        history.append({"role": "user", "content": f"{len(history)}. {said}"})
        answer = await talk("mira", "", messages=history)
        history.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"]})
        seen.append((await ask("GET"))[1])
    async with services.db.read() as db:
        rows = await db.scalars(select(Message).where(Message.role == "user").order_by(Message.depth))
        felt = [row.emotion.tolist() for row in rows if row.emotion is not None]
    assert len(felt) == 40
    state: dict[str, Any] = {"affinity": 2.0, "trust": 1.0, "stage": "stranger"}
    for bond, emotion in zip(seen, felt, strict=True):
        stepped(state, emotion)
        assert bond["affinity"] == pytest.approx(state["affinity"], abs=0.011)
        assert bond["variables"]["trust"] == pytest.approx(state["trust"], abs=1e-3)
        assert bond["stage"] == state["stage"]
    order = [stage for n, stage in enumerate(bond["stage"] for bond in seen) if n == 0 or stage != seen[n - 1]["stage"]]
    assert order == ["stranger", "friend", "sworn", "friend", "stranger", "friend", "sworn"], "up, down and up again"
    _status, told = await ask("GET", "/history")
    assert [step["affinity"] for step in told["items"]] == [bond["affinity"] for bond in seen]
    answer = await client.get("/api/bonds/mira/history", params={"user": "ana", "stages": True})
    assert [step["stage"] for step in answer.json()["items"]] == order
    await _survives(client, services, seen[-1])


async def test_what_belongs_to_a_message_goes_out_and_comes_in_with_its_conversation(
    ask: Fixture, talk: Fixture, client: httpx.AsyncClient, services: Services
) -> None:
    session = (await talk("mira", "Here, a knife for you.")).headers["x-session-id"]
    reply = (await client.get(f"/api/sessions/{session}")).json()["branch"][-1]["id"]
    await ask("POST", "/events", json={"name": "gift", "note": "刀", "message_id": reply})
    await ask("PATCH", json={"variables": {"trust": 2}, "message_id": reply})
    bond = (await ask("GET"))[1]
    await _survives(client, services, bond)
    _status, brought = await ask("GET", "/events", user="bo")
    assert [(event["kind"], event["name"], event["note"]) for event in brought] == [
        ("set", "", ""),
        ("event", "gift", "刀"),
    ]
    assert {event["message_id"] for event in brought}.isdisjoint({reply, None})


async def _survives(client: httpx.AsyncClient, services: Services, bond: dict[str, Any]) -> None:
    """The session goes out and comes in again for another user, who then stands as the first one does."""
    session = (await client.get("/api/sessions", params={"user": "ana"})).json()["items"][0]["id"]
    file = (await client.get(f"/api/sessions/{session}/export")).content
    brought = await client.post("/api/sessions/import", params={"character": "mira", "user": "bo"}, content=file)
    assert brought.status_code == 201, brought.text
    other = (await client.get("/api/bonds/mira", params={"user": "bo"})).json()
    assert other | {"user": "ana"} == bond
    assert await sound(services)


async def test_what_happened_goes_when_the_last_message_it_belongs_to_goes_for_good(
    ask: Fixture, talk: Fixture, client: httpx.AsyncClient, services: Services
) -> None:
    session = (await talk("mira", "Here, a knife.")).headers["x-session-id"]
    branch = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    ids = [message["id"] for message in branch if message["role"] != "greeting"][-2:]
    await ask("POST", "/events", json={"name": "gift", "message_id": ids[-1]})
    await ask("POST", "/events", json={"name": "gift"})
    async with services.db.write() as db:
        await remove_messages(db, ids)
    async with services.db.read() as db:
        assert await db.scalar(select(func.count()).select_from(BondEvent)) == 1
