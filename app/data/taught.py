"""`moodline data profiles`, `instruct`, `experiences`, `extract` and `feelings`: rows made of scripts and texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.data.files import told
from app.data.memories import units
from app.data.persona import persona_of
from app.data.teaching import Job, Teaching, teach
from models.data.pairs import Cut, pairs
from models.data.rows import read_text
from models.data.script import Script, read_script
from models.data.talk import language_of
from models.example import BadRow, Example
from models.scene import Language, Scene
from models.teacher.excerpts import chunks, excerpt, paragraphs, spoken
from models.teacher.experience import Life, experiences
from models.teacher.extract import CHUNK, dialogues
from models.teacher.instruct import Piece, context_instruct, profile_of, role_gpt
from models.teacher.instruct import persona_of as persona_of_profile
from models.teacher.parts import Desk, Made
from models.teacher.profiles import under_profiles
from models.teacher.tag import bank
from retrieval.lexical import LexicalIndex, bm25
from retrieval.terms import terms

SHOWN = 1500
"""Tokens of a script that a teacher is shown to describe a role."""
SEGMENT = 700
"""Tokens of a piece that questions are made of."""


def profiles(how: Teaching, file: Path, role: str, count: int, turns: int) -> None:
    """CharacterGLM: a role's rows under several wordings of a card made of its scenes."""
    with told():
        script, rows = _script(file, role, turns)
        scenes = excerpt(script, role, _language(rows), SHOWN)
    job = Job("profiles", [file], {"role": role, "count": count, "turns": turns})
    teach(how, job, lambda desk: under_profiles(desk, rows, scenes, count))


def instruct(how: Teaching, file: Path, role: str, persona: str, count: int, asked: Path | None) -> None:
    """RoleLLM: questions of profile and script with answers, and general ones answered in the role's voice."""
    with told():
        script, rows = _script(file, role, 1)
        known = persona_of(persona, role) or script.personas.get(role, "")
        general = lines_of(asked) if asked else []
    inputs = [file, *([asked] if asked else [])]
    job = Job("instruct", inputs, {"role": role, "persona": known, "count": count})
    teach(how, job, lambda desk: _instruct(desk, script, rows, known, count, general))


def experience(how: Teaching, file: Path, life: Life) -> None:
    """Character-LLM: scenes of a character's life out of the paragraphs of its profile."""
    with told():
        text = read_text(file)
        found = paragraphs(text)
        if not found:
            raise BadRow(file, 1, "there is no paragraph of 40 letters or more in it.")
        life = replace(life, language=language_of([text]), persona=persona_of(life.persona, life.role) or found[0])
    chosen = {name: getattr(life, name) for name in ("role", "persona", "scenes", "protective", "turns")}
    teach(how, Job("experiences", [file], chosen), lambda desk: experiences(desk, life, found, file.stem))


def extract(how: Teaching, file: Path) -> None:
    """Who says what in a novel, as rows that `data pairs` reads."""
    with told():
        text = read_text(file)
        pieces = chunks(text, CHUNK)
        if not pieces:
            raise BadRow(file, 1, "the file is empty.")
    teach(how, Job("extract", [file], {"chunk": CHUNK}), lambda desk: dialogues(desk, language_of([text]), pieces))


def feelings(how: Teaching, file: Path, role: str) -> None:
    """Emotional RAG: what a role says with what was said before it, scored in eight emotions."""
    with told():
        script, rows = _script(file, role, 1)
        found = [(text, scene) for text, _, scene in units(script, role)]
    job = Job("feelings", [file], {"role": role})
    teach(how, job, lambda desk: bank(desk, role, _language(rows), found))


async def _instruct(
    desk: Desk, script: Script, rows: list[Example], known: str, count: int, general: Sequence[str]
) -> Made[Example]:
    role, language = rows[0].scene.character, _language(rows)
    made = Made[Example]()
    if not known:
        profile = await profile_of(desk, role, language, excerpt(script, role, language, SHOWN))
        made.lost += profile.lost
        if not profile.rows:
            return made
        known = persona_of_profile(profile.rows[0], language)
    frame = Scene(role, language, known)
    pieces = [Piece(f"profile {n}", "profile", text) for n, text in enumerate(chunks(known, SEGMENT))]
    spoken_in = [scene for scene in script.scenes if any(line.speaker == role for line in scene.lines)]
    texts = [text for scene in spoken_in for text in chunks(spoken(scene, language), SEGMENT)]
    pieces += [Piece(f"script {n}", "script", text) for n, text in enumerate(texts)]
    for part in (
        await context_instruct(desk, frame, pieces, count, script.name),
        await role_gpt(desk, frame, general, _Nearest(rows), script.name),
    ):
        made.rows += part.rows
        made.lost += part.lost
    return made


class _Nearest:
    """A role's rows by what was said to it, nearest first, by BM25."""

    def __init__(self, rows: Sequence[Example]) -> None:
        self._rows = rows
        self._index = LexicalIndex()
        self._index.add([terms(row.scene.history[-1].content) for row in rows])

    def __call__(self, question: str, count: int) -> list[Example]:
        found = self._index.counts(terms(question))
        if not len(found.places):
            return [*self._rows[:count]]
        lengths = found.lengths
        scores = bm25(found.table, lengths[found.places], len(self._rows), float(lengths.mean()))
        order = found.places[np.argsort(-scores, kind="stable")][:count]
        return [self._rows[place] for place in order]


def _script(file: Path, role: str, turns: int) -> tuple[Script, list[Example]]:
    """A script, and a role's rows of it. Raises ValueError where the role says nothing, or answers nobody."""
    script = read_script(file)
    rows = list(pairs(script, role, Cut(turns)))
    if not rows:
        raise ValueError(f"{role!r} answers nobody in {script.name}.")
    return script, rows


def _language(rows: Sequence[Example]) -> Language:
    return rows[0].scene.language


def lines_of(file: Path) -> list[str]:
    """A file's lines that are not empty. Raises BadRow where there is none."""
    found = [line.strip() for line in read_text(file).split("\n") if line.strip()]
    if not found:
        raise BadRow(file, 1, "the file has no line.")
    return found
