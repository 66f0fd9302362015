"""`moodline data acts`, `human-pairs`, `monologues`, `personas`, `styles` and `invent`: what a teacher imagines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.data.files import told
from app.data.persona import persona_of
from app.data.taught import lines_of
from app.data.teaching import Job, Teaching, teach
from models.data.coser import scenes as rows_of_scenes
from models.data.lccc import chats
from models.data.pairs import Cut, pairs
from models.data.rows import read_rows, read_text
from models.data.script import Script, read_script
from models.data.stylechat import read_profile
from models.data.talk import language_of
from models.example import BadRow, Example
from models.scene import Language, Scene
from models.teacher.acts import scenes_of
from models.teacher.excerpts import chunks
from models.teacher.human import human_pairs, questions_on
from models.teacher.invent import invented
from models.teacher.monologue import story_flow
from models.teacher.parts import Desk, Lost, Made
from models.teacher.personas import with_cards
from models.teacher.styles import Style, describe, in_style
from models.teacher.styles import told as style_of

PIECE = 1500
"""Tokens of a chapter that are made scenes of at a time."""


def acts(how: Teaching, file: Path, role: str) -> None:
    """CoSER: a chapter's scenes with thoughts and actions, as rows of one role or of all."""
    with told():
        text = read_text(file)
        pieces = chunks(text, PIECE)
        if not pieces:
            raise BadRow(file, 1, "the file is empty.")
        if role and role not in text:
            raise ValueError(f"{role!r} is not in {file.name}. Give a name as the text has it.")

    async def build(desk: Desk) -> Made[Example]:
        staged = await scenes_of(desk, file.stem, language_of([text]), pieces)
        script = Script(file.stem, tuple(staged.rows))
        made = Made[Example](lost=staged.lost)
        if role and not script.speakers()[role]:
            made.lost.append(Lost(role, "role absent from the scenes"))
        elif staged.rows:
            made.rows += rows_of_scenes(script, role)
        return made

    teach(how, Job("acts", [file], {"role": role, "piece": PIECE}), build)


def pair_up(how: Teaching, file: Path, topics: int, role: str, persona: str) -> None:
    """Human-like pairs, of questions, or of `topics` questions on each line's topic."""
    with told():
        given = lines_of(file)
        frame = _frame(role, persona, language_of(given))

    async def build(desk: Desk) -> Made[Example]:
        asked = await questions_on(desk, given, frame.language, topics) if topics else Made[str](given)
        made = await human_pairs(desk, frame, asked.rows, file.name)
        return Made(made.rows, [*asked.lost, *made.lost])

    teach(how, Job("human-pairs", [file], {"topics": topics, "role": role, "persona": frame.persona}), build)


def monologues(how: Teaching, file: Path, role: str, persona: str, turns: int) -> None:
    """mirau: a role's scenes as stories in the first person."""
    with told():
        script = read_script(file)
        rows = list(pairs(script, role, Cut(turns, actions=True), persona_of(persona, role)))
        if not rows:
            raise ValueError(f"{role!r} answers nobody in {script.name}.")
    job = Job("monologues", [file], {"role": role, "persona": rows[0].scene.persona, "turns": turns})
    teach(how, job, lambda desk: story_flow(desk, rows))


def personas(how: Teaching, file: Path) -> None:
    """LCCC's chats, each under a card that agrees with it."""
    with told():
        rows = list(chats(file))
        if not rows:
            raise BadRow(file, 1, "there is no chat of two lines or more in it.")
    teach(how, Job("personas", [file], {}), lambda desk: with_cards(desk, rows))


def styles(how: Teaching, file: Path, names: Sequence[str], profiles: Path | None, role: str, persona: str) -> None:
    """StyleChat: answers in styles, recited and moved."""
    with told():
        said = lines_of(file)
        language = language_of(said)
        frame = _frame(role, persona, language)
        files = sorted(profiles.glob("*.json")) if profiles else []
        known = [style_of(read_profile(path), language) for path in files]
        known = [style for style in known if style.name in names or not names]
        missing = [name for name in names if name not in {style.name for style in known}]
        if not known and not missing:
            raise ValueError("Give --style NAME, or --profiles with a folder of profiles (JSON).")

    async def build(desk: Desk) -> Made[Example]:
        described = await describe(desk, missing, language) if missing else Made[Style]()
        made = await in_style(desk, frame, [*known, *described.rows], said, file.name)
        return Made(made.rows, [*described.lost, *made.lost])

    chosen = {"styles": [*(style.name for style in known), *missing], "role": role, "persona": frame.persona}
    teach(how, Job("styles", [file, *files], chosen), build)


def invent(how: Teaching, file: Path, count: int, rounds: int) -> None:
    """Self-instruct: new cards after those of a file, each with a talk."""
    with told():
        seeds: list[dict[str, Any]] = []
        for row in read_rows(file):
            row.text("角色名称")
            seeds.append(row.fields)
        if not seeds:
            raise BadRow(file, 1, "there is no card in it.")
        language = language_of([value for card in seeds for value in card.values() if isinstance(value, str)])
    job = Job("invent", [file], {"count": count, "rounds": rounds})
    teach(how, job, lambda desk: invented(desk, seeds, count, rounds, language, file.stem))


def _frame(role: str, persona: str, language: Language) -> Scene:
    """A scene of `role`, an assistant where none is named."""
    name = role or {"zh": "助手", "en": "Assistant"}[language]
    return Scene(name, language, persona_of(persona, role))
