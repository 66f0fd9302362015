"""Tokens always spell the text that was shown."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from models.engine import Token
from models.reply import ReplyFilter
from models.stops import StopFilter
from models.track import TokenTrack

TEXT = st.text(st.sampled_from("Mara: <think>/s\n 坐😀"), max_size=40) | st.sampled_from(
    ["Mara: Sit.", "<think>Hm.</think>\nMara: Sit <think>or</think>down.", "a <thin b", " \n Mara", "<think>"]
)


def tokens_of(text: str, places: list[int]) -> list[Token]:
    """`text` cut into tokens, some of which are the first bytes of what follows."""
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    whole = [Token(part, -1.0, part.encode()) for part in parts]
    return [cut for token in whole for cut in (Token("", -2.0, b"\xf0"), token)]


def spelled(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


@given(TEXT, st.lists(st.integers(0, 100), max_size=12))
def test_a_cleaned_reply_is_spelled_by_its_tokens(text: str, places: list[int]) -> None:
    reply, track, visible, got = ReplyFilter(["Mara"]), TokenTrack(), "", list[Token]()
    for token in tokens_of(text, places):
        track.feed([token])
        visible += reply.feed(token.text)
        got += track.settle(reply.fates)
        reply.fates.clear()
        assert visible.startswith(spelled(got))
    visible += reply.end()
    got += track.settle(reply.fates)
    assert spelled([*got, *track.rest()]) == visible
    assert all(token.data == token.text.encode() for token in got if token.text)


@given(TEXT, st.lists(st.integers(0, 100), max_size=12), st.sampled_from(["th", "坐", "\n ", "a: ", "s"]))
def test_a_reply_cut_at_a_stop_string_is_spelled_by_its_tokens(text: str, places: list[int], stop: str) -> None:
    stops, track, visible, got = StopFilter([stop]), TokenTrack(), "", list[Token]()
    for token in tokens_of(text, places):
        track.feed([token])
        piece = stops.push(token.text)
        visible += piece
        got += track.settle([True] * len(piece))
    rest = stops.flush()
    got += [*track.settle([True] * len(rest)), *track.rest()]
    assert spelled(got) == visible + rest == text.partition(stop)[0]


def test_the_bytes_of_an_unfinished_character_come_with_it_or_at_the_end() -> None:
    track = TokenTrack()
    first, second, third = Token("", -1, b"\xe4"), Token("", -1, b"\xbd"), Token("你", -1, b"\xa0")
    track.feed([first, second])
    assert track.settle([]) == ()
    track.feed([third, first])
    assert track.settle([True]) == (first, second, third)
    assert track.rest() == (first,)


def test_a_track_that_was_fed_nothing_gives_nothing() -> None:
    track = TokenTrack()
    assert track.settle([True, False]) == ()
    assert track.rest() == ()
