"""A reply goes through all that cleans it, and is the same however the engine cuts it into pieces."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.chat.listen import Listener
from app.chat.piece import Piece
from models.engine import Token

PARTS = [
    *(
        "Mara: ",
        "**Mara:**",
        "\n",
        "\n\nana: ",
        "[User]:",
        "用户：",
        "<think>",
        "</think>",
        "<think>He lies.</think>",
        " ",
    ),
    *(
        "The sea is grey this morning",
        ", and the gulls are late. ",
        "I will wait for you. ",
        "我会一直等你。",
        "Oh, ",
        "`",
        '"',
    ),
    *(
        "[I must not show it.]",
        "[",
        "]",
        "哈哈哈哈",
        "analysis",
        "So",
        "坐",
        "😀",
        "<|channel|>analysis<|message|>",
        "<|end|>",
    ),
]
TEXT = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)
EARLIER = ["The sea is grey this morning, and the gulls are late.", "好的。我会一直等你。我会一直等你。"]


def heard(text: str, places: list[int], *, told: bool, cut: bool, opened: str) -> tuple[str, str | None, str, bool]:
    """What is seen, what ended it, what is hidden, and whether it is to be taken back."""
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    listener = Listener("Mara", ["ana", "User", "用户"], EARLIER, opened=opened)
    pieces = list[Piece]()
    for a, b in itertools.pairwise(bounds):
        if told:
            listener.hear(Token(text[a:b], -1.0, text[a:b].encode()))
        pieces.append(listener.feed(text[a:b]))
        if listener.cut or listener.is_certain:
            break
    if not listener.is_certain:
        pieces.append(listener.end(cut=cut))
    echoes = listener.echoes
    pieces += [] if echoes else [listener.rest()]
    seen = "".join(piece.text for piece in pieces)
    if told and not echoes:
        assert "".join(token.text for piece in pieces for token in piece.tokens) == seen
    return seen, listener.cut, "" if listener.cut else listener.hidden, echoes


@given(TEXT, st.lists(st.integers(0, 600), max_size=20), st.booleans(), st.booleans(), st.sampled_from(["", "<think>"]))
def test_the_pieces_change_nothing(text: str, places: list[int], told: bool, cut: bool, opened: str) -> None:
    whole = heard(text, list(range(len(text))), told=told, cut=cut, opened=opened)
    seen, ended, hidden, echoes = heard(text, places, told=told, cut=cut, opened=opened)
    assert (seen, ended, echoes) == (whole[0], whole[1], whole[3])
    if not ended and not echoes:
        assert hidden == whole[2]
