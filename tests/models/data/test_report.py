"""What a report counts: repeats, leaks, lengths; and that no group is divided."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.foreign import read_foreign
from models.data.leaks import Crossing, crossings, shown
from models.data.near import Repeat, bare, repeats
from models.data.report import lengths, report
from models.example import Example
from models.scene import Lore, Message, Scene
from models.token_count import estimate_tokens

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
LONG = "The ferry leaves at nine, and whoever is late may swim to the island behind it."
ZH = "渡船九点开，迟到的人只好跟在后面游到对面的岛上去了，我可不会等任何人。"


def row(said: str, reply: str, before: tuple[str, ...] = (), *, group: str = "", **scene: object) -> Example:
    talk = [Message("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(before)]
    history = (*talk, Message("user", said))
    return Example(Scene("Ana", "en", "", history=history, **scene), reply, group=group)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [LONG, ZH])
def test_repeats_are_found_exactly_and_nearly(text):
    rows = [
        row("When?", text),
        row("Who are you?", "Nobody you would know, and I would rather that it stayed so for a while."),
        row("when", text.upper().replace(",", " ").replace("，", " ")),
        row("When?", text[:-1] + ("!" if text is LONG else "！")),
        row("When?", text + (" Or row." if text is LONG else "走吧")),
        row("When?", text[::-1]),
    ]

    assert list(repeats(rows)) == [Repeat(2, 0, True), Repeat(3, 0, True), Repeat(4, 0, False)]
    assert list(repeats(rows, 1.0)) == [Repeat(2, 0, True), Repeat(3, 0, True)]


def test_short_answers_repeat_only_with_the_talk_before_them():
    rows = [row("Yes?", "No.", ("a", "b")), row("Yes?", "No.", ("c", "d")), row("Yes?", "No.", ("a", "b"))]

    assert list(repeats(rows)) == [Repeat(2, 0, True)]


@given(st.lists(st.text(max_size=40), max_size=8))
def test_every_text_that_came_before_is_a_repeat_and_no_other_is_exact(texts):
    rows = [row(text, "x" * 80) for text in texts]
    exact = {one.row for one in repeats(rows) if one.exact}

    known = [bare(text) for text in texts]
    assert exact == {place for place, text in enumerate(known) if text in known[:place]}


def test_a_thousand_greetings_stay_linear():
    rows = [row(LONG, f"{LONG} {number}") for number in range(1000)]

    assert len(list(repeats(rows))) == 999


@pytest.mark.parametrize(
    ("scene", "field"),
    [
        ({"lines": (f"Bo: Late?\nAna: {LONG}",)}, "lines"),
        ({"memories": (LONG.upper(),)}, "memories"),
        ({"examples": LONG}, "examples"),
        ({"lore": (Lore(LONG),)}, "lore"),
        ({"style": LONG}, "style"),
    ],
)
def test_a_reply_in_its_own_prompt_is_told_with_its_place(scene, field):
    (found,) = shown([row("When?", "Never."), row("When?", LONG, **scene)])

    assert (found.row, found.field) == (1, field)
    assert not list(shown([row("When?", "Nine.", lines=("Ana: Nine.",))]))


def test_rows_known_from_another_file_are_told():
    train = [row("When?", LONG), row("a", "b" * 80, group="scene 1")]
    test = [row("Who?", "c" * 80), row("when", LONG), row("d", "e" * 80, group="scene 1")]

    assert list(crossings([("train", train), ("test", test)])) == [
        Crossing("test", "train", 1, 0, "the same words"),
        Crossing("test", "train", 2, 1, "the same group scene 1"),
    ]


def test_percentiles_are_of_the_nearest_rank():
    found = lengths(list(range(1, 101)))

    assert (found.at, found.mean, found.over) == ((50, 90, 99, 100), 50.5, (0, 0, 0, 0))
    assert lengths([600]).over == (1, 0, 0, 0)


def test_a_report_counts_what_is_there():
    rows = [
        row("When?", LONG, lines=(LONG,), group="1"),
        row("When?", LONG, group="1"),
        Example(Scene("Bo", "zh", "", history=(Message("user", "谁？"),)), "", "机器人。", "reply", "x"),
        Example(Scene("Bo", "zh", "", history=(Message("user", "谁呀？"),)), "我。", "我。", "reply", "x"),
    ]

    found = report(rows, len, "letters")

    assert (found.rows, found.pairs, found.unwanted, found.learn_talk, found.groups) == (4, 1, 1, 2, 3)
    assert found.languages == {"en": 2, "zh": 2}
    assert {name: (role.rows, role.groups) for name, role in found.roles.items()} == {"Ana": (2, 1), "Bo": (2, 2)}
    assert found.roles["Ana"].reply.mean == len(LONG) + 8
    assert (found.exact.count, found.shown.count, found.equal_pairs.count) == (1, 1, 1)
    assert (found.exact.first, found.shown.first) == (("row 2 = row 1",), ("row 1 in lines",))
    assert (found.same_id.first, found.with_lines, found.tokenizer) == (("x",), 1, "letters")
    assert found.reply.at[-1] == len(LONG) + 8
    with pytest.raises(ValueError, match="no rows"):
        report([], len, "letters")


@pytest.mark.skipif(not (DATA / "huanhuan").is_dir(), reason=f"needs {DATA}/huanhuan (set MOODLINE_BENCH_DATA)")
def test_real_pairs_are_counted():
    rows = list(read_foreign(DATA / "huanhuan" / "huanhuan.json", "alpaca", character="甄嬛"))

    found = report(rows, estimate_tokens, "estimate")

    assert (found.rows, found.languages, found.groups) == (3729, {"zh": 3729}, 3491)
    assert 100 < found.exact.count < 130
    assert found.whole.at[0] < 400
