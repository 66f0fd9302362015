"""LCCC's chats (2008.03946) with persona cards that are made of how somebody writes.

What the card says holds for the whole talk and gives no answer away: a card that repeated what is said would be learnt
as a source to copy from. Facts about a person need a teacher.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from models.data.rows import read_text
from models.example import BadRow, Example
from models.scene import Message, Scene

NAMES = (
    "小满",
    "阿远",
    "林木",
    "可可",
    "老周",
    "小北",
    "阿青",
    "团子",
    "大鹏",
    "星星",
    "小鱼",
    "阿梨",
    "石头",
    "丸子",
    "秋秋",
    "阿南",
)
HABITS = (
    (r"哈哈|嘿嘿|嘻嘻|呵呵", "爱笑，常把笑声写出来"),
    (r"[？?]", "喜欢反问"),
    (r"[！!]", "语气强，爱用感叹号"),
    (r"[～~]|[呀哦呢啦嘛哟]", "句尾常带语气词"),
    (r"\.\s?\.|…|。。", "常用省略号，话说一半"),
    (r"[\U0001f300-\U0001faff]|\[[^\[\]]{1,6}\]", "爱用表情"),
    (r"你|您", "说话时常提到对方"),
)


def chats(path: Path) -> Iterator[Example]:
    """Rows of a JSON of dialogues, in one list or in several by name, or of tab-separated pairs.

    The second speaker is the character. Talks of one line are left out. Raises BadRow.
    """
    for part, number, said in _dialogues(path):
        texts = [text for text in map(unspaced, said) if text]
        texts = texts if len(texts) % 2 == 0 else texts[:-1]
        if len(texts) < 2:
            continue
        key = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        name = NAMES[int(key[:8], 16) % len(NAMES)]
        history = [Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts)]
        scene = Scene(name, "zh", card(name, texts[1::2]), history=tuple(history[:-1]))
        source = f"{path.name} {part}".strip()
        yield Example(scene, texts[-1], id=f"{path.stem}-{part}{number}", group=key[:16], source=source)


def card(name: str, said: Sequence[str]) -> str:
    """A persona of how somebody writes: how long, and with which habits."""
    mean = sum(map(len, said)) / len(said)
    manner = "话很少，一句只有几个字" if mean < 8 else "句子不长，像平常聊天" if mean < 20 else "话多，一句说得很长"
    whole = "\n".join(said)
    habits = [text for pattern, text in HABITS if len(re.findall(pattern, whole)) * 2 >= len(said)]
    return f"{name}，在网上和朋友闲聊的人。" + "；".join([manner, *habits]) + "。"


def unspaced(text: str) -> str:
    """A text whose characters were parted by spaces, put together; words of Latin letters stay apart."""
    tokens = text.split()
    if all(len(token) == 1 for token in tokens):
        return "".join(tokens)
    return re.sub(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])", "", text.strip())


def _dialogues(path: Path) -> Iterator[tuple[str, int, list[str]]]:
    """The part, the number in it, and what is said."""
    text = read_text(path)
    if path.suffix.lower() != ".json":
        for line, row in enumerate(text.split("\n"), 1):
            if row.strip():
                yield "", line, row.split("\t")
        return
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadRow(path, getattr(error, "lineno", 1), f"expected JSON ({error}).") from None
    parts: dict[str, Any] = found if isinstance(found, dict) else {"": found}
    for name, dialogues in parts.items():
        if not isinstance(dialogues, list):
            raise BadRow(path, 1, f"{name or 'the file'} must be a list of dialogues.")
        for number, said in enumerate(dialogues):
            if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
                raise BadRow(path, 1, f"dialogue {number} of {name or 'the file'} must be a list of texts.")
            yield name, number, said
