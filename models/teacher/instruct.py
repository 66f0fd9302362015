"""RoleLLM (2310.00746): a role's profile, Context-Instruct, RoleGPT, and rows for role-conditioned tuning (RoCIT).

Context-Instruct makes questions with answers out of pieces of the profile and of the script; those the teacher is not
confident of, and repeats, are dropped. RoleGPT answers general questions in the role's voice, led by real turns of the
role that are nearest to the question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from models.data.near import Index
from models.example import Example
from models.scene import Language, Message, Scene
from models.teacher.excerpts import gives_away
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

Nearest = Callable[[str, int], Sequence[Example]]
"""The role's own rows nearest to a question, best first."""
SHOTS = 5
TOKENS = 1200

PROFILE: Mapping[Language, str] = {
    "zh": """下面是“{role}”出场的剧本片段。请用第二人称（“你”）写一段{role}的人物描述，
并列出{role}的口头禅（没有就给空列表）。
只输出JSON：{{"description": "……", "catchphrases": ["……"]}}

{text}""",
    "en": """Below are scenes in which {role} appears. Describe {role} in the second person ("you"), and list
{role}'s catchphrases (an empty
list if there are none). Answer with JSON alone: {{"description": "…", "catchphrases": ["…"]}}

{text}""",
}
QUESTIONS: Mapping[Language, str] = {
    "zh": """你在为“{role}”出题。{profile}

请根据下面这段{kind}提出{count}个可以向{role}提的问题，问题要完整、彼此不同，不看这段文字也能看懂。每个问题给出：
你对“仅凭这段文字就能正确回答”的把握 confidence（high 或 low）、理由 reason、以及以{role}的口吻和第一人称作出的回答
answer。
只输出JSON：{{"questions": [{{"question": "……", "confidence": "high", "reason": "……", "answer": "……"}}]}}

{text}""",
    "en": """You write questions for {role}. {profile}

From the {kind} below make {count} questions that could be put to {role}: complete, different from one another,
understood without this text.
With each, say how sure you are that this text alone answers it (confidence: high or low), the reason, and the answer in
{role}'s voice, in the first person. Answer with JSON alone:
{{"questions": [{{"question": "…", "confidence": "high", "reason": "…", "answer": "…"}}]}}

{text}""",
}
KINDS: Mapping[Language, Mapping[str, str]] = {
    "zh": {"profile": "人物描述", "script": "剧本"},
    "en": {"profile": "description", "script": "script"},
}
SPEAK: Mapping[Language, str] = {
    "zh": """你是{role}。{profile}
请始终以{role}的语气、用词和知识回答，就像下面的对话那样；回答要正确、完整，不要跳出角色。""",
    "en": """You are {role}. {profile}
Answer in {role}'s manner, words and knowledge, as in the talk below; be right and complete, and stay {role}.""",
}
PHRASES: Mapping[Language, str] = {"zh": "口头禅：{text}", "en": "Catchphrases: {text}"}


class Profile(Form):
    """Who a role is, and what it likes to say."""

    description: str
    catchphrases: tuple[str, ...] = ()


class Asked(Form):
    """A question with its answer."""

    question: str
    confidence: Literal["high", "low"]
    reason: str = ""
    answer: str


class Questions(Form):
    """Several."""

    questions: list[Asked]


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of the profile or of the script."""

    name: str
    kind: Literal["profile", "script"]
    text: str


async def profile_of(desk: Desk, role: str, language: Language, scenes: str) -> Made[Profile]:
    """The role's profile from what it says."""

    async def work() -> list[Profile]:
        asked = [Message("user", PROFILE[language].format(role=role, text=scenes))]
        return [await desk.teacher.form(Profile, asked, TOKENS, language=language)]

    return await desk.through("profile", [Part[Profile](f"profile of {role}", work)])


async def context_instruct(desk: Desk, frame: Scene, pieces: Sequence[Piece], count: int, source: str) -> Made[Example]:
    """`count` questions for each piece, as rows. Those of low confidence, and repeats of earlier ones, are lost."""
    role, language = frame.character, frame.language

    async def work(piece: Piece) -> list[Example | Lost]:
        kind = KINDS[language][piece.kind]
        words = QUESTIONS[language].format(role=role, profile=frame.persona, kind=kind, count=count, text=piece.text)
        told = await desk.teacher.form(Questions, [Message("user", words)], TOKENS, language=language)
        return [_row(frame, asked, f"{piece.name}-{n}", piece.name, source) for n, asked in enumerate(told.questions)]

    made = await desk.through("questions", [Part[Example](piece.name, partial(work, piece)) for piece in pieces])
    return without_repeats(made)


async def role_gpt(desk: Desk, frame: Scene, questions: Sequence[str], nearest: Nearest, source: str) -> Made[Example]:
    """General questions answered in the role's voice, after real turns of the role's."""
    head = Message("system", SPEAK[frame.language].format(role=frame.character, profile=frame.persona))

    async def work(number: int, question: str) -> list[Example | Lost]:
        shots = [
            message
            for row in reversed(nearest(question, SHOTS))
            for message in (Message("user", row.scene.history[-1].content), Message("assistant", row.reply))
        ]
        answer = await desk.teacher.text([head, *shots, Message("user", question)], TOKENS)
        if any(gives_away(message.content, answer) for message in shots):
            return [Lost(f"general-{number}", "repeats an example", answer[:60])]
        asked = Asked(question=question, confidence="high", answer=answer)
        return [_row(frame, asked, f"general-{number}", f"general-{number}", source)]

    parts = [Part[Example](f"general-{n}", partial(work, n, q)) for n, q in enumerate(questions)]
    return await desk.through("answers", parts)


def persona_of(profile: Profile, language: Language) -> str:
    """Description and catchphrases, as rows have them."""
    phrases = ("、" if language == "zh" else "; ").join(profile.catchphrases)
    told = [profile.description, PHRASES[language].format(text=phrases) if phrases else ""]
    return "\n".join(filter(None, told))


def without_repeats(made: Made[Example]) -> Made[Example]:
    """The rows whose question was not asked before, in nearly these words."""
    index = Index()
    kept = Made[Example](lost=list(made.lost))
    for row in made.rows:
        repeated = index.add(row.scene.history[-1].content)
        kept.sort_in([Lost(row.id, "repeats a question", row.scene.history[-1].content[:60]) if repeated else row])
    return kept


def _row(frame: Scene, asked: Asked, name: str, group: str, source: str) -> Example | Lost:
    if not asked.question or not asked.answer:
        return Lost(name, "empty answer")
    if asked.confidence == "low":
        return Lost(name, "low confidence", asked.question[:60])
    scene = replace(frame, history=(Message("user", asked.question),))
    return Example(scene, asked.answer, learn="reply", id=name, group=group, source=source)
