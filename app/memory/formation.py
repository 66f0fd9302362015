"""What is worth remembering of a turn. Pure, by rules; nothing here asks a language model."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np

from app.tables import Floats, Terms
from retrieval.terms import date_terms, terms

_TOLD = re.compile(
    r"\b(my|i'm|i am|i was|i have|i live|i work|remember|promise|birthday|never forget|call me|name is)\b"
    r"|我叫|我是|我的|我在|我有|我住|记住|记得|别忘|答应|生日|约定|名字",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d|[一二三四五六七八九十百千]+[年月日号岁点]")


def exchange(user: str, said: str, character: str, reply: str) -> str:
    """An exchange as it is remembered and shown to the language model."""
    return f"{user}: {said.strip()}\n{character}: {reply.strip()}"


def holds(text: str, said: str) -> bool:
    """Whether a memory's text is still an exchange in which the user said this."""
    return f": {said.strip()}\n" in text


def importance(said: str, emotion: Floats) -> float:
    """How much an exchange matters, 0..1: the user tells of themselves, names figures or dates, or feels strongly."""
    told = 0.4 if _TOLD.search(said) else 0.0
    figure = 0.15 if _FIGURE.search(said) else 0.0
    length = min(len(said), 200) / 200 * 0.15
    return min(1.0, told + figure + length + 0.3 * float(emotion.max(initial=0.0)))


def memory_terms(text: str, created: datetime) -> Terms:
    """The words a memory is found by: its own, and the day it is of."""
    return np.concatenate([terms(text), date_terms(created)])
