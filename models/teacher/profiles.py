"""CharacterGLM (2311.16832): cards from dialogues, told in several profiles, and rows under each of them.

A card has the paper's seven classes of attributes and three of behaviours. Profiles are the card in natural language,
each in other words, so that a model learns to read cards and not one wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from models.data.near import bare
from models.example import Example
from models.scene import Language, Message
from models.teacher.ask import Rejected
from models.teacher.excerpts import gives_away
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

CARD: Mapping[Language, str] = {
    "zh": """下面是“{role}”出场的对话片段。请只根据这些片段，用中文写出{role}的角色卡，不要引用原句，
不要编造片段里没有的事。
只输出一个JSON对象，字段全部是字符串，不知道的写空字符串：
identity（身份）、interests（兴趣）、viewpoints（观点）、experiences（经历）、achievements（成就）、
relations（社会关系）、other（其他）、
language（语言特点）、feelings（情感表达与性格）、interaction（互动方式）。

{text}""",
    "en": """Below are scenes in which {role} appears. Write {role}'s character card from these scenes alone: quote
no line, invent nothing.
Answer with one JSON object whose fields are all texts, empty where the scenes don't tell:
identity, interests, viewpoints, experiences, achievements, relations, other, language (linguistic features),
feelings (emotional expression and personality), interaction (interaction patterns).

{text}""",
}
PROFILE: Mapping[Language, str] = {
    "zh": """请把下面这张“{role}”的角色卡改写成一段连贯的人物介绍，保留全部信息，不要分点，不要增加内容。
这是第{number}种写法，请换用不同的措辞和顺序。
只输出这段介绍。

{card}""",
    "en": """Rewrite this card of {role} as one flowing description of the character. Keep everything, list nothing,
add nothing. This is wording
number {number}: choose other words and another order. Answer with the description alone.

{card}""",
}
TOKENS = 900


class Card(Form):
    """Attributes and behaviours of a character."""

    identity: str
    interests: str = ""
    viewpoints: str = ""
    experiences: str = ""
    achievements: str = ""
    relations: str = ""
    other: str = ""
    language: str = ""
    feelings: str = ""
    interaction: str = ""

    def told(self) -> str:
        """The fields that are known, one a line."""
        return "\n".join(f"{name}: {value}" for name, value in self.model_dump().items() if value)


async def under_profiles(desk: Desk, rows: Sequence[Example], scenes: str, profiles: int) -> Made[Example]:
    """The rows of one role, each under one of `profiles` wordings of a card made from `scenes`.

    Profiles that hold a line, which would give it away, are lost, and all rows where none is left.
    """
    role, language = rows[0].scene.character, rows[0].scene.language

    async def card() -> list[str]:
        asked = [Message("user", CARD[language].format(role=role, text=scenes))]
        made = await desk.teacher.form(Card, asked, TOKENS, language=language)
        if not made.identity:
            raise Rejected("empty card", role)
        return [made.told()]

    async def profile(number: int) -> list[str]:
        asked = PROFILE[language].format(role=role, number=number + 1, card=cards.rows[0])
        return [await desk.teacher.text([Message("user", asked)], TOKENS, draw=number)]

    cards = await desk.through("card", [Part[str](role, card)])
    told = Made[str](lost=cards.lost)
    if cards.rows:
        told = await desk.through(
            "profiles", [Part[str](f"profile {n + 1}", partial(profile, n)) for n in range(profiles)]
        )
    made = Made[Example](lost=told.lost)
    wordings: dict[str, str] = {}
    for number, text in enumerate(told.rows, 1):
        if any(gives_away(text, row.reply) for row in rows):
            made.lost.append(Lost(f"profile {number}", "profile holds a line", text[:60]))
        else:
            wordings.setdefault(bare(text), text)
    made.sort_in(_under(row, [*wordings.values()], number) for number, row in enumerate(rows))
    return made


def _under(row: Example, wordings: Sequence[str], number: int) -> Example | Lost:
    if not wordings:
        return Lost(row.id, "no profile")
    return replace(row, scene=replace(row.scene, persona=wordings[number % len(wordings)]))
