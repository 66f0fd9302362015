# ruff: noqa: E501 - requests stand as the front ends send them
"""Requests in the shapes that real front ends send, through whole conversations; and every request of docs/clients.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from sqlalchemy import select

from app.chat.tasks import task_of
from app.services import Services
from app.tables import Bond, Memory, Session
from models.scene import Message
from models.scripted import ScriptedEngine
from tests.app.conftest import Character

Talk = list[tuple[str, str]]
Body = dict[str, Any]
GUIDE = Path(__file__).parents[2] / "docs" / "clients.md"


def listed(talk: Talk, named: dict[str, str] | None = None) -> list[dict[str, Any]]:
    names = named or {}
    return [
        {
            "role": role,
            "content": f"{names[role]}: {text}" if role in names else text,
            **({"name": "x"} if not names else {}),
        }
        for role, text in talk
    ]


def silly_tavern(talk: Talk) -> Body:
    """Custom (OpenAI-compatible), names in the content, several system prompts, post-history instructions."""
    names = {"user": "Ana Berg", "assistant": "Mira"}
    before = (
        "Write Mira's next reply in a fictional chat between Mira and Ana Berg.",
        "Mends nets.",
        "[Start a new Chat]",
    )
    return {
        "messages": [
            *({"role": "system", "content": text} for text in before),
            *listed(talk, names),
            {"role": "system", "content": "Write one paragraph."},
        ],
        **{"user": "ana", "stream": False, "temperature": 1, "max_tokens": 300, "presence_penalty": 0},
        **{"frequency_penalty": 0, "top_p": 1, "stop": ["\nAna Berg:"], "seed": 7},
    }


def silly_tavern_plain(talk: Talk) -> Body:
    """The same without names; the card's own greeting names the persona."""
    before = [{"role": "system", "content": "Mends nets."}, {"role": "system", "content": "[Start a new Chat]"}]
    return {"messages": [*before, *listed(talk, {"": ""})], "user": "ana", "temperature": 1, "max_tokens": 300}


def open_webui(talk: Talk) -> Body:
    return {"messages": listed(talk, {"": ""}), "stream": False, "user": "ana"}


def libre_chat(talk: Talk) -> Body:
    parts = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in talk]
    return {"user": "ana", "temperature": 1, "messages": [{"role": "system", "content": "Be brief."}, *parts]}


def python_sdk(talk: Talk) -> Body:
    return {"user": "ana", "messages": listed(talk)}


def rewrapped(talk: Talk) -> Body:
    """A front end that trims and ends lines in another way."""
    return {
        "user": "ana",
        "messages": [{"role": r, "content": f"\r\n{t.strip().replace(' ', '  ')}\u200b\r\n"} for r, t in talk],
    }


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """How it shapes a conversation, whether it shows the greeting, and what it asks on the side."""

    shape: Callable[[Talk], Body]
    greeting: str = ""
    tasks: list[list[dict[str, str]]] = field(default_factory=list)


