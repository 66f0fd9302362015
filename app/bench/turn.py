"""`moodline bench turn`: what each step of a turn costs, and what importing lines costs.

Three systems in one run, on the same character and the same user messages: `moodline` (layout late), `classic` (all in
the first system message) and `bare` (the engine alone, given the prompts that `moodline` made). Medians over all turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.progress import track
from rich.table import Table
from sqlalchemy import select

from app.characters.samples import add_samples
from app.characters.store import find
from app.chat import progress
from app.chat.ask import Turn
from app.chat.protocol import ChatMessage, ChatRequest, Extensions
from app.chat.reading import read_ask
from app.chat.speak import Speech
from app.chat.turn import prepare, take_turn
from app.cli.console import OPERATOR, closing, err, out, settings
from app.cli.console import run as run_async
from app.lines.parse import parse
from app.lines.store import add
from app.migrate import migrate
from app.reindex import embed_waiting
from app.services import Services, build
from app.settings import Layout
from app.tables import Character
from models.engine import Finish, Sampling

SAID = (
    "你好，今天过得怎么样？",
    "I had a dog called Biscuit when I was nine.",
    "最近工作很累，总是睡不好。",
    "What would you do with a whole free day?",
    "我妈妈做的红烧肉是全世界最好吃的。",
    "Somebody shouted at me on the bus today and I just stood there.",
    "你有没有后悔过什么事？",
    "Tell me something that made you laugh.",
)

Numbers = dict[str, list[float]]


@dataclass(slots=True)
class Talk:
    """The conversation that a layout keeps with a character."""

    slug: str
    layout: Layout
    session_id: str | None = None


def run(turns: int, file: Path | None, role: str, reply_tokens: int) -> None:
    """Measure in a temporary database; weights come from MOODLINE_HOME."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/bench.db"
        chosen = settings().model_copy(update={"database_url": url, "reply_tokens": reply_tokens})
        migrate(url)
        results = run_async(_measure(build(chosen), turns, file, role))
    _show(results)


async def _measure(parts: Services, turns: int, file: Path | None, role: str) -> dict[str, dict[str, float]]:
    async with closing(parts):
        await add_samples(parts.db)
        with err.status("loading the encoder and the language model"):
            await parts.embedding.start()
            await parts.engine.start()
            await embed_waiting(parts)
        imported = await _import(parts, file, role) if file else {}
        async with parts.db.read() as db:
            slugs = list(await db.scalars(select(Character.slug).order_by(Character.slug)))
        spans: dict[str, Numbers] = {"moodline": defaultdict(list), "classic": defaultdict(list)}
        bare: Numbers = defaultdict(list)
        for slug in slugs:
            late, classic = Talk(slug, "late"), Talk(slug, "classic")
            for place in track(range(turns), f"char/{slug}", console=err):
                said = SAID[place % len(SAID)]
                turn = await _time_turn(parts, late, said, spans["moodline"])
                await _time_turn(parts, classic, said, spans["classic"])
                await _time_bare(parts, turn, bare)
        results = {name: _medians(numbers) for name, numbers in (*spans.items(), ("bare", bare))}
        results["moodline"] |= imported | {"rss_mb": round(psutil.Process().memory_info().rss / 2**20)}
        return results


async def _import(parts: Services, file: Path, role: str) -> dict[str, float]:
    """Import a file of lines as the API does, and embed them."""
    began = time.perf_counter()
    dialogues = await asyncio.to_thread(lambda: parse(file.read_bytes(), filename=file.name))
    async with parts.db.write() as db:
        slug = await db.scalar(select(Character.slug).where(Character.document["language"].as_string() == "zh"))
        character = await find(db, OPERATOR, slug or "")
        record = await add(db, character, dialogues, role or character.document["name"], file.name)
    stored = time.perf_counter() - began
    with err.status(f"embedding {record.units} units"):
        done = await embed_waiting(parts)
    seconds = time.perf_counter() - began
    return {
        "import_turns": record.turns,
        "import_units": record.units,
        "import_store_s": round(stored, 2),
        "import_total_s": round(seconds, 2),
        "import_units_per_s": round(done / (seconds - stored), 1) if done else 0.0,
    }


async def _time_turn(parts: Services, talk: Talk, said: str, numbers: Numbers) -> Turn:
    """One turn of a conversation."""
    body = ChatRequest(
        model=f"char/{talk.slug}",
        user=talk.layout,
        messages=[ChatMessage(role="user", content=said)],
        moodline=Extensions(layout=talk.layout),
        seed=1,
    )
    began = time.perf_counter()
    turn = await prepare(parts, read_ask(body, OPERATOR, parts, talk.slug, talk.session_id))
    prepared = time.perf_counter()
    talk.session_id = turn.session_id
    speech = Speech()
    async with parts.db.write() as db:
        await progress.begin(db, turn, "say")
    async with aclosing(take_turn(parts, turn, [speech])) as pieces:
        async for _piece in pieces:
            pass
    numbers["prepare_ms"].append((prepared - began) * 1000)
    numbers["total_ms"].append((time.perf_counter() - began) * 1000)
    for name, span in turn.watch.spans.items():
        if name != "total":
            numbers[f"{name}_ms"].append(span)
    if speech.finish:
        numbers["prompt_tokens"].append(speech.finish.prompt_tokens)
        numbers["cached_tokens"].append(speech.finish.cached_tokens)
    return turn


async def _time_bare(parts: Services, turn: Turn, numbers: Numbers) -> None:
    """The engine alone, with a prompt that `moodline` made, cut off from its prefix cache by another owner."""
    sampling = Sampling(max_tokens=turn.ask.sampling.max_tokens, seed=1)
    began = time.perf_counter()
    first = 0.0
    async with aclosing(parts.engine.stream(turn.prompt.messages, sampling, owner=f"bare-{turn.id}")) as events:
        async for event in events:
            first = first or time.perf_counter() - began
            if isinstance(event, Finish):
                numbers["prompt_tokens"].append(event.prompt_tokens)
                numbers["cached_tokens"].append(event.cached_tokens)
    numbers["first_token_ms"].append(first * 1000)
    numbers["total_ms"].append((time.perf_counter() - began) * 1000)


def _medians(numbers: Numbers) -> dict[str, float]:
    return {name: round(statistics.median(values), 2) for name, values in numbers.items()}


def _show(results: dict[str, dict[str, Any]]) -> None:
    """A table for people, one JSON line for programs."""
    table = Table("median", *results)
    names = dict.fromkeys(name for numbers in results.values() for name in numbers)
    for name in names:
        table.add_row(name, *(str(numbers.get(name, "")) for numbers in results.values()))
    out.print(table)
    print(json.dumps({"bench": "turn", "results": results}))
