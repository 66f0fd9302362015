"""Emotional RAG's memory bank (2410.23041): the language model scores eight emotions of each memory from 1 to 10.

The paper's prompt and its form: a list of {analysis, dim, score}; what is not named scores 1. Unlike there what
can't be read is lost and counted, never stored empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from models.scene import Language, Message
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

Emotion = Literal["joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation"]
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)
"""In the paper's order."""
CHINESE = dict(zip(("喜悦", "接纳", "恐惧", "惊讶", "悲伤", "厌恶", "愤怒", "期待"), EMOTIONS, strict=True))
ASKED: Mapping[Language, str] = {
    "zh": """你是一位情感分析专家，擅长判断人物说话时的情绪。下面是“{role}”的一段对话：

{text}

请从 joy（喜悦）、acceptance（接纳）、fear（恐惧）、surprise（惊讶）、sadness（悲伤）、disgust（厌恶）、
anger（愤怒）、anticipation（期待）八个维度
分析{role}此时的情绪，每个维度先写分析，再给1到10的整数分，1表示没有，10表示非常强烈。
只输出JSON：{{"emotions": [{{"analysis": "……", "dim": "joy", "score": 1}}]}}，八个维度都要有。""",
    "en": """You are an expert in emotions and tell how somebody feels from what they say. This is a piece of a talk
of {role}:

{text}

Judge {role}'s emotion here in eight dimensions: joy, acceptance, fear, surprise, sadness, disgust, anger,
anticipation. For each write an analysis
first, then a whole score from 1 (not there) to 10 (very strong). Answer with JSON alone, with all eight:
{{"emotions": [{{"analysis": "…", "dim": "joy", "score": 1}}]}}""",
}
TOKENS = 900


def _plain(name: Any) -> Any:
    """A dimension's name in small letters, or the English one of a Chinese answer."""
    return CHINESE.get(name.strip(), name.strip().lower()) if isinstance(name, str) else name


class Scored(Form):
    """One dimension."""

    analysis: str = ""
    dim: Annotated[Emotion, BeforeValidator(_plain)]
    score: Annotated[int, Field(ge=1, le=10)]


class Feeling(Form):
    """Those that were named."""

    emotions: Annotated[list[Scored], Field(min_length=1)]


async def bank(desk: Desk, role: str, language: Language, units: Sequence[tuple[str, int]]) -> Made[dict[str, Any]]:
    """Rows of {role, text, emotion, scene, tagger} from texts and their scenes' numbers.

    Score s is the intensity (s - 1) / 9, as the server has it, and as `moodline data emotional-rag` writes.
    """

    async def work(text: str, scene: int) -> list[dict[str, Any] | Lost]:
        asked = [Message("user", ASKED[language].format(role=role, text=text))]
        heard = await desk.teacher.form(Feeling, asked, TOKENS, language=language)
        scores = dict.fromkeys(EMOTIONS, 1) | {one.dim: one.score for one in heard.emotions}
        felt = {name: round((score - 1) / 9, 4) for name, score in scores.items()}
        return [{"role": role, "text": text, "emotion": felt, "scene": scene, "tagger": desk.teacher.name}]

    parts = [Part[dict[str, Any]](f"memory {n}", partial(work, *unit)) for n, unit in enumerate(units)]
    return await desk.through("memories", parts)
