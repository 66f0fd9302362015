import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import sse
from models.sse import EventTooLong, ServerSentEvent, read_events

STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\ndata: one\r\n\r\nevent: error\rdata: two\rdata:  three\r\r"
    b"data\n\nid: 7\nretry: 3\n\ndata: \xe9\xbe\x99\xf0\x9f\x90\x89\xe2\x80\xa8\n\ndata: cut"
)
EVENTS = [
    ServerSentEvent("message", "one"),
    ServerSentEvent("error", "two\n three"),
    ServerSentEvent("message", ""),
    ServerSentEvent("message", "龙🐉\u2028"),
    ServerSentEvent("message", "cut"),
]


async def chunked(stream: bytes, places: list[int]) -> AsyncIterator[bytes]:
    bounds = [0, *sorted(places), len(stream)]
    for start, end in itertools.pairwise(bounds):
        yield stream[start:end]


async def events_of(stream: bytes, places: list[int]) -> list[ServerSentEvent]:
    return [event async for event in read_events(chunked(stream, places))]


async def test_a_stream_is_read_as_the_standard_says() -> None:
    assert await events_of(STREAM, []) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
async def test_how_the_stream_is_cut_makes_no_difference(size: int) -> None:
    assert await events_of(STREAM, list(range(size, len(STREAM), size))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
async def test_no_cut_at_all_makes_a_difference(places: list[int]) -> None:
    assert await events_of(STREAM, places) == EVENTS


async def test_an_event_is_given_as_soon_as_its_blank_line_is_there() -> None:
    async def waiting() -> AsyncIterator[bytes]:
        yield b"data: now\n\n"
        raise AssertionError("the event was not given before more was read")

    assert await anext(read_events(waiting())) == ServerSentEvent("message", "now")


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 99, b"data: x\n" * 99, b"data: " + b"x" * 99 + b"\n\n"])
async def test_an_endless_event_is_refused(stream: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_BYTES", 50)
    with pytest.raises(EventTooLong):
        await events_of(stream, [])


async def test_endless_comments_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_BYTES", 50)
    assert await events_of(b": still here\n" * 99 + b"data: x\n\n", []) == [ServerSentEvent("message", "x")]
