"""Conversations held for an evaluation: what people say, turn by turn, to several characters at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.evaluation.asking import GREEDY, replies
from app.evaluation.report import Result
from models.echo import EchoGuard
from models.engine import Sampling
from models.judging.asking import Asked
from models.judging.intervals import interval
from models.loops import LoopGuard
from models.scene import Language, Message, Scene

BEGINNING = "……"
"""What a character greets: a conversation begins with the user, who has said nothing yet."""
SILENCE = "…"
"""What stands in a conversation for a reply that did not come."""

SAID: Mapping[Language, tuple[str, ...]] = {
    "en": (
        "Hello! What are you doing at this hour?",
        "Tell me where you grew up.",
        "Who was the person you trusted most there?",
        "I had a terrible day, to be honest. Somebody I like laughed at me.",
        "What would you have done in my place?",
        "You once said you never lie. Is that still true?",
        "What do you think of people who leave without a word?",
        "Let us talk of something lighter. What do you like to eat?",
        "If you had a whole free day tomorrow, how would you spend it?",
        "Do you remember what I told you about my day?",
        "What is it that you are most afraid of?",
        "I shall have to go soon. Is there anything you want to tell me first?",
    ),
    "zh": (
        "你好呀！这个时候你在做什么呢？",
        "跟我说说你是在哪里长大的吧。",
        "在那里你最信任的人是谁？",
        "说实话，我今天过得糟透了，我喜欢的人笑话我了。",
        "换作是你，你会怎么做？",
        "你说过你从不骗人，现在还是这样吗？",
        "你怎么看那些不辞而别的人？",
        "聊点轻松的吧，你喜欢吃什么？",
        "要是明天一整天都有空，你打算怎么过？",
        "你还记得我刚才说我今天怎么了吗？",
        "你最害怕的是什么？",
        "我马上得走了，走之前你有什么想对我说的吗？",
    ),
}
"""Chit-chat, an interview and something personal, as CharacterGLM's three topics; one line asks back."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A scene after the talk: its history holds all that was said. `lost` counts replies that did not come."""

    scene: Scene
    lost: int = 0

    @property
    def places(self) -> tuple[int, ...]:
        """Where in the history the character's own replies stand, in order, a greeting left out."""
        history = self.scene.history
        return tuple(
            place
            for place, (before, message) in enumerate(pairwise(history), 1)
            if message.role == "assistant" and before.role == "user" and before.content != BEGINNING
        )

    @property
    def said(self) -> tuple[str, ...]:
        """Those replies."""
        return tuple(self.scene.history[place].content for place in self.places)


async def converse(
    engine: Asked, scenes: Sequence[Scene], lines: Sequence[Sequence[str]], sampling: Sampling = GREEDY
) -> list[Talk]:
    """Say `lines` to each scene's character, one after another; all characters answer at the same time."""
    talks = [Talk(scene) for scene in scenes]
    for turn in range(max(map(len, lines), default=0)):
        at = [place for place, said in enumerate(lines) if turn < len(said)]
        asked = [_with(talks[place].scene, Message("user", lines[place][turn])) for place in at]
        heard = await replies(engine, asked, f"turn {turn + 1}", sampling)
        for place, scene, answer in zip(at, asked, heard, strict=True):
            reply = Message("assistant", answer.text or SILENCE)
            talks[place] = Talk(_with(scene, reply), talks[place].lost + (not answer.text))
    return talks


def transcript(scene: Scene, upto: int | None = None) -> str:
    """What was said, a line each, with names."""
    user = scene.user or ("用户" if scene.language == "zh" else "User")
    names = {"user": user, "assistant": scene.character}
    colon = "：" if scene.language == "zh" else ": "
    shown = scene.history[:upto]
    return "\n".join(f"{names.get(message.role, message.role)}{colon}{message.content}" for message in shown)


def repeated(talk: Talk) -> list[float]:
    """1 for each reply of a talk that says an earlier one again or goes round in circles, else 0."""
    said = talk.said
    return [float(repeats(reply, said[:place])) for place, reply in enumerate(said)]


def repetition(talks: Sequence[Talk]) -> Result:
    """The share of repeated replies, with talks as groups, and how many replies did not come."""
    flags = [(flag, number) for number, talk in enumerate(talks) for flag in repeated(talk)]
    return {
        "repetition": interval([flag for flag, _ in flags], [number for _, number in flags]),
        "replies that did not come": sum(talk.lost for talk in talks),
    }


def repeats(reply: str, earlier: Sequence[str]) -> bool:
    """Whether the server's own guards would have taken the reply back or ended it: an echo, or a loop."""
    echo, loop = EchoGuard(earlier), LoopGuard()
    echo.feed(reply)
    loop.feed(reply)
    return echo.echoes or loop.looped


def _with(scene: Scene, message: Message) -> Scene:
    return replace(scene, history=(*scene.history, message))
