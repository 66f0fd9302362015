"""Character-LLM (2310.10158): experiences of a character out of paragraphs of its profile, and protective ones.

Each paragraph becomes scenes (type, place, background), each scene a script in which the character thinks and speaks.
In protective scenes somebody asks about what the character can't know, and it shows that it doesn't.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from models.data.pairs import Cut, pairs
from models.data.script import Line, Script, Staged
from models.example import Example
from models.scene import Language, Message
from models.teacher.ask import Rejected
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

SCENES: Mapping[Language, str] = {
    "zh": """人物：{role}
资料：{text}

请根据这段资料想象{count}个{role}可能亲历的场景，彼此不同，时间地点都符合{role}所处的时代，不要写资料里没有的重大事件。
只输出JSON：{{"scenes": [{{"type": "对话、争论或演讲等", "location": "地点", "background": "一段背景，
说明在场的人和起因"}}]}}""",
    "en": """Character: {role}
Facts: {text}

Imagine {count} different scenes that {role} may have lived through according to these facts, true to {role}'s time
and place, without great
events that the facts don't hold. Answer with JSON alone:
{{"scenes": [{{"type": "chat, debate, speech …", "location": "…", "background": "who is there and why, in a
paragraph"}}]}}""",
}
PROTECTIVE: Mapping[Language, str] = {
    "zh": """人物：{role}
资料：{text}

请想象{count}个场景：一个好奇的人缠着{role}追问{role}不可能知道的事（例如后世的发明、现代人物、编程、
别的故事里的人），彼此不同。
只输出JSON：{{"scenes": [{{"type": "追问", "location": "地点", "background": "谁在追问、问的是什么"}}]}}""",
    "en": """Character: {role}
Facts: {text}

Imagine {count} different scenes in which somebody curious presses {role} about what {role} can't know: later
inventions, people of today,
programming, people of other stories. Answer with JSON alone:
{{"scenes": [{{"type": "questions", "location": "…", "background": "who asks, and about what"}}]}}""",
}
SCRIPT: Mapping[Language, str] = {
    "zh": """人物：{role}
资料：{text}
场景：{type}；{location}；{background}

请把这个场景写成{turns}个来回以上的剧本，由别人先开口，{role}每次回应前都先在心里想一想。每行一句，格式为：
名字（想）：……
名字（说）：……
只有{role}有“想”的行。{rule}只输出剧本。""",
    "en": """Character: {role}
Facts: {text}
Scene: {type}; {location}; {background}

Write this scene as a script of at least {turns} exchanges. Somebody else begins; {role} thinks before every reply.
One line each:
Name (thinking): …
Name (speaking): …
Only {role} has lines of thinking. {rule}Answer with the script alone.""",
}
IGNORANT: Mapping[Language, str] = {
    "zh": "{role}对被追问的事一无所知：困惑、好奇或不耐烦，绝不给出任何解释或定义。",
    "en": "{role} knows nothing of what is asked: puzzled, curious or impatient, but never explaining it. ",
}
TOKENS = 1500
_LINE = re.compile(
    r"[*\-\s]*(?P<name>[^:：()（）*]{1,60}?)\s*\**\s*[(（]\s*(?P<how>[^()（）]{1,20}?)\s*[)）]\s*\**\s*[:：]"
    r"\s*\**\s*(?P<text>.+)"
)
_THINKING = re.compile(r"think|thought|想|心", re.IGNORECASE)


class Setting(Form):
    """A scene that may have been."""

    type: str
    location: str
    background: str


class Settings(Form):
    """Several."""

    scenes: list[Setting]


@dataclass(frozen=True, slots=True)
class Life:
    """Whose experiences are made, and how many: `scenes` for each paragraph, each of `turns` exchanges or more."""

    role: str
    language: Language
    persona: str
    scenes: int = 20
    protective: int = 0
    turns: int = 6


@dataclass(frozen=True, slots=True)
class _Place:
    name: str
    facts: str
    setting: Setting
    protective: bool = False


async def experiences(desk: Desk, life: Life, paragraphs: Sequence[str], source: str) -> Made[Example]:
    """Rows of the scenes that paragraphs hold; protective ones come last, from the first paragraph."""
    asked = [(f"paragraph {n}", text, SCENES, life.scenes) for n, text in enumerate(paragraphs)]
    asked += [("protective", paragraphs[0], PROTECTIVE, life.protective)] * bool(life.protective)
    places = await desk.through("scenes", [Part[_Place](one[0], partial(_places, desk, life, *one)) for one in asked])
    scripts = [Part[Example](place.name, partial(_rows, desk, life, place, source)) for place in places.rows]
    made = await desk.through("scripts", scripts)
    return Made(made.rows, [*places.lost, *made.lost])


def read_lines(script: str) -> Iterator[Line]:
    """The lines of a script that was asked for, a thought and what is said after it as one; others are skipped."""
    thought = ""
    for row in script.splitlines():
        if not (found := _LINE.fullmatch(row.strip())):
            continue
        if _THINKING.search(found["how"]):
            thought = found["text"].strip()
        else:
            yield Line(found["name"].strip(), found["text"].strip(), thought=thought)
            thought = ""


async def _places(
    desk: Desk, life: Life, name: str, facts: str, words: Mapping[Language, str], count: int
) -> list[_Place | Lost]:
    asked = words[life.language].format(role=life.role, text=facts, count=count)
    told = await desk.teacher.form(Settings, [Message("user", asked)], TOKENS, language=life.language)
    protective = words is PROTECTIVE
    return [_Place(f"{name}, scene {n}", facts, one, protective) for n, one in enumerate(told.scenes[:count])]


async def _rows(desk: Desk, life: Life, place: _Place, source: str) -> list[Example | Lost]:
    rule = IGNORANT[life.language].format(role=life.role) if place.protective else ""
    asked = SCRIPT[life.language].format(
        role=life.role, text=place.facts, turns=life.turns, rule=rule, **place.setting.model_dump()
    )
    text = await desk.teacher.text([Message("user", asked)], TOKENS)
    lines = tuple(read_lines(text))
    if not any(line.speaker == life.role for line in lines):
        raise Rejected("role absent from the script", text[:60])
    setting = f"{place.setting.location}\n{place.setting.background}"
    script = Script(f"{source}, {place.name}", (Staged(place.name, lines, setting),))
    rows = [
        replace(row, source=f"{source}, protective" if place.protective else source)
        for row in pairs(script, life.role, Cut(turns=2 * life.turns, thoughts=True), life.persona)
    ]
    return [*rows] or [Lost(place.name, "the role answers nobody")]
