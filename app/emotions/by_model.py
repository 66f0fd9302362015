"""Asks the language model how texts feel, as Emotional RAG does (arXiv 2410.23041); never within a turn."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import numpy as np

from models.engine import Engine, ParameterRefused, Sampling
from models.scene import Message
from models.thoughts import without_thoughts
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Vectors

log = logging.getLogger("moodline")
AT_ONCE = 8
"""Questions under way at a time."""
LONGEST = 2000
"""Characters of a text that are shown."""
# Eight entries of the list take some 130 tokens, eight members of the object 60.
_SAMPLING = Sampling(max_tokens=200, temperature=0.0)
_LOWEST, _HIGHEST = 1, 10
_SCORE = {"type": "integer", "minimum": _LOWEST, "maximum": _HIGHEST}
_SCHEMA = {
    "type": "object",
    "properties": dict.fromkeys(EMOTIONS, _SCORE),
    "required": list(EMOTIONS),
    "additionalProperties": False,
}
_FORM = {"type": "json_schema", "json_schema": {"name": "emotions", "schema": _SCHEMA, "strict": True}}

_ASKED = f"""You rate the emotions of the speaker of a text. There are eight: {", ".join(EMOTIONS)}.
Answer with one JSON list and nothing else. Each emotion that is there gets an entry {{"dim": name, "score": 1 to 10}}.
Example: [{{"dim": "joy", "score": 7}}, {{"dim": "surprise", "score": 3}}]. A neutral text gets []."""
_GUIDED = f"""You rate the emotions of the speaker of a text. There are eight: {", ".join(EMOTIONS)}.
Answer with one JSON object that scores each of them from {_LOWEST}, not there, to {_HIGHEST}. Most are {_LOWEST}."""


async def ask_model(engine: Engine, texts: Sequence[str]) -> Vectors:
    """Intensities float32 [n, 8] by the language model, `AT_ONCE` texts at a time.

    The answer keeps to a JSON schema where the engine can see to that; one that turns the schema down is asked for the
    paper's list of scores instead. An answer that can't be read leaves its text flat and is counted in the log. Raises
    EngineError.
    """
    turns = asyncio.Semaphore(AT_ONCE)
    guided = "response_format" in engine.abilities

    async def one(text: str) -> Vectors | None:
        nonlocal guided
        async with turns:
            if guided:
                try:
                    return read_scores(await _ask(engine, _GUIDED, text, replace(_SAMPLING, response_format=_FORM)))
                except ParameterRefused as error:
                    if guided:
                        log.warning("the language model is asked for emotions without a schema: %s", error)
                    guided = False
            return read_answer(await _ask(engine, _ASKED, text, _SAMPLING))

    # Outside an asyncio.TaskGroup, so that an engine's error arrives as what it is.
    asked = [asyncio.ensure_future(one(text)) for text in texts]
    try:
        answers = await asyncio.gather(*asked)
    finally:
        for task in asked:
            task.cancel()
    unread = sum(answer is None for answer in answers)
    if unread:
        log.warning("%d of %d emotions by the language model could not be read and stay flat", unread, len(texts))
    flat = np.zeros(len(EMOTIONS), dtype=np.float32)
    return np.array([flat if answer is None else answer for answer in answers]).reshape(-1, len(EMOTIONS))


async def _ask(engine: Engine, asked: str, text: str, sampling: Sampling) -> str:
    messages = [Message("system", asked), Message("user", text[:LONGEST])]
    async with aclosing(engine.stream(messages, sampling)) as stream:
        return "".join([piece async for piece in stream if isinstance(piece, str)])


def read_scores(answer: str) -> Vectors | None:
    """Intensities float32 [8] of a JSON object with a score from 1 to 10 for each emotion; None when it is none."""
    try:
        scores = json.loads(_unfenced(answer))
    except (ValueError, RecursionError):
        return None
    if not isinstance(scores, dict):
        return None
    entries = [{"dim": name, "score": score} for name, score in scores.items()]
    return read_answer(json.dumps(entries)) if scores.keys() == set(EMOTIONS) else None


def read_answer(answer: str) -> Vectors | None:
    """Intensities float32 [8] of a JSON list of `{"dim": name, "score": 1 to 10}`; None when it is anything else.

    Dimensions without an entry score 1; score s is the intensity (s - 1) / 9. A fence of three backquotes around the
    list is allowed, further keys in an entry too.
    """
    try:
        entries = json.loads(_unfenced(answer))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entries, list):
        return None
    scores = [_entry(entry) for entry in entries]
    named = dict(score for score in scores if score is not None)
    if len(named) < len(entries):
        return None
    intensities = [(named.get(name, _LOWEST) - _LOWEST) / (_HIGHEST - _LOWEST) for name in EMOTIONS]
    return np.array(intensities, dtype=np.float32)


def _unfenced(answer: str) -> str:
    text = without_thoughts(answer).strip()
    if text.startswith("```") and text.endswith("```"):
        return text.removesuffix("```").removeprefix("```json").removeprefix("```")
    return text


def _entry(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    name, score = entry.get("dim"), entry.get("score")
    valid = isinstance(score, int | float) and not isinstance(score, bool) and _LOWEST <= score <= _HIGHEST
    return (name, float(score)) if valid and name in EMOTIONS and isinstance(score, int | float) else None
