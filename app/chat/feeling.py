"""Feel: one encoder call; the emotion is read from the same vector that searches."""

from __future__ import annotations

from app.chat.ask import Feeling, Known
from app.services import Services
from app.tables import Floats
from models.scene import Language, Message
from retrieval.emotion import EMOTIONS, blend
from retrieval.units import Turn, query_key

TALK = 4
"""Messages of the running conversation that a line is looked up by."""
AUDIBLE = 0.25
"""Feelings weaker than this are not put into words."""
WORDS: dict[Language, tuple[str, ...]] = {
    "en": ("joy", "warmth", "fear", "surprise", "sadness", "disgust", "anger", "anticipation"),
    "zh": ("喜悦", "亲近", "害怕", "惊讶", "难过", "厌恶", "生气", "期待"),
}


async def feel(services: Services, known: Known) -> Feeling:
    """The emotion of what the user said, and the mood it leaves."""
    said = known.heard.history[-1].content
    talk = talk_key(known.heard.history, known.character.called)
    # The talk is only searched with; where there is nothing to find, its vector would cost as much as all the rest.
    searched = known.lines.count or known.memories.count
    vectors = await services.embedding.queries([said, talk] if searched else [said])
    emotion = (await services.embedding.feel([said], vectors[:1]))[0]
    inertia = known.character.bond.inertia
    return Feeling(said, talk, vectors[0], vectors[-1], emotion, blend(known.bond.standing.mood, emotion, inertia))


def talk_key(history: tuple[Message, ...], character: str) -> str:
    """The last messages in the form in which past lines are indexed: the user anonymised."""
    turns = [Turn(character if m.role == "assistant" else "user", m.content) for m in history[-TALK:]]
    return query_key(turns, character)


def worded(mood: Floats, language: Language) -> str:
    """The strongest feelings in words, or nothing when all are faint."""
    ranked = sorted(range(len(EMOTIONS)), key=lambda i: -float(mood[i]))
    audible = [WORDS[language][i] for i in ranked[:2] if float(mood[i]) >= AUDIBLE]
    if not audible:
        return ""
    return (
        f"谈话里透着{'、'.join(audible)}。" if language == "zh" else f"There is {' and '.join(audible)} in this talk."
    )