def asked(text: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


TITLE = "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Chat History:\n<chat_history>\nUSER: My cat is called Pickle.\n</chat_history>"
TAGS = "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with 1-3 more specific subtopic tags.\n### Chat History:\n<chat_history>\nUSER: My cat is called Pickle.\n</chat_history>"
SUMMARY = "Ignore previous instructions. Summarize the most important facts and events in the story so far. If a summary already exists in your memory, use that as a base and expand with new facts. Limit the summary to 200 words or less. Your response should include nothing but the summary."
IMPERSONATE = "[Write your next reply from the point of view of Ana Berg, using the chat history so far as a guideline for the writing style of Ana Berg. Don't write as Mira or system. Don't describe actions of Mira.]"
LIBRE_TITLE = 'Provide a concise, 5-word-or-less title for the conversation, using its same language, with no punctuation. Apply title case conventions appropriate for the language. Never directly mention the language name or the word "title" and only return the title itself.\n\nConversation:\nUser: My cat is called Pickle.'
FRONT_ENDS = {
    "SillyTavern, names": FrontEnd(
        silly_tavern,
        "Mind the ropes, Ana Berg.",
        [[*asked("Mira: A fine name.", "assistant"), *asked(IMPERSONATE, "system")]],
    ),
    "SillyTavern, no names": FrontEnd(
        silly_tavern_plain,
        "Mind the ropes, Ana Berg.",
        [[*asked("My cat is called Pickle."), *asked(SUMMARY, "system")]],
    ),
    "Open WebUI": FrontEnd(open_webui, "", [asked(TITLE), asked(TAGS)]),
    "LibreChat": FrontEnd(libre_chat, "", [asked(LIBRE_TITLE)]),
    "SDK": FrontEnd(python_sdk),
    "one that re-wraps": FrontEnd(rewrapped, "Mind the ropes, ana."),
}


@dataclass(slots=True)
class Chat:
    """A person at a front end."""

    http: httpx.AsyncClient
    engine: ScriptedEngine
    front: FrontEnd
    talk: Talk
    session: str = ""

    async def send(self, talk: Talk, reply: str) -> str:
        self.engine.replies.append(reply)
        answer = await self.http.post("/v1/chat/completions", json={"model": "char/mira"} | self.front.shape(talk))
        assert answer.status_code == 200, answer.text
        assert self.session in ("", answer.headers["x-session-id"]), "another conversation began"
        self.session = answer.headers["x-session-id"]
        text: str = answer.json()["choices"][0]["message"]["content"]
        return text

    async def say(self, said: str, reply: str) -> None:
        self.talk.append(("user", said))
        self.talk.append(("assistant", await self.send(self.talk, reply)))

    async def swipe(self, reply: str) -> None:
        self.talk[-1] = ("assistant", await self.send(self.talk[:-1], reply))

    async def go_on(self, more: str) -> None:
        self.talk[-1] = ("assistant", self.talk[-1][1] + await self.send(self.talk, more))

    async def edit(self, said: str, reply: str) -> None:
        self.talk[-2:] = []
        await self.say(said, reply)

    async def ask_on_the_side(self) -> None:
        for messages in self.front.tasks:
            self.engine.replies.append("Pickle The Cat")
            answer = await self.http.post(
                "/v1/chat/completions", json={"model": "char/mira", "user": "ana", "messages": messages}
            )
            assert answer.json()["choices"][0]["message"]["content"] == "Pickle The Cat"
            assert "x-session-id" not in answer.headers


def plain(text: str) -> str:
    return " ".join(text.replace("\u200b", "").split())


@pytest.fixture
async def made(client: httpx.AsyncClient, mira: Character) -> None:
    answer = await client.post("/api/characters", json=mira)
    assert answer.status_code == 201, answer.text


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize("front", FRONT_ENDS.values(), ids=FRONT_ENDS)
async def test_a_front_end_lives_through_a_whole_conversation(
    client: httpx.AsyncClient, engine: ScriptedEngine, services: Services, front: FrontEnd
) -> None:
    chat = Chat(client, engine, front, [("assistant", front.greeting)] if front.greeting else [])
    await chat.say("My cat is called Pickle.", "A fine name.")
    await chat.ask_on_the_side()
    await chat.say("Do gulls sleep?", "On one leg.")
    await chat.swipe("They never do.")
    await chat.go_on(" Not here, and not in this wind.")
    await chat.ask_on_the_side()
    await chat.say("Is the quay far?", "Not far.")
    await chat.edit("Is the pier far?", "Very far.")
    whole = list(chat.talk)
    chat.talk = chat.talk[3 if front.greeting else 2 :]
    await chat.say("What was my cat called?", "Pickle, you said.")

    branch = (await client.get(f"/api/sessions/{chat.session}")).json()["branch"]
    told = [*whole, ("user", "What was my cat called?"), ("assistant", "Pickle, you said.")]
    assert [plain(m["text"]) for m in branch] == [text for _, text in told]
    siblings = {m["text"].split()[0]: len(m["siblings"]) for m in branch if m["siblings"]}
    assert sum(siblings.values()) == 3, "two earlier replies about gulls, and the quay"
    async with services.db.read() as db:
        texts = list(await db.scalars(select(Memory.text).where(~Memory.retired).order_by(Memory.id)))
        turns = await db.scalar(select(Bond.turns))
        sessions = list(await db.scalars(select(Session.id)))
    replies = ["A fine name.", "They never do. Not here, and not in this wind.", "Very far.", "Pickle, you said."]
    assert [plain(text.split("Mira: ")[1]) for text in texts] == replies
    assert turns == 4
    assert sessions == [chat.session]


@pytest.mark.usefixtures("made")
async def test_open_webuis_own_header_names_the_person_where_nothing_else_does(
    client: httpx.AsyncClient, engine: ScriptedEngine
) -> None:
    engine.replies += ["Aye."] * 3
    hello = {"model": "char/mira", "messages": [{"role": "user", "content": "Hello."}]}
    forwarded = {"X-OpenWebUI-User-Id": "u-1", "X-OpenWebUI-User-Name": "Ana"}
    await client.post("/v1/chat/completions", json=hello, headers=forwarded)
    await client.post("/v1/chat/completions", json=hello | {"user": "bo"}, headers=forwarded)
    await client.post("/v1/chat/completions", json=hello, headers=forwarded | {"X-Moodline-User": "cy"})
    sessions = (await client.get("/api/sessions")).json()["items"]
    assert sorted(session["user"] for session in sessions) == ["bo", "cy", "u-1"]


@pytest.mark.usefixtures("made")
async def test_the_official_client_goes_on_in_one_conversation_over_a_real_socket(
    address: str, engine: ScriptedEngine, client: httpx.AsyncClient
) -> None:
    engine.replies += ["Well met.", "South.", " and then east."]
    sdk = AsyncOpenAI(base_url=f"{address}/v1", api_key="none")
    talk: list[Any] = [{"role": "user", "content": "Hello."}]
    first = await sdk.chat.completions.with_raw_response.create(model="char/mira", user="ana", messages=talk)
    talk.append(first.parse().choices[0].message)
    talk.append({"role": "user", "content": "Where to?"})
    stream = await sdk.chat.completions.create(model="char/mira", user="ana", messages=talk, stream=True)
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert said == "South."
    talk.append({"role": "assistant", "content": "South"})
    flags = {"add_generation_prompt": False, "continue_final_message": True}
    longer = await sdk.chat.completions.create(model="char/mira", user="ana", messages=talk, extra_body=flags)
    assert longer.choices[0].message.content == " and then east."
    branch = (await client.get(f"/api/sessions/{first.headers['x-session-id']}")).json()["branch"]
    assert [m["text"] for m in branch] == ["Hello.", "Well met.", "Where to?", "South and then east."]
    await sdk.close()


async def test_every_request_of_the_guide_does_what_it_says(
    client: httpx.AsyncClient, engine: ScriptedEngine, mira: Character
) -> None:
    await client.post(
        "/api/characters", json=mira | {"slug": "ludo-pask", "name": "Ludo", "greeting": "Well met, {{user}}."}
    )
    requests = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    ]
    assert len(requests) == 8
    sides = []
    for body in requests:
        engine.replies.append(" by the stars, and well.")
        answer = await client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        texts = [m["content"] if isinstance(m["content"], str) else m["content"][0]["text"] for m in body["messages"]]
        roles = [m["role"] for m in body["messages"]]
        is_task = task_of([Message(role, text) for role, text in zip(roles, texts, strict=True)]) is not None
        assert ("x-session-id" in answer.headers) is not is_task
        sides.append(is_task)
    assert sides == [False, False, True, False, True, False, True, False]
    page = (await client.get("/api/sessions?user=ana")).json()["items"]
    branches = [(await client.get(f"/api/sessions/{session['id']}")).json()["branch"] for session in page]
    assert [[m["text"] for m in branch] for branch in branches] == [
        ["Hello, Ludo.", "Well met.", "And then?", "Then we by the stars, and well."],
        ["Well met, Ana.", "Where do you sail?", "South by the stars, and well."],
    ]
