"""Persona cards that a teacher invents after others, and talks with them: character_AI_open's self-instruct.

A card has that project's fields; the talk takes place with somebody the character knows. Examples are drawn from the
seed cards alone, so that what a teacher likes does not grow from round to round.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic import Field

from models.data.near import Index, bare
from models.example import Example
from models.scene import Language, Message, Scene
from models.teacher.ask import Rejected
from models.teacher.excerpts import gives_away
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

SHOWN = 3
CARD: Mapping[Language, str] = {
    "zh": """请参照下面角色卡的形式，创作一张全新的角色卡：名字、身份、时代、性格都与这些例子不同，内容健康，
适合所有读者。
对话者身份写一个与角色有关系的人。只输出一个JSON对象，字段与例子相同。这是第{number}张。

{examples}""",
    "en": """After the form of these cards make a wholly new one: another name, station, time and character than
theirs, fit for
readers of all ages. 对话者身份 is somebody whom the character knows. Keep the names of the fields, write their
values in English, and
answer with one JSON object alone. This is card number {number}.

{examples}""",
}
TALK: Mapping[Language, str] = {
    "zh": """角色卡：
{card}

请写{name}与{other}之间{rounds}轮的日常对话，{other}先开口，{name}的话要体现性格、语言风格和经历。
只输出JSON：{{"talk": [{{"other": "{other}说的话", "reply": "{name}的回应"}}]}}""",
    "en": """Card:
{card}

Write an everyday talk of {rounds} rounds between {name} and {other}. {other} begins; what {name} says shows
character, manner and past.
Answer with JSON alone: {{"talk": [{{"other": "what {other} says", "reply": "what {name} replies"}}]}}""",
}
TOKENS = 1200


class Other(Form):
    """Who talks with the character."""

    identity: str
    relationship: str = ""
    description: str = ""


class Card(Form):
    """character_AI_open's card, version 2."""

    name: str = Field(alias="角色名称")
    catchphrase: str = Field("", alias="口头禅")
    line: str = Field("", alias="经典台词")
    background: str = Field(alias="身份背景")
    nature: str = Field(alias="性格特征")
    manner: str = Field("", alias="语言风格")
    behaviour: str = Field("", alias="行为特征")
    past: str = Field("", alias="角色经历")
    other: Other = Field(alias="对话者身份")

    def told(self) -> str:
        """The fields of who the character is, one a line."""
        fields = self.model_dump(by_alias=True, exclude={"name", "other", "manner", "catchphrase", "line"})
        return "\n".join(f"{name}：{text}" for name, text in fields.items() if text)

    def style(self) -> str:
        """How the character talks."""
        fields = self.model_dump(by_alias=True, include={"manner", "catchphrase", "line"})
        return "\n".join(f"{name}：{text}" for name, text in fields.items() if text)


class Round(Form):
    """What is said, and what the character replies."""

    other: str
    reply: str


class Rounds(Form):
    """A talk."""

    talk: list[Round]


async def invented(
    desk: Desk, seeds: Sequence[Mapping[str, Any]], count: int, rounds: int, language: Language, source: str
) -> Made[Example]:
    """`count` cards after the seeds, and a row of each with a talk of `rounds`. Names that were there are lost."""

    async def card(number: int) -> list[Card]:
        shown = random.Random(f"{desk.teacher.seed} {number}").sample(list(seeds), min(SHOWN, len(seeds)))
        examples = "\n\n".join(json.dumps(one, ensure_ascii=False) for one in shown)
        asked = [Message("user", CARD[language].format(number=number + 1, examples=examples))]
        return [await desk.teacher.form(Card, asked, TOKENS, language=language, draw=number)]

    cards = await desk.through("cards", [Part[Card](f"card {n + 1}", partial(card, n)) for n in range(count)])
    made = _new(cards, seeds)
    parts = [Part[Example](one.name, partial(_row, desk, one, rounds, language, source)) for one in made.rows]
    talks = await desk.through("talks", parts)
    return Made(talks.rows, [*made.lost, *talks.lost])


def _new(cards: Made[Card], seeds: Sequence[Mapping[str, Any]]) -> Made[Card]:
    """The cards whose name and background are nobody's yet."""
    names = {bare(str(one.get("角色名称", ""))) for one in seeds}
    index = Index()
    for one in seeds:
        index.add(str(one.get("身份背景", "")))
    made = Made[Card](lost=list(cards.lost))
    for card in cards.rows:
        if not bare(card.name) or bare(card.name) in names or index.add(card.background):
            made.lost.append(Lost(card.name, "repeats a card"))
        else:
            names.add(bare(card.name))
            made.rows.append(card)
    return made


async def _row(desk: Desk, card: Card, rounds: int, language: Language, source: str) -> list[Example]:
    told = json.dumps(card.model_dump(by_alias=True), ensure_ascii=False)
    asked = TALK[language].format(card=told, name=card.name, other=card.other.identity, rounds=rounds)
    talk = (await desk.teacher.form(Rounds, [Message("user", asked)], TOKENS, language=language)).talk[:rounds]
    if not talk or not all(one.other and one.reply for one in talk):
        raise Rejected("empty talk", card.name)
    if any(gives_away(card.told(), one.reply) for one in talk):
        raise Rejected("card holds a line", card.name)
    said = [message for one in talk for message in (Message("user", one.other), Message("assistant", one.reply))]
    about = "\n".join(filter(None, (card.other.relationship, card.other.description)))
    scene = Scene(
        card.name,
        language,
        card.told(),
        style=card.style(),
        user=card.other.identity,
        user_persona=about,
        history=tuple(said[:-1]),
    )
    return [Example(scene, talk[-1].reply, id=card.name, group=card.name, source=source)]
