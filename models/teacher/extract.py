"""Who says what in a novel, by pieces of at most 600 tokens: huanhuan-chat's extraction of {role, dialogue}."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from models.data.near import bare
from models.scene import Language, Message
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

ASKED: Mapping[Language, str] = {
    "zh": """请从下面的小说片段中按顺序摘出所有人物说的话，照抄原文，不要改动；role
是说话人的名字（代词要还原成名字）。没有对话就给空列表。
只输出JSON：{{"dialogues": [{{"role": "名字", "dialogue": "原话"}}]}}

{text}""",
    "en": """List everything that is said in this piece of a novel, in order and word for word; role is the speaker's
name, never a pronoun. An empty list
where nobody speaks. Answer with JSON alone: {{"dialogues": [{{"role": "name", "dialogue": "what is said"}}]}}

{text}""",
}
CHUNK = 600
"""Tokens of a piece, as the source has it."""
TOKENS = 1200


class Said(Form):
    """One line."""

    role: str
    dialogue: str


class Dialogues(Form):
    """Those of a piece."""

    dialogues: list[Said]


async def dialogues(desk: Desk, language: Language, pieces: Sequence[str]) -> Made[dict[str, Any]]:
    """Rows of {act_id, diag_id, role, content}, an act a piece, which `moodline data pairs` reads as a script.

    A line that does not stand in the piece, or is nobody's, is lost.
    """

    async def work(act: int, piece: str) -> list[dict[str, Any] | Lost]:
        asked = [Message("user", ASKED[language].format(text=piece))]
        told = await desk.teacher.form(Dialogues, asked, TOKENS, language=language)
        letters = bare(piece)
        return [_row(act, number, said, letters) for number, said in enumerate(told.dialogues)]

    return await desk.through(
        "pieces", [Part[dict[str, Any]](f"piece {n}", partial(work, n, text)) for n, text in enumerate(pieces)]
    )


def _row(act: int, number: int, said: Said, letters: str) -> dict[str, Any] | Lost:
    if not bare(said.dialogue) or bare(said.dialogue) not in letters:
        return Lost(f"piece {act}", "not in the text", said.dialogue[:60])
    if not said.role:
        return Lost(f"piece {act}", "nobody says it", said.dialogue[:60])
    return {"act_id": act, "diag_id": number, "role": said.role, "content": said.dialogue.strip('“”"「」')}
