"""Index-1.9B's rows: a reply with the lines in its prompt that the server itself would recall for it.

The lines are the role's own, cut, keyed, searched, ranked and written as in a turn (`app.chat.recall`), from other
scenes: what tells the reply, or is told by it, is left out (`retrieval.leak`), and so is all of the reply's own scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.chat.feeling import talk_key
from app.chat.recall import line_text
from app.lines.store import line_terms
from models.data.pairs import Cut, pairs
from models.data.script import Script
from models.example import Example
from retrieval.bank import Bank, Query, Records
from retrieval.calibrated import LINES
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder
from retrieval.leak import fold, leaks, shown
from retrieval.rank import rank
from retrieval.terms import terms
from retrieval.units import Turn, Unit, units

BATCH = 16
SPARE = 20
"""How many more lines are looked at than are told, because some give the reply away."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A role's units with the scene each is of, and the bank that finds them under their place from 1 on."""

    units: tuple[Unit, ...]
    scenes: tuple[int, ...]
    bank: Bank


def rows(script: Script, role: str, cut: Cut, persona: str, encoder: Encoder, limit: int) -> Iterator[Example]:
    """The role's pairs with up to `limit` recalled lines each. Raises ValueError as `pairs` does."""
    examples = list(pairs(script, role, cut, persona))
    lines = gather(script, role, encoder)
    for begin in range(0, len(examples), BATCH):
        batch = examples[begin : begin + BATCH]
        keys = [talk_key(one.scene.history, role) for one in batch]
        for example, key, vector in zip(batch, keys, encoder.encode_queries(keys), strict=True):
            found = recall(lines, example, Query(vector, terms(key)), limit)
            yield replace(example, scene=replace(example.scene, lines=tuple(found)))


def gather(script: Script, role: str, encoder: Encoder) -> Lines:
    """The role's lines as an import stores them. Vectors are those of keys, words those of key and answer."""
    found: list[tuple[Unit, int]] = []
    for number, scene in enumerate(script.scenes):
        turns = [Turn(line.speaker, line.text) for line in scene.lines if line.speaker and line.text]
        found += [(unit, number) for unit in units([turns], role)]
    keys = [unit.key for unit, _ in found]
    vectors = np.concatenate([encoder.encode_passages(keys[n : n + BATCH]) for n in range(0, len(keys), BATCH)])
    bank = Bank(encoder.dimension)
    words = [line_terms(unit.key, "\n".join(turn.text for turn in unit.answer)) for unit, _ in found]
    neutral = np.zeros((len(found), len(EMOTIONS)), np.float32)
    bank.add(Records(range(1, len(found) + 1), vectors, neutral, words))
    return Lines(tuple(unit for unit, _ in found), tuple(number for _, number in found), bank)


def recall(lines: Lines, example: Example, query: Query, limit: int) -> list[str]:
    """The texts of the lines that a turn would tell, without what the reply must not be read from."""
    scene = int(example.group.rpartition("-")[2])
    own = frozenset(n for n, number in enumerate(lines.scenes, 1) if number == scene)
    found = lines.bank.find(query, limit=limit + SPARE, without=own)
    target = [example.scene.history[-1].content, example.reply]
    history = fold([message.content for message in example.scene.history])
    kept: list[str] = []
    candidates = [one for one in found if not _tells(lines.units[one.id - 1], target, history)]
    for ranked in rank(candidates, None, limit=limit, calibration=LINES):
        if ranked.kept:
            said = [(turn.speaker, turn.text) for turn in lines.units[ranked.id - 1].dialogue]
            kept.append(line_text(said, example.scene.language))
    return kept


def _tells(unit: Unit, target: Sequence[str], history: Sequence[str]) -> bool:
    """Whether a line gives the reply away, is part of it, or was said in this talk already."""
    dialogue = [turn.text for turn in unit.dialogue]
    reply = fold(target[-1:])
    answer = fold([turn.text for turn in unit.answer])
    return leaks(dialogue, target) or shown(fold(dialogue), reply) or shown(reply, answer) or shown(history, answer)
