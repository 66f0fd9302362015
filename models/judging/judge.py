"""What a judge is asked, and how its answer is read: prompt and parser side by side. Pure.

What can't be read is None, and callers count it. Nothing is guessed: an answer with two different scores has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from models.judging.rubrics import Rubric
from models.scene import Language, Message

Preference = Literal["first", "second", "tie"]

_GRADE: Mapping[Language, str] = {
    "zh": """请给一段角色扮演的回复打分。

【角色】{role}
{persona}

【对话】
{context}

【回复】
{reply}

【标准】{told}
先用一句话说明理由，最后单独一行写“分数：”和一个{low}到{high}的整数。""",
    "en": """Grade a reply in a role play.

[Character] {role}
{persona}

[Conversation]
{context}

[Reply]
{reply}

[Criterion] {told}
Give the reason in one sentence, then, on a line of its own, `Score:` with a whole number from {low} to {high}.""",
}
_PAIR: Mapping[Language, str] = {
    "zh": """下面两个回复，哪个更像这个角色、更好？

【角色】{role}
{persona}

【对话】
{context}

【回复A】
{one}

【回复B】
{other}

先用一句话说明理由，最后单独一行写“胜者：A”、“胜者：B”或“胜者：平”。""",
    "en": """Which of two replies is better, and truer to the character?

[Character] {role}
{persona}

[Conversation]
{context}

[Reply A]
{one}

[Reply B]
{other}

Give the reason in one sentence, then, on a line of its own, `Winner: A`, `Winner: B` or `Winner: tie`.""",
}
_FLAG: Mapping[Language, str] = {
    "zh": """【角色】{role}
{persona}

【对话】
{context}

【回复】
{reply}

下面这句话对这个回复成立吗？{told}
只回答“判断：是”或“判断：否”。""",
    "en": """[Character] {role}
{persona}

[Conversation]
{context}

[Reply]
{reply}

Is the following true of the reply? {told}
Answer only `Verdict: yes` or `Verdict: no`.""",
}
_FLAWS = """Compare a simulated conversation with the original, by one criterion.

[Scene] {scene}

[Characters]
{persona}

[Original]
{original}

[Simulated]
{simulated}

[Criterion] {told}
List the flaws of the simulated one by this criterion as JSON and nothing else: \
{{"flaws": [{{"what": "…", "severity": 1}}]}}, severity 1 (slight) to 5 (severe); an empty list if there are none."""
_SCORE = re.compile(r"(?:score|rating|分数|评分|得分|打分)[\s*_`\"]*[:：是为=]?[\s*_`\"]*(\d+(?:\.\d+)?)", re.I)
_ALONE = re.compile(r"\s*(\d+(?:\.\d+)?)(?:\s*/\s*\d+|\s*分)?[.。]?\s*")
_WINNER = re.compile(r"(?:winner|胜者)[\s*_`\"]*[:：]?[\s*_`\"]*(?:an?\s+)?(a(?![a-z])|b(?![a-z])|tie\b|平)", re.I)
_VERDICT = re.compile(r"(?:verdict|判断)[\s*_`\"]*[:：]?[\s*_`\"]*(yes\b|no\b|是|否)", re.I)


def grading(
    rubric: Rubric, language: Language, role: str, persona: str, context: str, reply: str
) -> tuple[Message, ...]:
    """A judge is asked for a score of one dimension; see `grade`."""
    told, low, high = rubric.told(language), rubric.low, rubric.high
    text = _GRADE[language].format(
        role=role, persona=persona, context=context, reply=reply, told=told, low=low, high=high
    )
    return (Message("user", text),)


def grade(text: str, rubric: Rubric) -> int | None:
    """The whole number that was given as the score, or that is all there is; None unless there is exactly one."""
    alone = _ALONE.fullmatch(text)
    said = set(_SCORE.findall(text)) or ({alone[1]} if alone else set())
    scores = {float(number) for number in said}
    if len(scores) != 1 or not (score := scores.pop()).is_integer() or not rubric.low <= score <= rubric.high:
        return None
    return int(score)


def pairing(
    language: Language, role: str, persona: str, context: str, one: str, other: str
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """A judge is asked which reply is better, in both orders, because judges favour a place; see `preferred`."""

    def ask(first: str, second: str) -> tuple[Message, ...]:
        text = _PAIR[language].format(role=role, persona=persona, context=context, one=first, other=second)
        return (Message("user", text),)

    return ask(one, other), ask(other, one)


def preferred(straight: str, swapped: str) -> Preference | None:
    """What both answers come to: a reply wins that wins in both orders; a judge that follows the place has no winner.

    None where either can't be read.
    """
    one, two = _winner(straight), _winner(swapped)
    if one is None or two is None:
        return None
    if (one, two) == ("a", "b"):
        return "first"
    return "second" if (one, two) == ("b", "a") else "tie"


def flagging(
    rubric: Rubric, language: Language, role: str, persona: str, context: str, reply: str
) -> tuple[Message, ...]:
    """A judge is asked whether something is true of a reply; see `flagged`."""
    text = _FLAG[language].format(role=role, persona=persona, context=context, reply=reply, told=rubric.told(language))
    return (Message("user", text),)


def flagged(text: str) -> bool | None:
    """Yes or no; None where the answer says neither, or both."""
    said = {word.lower() in {"yes", "是"} for word in _VERDICT.findall(text)}
    return said.pop() if len(said) == 1 else None


def finding_flaws(rubric: Rubric, scene: str, persona: str, original: str, simulated: str) -> tuple[Message, ...]:
    """A judge is asked for the flaws of a simulated conversation; see `severities`."""
    text = _FLAWS.format(scene=scene, persona=persona, original=original, simulated=simulated, told=rubric.told("en"))
    return (Message("user", text),)


def severities(text: str) -> list[int] | None:
    """How severe each flaw is, 1 to 5; None where the answer holds no such JSON object, or a severity out of range."""
    begin, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[begin : end + 1])["flaws"]
        given = [flaw["severity"] for flaw in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    fine = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= 5 for one in given)
    return given if isinstance(found, list) and fine else None


def penalised(flaws: Sequence[int], turns: int) -> float:
    """CoSER's score: 100 less 5 for each point of severity, 1.5 more for each turn, from 0 to 100.

    The turns correct for length: a longer talk has more room for flaws.
    """
    return min(100.0, max(0.0, 100 - 5 * sum(flaws) + 1.5 * turns))


def _winner(text: str) -> str | None:
    said = {word.lower().replace("平", "tie") for word in _WINNER.findall(text)}
    return said.pop() if len(said) == 1 else None
