"""mirau-RP's story flow: the prompt is the character's own monologue of who it is and where it is now.

Prompt and talk then read as one story in the first person. The user acts, and directs in brackets; the reply begins
with an inner monologue, which the server hides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from models.example import Example
from models.scene import Language, Message
from models.teacher.ask import Rejected
from models.teacher.excerpts import gives_away
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

ASKED: Mapping[Language, str] = {
    "zh": """下面是“{role}”所在的一场戏。{persona}

请写：
monologue：{role}在这场戏开始之前的第一人称独白（“我……”），说清我是谁、此刻在哪里、为什么在这里、心里惦记着什么；
不要透露戏里将要发生的事，不要引用台词。
thoughts：对下面编号的每句{role}的话，写出{role}开口之前一闪而过的内心独白（第一人称，一两句），共{count}条，顺序一致。
只输出JSON：{{"monologue": "……", "thoughts": ["……"]}}

{text}""",
    "en": """Below is a scene with {role}. {persona}

Write:
monologue: {role}'s own first-person monologue ("I …") just before this scene: who I am, where I am now, why I am
here and what is on my mind. It
tells nothing of what will happen in the scene and quotes no line.
thoughts: for each of {role}'s numbered lines, what goes through {role}'s mind before speaking (first person, a
sentence or two), {count} in all, in order.
Answer with JSON alone: {{"monologue": "…", "thoughts": ["…"]}}

{text}""",
}
FIRST_PERSON: Mapping[Language, re.Pattern[str]] = {
    "zh": re.compile("我|吾|朕|臣妾|本宫|俺"),
    "en": re.compile(r"\b(?:I|me|my|mine)\b", re.IGNORECASE),
}
CLOSING: Mapping[Language, str] = {
    "zh": "（接下来是我心里的念头，和我说出口的话。）",
    "en": "(What comes next is what goes through my mind, and what I say aloud.)",
}
TOKENS = 1200


class Flow(Form):
    """A monologue before a scene, and a thought before each line in it."""

    monologue: str
    thoughts: list[str]


async def story_flow(desk: Desk, rows: Sequence[Example]) -> Made[Example]:
    """The rows of a role, by scene, as one story: a monologue instead of instructions, a thought before each reply.

    Rows of a scene have one `group`. Where the monologue gives lines away or is in the third person, all are lost.
    """
    scenes = [list(group) for _, group in groupby(rows, key=lambda row: row.group)]
    parts = [Part[Example](scene[0].group, partial(_flow, desk, scene)) for scene in scenes]
    return await desk.through("scenes", parts)


async def _flow(desk: Desk, rows: Sequence[Example]) -> list[Example | Lost]:
    frame = rows[0].scene
    words = ASKED[frame.language].format(role=frame.character, persona=frame.persona, count=len(rows), text=_told(rows))
    flow = await desk.teacher.form(Flow, [Message("user", words)], TOKENS, language=frame.language)
    if len(flow.thoughts) != len(rows):
        raise Rejected("another number of thoughts", f"{len(flow.thoughts)} for {len(rows)} lines")
    if not FIRST_PERSON[frame.language].search(flow.monologue):
        raise Rejected("not in the first person", flow.monologue[:60])
    if any(gives_away(flow.monologue, row.reply) for row in rows):
        raise Rejected("monologue gives a line away", flow.monologue[:60])
    return [_row(row, flow.monologue, thought) for row, thought in zip(rows, flow.thoughts, strict=True)]


def _row(row: Example, monologue: str, thought: str) -> Example | Lost:
    if not thought or gives_away(thought, row.reply):
        return Lost(row.id, "thought is the line itself" if thought else "empty thought")
    language = row.scene.language
    scene = replace(row.scene, persona="", rules=monologue, scenario="", passing="", closing=CLOSING[language])
    return replace(row, scene=scene, reply=f"<think>\n{thought}\n</think>\n\n{row.reply}")


def _told(rows: Sequence[Example]) -> str:
    """The lines of a scene, the role's numbered. Each row adds what was said since the one before."""
    frame = rows[0].scene
    other = frame.user or {"zh": "对方", "en": "The other"}[frame.language]
    told = [f"（{frame.scenario}）"] if frame.scenario else []
    for number, row in enumerate(rows, 1):
        told.append(f"{other}: {row.scene.history[-1].content}")
        told.append(f"{number}. {frame.character}: {row.reply}")
    return "\n".join(told)
