"""`moodline bench cache`: how much of a conversation's prompts the engine's prefix cache serves, and what it saves.

One conversation a system, all with the same user's messages, by turns; a server of our own speaks through the engine.
The engine's own counters tell what was cached. Systems:

`late`     a character with lines, lore and memories; what is retrieved stands after the history
`classic`  the same with everything in the first message, as Index-1.9B-character and Emotional RAG have it
`plain`    the same character without anything to retrieve
`kept`     the prompts of `late`, if what was retrieved stayed where it was put, turn after turn
`bare`     the language model with the character's text as system prompt, past the chat turn
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
from rich.progress import track

from app.bench.report import report
from app.bench.server import server
from app.bench.talk import Heard, said, say
from app.cli.console import err
from app.cli.console import run as run_async

CHARACTER = "ludo-pask"
PLAIN = "plain"
TOLD_LATE = ("present", "memories", "lines")
"""Sections that are no part of card and talk, beside the lore that fired."""
SETTLED = 3
"""The turn from which on a conversation counts as under way."""
Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn cost, in tokens and seconds; what was told late and the talk by the prompt's ledger.

    `again`: the reply was taken back and asked for a second time, with a prompt that was cached then.
    """

    prompt: int
    cached: int
    late: int
    history: int
    first: float
    again: bool = False

    @property
    def share(self) -> float:
        """Of the card and the talk, all but what is told late: what came from the cache."""
        return self.cached / (self.prompt - self.late)


@dataclass(slots=True)
class Talk:
    """A conversation as its client keeps it."""

    messages: list[Message] = field(default_factory=list)
    session: str | None = None
    turns: list[Turn] = field(default_factory=list)


