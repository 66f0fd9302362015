"""Turns in sessions of groups: who speaks, what each has heard, and what each keeps of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from app.bond.judge import judge_waiting
from app.check.everything import everything
from app.reindex import embed_waiting
from app.services import Services
from app.tables import Character, Memory
from models.engine import EngineUnavailable
from models.scripted import THOUGHT, ScriptedEngine

Fixture = Any
Told = dict[str, Any]


@pytest.fixture
def act(client: httpx.AsyncClient, engine: ScriptedEngine) -> Fixture:
    """Takes turns in a session of a group, with these replies; gives the turns."""

    async def take(session: str, *replies: str, http: httpx.AsyncClient = client, **body: Any) -> list[Told]:
        engine.replies += replies
        answer = await http.post(f"/api/sessions/{session}/turns", json=body)
        assert answer.status_code == 200, answer.text
        assert not engine.replies, "somebody was expected to speak and did not"
        first: Told = answer.json()
        return [first, *first["following"]]

    return take


@pytest.fixture
def open_session(client: httpx.AsyncClient) -> Fixture:
    """Begins a session of a group without greetings, unless they are wanted."""

    async def begin(user: str = "ana", *, group: str = "harbour", greeted: bool = False) -> str:
        made = await client.post("/api/sessions", json={"character": f"group/{group}", "user": user})
        assert made.status_code == 201, made.text
        session = made.json()
        if session["branch"] and not greeted:
            first = session["branch"][0]["id"]
            path = f"/api/sessions/{session['id']}/messages/{first}"
            assert (await client.delete(path, headers={"If-Match": "*"})).status_code == 200
        return str(session["id"])

    return begin


async def prompt_of(client: httpx.AsyncClient, turn: Told) -> str:
    """The exact prompt of a turn, as its trace tells it."""
    trace = (await client.get(f"/api/turns/{turn['id']}/trace")).json()
    return "\n".join(f"<{message['role']}> {message['content']}" for message in trace["prompt"])


async def branch_of(client: httpx.AsyncClient, session: str) -> list[tuple[str | None, str]]:
    found = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    return [(message["speaker"], message["text"]) for message in found]


async def memories_of(client: httpx.AsyncClient, slug: str, user: str = "ana") -> list[str]:
    page = (await client.get("/api/memories", params={"character": slug, "user": user})).json()
    return sorted(memory["text"] for memory in page["items"])


async def current_memories_of(services: Services, slug: str) -> list[str]:
    """Those that are not at rest."""
    async with services.db.read() as db:
        of = select(Character.id).where(Character.slug == slug)
        query = select(Memory.text).where(Memory.character_id.in_(of), ~Memory.retired)
        return sorted(await db.scalars(query))


async def bonds_of(client: httpx.AsyncClient, user: str = "ana") -> dict[str, int]:
    """How many exchanges count between a user and each character."""
    page = (await client.get("/api/bonds", params={"user": user})).json()
    return {bond["character"]: bond["turns"] for bond in page["items"]}


async def test_members_speak_one_after_another_and_hear_each_other_by_name(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="list", scenario="Fog over the quay.")
    session = await open_session()
    turns = await act(session, "The lamp is lit.", "Bob the Miller: And the mill turns.", text="Is all well?")
    assert [(turn["speaker"], turn["text"], turn["state"]) for turn in turns] == [
        ("mara", "The lamp is lit.", "finished"),
        ("bob", "And the mill turns.", "finished"),
    ]
    mara, bob = [await prompt_of(client, turn) for turn in turns]
    assert mara.endswith("<user> Is all well?")
    assert "<user> Is all well?\n" in bob
    assert bob.endswith("<user> Mara: The lamp is lit.")
    assert "Also here: Bob the Miller" in mara
    assert "Also here: Mara" in bob
    assert "Bob the Miller mills flour and talks with Mara, Bob the Miller." in bob, "the macros know the group"
    assert bob.startswith("<system> Beside Mara, ana.")
    assert "Fog over the quay." in mara
    assert "Fog over the quay." in bob
    said = [(None, "Is all well?"), ("mara", "The lamp is lit."), ("bob", "And the mill turns.")]
    assert await branch_of(client, session) == said
    again = await act(session, "Good night.", "Sleep well.", text="Then good night.")
    prompt = await prompt_of(client, again[1])
    assert "<assistant> And the mill turns." in prompt
    assert "<user> Mara: The lamp is lit." in prompt
    assert await everything(services.db) == {}


async def test_who_joins_later_neither_is_told_nor_recalls_nor_scans_what_was_said_before(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", order="list")
    lore = [{"keys": ["tunnel"], "content": "The tunnel ends under the old chapel."}]
    late = {"slug": "lin", "name": "Lin", "persona": "Lin fishes.", "lore": lore}
    assert (await client.post("/api/characters", json=late)).status_code == 201
    session = await open_session()
    await act(session, "I will tell nobody of the tunnel.", text="My password is swordfish, and there is a tunnel.")
    await client.put("/api/groups/harbour/members/lin", json={}, headers={"If-Match": "*"})
    await embed_waiting(services)
    turns = await act(session, "Welcome, Lin.", "A fine evening.", text="What is my password?")
    prompt = await prompt_of(client, turns[1])
    assert turns[1]["speaker"] == "lin"
    for secret in ("swordfish", "tunnel", "chapel"):
        assert secret not in prompt
    assert "<user> What is my password?" in prompt
    assert "<user> Mara: Welcome, Lin." in prompt
    assert "swordfish" in await prompt_of(client, turns[0]), "Mara was there"
    await embed_waiting(services)
    assert not any("swordfish" in text for text in await memories_of(client, "lin"))
    other = await open_session()
    turns = await act(other, "Nobody has it.", "No idea.", text="Who knows my password?")
    assert "swordfish" in await prompt_of(client, turns[0]), "Mara remembers"
    trace = (await client.get(f"/api/turns/{turns[1]['id']}/trace")).json()
    assert trace["memories"]
    assert not any("swordfish" in memory["text"] for memory in trace["memories"])
    shown = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    assert [message["heard_by"] for message in shown] == [["mara"], ["mara"], *[["mara", "lin"]] * 3]


async def test_who_speaks_first_after_joining_is_given_its_turn_and_nothing_else(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", order="list")
    session = await open_session()
    await act(session, "Aye.", text="A secret: swordfish.")
    await form("lin", slug="elsewhere")
    await client.put("/api/groups/harbour/members/lin", json={}, headers={"If-Match": "*"})
    turns = await act(session, "晚上好。", mode="speak", speakers=["lin"])
    prompt = await prompt_of(client, turns[0])
    assert prompt.endswith("<user> 【轮到小龙说话了。】")
    assert "swordfish" not in prompt
    assert (await branch_of(client, session))[-1] == ("lin", "晚上好。")


async def test_who_leaves_hears_nothing_more_and_keeps_what_it_heard(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    await act(session, "So it is.", "So be it.", text="The tide is high.")
    await client.delete("/api/groups/harbour/members/bob", headers={"If-Match": "*"})
    await act(session, "Gone he is.", text="Now that Bob is gone: swordfish.")
    assert await memories_of(client, "bob") == [
        "Mara: So it is.\nBob the Miller: So be it.",
        "ana: The tide is high.\nMara: So it is.",
    ]
    assert len(await memories_of(client, "mara")) == 3
    again = await client.post(f"/api/sessions/{session}/turns", json={"mode": "speak", "speakers": ["bob"]})
    assert (again.status_code, again.json()["title"]) == (422, "no_member")


async def test_a_muted_member_listens_and_never_speaks(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    members = [{"character": "mara"}, {"character": "bob", "muted": True, "talkativeness": 1.0}]
    await form("mara", "bob", members=members)
    session = await open_session()
    turns = await act(session, "He may not.", text="Bob, Bob the Miller, say something!")
    assert [turn["speaker"] for turn in turns] == ["mara"]
    forced = await client.post(f"/api/sessions/{session}/turns", json={"mode": "speak", "speakers": ["bob"]})
    assert (forced.status_code, forced.json()["title"]) == (422, "muted")
    assert await memories_of(client, "bob") == ["ana: Bob, Bob the Miller, say something!\nMara: He may not."]
    assert await bonds_of(client) == {"mara": 1, "bob": 0}


async def test_thoughts_of_one_member_are_in_no_other_prompt(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    thinking = "<think>Bob stole the lamp oil.</think>Good evening, Bob."
    turns = await act(session, thinking, f"{THOUGHT}She knows of the oil.{THOUGHT}Evening.", text="Say hello.")
    traces = [(await client.get(f"/api/turns/{turn['id']}/trace")).json() for turn in turns]
    assert ["oil" in trace["hidden"] for trace in traces] == [True, True]
    turns += await act(session, "Calm.", "Very.", text="How is the evening?")
    for turn in turns:
        assert "oil" not in await prompt_of(client, turn)
    assert not any("oil" in text for _speaker, text in await branch_of(client, session))


async def test_another_member_who_begins_to_speak_in_a_reply_ends_it(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    turns = await act(session, "I light it.\nBob the Miller: And I do too.", "Hm.", text="The lamp?")
    assert turns[0]["text"] == "I light it."
    trace = (await client.get(f"/api/turns/{turns[0]['id']}/trace")).json()
    assert trace["engine"]["cut"] == "speaker"


async def test_lines_are_swiped_continued_edited_and_branched_as_in_other_talks(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    turns = await act(session, "Low tide.", "High tide.", text="How is the sea?")
    again = await act(session, "Rough.", mode="regenerate")
    assert [(turn["speaker"], turn["mode"]) for turn in again] == [("bob", "regenerate")]
    assert (await branch_of(client, session))[1:] == [("mara", "Low tide."), ("bob", "Rough.")]
    first = await act(session, "Flat.", mode="regenerate", message_id=turns[0]["reply_id"])
    assert first[0]["speaker"] == "mara"
    assert (await branch_of(client, session))[1:] == [("mara", "Flat.")]
    more = await act(session, " And grey.", mode="continue")
    assert (more[0]["speaker"], (await branch_of(client, session))[-1]) == ("mara", ("mara", "Flat. And grey."))
    assert await current_memories_of(services, "bob") == ["ana: How is the sea?\nMara: Flat. And grey."]
    back = {"message_id": turns[1]["reply_id"]}
    await client.put(f"/api/sessions/{session}/leaf", json=back, headers={"If-Match": "*"})
    assert (await branch_of(client, session))[1:] == [("mara", "Low tide."), ("bob", "High tide.")]
    path = f"/api/sessions/{session}/messages/{turns[0]['reply_id']}"
    await client.patch(path, json={"text": "No tide."}, headers={"If-Match": "*"})
    shown = (await client.get(f"/api/sessions/{session}")).json()["branch"]
    assert [(m["speaker"], m["text"], m["heard_by"]) for m in shown[1:]] == [
        ("mara", "No tide.", ["mara", "bob"]),
        ("bob", "High tide.", ["mara", "bob"]),
    ]
    assert "Mara: No tide.\nBob the Miller: High tide." in await current_memories_of(services, "mara")
    forked = (await client.post(f"/api/sessions/{session}/fork", json={})).json()
    turns = await act(forked["id"], "Aye.", "Aye aye.", text="And now?")
    prompt = await prompt_of(client, turns[1])
    assert "<user> Mara: No tide.\n" in prompt
    assert "Low tide" not in prompt
    assert await everything(services.db) == {}
    for one in (session, forked["id"]):
        await client.delete(f"/api/sessions/{one}", headers={"If-Match": "*"})
    assert await bonds_of(client) == {"mara": 0, "bob": 0}
    assert await current_memories_of(services, "mara") == []
    assert await everything(services.db) == {}


async def test_the_user_moves_the_bond_of_those_who_answer(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", "bob")
    session = await open_session()
    await act(session, "Good.", "Aye.", text="I am so happy!", speakers=["mara", "bob"])
    await act(session, "Hm.", text="Only you, Mara.", speakers=["mara"])
    await act(session, "I say more.", mode="speak", speakers=["mara"])
    assert await bonds_of(client) == {"mara": 2, "bob": 1}
    history = (await client.get("/api/bonds/bob/history?user=ana")).json()
    assert history["total"] == 1


async def test_nobody_answers_where_speakers_are_chosen_by_hand_until_one_is(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="manual")
    session = await open_session()
    turns = await act(session, text="Is anybody there?")
    assert (turns[0]["text"], turns[0]["reply_id"], turns[0]["state"]) == ("", None, "finished")
    assert await branch_of(client, session) == [(None, "Is anybody there?")]
    assert (await act(session, "I am.", mode="speak", speakers=["bob"]))[0]["speaker"] == "bob"
    drawn = await act(session, "Me too.", mode="speak")
    assert drawn[0]["speaker"] == "mara", "who has not spoken since the user did"
    prompt = await prompt_of(client, drawn[0])
    assert prompt.endswith("<user> Bob the Miller: I am.")
    assert await bonds_of(client) == {"mara": 1, "bob": 1}
    assert await everything(services.db) == {}


async def test_the_same_seed_lets_the_same_members_speak(
    client: httpx.AsyncClient, form: Fixture, open_session: Fixture, engine: ScriptedEngine
) -> None:
    await form("mara", "bob", "lin")
    orders = []
    for _ in range(2):
        session = await open_session()
        engine.replies.extend(["Aye."] * 3)
        body = {"text": "小龙, what now?", "seed": 11}
        answer = (await client.post(f"/api/sessions/{session}/turns", json=body)).json()
        orders.append([answer["speaker"], *(turn["speaker"] for turn in answer["following"])])
        engine.replies.clear()
    assert orders[0] == orders[1]
    assert orders[0][0] == "lin"


async def test_a_stream_names_who_speaks_and_each_turn_can_be_resumed(
    client: httpx.AsyncClient, form: Fixture, open_session: Fixture, engine: ScriptedEngine
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    engine.replies += ["Light.", "Flour."]
    answer = await client.post(f"/api/sessions/{session}/turns", json={"text": "What have you?", "stream": True})
    assert answer.headers["x-moodline-speakers"] == "mara,bob"
    events = [dict(line.split(": ", 1) for line in part.split("\n")) for part in answer.text.strip().split("\n\n")]
    turns = [json.loads(event["data"]) for event in events if event["event"] == "turn"]
    assert [(turn["speaker"], turn["name"], turn["mode"]) for turn in turns] == [
        ("mara", "Mara", "say"),
        ("bob", "Bob the Miller", "speak"),
    ]
    ends = [json.loads(event["data"]) for event in events if event["event"] == "end"]
    assert [(end["speaker"], end["text"]) for end in ends] == [("mara", "Light."), ("bob", "Flour.")]
    assert answer.headers["x-moodline-turn"] == turns[0]["id"]
    rest = await client.get(f"/api/turns/{turns[1]['id']}/events", headers={"Last-Event-ID": "3"})
    assert '"text":"ur."' in rest.text


async def test_a_round_ends_with_the_line_that_broke_off(
    client: httpx.AsyncClient, form: Fixture, open_session: Fixture, engine: ScriptedEngine
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    engine.replies += ["Light.", EngineUnavailable("The engine is gone.")]
    answer = await client.post(f"/api/sessions/{session}/turns", json={"text": "What have you?"})
    assert answer.status_code == 200
    assert [turn["state"] for turn in (answer.json(), *answer.json()["following"])] == ["finished", "failed"]
    assert (await branch_of(client, session))[1:] == [("mara", "Light.")]


async def test_two_users_of_one_group_share_nothing(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="list")
    mine, theirs = await open_session("ana"), await open_session("bo")
    await act(mine, "I keep it.", "I too.", text="The password is swordfish.")
    await embed_waiting(services)
    turns = await act(theirs, "I have none.", "None.", text="What is the password?")
    for turn in turns:
        assert "swordfish" not in await prompt_of(client, turn)
    assert await bonds_of(client, "bo") == {"mara": 1, "bob": 1}


async def test_a_new_session_begins_with_the_greetings_of_its_members(
    client: httpx.AsyncClient, form: Fixture, open_session: Fixture, act: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session(greeted=True)
    assert await branch_of(client, session) == [("mara", "Mind the stairs, ana.")]
    turns = await act(session, "Aye.", "Aye.", text="Thanks.")
    assert "<user> Mara: Mind the stairs, ana." in await prompt_of(client, turns[1])
    shown = (await client.get("/api/sessions", params={"character": "group/harbour"})).json()["items"]
    assert [(one["id"], one["character"]) for one in shown] == [(session, "group/harbour")]


async def test_the_language_model_may_speak_for_the_user_in_a_group(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    await act(session, "Aye.", "Aye.", text="Is it late?")
    drafted = await act(session, "I should go.\nMara: Stay.", mode="impersonate")
    assert (drafted[0]["text"], len(await branch_of(client, session))) == ("I should go.", 3)


async def test_a_member_that_is_deleted_is_not_there_and_the_talk_goes_on(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="list")
    session = await open_session()
    turns = await act(session, "Aye.", "No.", text="Is it late?")
    await client.delete("/api/characters/bob", headers={"If-Match": "*"})
    after = await act(session, "He is gone.", text="Where is Bob?")
    assert [turn["speaker"] for turn in after] == ["mara"]
    assert "<user> Bob the Miller: No." in await prompt_of(client, after[0])
    again = await client.post(
        f"/api/sessions/{session}/turns", json={"mode": "regenerate", "message_id": turns[1]["reply_id"]}
    )
    assert (again.status_code, again.json()["title"]) == (422, "no_member")
    await client.delete("/api/characters/mara", headers={"If-Match": "*"})
    nobody = await client.post(f"/api/sessions/{session}/turns", json={"mode": "speak"})
    assert (nobody.status_code, nobody.json()["title"]) == (422, "nobody_speaks")
    assert await everything(services.db) == {}


async def test_a_user_is_exported_and_forgotten_with_what_was_said_in_groups(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, rows: Fixture
) -> None:
    await form("mara", "bob", order="list")
    before = await rows()
    session = await open_session()
    await act(session, "Aye.", "No.", text="Is it late?")
    lines = [json.loads(line) for line in (await client.get("/api/users/export?user=ana")).text.splitlines()]
    said = [line for line in lines if line["kind"] == "message" and not line["deleted_at"]]
    assert [(line["text"], len(line["audience"])) for line in said] == [("Is it late?", 2), ("Aye.", 2), ("No.", 2)]
    assert len([line for line in lines if line["kind"] == "memory"]) == 4
    await client.delete("/api/users?user=ana")
    assert await rows() == before


async def test_characters_alone_know_no_speakers_nor_mode_of_groups(client: httpx.AsyncClient, form: Fixture) -> None:
    await form("mara")
    session = (await client.post("/api/sessions", json={"character": "mara", "user": "ana"})).json()["id"]
    named = await client.post(f"/api/sessions/{session}/turns", json={"text": "Hi.", "speakers": ["mara"]})
    assert (named.status_code, named.json()["param"]) == (400, "speakers")
    spoken = await client.post(f"/api/sessions/{session}/turns", json={"mode": "speak"})
    assert (spoken.status_code, spoken.json()["param"]) == (422, "mode")


async def test_what_the_user_said_is_judged_for_each_who_answers_once_and_never_what_members_said(
    client: httpx.AsyncClient, form: Fixture, act: Fixture, open_session: Fixture, services: Services
) -> None:
    await form("mara", "bob", order="list")
    body = {"name": "Lin", "persona": "Lin fishes.", "bond": {"judged": 5}}
    assert (await client.post("/api/characters", json=body | {"slug": "lin"})).status_code == 201
    await client.put("/api/groups/harbour/members/lin", json={}, headers={"If-Match": "*"})
    session = await open_session()
    judgement = '{"reason": "kind", "affinity": 3}'
    await act(session, "Aye.", "Bob dislikes it.", "I thank you.", text="You are kind, all of you.")
    await act(session, "And I say more.", mode="speak", speakers=["lin"])
    engine = services.engine
    assert isinstance(engine, ScriptedEngine)
    engine.replies.append(judgement)
    while await judge_waiting(services):
        pass
    asked = engine.asked[-1].messages[-1].content
    assert asked == "ana: You are kind, all of you.\nLin: I thank you."
    events = (await client.get("/api/bonds/lin/events?user=ana")).json()
    assert [(event["kind"], event["numbers"]) for event in events] == [("judged", {"affinity": 3.0})]


async def test_who_hangs_up_ends_the_round_with_the_line_that_is_being_said(
    form: Fixture, services: Services, running: Fixture, engine: ScriptedEngine
) -> None:
    async with running(services) as (http, _server):
        await form("mara", "bob", order="list", http=http)
        session = (await http.post("/api/sessions", json={"character": "group/harbour"})).json()["id"]
        engine.pace = asyncio.Event()
        engine.replies += ["Light.", "Flour."]
        body = {"text": "What have you?", "stream": True}
        async with http.stream("POST", f"/api/sessions/{session}/turns", json=body) as answer:
            turn_id = answer.headers["x-moodline-turn"]
            assert "event: turn" in await anext(answer.aiter_text())
        engine.pace.set()
        rest = (await http.get(f"/api/turns/{turn_id}/events")).text
        assert '"state":"finished"' in rest
        branch = (await http.get(f"/api/sessions/{session}")).json()["branch"]
    assert [message["text"] for message in branch[1:]] == ["What have you?", "Light."]
    assert list(engine.replies) == ["Flour."]
