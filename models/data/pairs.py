"""A role's lines with what was said before them, as Chat-嬛嬛 is made of scripts (KMnO4-zx/huanhuan-chat).

Unlike there no pair goes across a scene, what a role says in a row is one reply, the one who is answered is named, and
actions in brackets are all kept or all dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import groupby

from models.data.script import Line, Script, Staged, without_actions
from models.data.talk import language_of
from models.example import Example
from models.scene import Language, Lore, Message, Scene

MIND: Mapping[Language, str] = {"zh": "你此刻心里想的：{text}", "en": "What moves you now: {text}"}


@dataclass(frozen=True, slots=True)
class Cut:
    """How a script is cut: `turns` before a reply are shown; thoughts stand in replies alone, as the server has it."""

    turns: int = 1
    actions: bool = False
    thoughts: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says in a row."""

    speaker: str
    text: str
    reply: str


def pairs(script: Script, role: str, cut: Cut | None = None, persona: str = "", style: str = "") -> Iterator[Example]:
    """An example for each time `role` answers somebody in a scene. Names are compared whole.

    Raises ValueError where `role` never speaks, and tells who does.
    """
    cut = cut or Cut()
    found = script.speakers()
    if not found[role]:
        near = get_close_matches(role, found, 3, 0.3)
        most = [name for name, _ in found.most_common(8)]
        raise ValueError(
            f"{role!r} says nothing in {script.name}. Speakers are {', '.join(dict.fromkeys(near + most))}."
        )
    known = persona or script.personas.get(role, "")
    language = language_of([line.text for scene in script.scenes for line in scene.lines])
    for number, staged in enumerate(script.scenes):
        turns = _turns(staged, role, cut, language)
        mind = staged.minds.get(role, "")
        frame = Scene(
            role,
            language,
            known,
            style=style,
            scenario=staged.place,
            passing=MIND[language].format(text=mind) if mind else "",
            lore=_others(staged, role, language),
        )
        for place in range(1, len(turns)):
            if turns[place].speaker == role:
                own = {"id": f"{script.name}-{role}-{number}-{place}", "group": f"{script.name}-{number}"}
                yield _example(frame, turns[: place + 1], cut, script.name, **own)


def unanswered(script: Script, role: str) -> int:
    """How many scenes `role` begins, so that its first words answer nothing and are in no pair."""
    first = (next((line.speaker for line in scene.lines if line.speaker), "") for scene in script.scenes)
    return sum(speaker == role for speaker in first)


def _others(staged: Staged, role: str, language: Language) -> tuple[Lore, ...]:
    """Who else speaks in a scene, as far as it is known."""
    here = {line.speaker for line in staged.lines} - {role}
    colon = "：" if language == "zh" else ": "
    return tuple(
        Lore(name + colon + text, constant=True) for name, text in staged.people.items() if name in here and text
    )


def _turns(staged: Staged, role: str, cut: Cut, language: Language) -> list[Turn]:
    """The turns of a scene in which something is said. Where actions are kept directions are turns of nobody's."""
    spoken = [line for line in staged.lines if line.speaker or cut.actions]
    turns = []
    for speaker, lines in groupby(spoken, key=lambda line: line.speaker):
        together = list(lines)
        heard = "\n".join(filter(None, (_heard(line, cut, language) for line in together)))
        own = "\n".join(filter(None, (_own(line, cut, language) for line in together)))
        if heard:
            turns.append(Turn(speaker, heard, own if speaker == role else heard))
    # A turn of which nothing is left may have stood between two of one speaker.
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].speaker == turn.speaker:
            last = joined.pop()
            turn = Turn(turn.speaker, f"{last.text}\n{turn.text}", f"{last.reply}\n{turn.reply}")  # noqa: PLW2901
        joined.append(turn)
    return joined


def _example(frame: Scene, turns: list[Turn], cut: Cut, source: str, **own: str) -> Example:
    """The last turn as reply to those before it. Whoever speaks between two of the role's turns is one message."""
    role, shown = frame.character, turns[-1 - cut.turns : -1]
    while shown[0].speaker == role:  # a talk begins with what the role is told
        shown = shown[1:]
    others = list(dict.fromkeys(turn.speaker for turn in shown if turn.speaker not in (role, "")))
    colon = "：" if frame.language == "zh" else ": "
    history = []
    for mine, group in groupby(shown, key=lambda turn: turn.speaker == role):
        named = [
            turn.text if mine or len(others) < 2 or not turn.speaker else turn.speaker + colon + turn.text
            for turn in group
        ]
        history.append(Message("assistant" if mine else "user", "\n".join(named)))
    user = next((turn.speaker for turn in reversed(shown) if turn.speaker in others), "")
    scene = replace(frame, user=user, history=tuple(history))
    return Example(scene, turns[-1].reply, learn="reply", source=source, **own)


def _heard(line: Line, cut: Cut, language: Language) -> str:
    if not cut.actions:
        return without_actions(line.text)
    before, after = ("（", "）") if language == "zh" else ("(", ") ")
    action, text = (line.action, line.text) if line.speaker else (line.text, "")
    return f"{before}{action}{after}{text}".strip() if action else text


def _own(line: Line, cut: Cut, language: Language) -> str:
    said = _heard(line, cut, language)
    return f"[{line.thought}] {said}" if cut.thoughts and line.thought and said else said