@dataclass(slots=True)
class Bench:
    """What all systems share. `constant` are the characters of the lore that is always told."""

    http: httpx.AsyncClient
    model: str
    persona: str
    constant: int
    sampling: dict[str, Any]
    late: list[Message] = field(default_factory=list)

    async def character(self, talk: Talk, text: str, layout: str) -> None:
        """A turn of a character that remembers, in a session."""
        headers = {"session_id": talk.session} if talk.session else {}
        heard = await self._say(
            {
                "model": f"char/{CHARACTER}",
                "user": layout,
                "messages": [{"role": "user", "content": text}],
                "moodline": {"layout": layout, "trace": True},
                "metadata": headers,
            }
        )
        talk.session = heard.headers["x-session-id"]
        talk.turns.append(self._turn(heard))
        if layout == "late":
            trace = (await self.http.get(f"/api/turns/{heard.headers['x-moodline-turn']}/trace")).json()
            self.late = trace["prompt"]

    async def plain(self, talk: Talk, text: str) -> None:
        """A turn of a character with nothing to retrieve: what is said is sent along and never stored."""
        talk.messages.append({"role": "user", "content": text})
        heard = await self._say(
            {
                "model": f"char/{PLAIN}",
                "user": "plain",
                "messages": talk.messages,
                "moodline": {"trace": True},
                "store": False,
            }
        )
        talk.messages.append({"role": "assistant", "content": heard.text or "…"})
        talk.turns.append(self._turn(heard))

    async def kept(self, talk: Talk, text: str) -> None:
        """The late system's block of this turn, left where it is."""
        system, *_, block, _last = self.late
        talk.messages += [block, {"role": "user", "content": text}]
        heard = await self._bare(system, talk, 3)
        talk.turns.append(Turn(heard.prompt_tokens, heard.cached_tokens, 0, 0, heard.first))

    async def bare(self, talk: Talk, text: str) -> None:
        """The language model alone."""
        talk.messages.append({"role": "user", "content": text})
        heard = await self._bare({"role": "system", "content": self.persona}, talk, 2)
        history = heard.prompt_tokens - talk.turns[0].prompt if talk.turns else 0
        talk.turns.append(Turn(heard.prompt_tokens, heard.cached_tokens, 0, history, heard.first))

    async def _bare(self, system: Message, talk: Talk, each: int) -> Heard:
        """The language model's turn, without the oldest half of the talk whenever it no longer fits: `each` turn has so
        many messages."""
        while True:
            try:
                heard = await self._say({"model": self.model, "messages": [system, *talk.messages]})
                break
            except OSError as error:
                if "context" not in str(error) or len(talk.messages) < 4 * each:
                    raise
                del talk.messages[: len(talk.messages) // each // 2 * each]
        talk.messages.append({"role": "assistant", "content": heard.text or "…"})
        return heard

    def _turn(self, heard: Heard) -> Turn:
        """What a character's turn cost."""
        ledger = heard.moodline["prompt_tokens"]
        lore = sum(map(len, heard.moodline["lore"]))
        fired = max(0.0, 1 - self.constant / lore) if lore else 0.0
        late = sum(ledger[name] for name in TOLD_LATE) + round(ledger["lore"] * fired)
        again = max(heard.moodline["attempts"]) > 1
        return Turn(heard.prompt_tokens, heard.cached_tokens, late, ledger["history"], heard.first, again)

    async def _say(self, body: dict[str, Any]) -> Heard:
        return await say(self.http, body | self.sampling)


def run(engine_url: str, turns: int, words: int, reply_tokens: int, context: int) -> None:
    """Measure against a temporary database, through the engine at `engine_url` or, for "", the embedded one."""
    chosen = {"ENGINE": "openai", "UPSTREAM_URL": engine_url} if engine_url else {"ENGINE": "local"}
    with err.status("starting the server"), server(chosen | {"CONTEXT_TOKENS": str(context)}) as (port, _process):
        talks = run_async(measure(port, turns, words, {"max_tokens": reply_tokens, "temperature": 1.0}))
    results = {name: told(talk.turns) for name, talk in talks.items()}
    report("cache", results, turns=turns, words=words, reply_tokens=reply_tokens, context=context, cores=os.cpu_count())


async def measure(port: int, turns: int, words: int, sampling: dict[str, Any]) -> dict[str, Talk]:
    """Hold the conversations with the server on `port`, which has the sample characters: what each turn cost."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=600) as http:
        document = (await http.get(f"/api/characters/{CHARACTER}")).raise_for_status().json()
        lore = (await http.get(f"/api/characters/{CHARACTER}/lore")).raise_for_status().json()
        (await http.post("/api/characters", json=_bared(document))).raise_for_status()
        listed = (await http.get("/v1/models")).json()["data"]
        model = next(one["id"] for one in listed if not one["id"].startswith("char/"))
        constant = sum(len(entry["content"]) for entry in lore if entry["constant"])
        bench = Bench(http, model, document["persona"], constant, sampling)
        systems: dict[str, Callable[[Talk, str], Awaitable[None]]] = {
            "late": lambda talk, text: bench.character(talk, text, "late"),
            "classic": lambda talk, text: bench.character(talk, text, "classic"),
            "plain": bench.plain,
            "kept": bench.kept,
            "bare": bench.bare,
        }
        talks: dict[str, Talk] = defaultdict(Talk)
        for turn in track(range(turns), "turns", console=err):
            for name, speak in systems.items():
                await speak(talks[name], said(turn, words))
        return talks


def _bared(document: dict[str, Any]) -> dict[str, Any]:
    """A character that retrieves nothing."""
    fields = ("name", "language", "persona", "style", "scenario", "stages")
    return {"slug": PLAIN, "lore": [], **{name: document[name] for name in fields}}


def told(turns: list[Turn]) -> dict[str, float]:
    """What is told of a system: from turn `SETTLED` on, in tokens a turn; and first words by the tokens of history."""
    settled = [turn for turn in turns[SETTLED - 1 :] if not turn.again] or turns
    numbers = {
        "cached_of_card_and_talk": statistics.fmean(turn.share for turn in settled),
        "cached_of_card_and_talk_median": statistics.median(turn.share for turn in settled),
        "cached_of_prompt": sum(turn.cached for turn in settled) / sum(turn.prompt for turn in settled),
        "computed_tokens": statistics.fmean(turn.prompt - turn.cached for turn in settled),
        "prompt_tokens": statistics.fmean(turn.prompt for turn in settled),
        "told_late_tokens": statistics.fmean(turn.late for turn in settled),
        "left_out": sum(turn.again for turn in turns[SETTLED - 1 :]),
        "begun_anew": sum(one.cached > other.cached for one, other in pairwise(settled)),
        "first_p50_ms": statistics.median(turn.first for turn in settled) * 1e3,
    }
    for place in range(4, len(turns) + 1, 5):
        if not turns[place - 1].again:
            numbers[f"cached@{place}"] = turns[place - 1].share
    longest = max(turn.history for turn in turns)
    for size in (500, 1000, 2000, 4000, 6000, 8000):
        near = [turn.first for turn in settled if 0.75 * size <= turn.history <= 1.25 * size]
        if near and longest >= 0.9 * size:
            numbers[f"first_ms@{size}"] = statistics.median(near) * 1e3
    return numbers
