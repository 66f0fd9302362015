"""Persona cards for talks that have none, such as LCCC's (2008.03946): who speaks there, in agreement with what is
said.

The second speaker is the character. A card is checked against the talk by a second question, and dropped where it
contradicts it or holds a reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from models.example import Example
from models.scene import Language, Message
from models.teacher.ask import Rejected
from models.teacher.excerpts import gives_away
from models.teacher.form import Form
from models.teacher.parts import Desk, Made, Part

CARD: Mapping[Language, str] = {
    "zh": """下面是甲和乙的一段对话。请为乙编一张人物卡，与乙说的每句话都相符，可以合理补充，但不要引用或复述对话，
也不要预告对话内容。
只输出JSON：{{"name": "乙的名字", "persona": "身份、性格、经历、爱好，三到五句，第三人称", "style": "说话方式，一句"}}

{text}""",
    "en": """Below is a talk of A and B. Make a character card for B that agrees with everything B says. Add what is
plausible, but don't quote or retell
the talk, nor tell it beforehand. Answer with JSON alone:
{{"name": "B's name", "persona": "who B is, character, past, likings, in three to five sentences, third person",
"style": "how B talks, one sentence"}}

{text}""",
}
CHECK: Mapping[Language, str] = {
    "zh": """人物卡：{card}

对话：
{text}

乙说的话里有没有与人物卡矛盾的地方（年龄、身份、性格、口吻等）？只输出JSON：{{"contradiction": "矛盾之处，
没有就写空字符串"}}""",
    "en": """Card: {card}

Talk:
{text}

Does anything that B says contradict the card (age, identity, character, manner …)? Answer with JSON alone:
{{"contradiction": "what contradicts it; empty if nothing does"}}""",
}
SIDES: Mapping[Language, tuple[str, str]] = {"zh": ("甲", "乙"), "en": ("A", "B")}
TOKENS = 500


class Card(Form):
    """Who somebody is, and how they talk."""

    name: str
    persona: str
    style: str = ""


class Verdict(Form):
    """What of a talk contradicts a card; empty if nothing."""

    contradiction: str


async def with_cards(desk: Desk, rows: Sequence[Example]) -> Made[Example]:
    """The rows, each with a card of its own instead of what it says of the character now."""
    parts = [Part[Example](row.id, partial(_row, desk, row)) for row in rows]
    return await desk.through("cards", parts)


async def _row(desk: Desk, row: Example) -> list[Example]:
    talk = [*(message.content for message in row.scene.history), row.reply]
    card = await _card(desk, talk, row.scene.language)
    return [replace(row, scene=replace(row.scene, character=card.name, persona=card.persona, style=card.style))]


async def _card(desk: Desk, talk: Sequence[str], language: Language) -> Card:
    text = "\n".join(f"{SIDES[language][place % 2]}: {said}" for place, said in enumerate(talk))
    asked = [Message("user", CARD[language].format(text=text))]
    card = await desk.teacher.form(Card, asked, TOKENS, language=language)
    if not card.name or not card.persona:
        raise Rejected("empty card")
    told = f"{card.name}: {card.persona} {card.style}"
    if any(gives_away(told, said) for said in talk):
        raise Rejected("card holds a line", card.persona[:60])
    asked = [Message("user", CHECK[language].format(card=told, text=text))]
    verdict = await desk.teacher.form(Verdict, asked, TOKENS, language=language)
    if verdict.contradiction.strip(" 无。.").lower() not in ("", "none", "no", "没有"):
        raise Rejected("card contradicts the talk", verdict.contradiction[:60])
    return card
