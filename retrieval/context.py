"""A text with what was said before it and when: what is embedded so that it can be found by its surroundings."""

from __future__ import annotations

import re
from datetime import date

BEFORE_CHARACTERS = 600
"""Of what was said before; the encoder's window must hold the text itself."""

_HAN = re.compile("[\u3400-\u9fff]")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def in_context(text: str, before: str, day: date) -> str:
    """The day, the end of what was said before, and the text: "(8 May 2023) …", or "（2023年5月8日）…" in Chinese.

    The day's words are written out because a question names them ("what did I do in May?"), and its language is the
    text's, because an encoder hears it.
    """
    told = f"{before[-BEFORE_CHARACTERS:]}\n{text}" if before else text
    if _HAN.search(text):
        return f"（{day.year}年{day.month}月{day.day}日）{told}"
    return f"({day.day} {_MONTHS[day.month - 1]} {day.year}) {told}"
