"""A reply ends where another one would begin to speak, and nowhere else."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.speakers import USER, Labels, SpeakerStop

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", "../shared/data"))
NAMES = ("Ana Lee", "安娜", *USER)
TEXT = st.lists(
    st.sampled_from([*"\n\n :：*[]【】(）#a", "Ana", " Lee", "安娜", "ana lee", "User", "用户", "他说", "hm "]),
    max_size=14,
).map("".join)


def through(text: str, places: list[int], *, begun: bool = False) -> tuple[str, bool]:
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    stop = SpeakerStop(NAMES, begun=begun)
    seen = "".join(stop.feed(text[a:b]) for a, b in itertools.pairwise(bounds))
    return seen + stop.end(), stop.stopped


@pytest.mark.parametrize("space", ["\n", "\n\n", "\n \n  "])
@pytest.mark.parametrize(
    "label",
    [
        *(
            "Ana Lee:",
            "ANA LEE：",
            "Ana Lee :",
            "安娜：",
            "安娜:",
            "**安娜**：",
            "**Ana Lee:**",
            "*Ana Lee*:",
            "[Ana Lee]:",
        ),
        *(
            "【安娜】：",
            "### Ana Lee:",
            "Ana Lee (smiling):",
            "安娜（笑）：",
            "User:",
            "Human:",
            "You:",
            "用户：",
            "<USER>:",
        ),
        *("{{user}}:", "“安娜”：", "__Ana Lee__:", "<安娜>:"),
    ],
)
def test_a_line_that_begins_with_anothers_name_ends_the_reply(label: str, space: str) -> None:
    assert through(f"Good night.{space}{label} Good night!", []) == ("Good night.", True)


@pytest.mark.parametrize(
    "text",
    [
        "I told Ana Lee: go home.",
        "他对安娜说：“走吧。”\n安娜点了点头。",
        "安娜，你听我说：快走。",
        "安娜姐：她在楼上。",
        "Hm.\nAna Lee smiled.",
        "Users: two.",
        "Good night.\n\nAna",
        f"Hm.\n安娜（她在门口站了{'很久' * 20}）：",
        "Mind this.\n\n",
    ],
)
def test_a_name_that_does_not_speak_ends_nothing(text: str) -> None:
    assert through(text, []) == (text, False)


def test_the_first_line_may_be_anothers_but_not_where_the_reply_goes_on_in_a_line() -> None:
    assert through("Ana Lee: hi", []) == ("", True)
    assert through("Ana Lee: hi", [], begun=True) == ("Ana Lee: hi", False)


@given(TEXT, st.lists(st.integers(0, 100), max_size=14), st.booleans())
def test_where_a_reply_ends_does_not_depend_on_its_pieces(text: str, places: list[int], begun: bool) -> None:
    whole, stopped = through(text, [], begun=begun)
    assert through(text, places, begun=begun) == (whole, stopped)
    assert text.startswith(whole)
    assert stopped or whole == text


def test_no_more_is_held_back_than_may_be_a_name() -> None:
    stop = SpeakerStop(NAMES)
    assert [stop.feed(piece) for piece in ("An", "d so, Ana Lee: no", "\n", "Ana", " ran.")] == [
        *("", "And so, Ana Lee: no", "", "", "\nAna ran."),
    ]


def test_the_beginning_of_a_name_is_perhaps_one() -> None:
    labels = Labels(["Mara"])
    assert [labels.look(line) for line in ("", "**m", "**Mara**", "Mara:", "[mara] :", "Mary", "Mara (sad)")] == [
        *("maybe", "maybe", "maybe", "yes", "yes", "no", "no"),
    ]


@pytest.mark.skipif(not (DATA / "charactereval").is_dir(), reason="needs MOODLINE_BENCH_DATA")
def test_what_real_speakers_say_is_never_taken_for_another_speaking_and_their_script_is() -> None:
    rows = json.loads((DATA / "charactereval" / "contexts_a.json").read_text("utf-8"))
    for row in rows[::8]:
        lines = [line.split("：", 1) for line in row["context"].split("\n") if "：" in line]
        stop = SpeakerStop({*(speaker for speaker, _ in lines), *USER})
        said = "".join(f"\n{text}" for _, text in lines)
        assert (stop.feed(said) + stop.end(), stop.stopped) == (said, False)
        assert SpeakerStop([lines[0][0]]).feed(f"好。\n{row['context']}") == "好。"
