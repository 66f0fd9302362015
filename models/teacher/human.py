"""Human-like pairs (2501.05032): one question answered by a friend in conversation, and by a formal assistant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from models.data.near import Index
from models.example import Example
from models.scene import Language, Message, Scene
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

QUESTIONS: Mapping[Language, str] = {
    "zh": """请就“{topic}”这个话题写{count}个人们闲聊时会问的问题，自然、具体、彼此不同。
只输出JSON：{{"questions": ["……"]}}""",
    "en": """Write {count} questions about "{topic}" as people ask them in a chat: natural, concrete, different.
Answer with JSON alone: {{"questions": ["…"]}}""",
}
HUMAN: Mapping[Language, str] = {
    "zh": """{who}像朋友聊天那样回答：口语、有停顿和语气词，可以说说自己的感受，可以反问，长短随意。
不要列点，不要说自己是AI。""",
    "en": """{who}Answer as a friend would in a chat: colloquial, with hesitations and feelings of your own, maybe a
question back, as long or short as it comes. No lists, and never that you are an AI.""",
}
FORMAL: Mapping[Language, str] = {
    "zh": "你是一个正式、客观的助手。请用书面语给出完整、条理清楚、不带个人感受的回答。",
    "en": """You are a formal, impersonal assistant. Answer completely, in written language and good order, without
feelings of your own.""",
}
WHO: Mapping[Language, str] = {"zh": "你是{role}。{persona}\n", "en": "You are {role}. {persona}\n"}
TOKENS = 600


class Questions(Form):
    """Questions on a topic."""

    questions: list[str]


async def questions_on(desk: Desk, topics: Sequence[str], language: Language, count: int) -> Made[str]:
    """`count` questions for each topic; repeats of earlier ones are lost."""

    async def work(topic: str) -> list[str]:
        asked = [Message("user", QUESTIONS[language].format(topic=topic, count=count))]
        return (await desk.teacher.form(Questions, asked, TOKENS, language=language)).questions[:count]

    made = await desk.through("questions", [Part[str](topic, partial(work, topic)) for topic in topics])
    index, kept = Index(), Made[str](lost=list(made.lost))
    for text in made.rows:
        reason = "empty question" if not text else "repeats a question" if index.add(text) else ""
        kept.sort_in([Lost(text, reason) if reason else text])
    return kept


async def human_pairs(desk: Desk, frame: Scene, questions: Sequence[str], source: str) -> Made[Example]:
    """A pair for each question: `reply` is the friend's answer, `rejected` the assistant's. Equal ones are lost."""
    who = WHO[frame.language].format(role=frame.character, persona=frame.persona) if frame.persona else ""
    friend = Message("system", HUMAN[frame.language].format(who=who))
    formal = Message("system", FORMAL[frame.language])

    async def work(number: int, question: str) -> list[Example | Lost]:
        asked = Message("user", question)
        reply = await desk.teacher.text([friend, asked], TOKENS)
        rejected = await desk.teacher.text([formal, asked], TOKENS)
        index = Index()
        index.add(reply)
        if index.find(rejected):
            return [Lost(f"question {number}", "both answers alike", reply[:60])]
        scene = replace(frame, history=(asked,))
        name = f"question-{number}"
        return [Example(scene, reply, rejected, learn="reply", id=name, group=name, source=source)]

    return await desk.through(
        "pairs", [Part[Example](f"question {n}", partial(work, n, text)) for n, text in enumerate(questions)]
    )
