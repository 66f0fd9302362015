"""`moodline eval human-like`: what makes replies sound like a person's, counted, beside what people prefer.

Rows are Human-Like-DPO's (prompt, chosen, rejected), Alpaca's, or RoleBench's; the rows' own replies are systems too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from app.evaluation.asking import replies
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import few, persona, rows_of
from app.evaluation.report import Result, report
from models.data.rows import Row
from models.data.talk import language_of
from models.judging.features import FEATURES, features
from models.judging.intervals import interval
from models.judging.overlap import distinct
from models.scene import Message, Scene

PROMPTS = ("prompt", "instruction", "question")
REPLIES = ("chosen", "rejected", "output", "answer", "generated")


async def run(choices: Choices, data: Path, profiles: str, role: str) -> None:
    """Count the features of the engine's replies and of those that the rows hold."""
    rows = few([row for row in rows_of(data) if _first(row, PROMPTS)], choices.limit)
    if not rows:
        raise typer.BadParameter(f"{data}: no row has one of {', '.join(PROMPTS)}.", param_hint="--data")
    prompts = [_first(row, PROMPTS) for row in rows]
    who = [str(row.fields.get("role") or role) for row in rows]
    texts: dict[str, list[str]] = {}
    refused = 0
    if choices.engine:
        scenes = [
            Scene(name, language_of([text]), persona(profiles, name), history=(Message("user", text),))
            for name, text in zip(who, prompts, strict=True)
        ]
        async with opened(choices.engine, choices) as engine:
            heard = await replies(engine, scenes)
        texts[choices.engine] = [answer.text for answer in heard]
        refused = sum(bool(answer.refused) for answer in heard)
    for name in REPLIES:
        if found := [text for row in rows if (text := _first(row, (name,)))]:
            texts[name] = found
    results = {system: measured(said) for system, said in texts.items()}
    rows_told = [
        {"prompt": prompt, **{s: said[at] for s, said in texts.items() if len(said) == len(rows)}}
        for at, prompt in enumerate(prompts)
    ]
    report("human-like", results, file=choices.out, rows=rows_told, questions=len(rows), refused=refused)


def measured(texts: Sequence[str]) -> Result:
    """Each feature's mean over the replies."""
    rows: Sequence[Mapping[str, float]] = [features(text, language_of([text])) for text in texts]
    return {name: interval([row[name] for row in rows]) for name in FEATURES} | {"distinct-2": distinct(texts, 2)}


def _first(row: Row, names: Sequence[str]) -> str:
    for name in names:
        value = row.fields.get(name)
        text = value[0] if isinstance(value, list) and value else value
        if isinstance(text, str) and text.strip():
            return text.strip()
    return ""
