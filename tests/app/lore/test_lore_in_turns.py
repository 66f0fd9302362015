"""Lore of a turn: whose books are read, what runs on from turn to turn, and what a swipe takes back."""

from __future__ import annotations

from typing import Any

import httpx

from models.scripted import ScriptedEngine

MARA: dict[str, Any] = {
    "slug": "mara",
    "name": "Mara",
    "persona": "Mara keeps the lighthouse.",
    "lore": [{"name": "storm", "keys": ["storm"], "content": "The storm took the pier.", "sticky": 3}],
}


async def say(client: httpx.AsyncClient, engine: ScriptedEngine, *texts: str, user: str = "ana") -> httpx.Response:
    """Send a talk whose messages take turns, and get the reply "Aye N"."""
    engine.replies.append(f"Aye {len(texts)}, {texts[-1]}")
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    answer = await client.post("/v1/chat/completions", json={"model": "char/mara", "user": user, "messages": messages})
    assert answer.status_code == 200, answer.text
    return answer


async def test_an_entry_with_reverse_depth_is_told_so_many_messages_after_the_beginning(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    lore = [{"constant": True, "content": "@@reverse_depth 1\n@@role user\nThe lamp is lit."}]
    await client.post("/api/characters", json=MARA | {"lore": lore})
    talk = ("Hello.", "Aye, hello.", "Is it late?", "It is early.", "How early?")
    await say(client, engine, *talk)
    told = [message.content for message in engine.asked[-1].messages if message.role != "system"]
    assert told == [talk[0], "The lamp is lit.", *talk[1:]]


async def fates(client: httpx.AsyncClient, answer: httpx.Response) -> dict[str, str]:
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    return {fate["name"]: fate["reason"] if fate["fired"] else f"not: {fate['reason']}" for fate in trace["lore"]}


def said(answer: httpx.Response) -> str:
    content: str = answer.json()["choices"][0]["message"]["content"]
    return content


async def test_what_is_sticky_speaks_on_along_its_own_branch_only(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    await client.post("/api/characters", json=MARA | {"lore_settings": {"scan_depth": 1}})
    first = await say(client, engine, "the storm came")
    assert await fates(client, first) == {"storm": "key"}
    talk = ("the storm came", said(first))
    assert await fates(client, await say(client, engine, *talk, "and then?")) == {"storm": "sticky"}
    assert await fates(client, await say(client, engine, *talk, "and then?")) == {"storm": "sticky"}
    calm = await say(client, engine, "a calm day")
    assert await fates(client, calm) == {"storm": "not: no match"}
    calmer = await say(client, engine, "a calm day", said(calm), "and then?")
    assert await fates(client, calmer) == {"storm": "not: no match"}


async def test_a_fork_takes_its_timers_along(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    lore = [MARA["lore"][0] | {"sticky": 9}]
    await client.post("/api/characters", json=MARA | {"lore": lore, "lore_settings": {"scan_depth": 1}})
    first = await say(client, engine, "the storm came")
    session = first.headers["x-session-id"]
    fork = (await client.post(f"/api/sessions/{session}/fork", json={})).json()["id"]
    engine.replies.append("Aye.")
    turn = await client.post(f"/api/sessions/{fork}/turns", json={"text": "and then?", "stream": False})
    assert turn.status_code == 200, turn.text
    assert await fates(client, turn) == {"storm": "sticky"}


async def test_books_are_read_by_the_turns_of_those_they_are_for(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    await client.post("/api/characters", json=MARA)
    await client.post("/api/characters", json=MARA | {"slug": "other", "lore": []})
    for name, fields in (
        ("all", {}),
        ("ana", {"user": "ana"}),
        ("ben", {"user": "ben"}),
        ("mara", {"character": "mara"}),
        ("other", {"character": "other"}),
        ("off", {"enabled": False}),
    ):
        book = {"name": name, "entries": [{"name": name, "content": f"{name} speaks", "constant": True}], **fields}
        assert (await client.post("/api/lorebooks", json=book)).status_code == 201
    heard = await fates(client, await say(client, engine, "hello"))
    assert set(heard) == {"storm", "all", "ana", "mara"}
    heard = await fates(client, await say(client, engine, "hello", user="ben"))
    assert set(heard) == {"storm", "all", "ben", "mara"}


async def test_a_change_of_a_book_is_read_at_the_next_turn(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    await client.post("/api/characters", json=MARA | {"lore": []})
    made = await client.post("/api/lorebooks", json={"name": "w", "entries": [{"name": "x", "content": "before"}]})
    url = f"/api/lorebooks/{made.json()['id']}"
    assert await fates(client, await say(client, engine, "hello")) == {"x": "not: no_keys"}
    await client.put(
        url, json={"name": "w", "entries": [{"name": "y", "content": "z", "constant": True}]}, headers={"If-Match": "*"}
    )
    assert await fates(client, await say(client, engine, "hello")) == {"y": "constant"}


async def test_only_recursive_books_call_each_other(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    await client.post("/api/characters", json=MARA | {"lore": [{"name": "own", "keys": ["eels"], "content": "x"}]})
    entries = [
        {"name": "moat", "keys": ["moat"], "content": "Eels live in the moat."},
        {"name": "eels", "keys": ["eels"], "content": "Eels are long."},
    ]
    await client.post("/api/lorebooks", json={"name": "w", "settings": {"recursive": True}, "entries": entries})
    heard = await fates(client, await say(client, engine, "see the moat"))
    assert heard == {"own": "not: exclude_recursion", "moat": "key", "eels": "key"}


async def test_entries_go_to_their_places_in_the_prompt(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    lore = [
        {"content": "BY ROLE", "constant": True, "position": "depth", "depth": 1, "role": "user"},
        {"content": "FIRST", "constant": True, "position": "before"},
        {"content": "AT THE NOTE", "constant": True, "position": "note_top"},
        {"content": "a red coat", "constant": True, "position": "outlet", "outlet": "wear"},
    ]
    persona = "Mara keeps the lighthouse in {{outlet::wear}}{{outlet::none}}."
    await client.post("/api/characters", json=MARA | {"lore": lore, "persona": persona})
    answer = await say(client, engine, "hello")
    trace = (await client.get(f"/api/turns/{answer.headers['x-moodline-turn']}/trace")).json()
    first, *others = [(message["role"], message["content"]) for message in trace["prompt"]]
    assert "Mara keeps the lighthouse in a red coat." in first[1]
    assert first[1].index("FIRST") < first[1].index("Mara keeps")
    assert ("user", "BY ROLE") in others
    assert any(role == "system" and content.endswith("AT THE NOTE") for role, content in others)
