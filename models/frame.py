"""The words around a scene, in Chinese and English: what tells the language model which part is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.scene import Language


@dataclass(frozen=True, slots=True)
class Frame:
    """Templates of one language; `{char}`, `{user}`, `{stage}` and `{text}` are filled in by `models.prompt`.

    `rules` names no user, so that all who talk with a character share the beginning of their prompts.
    """

    rules: str
    persona: str
    style: str
    personality: str
    examples: str
    scenario: str
    with_whom: str
    user_persona: str
    client_system: str
    client_late: str
    note: str
    lore: str
    passing: str
    stage: str
    mood: str
    memories: str
    lines: str
    speak: str
    user: str


COMPANY: Mapping[Language, str] = {
    "en": "You are in a group. Speak for {char} alone; others' words have their names before them. Also here: {text}",
    "zh": "这是几个人在一起谈话。你只是{char}，不要替别人说话；别人的话前面有各自的名字。在场的还有：{text}",
}
"""Said in groups only, and so no part of the frame that a checkpoint was merged for."""

FRAMES: Mapping[Language, Frame] = {
    "en": Frame(
        rules=(
            "You are {char}. Stay {char} in every reply: speak in the first person, in {char}'s own voice, and never "
            "mention being an AI or a language model. Write only {char}'s next reply, never the other's words. Keep it "
            "conversational."
        ),
        persona="## Who {char} is\n{text}",
        style="## How {char} talks\n{text}",
        personality="## {char}'s personality\n{text}",
        examples="## Talks that show how {char} speaks (examples, not what was said here)\n{text}",
        scenario="## Where you are\n{text}",
        with_whom="You are talking with {user}.",
        user_persona="## Who {user} is\n{text}",
        client_system="## Further notes from the app\n{text}",
        client_late="## The app's notes on this reply\n{text}",
        note="## Note from the author\n{text}",
        lore="## What {char} knows about this world\n{text}",
        passing="## Right now\n{text}",
        stage="## Between {char} and {user} now: {stage}\n{text}",
        mood="## {char}'s mood\n{text}",
        memories="## What {char} remembers of earlier talks with {user}\n{text}",
        lines="## Things {char} has said before (match the voice, do not copy the words)\n{text}",
        speak="Reply to {user}'s next message as {char}.",
        user="the visitor",
    ),
    "zh": Frame(
        rules=(
            "你是{char}。每一句回复都要以{char}的身份、用第一人称和{char}自己的口吻来说，不要提到自己是AI或语言模型。只写{char}"
            "的下一句回复，不要替对方说话。像平常聊天一样自然。"
        ),
        persona="【{char}是谁】\n{text}",
        style="【{char}怎样说话】\n{text}",
        personality="【{char}的性格】\n{text}",
        examples="【{char}说话的例子（不是这次谈话的内容）】\n{text}",
        scenario="【此刻的场景】\n{text}",
        with_whom="和你说话的是{user}。",
        user_persona="【{user}是谁】\n{text}",
        client_system="【应用的补充说明】\n{text}",
        client_late="【应用对这次回复的说明】\n{text}",
        note="【作者的提示】\n{text}",
        lore="【{char}了解的这个世界】\n{text}",
        passing="【此时此刻】\n{text}",
        stage="【{char}与{user}现在的关系：{stage}】\n{text}",
        mood="【{char}此刻的心情】\n{text}",
        memories="【{char}记得以前与{user}的谈话】\n{text}",
        lines="【{char}以前说过的话（学口吻，不要照抄）】\n{text}",
        speak="请以{char}的身份回复{user}接下来的话。",
        user="来客",
    ),
}
