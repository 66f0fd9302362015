"""StyleChat (2403.11439) with a teacher: a style's profile, answers in it, and sentences moved into it.

Rows are those of `models.data.stylechat`: an answer under the profile, one before which the profile is recited, hidden,
under the style's name alone, and a transfer, in which a plain answer is told in the style.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from models.data.near import bare
from models.data.stylechat import Profile
from models.example import Example
from models.scene import Language, Message, Scene
from models.teacher.ask import Rejected
from models.teacher.form import Form
from models.teacher.parts import Desk, Made, Part

PROFILE: Mapping[Language, str] = {
    "zh": """请描述“{style}”这种语言风格。只输出JSON：{{"description": "一段描述", "examples": ["四个例句"],
"diction": "用词", "syntax": "句式", "figures": "修辞", "purpose": "表达效果"}}""",
    "en": """Describe the {style} style of language. Answer with JSON alone: {{"description": "a paragraph",
"examples": ["four sentences in it"], "diction": "…", "syntax": "…", "figures": "figures of speech",
"purpose": "rhetorical purpose"}}""",
}
OBSERVED: Mapping[Language, tuple[str, str, str, str]] = {
    "zh": ("用词", "句式", "修辞", "效果"),
    "en": ("Diction", "Syntax", "Figures of Speech", "Rhetorical Purpose"),
}
PLAIN: Mapping[Language, str] = {
    "zh": "请像普通人一样平实地回应，一到三句话。",
    "en": "Answer plainly, as anybody would, in one to three sentences.",
}
MOVE: Mapping[Language, str] = {
    "zh": "{profile}\n\n请用这种风格改写下面的话，意思不变，只输出改写后的话：\n{text}",
    "en": "{profile}\n\nSay the following in this style, keep what it means, and answer with nothing else:\n{text}",
}
ASKED: Mapping[Language, str] = {
    "zh": "请用“{style}”的风格说下面的话，意思不变：\n{text}",
    "en": "Say this in the {style} style, and keep what it means:\n{text}",
}
NAMED: Mapping[Language, str] = {"zh": "{char}用“{style}”的风格说话。", "en": "{char} talks in the {style} style."}
RECITED: Mapping[Language, str] = {
    "zh": "“{style}”风格：{description}\n例句：\n{examples}\n特点：\n{observation}",
    "en": "The {style} style: {description}\nExamples:\n{examples}\nPattern:\n{observation}",
}
TOKENS = 700


class Described(Form):
    """A style."""

    description: str
    examples: tuple[str, ...]
    diction: str = ""
    syntax: str = ""
    figures: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """A style and how it is told."""

    name: str
    told: str


async def describe(desk: Desk, names: Sequence[str], language: Language) -> Made[Style]:
    """The profile of each style."""

    async def work(name: str) -> list[Style]:
        asked = [Message("user", PROFILE[language].format(style=name))]
        found = await desk.teacher.form(Described, asked, TOKENS, language=language)
        if not found.description or not found.examples:
            raise Rejected("empty profile", name)
        observed = (found.diction, found.syntax, found.figures, found.purpose)
        patterns = {key: text for key, text in zip(OBSERVED[language], observed, strict=True) if text}
        return [told(Profile(name, found.description, found.examples, patterns), language)]

    return await desk.through("profiles", [Part[Style](name, partial(work, name)) for name in names])


def told(profile: Profile, language: Language) -> Style:
    """A profile in words, in the order in which it is recited: description, examples, pattern."""
    words = RECITED[language].format(
        style=profile.name,
        description=profile.description,
        examples="\n".join(f"- {text}" for text in profile.examples),
        observation="\n".join(f"- {name}: {text}" for name, text in profile.observation.items()),
    )
    return Style(profile.name, words)


async def in_style(
    desk: Desk, frame: Scene, styles: Sequence[Style], said: Sequence[str], source: str
) -> Made[Example]:
    """Three rows for each style and each thing that is said to the character. A group has all styles."""

    async def work(style: Style, number: int, text: str) -> list[Example]:
        language, question = frame.language, Message("user", text)
        plain = await desk.teacher.text([Message("system", PLAIN[language]), question], TOKENS)
        moved = MOVE[language].format(profile=style.told, text=plain)
        reply = await desk.teacher.text([Message("user", moved)], TOKENS)
        if bare(reply) == bare(plain):
            raise Rejected("style unchanged", reply[:60])
        named = NAMED[language].format(char=frame.character, style=style.name)
        asked = Message("user", ASKED[language].format(style=style.name, text=plain))
        rows = (
            ("answer", question, style.told, reply),
            ("recite", question, named, f"<think>\n{style.told}\n</think>\n\n{reply}"),
            ("transfer", asked, style.told, reply),
        )
        return [
            Example(
                replace(frame, style=manner, history=(message,)),
                answer,
                learn="reply",
                id=f"{style.name}-{number}-{task}",
                group=f"{number}",
                source=f"{source}, {style.name}",
            )
            for task, message, manner, answer in rows
        ]

    parts = [
        Part[Example](f"{style.name} {n}", partial(work, style, n, text))
        for style in styles
        for n, text in enumerate(said)
    ]
    return await desk.through("answers", parts)
