"""Macros of a character's texts reach the language model filled in, and leave the prompt's beginning as it was."""

from __future__ import annotations

import re
from typing import Any

import httpx

from models.scripted import ScriptedEngine

MARA: dict[str, Any] = {
    "slug": "mara",
    "name": "Mara",
    "persona": "{{char}} is {{pick::calm::stern::glad::sad}}. {{// shh}}\nShe rolled {{roll:1d1}} for {{user}}.",
    "greeting": "It is {{weekday}}, {{user}}.",
    "stages": [{"name": "any", "affinity": 0, "persona": "Her dice say {{roll:1000000}}. Last: {{lastUserMessage}}"}],
    "lore": [
        {"content": "Her lucky number is {{roll:1000}}.", "constant": True},
        {"keys": ["{{user}}"], "content": "The {{random::tide}} knows {{user}}. {{unknown}}"},
    ],
}


async def test_macros_are_filled_in_and_the_prompts_beginning_stays(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    assert (await client.post("/api/characters", json=MARA)).status_code == 201
    talk = [{"role": "user", "content": "I am ana."}]
    for _ in range(2):
        engine.replies.append("Aye, that you are.")
        body = {"model": "char/mara", "user": "ana", "messages": talk}
        assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
        talk = [*talk, {"role": "assistant", "content": "Aye, that you are."}, {"role": "user", "content": "ana?"}]
    first, second = ([message.content for message in asked.messages] for asked in engine.asked)
    assert re.search(r"Mara is (calm|stern|glad|sad)\.", first[0])
    assert "She rolled 1 for ana." in first[-2]
    assert "lucky number is" in first[-2]
    assert first[0] == second[0]
    assert "The tide knows ana. {{unknown}}" in first[-2]
    assert "Last: ana?" in second[-2]
    dice = [re.search(r"dice say (\d+)", prompt[-2]) for prompt in (first, second)]
    assert len({found[1] for found in dice if found}) == 2


async def test_what_changes_in_a_cards_rules_and_examples_is_told_late_and_the_rest_stays(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    card = {
        "slug": "lin",
        "name": "Lin",
        "persona": "{{char}} mends nets.",
        "system_prompt": "Never hurry, {{char}}.\n{{original}} It is {{isodate}}.",
        "mes_example": "<START>\n{{user}}: Late?\n{{char}}: Early.\n{{char}}: It was {{time}} just now.",
        "post_history_instructions": "Say it in {{roll:1d1}} sentence.",
    }
    assert (await client.post("/api/characters", json=card)).status_code == 201
    engine.replies.append("Aye, early enough.")
    body = {"model": "char/lin", "user": "ana", "messages": [{"role": "user", "content": "Is it late?"}]}
    assert (await client.post("/v1/chat/completions", json=body)).status_code == 200
    prompt = [message.content for message in engine.asked[-1].messages]
    assert "Never hurry, Lin." in prompt[0]
    assert "ana: Late?\nLin: Early." in prompt[0]
    assert "Lin" in prompt[0].split("Never hurry, Lin.")[0], "what the rules replace is there"
    assert not re.search(r"\d\d:\d\d|\d{4}-\d\d-\d\d", prompt[0])
    late = "\n".join(prompt[1:])
    assert re.search(r"It is \d{4}-\d\d-\d\d\.", late)
    assert re.search(r"It was \d\d:\d\d just now\.", late)
    assert "Say it in 1 sentence." in late
    assert "{{" not in "".join(prompt)


async def test_a_cards_text_at_a_depth_is_told_by_its_role(client: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    deep = {"prompt": "{{char}}'s hands are cold.", "depth": 1, "role": "assistant"}
    assert (await client.post("/api/characters", json=MARA | {"lore": [], "depth_prompt": deep})).status_code == 201
    session = await client.post("/api/sessions", json={"character": "mara", "user": "ana"})
    place = f"/api/sessions/{session.json()['id']}"
    for note, told in (("", True), ("Keep it short.", False)):
        await client.patch(place, json={"note": note}, headers={"If-Match": "*"})
        engine.replies.append("Aye, I know a way to warm them.")
        await client.post(f"{place}/turns", json={"text": f"Is it cold? {note}"})
        roles = {message.role for message in engine.asked[-1].messages if "hands are cold" in message.content}
        assert roles == ({"assistant"} if told else set())


async def test_a_greeting_is_stored_as_it_is_said(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/characters", json=MARA)).status_code == 201
    made = await client.post("/api/sessions", json={"character": "mara", "user": "ana"})
    assert made.status_code == 201, made.text
    session = (await client.get(f"/api/sessions/{made.json()['id']}")).json()
    assert re.fullmatch(r"It is \w+day, ana\.", session["branch"][0]["text"])
