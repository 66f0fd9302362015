"""What is said in benchmarks that hold a conversation, and saying it over HTTP."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from models.sse import read_events

SAID = (
    "Good morning! I only meant to stop for a minute, but the water is so still here. May I tie up?",
    "My sister used to say I never stay anywhere long enough to learn the names of the dogs.",
    "What is the heron called? He looked at my lunch as if it were a matter of law.",
    "I had the oddest dream about a lock that filled with fog instead of water.",
    "Somebody shouted at me on the bus yesterday and I just stood there. I keep thinking of answers.",
    "Have you got anything to eat? I could smell bread all the way up from the bridge.",
    "Tell me about the ledger on the shelf. Do you write down everyone who passes?",
    "When I was nine I had a dog called Biscuit. He was afraid of wheelbarrows.",
    "Is the company going to close the lock? I heard there would be an inspection.",
    "I used to want to be a teacher. Then I saw what they have to put up with.",
    "How do you know when it is going to rain? The weather here changes its mind every hour.",
    "I have not talked to my family since spring. I suppose I should write.",
    "What would you do with a whole day in which nobody came through?",
    "The buns were wonderful. I ate three and I am not ashamed of it.",
    "Did you ever miss the city? I do, on Sundays, when the bells don't ring.",
    "I should go soon. Before that, tell me something that made you laugh this year.",
)


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: its text, seconds to its first text and to its end, usage, the trace in short, and the headers."""

    text: str
    first: float
    whole: float
    usage: dict[str, Any]
    moodline: dict[str, Any] = field(default_factory=dict)
    headers: httpx.Headers = field(default_factory=httpx.Headers)

    @property
    def prompt_tokens(self) -> int:
        """As the engine counted."""
        return int(self.usage["prompt_tokens"])

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the engine had computed before."""
        return int((self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)


def said(turn: int, words: int) -> str:
    """What is said in turn number `turn`, of at least so many words; no two turns say the same."""
    text, place = f"{SAID[turn % len(SAID)]}", turn + 1
    while len(text.split()) < words:
        text, place = f"{text} {SAID[place % len(SAID)]} That makes {place * 7 + turn}.", place + 1
    return text


async def say(http: httpx.AsyncClient, body: dict[str, Any]) -> Heard:
    """Stream an answer. Raises `OSError` for a refusal or an answer that breaks off."""
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    began = time.perf_counter()
    text, first = "", 0.0
    usage: dict[str, Any] = {}
    moodline: dict[str, Any] = {}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        if answer.status_code != 200:
            raise OSError(f"{answer.status_code}: {(await answer.aread()).decode()}")
        async for event in read_events(answer.aiter_bytes()):
            if event.data == "[DONE]":
                break
            chunk = json.loads(event.data)
            if "error" in chunk:
                raise OSError(str(chunk["error"]))
            content = "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
            first = first or (time.perf_counter() - began if content else 0.0)
            text += content
            usage, moodline = chunk.get("usage") or usage, chunk.get("moodline") or moodline
        whole = time.perf_counter() - began
        return Heard(text, first or whole, whole, usage, moodline, answer.headers)
