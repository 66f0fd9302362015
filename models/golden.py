"""The golden scenes, and the fingerprints by which a checkpoint is known to be served as it was merged.

A language model that was trained on one system prompt and is served another, or through another chat template, speaks
worse and nothing says why. So what is rendered from fixed scenes and fixed turns is hashed at the merge, and again at
every start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from models.frame import FRAMES
from models.prompt import Layout, render
from models.scene import Lore, Message, Scene

GOLDEN = (
    Scene(
        character="Mara",
        language="en",
        persona="Keeps a lighthouse and answers in few words.",
        style="Short sentences.",
        scenario="The lamp room at night.",
        stage="friend",
        stage_persona="Glad to see Ana.",
        user="Ana",
        user_persona="A sailor.",
        client_system="Answer in one paragraph.",
        client_late="Now.",
        note="The storm is close.",
        passing="The lamp flickers.",
        mood="There is sadness in this talk.",
        lore=(Lore("Nobody lights the lamp but Mara.", constant=True), Lore("The storm took the pier.")),
        lines=("Sailor: Lonely?\nMara: I have the lamp.", "Boy: Hungry?\nMara: Fish."),
        memories=("Ana: My cat is Pickle.\nMara: A fine name.",),
        history=(Message("user", "Hello."), Message("assistant", "Come in."), Message("user", "Was there a storm?")),
    ),
    Scene(
        character="晚晴",
        language="zh",
        persona="守灯塔的人，话不多。",
        style="话短。",
        scenario="夜里的灯室。",
        stage="朋友",
        stage_persona="见到阿安很高兴。",
        user="阿安",
        user_persona="水手。",
        client_system="只回一段。",
        client_late="现在就说。",
        note="风暴近了。",
        passing="灯闪了一下。",
        mood="谈话里透着难过。",
        lore=(Lore("只有晚晴能点灯。", constant=True), Lore("风暴卷走了码头。")),
        lines=("水手：孤单吗？\n晚晴：我有灯。", "孩子：饿吗？\n晚晴：有鱼。"),
        memories=("阿安：我的猫叫泡菜。\n晚晴：好名字。",),
        history=(Message("user", "你好。"), Message("assistant", "进来吧。"), Message("user", "这里有过风暴吗？")),
    ),
)
"""Talks in both languages that have everything: stage, mood, lore, memories, lines, notes."""

TURNS = (
    Message("system", "You are Mara. 你是晚晴。"),
    Message("user", "Hello. 你好。"),
    Message("assistant", "Come in. 进来吧。"),
    Message("user", "Was there a storm? 有过风暴吗？"),
)
CLOCK = "strftime_now"
"""What a template calls that writes today's date: its tokens differ from day to day."""


@dataclass(frozen=True, slots=True)
class TemplateMark:
    """What a chat template is known by: its text, and the tokens that it and the tokenizer make of `turns`.

    `tokens` is empty where they change with the date.
    """

    text: str
    turns: tuple[Message, ...]
    tokens: str


def golden_prompts(layout: Layout) -> list[tuple[Message, ...]]:
    """The prompts of the golden scenes."""
    return [render(scene, layout=layout, budget=10**6, window=40, count=len).messages for scene in GOLDEN]


def frame_mark() -> str:
    """SHA-256 of the frame and of the golden prompts in every layout; another wording or order gives another."""
    words = {language: asdict(frame) for language, frame in FRAMES.items()}
    prompts = [
        [[m.role, m.content] for m in prompt] for layout in get_args(Layout) for prompt in golden_prompts(layout)
    ]
    return digest([words, prompts])


def template_mark(tokenizer: Any) -> TemplateMark:
    """The mark of a fast transformers tokenizer that has a chat template.

    Turns without a system message are used where the template refuses one. Raises what the template does for those.
    """
    template = tokenizer.chat_template
    text = digest(template)
    if CLOCK in str(template):
        return TemplateMark(text, TURNS, "")
    try:
        return TemplateMark(text, TURNS, digest(tokens_of(tokenizer, TURNS)))
    except Exception:  # a template is a program of the checkpoint's and may raise anything
        return TemplateMark(text, TURNS[1:], digest(tokens_of(tokenizer, TURNS[1:])))


def tokens_of(tokenizer: Any, turns: Sequence[Message]) -> list[int]:
    """The prompt of `turns` as token ids, as vLLM encodes it."""
    rows = [{"role": turn.role, "content": turn.content} for turn in turns]
    text = tokenizer.apply_chat_template(rows, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
