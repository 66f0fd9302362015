"""Messages for chat templates that know fewer places for what the system says.

`models.prompt` tells things late, in system messages inside the talk. Many templates take one system message only, or
none (Gemma, Mistral, Llama 2): they refuse the others, drop them, or put them where they do not belong. Then what the
system says becomes part of the user's turn, fenced, so that it is not taken for the user's words; and no fence is left
in what anybody says, so that nobody can speak as the system.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from models.scene import Message

Place = Literal["anywhere", "first", "nowhere"]
"""Where a template takes system messages."""

PLACES: tuple[Place, ...] = ("anywhere", "first", "nowhere")
"""In the order in which they are to be tried."""

OPENING = "…"
"""What the user is taken to have said where a template wants the user to speak first and the character greets."""

NOTE = ("[Note to you, not said by the user]", "[End of the note]")
NOTE_ZH = ("【给你的提示，不是用户说的话】", "【提示结束】")

PROBE: tuple[Message, ...] = (
    Message("system", "probe0"),
    Message("assistant", "probe1"),
    Message("user", "probe2"),
    Message("assistant", "probe3"),
    Message("system", "probe4"),
    Message("user", "probe5"),
)
"""A greeting and something told late: what a template does to them shows which place it needs."""

BRACKETED = re.compile(
    r"[\[［【〔「『(（<＜{｛]([^\[\]［］【】〔〕「」『』()（）<>＜＞{}｛｝\n]{1,80})(?:[\]］】〕」』)）>＞}｝]|$)",
    re.MULTILINE,
)


def fold(messages: Sequence[Message], place: Place) -> list[Message]:
    """`messages` for a template that takes system messages only at `place`, and user and assistant by turns.

    System text elsewhere becomes part of the user's turn where it stands, between the lines of `NOTE`. Neighbours of
    one role are joined by a blank line; `OPENING` goes before an assistant who speaks first. Messages with calls of
    functions and their results stay as they are.
    """
    if place == "anywhere":
        return list(messages)
    folded: list[Message] = []
    for number, message in enumerate(messages):
        if type(message) is not Message:
            folded.append(message)
            continue
        role, text = message.role, unfenced(message.content)
        if role == "system" and not (place == "first" and number == 0):
            role, text = "user", _note(text)
        if folded and folded[-1].role == role and type(folded[-1]) is Message:
            folded[-1] = Message(role, f"{folded[-1].content}\n\n{text}")
            continue
        if role == "assistant" and (not folded or folded[-1].role == "system"):
            folded.append(Message("user", OPENING))
        folded.append(Message(role, text))
    return folded


def keeps_its_place(rendered: str) -> bool:
    """Whether a template that made `rendered` of the folded `PROBE` left all it says in its order."""
    places = [rendered.find(message.content) for message in PROBE]
    return -1 not in places and places == sorted(places)


def unfenced(text: str) -> str:
    """`text` in which whatever reads like one of our fences is a quotation, however it is spaced or bracketed."""
    return BRACKETED.sub(lambda found: f"“{found[1]}”" if _letters(found[1]) in FENCES else found[0], text)


def _note(text: str) -> str:
    chinese = any("\u4e00" <= character <= "\u9fff" for character in text)
    before, after = NOTE_ZH if chinese else NOTE
    return f"{before}\n{text}\n{after}"


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


FENCES = frozenset(_letters(fence) for fence in (*NOTE, *NOTE_ZH))
