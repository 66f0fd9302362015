"""Thoughts are parted from what is said, however the reply is cut into pieces."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.thoughts import NAMES, PAIRS, TAGS, ThoughtFilter, without_thoughts

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", "../shared/data"))
ODD = [
    *TAGS,
    *("<Think>", "</THINK>", "<thin", "</", "<", "|>", "`", "``", "```", "\n", " ", '"', "“", "”", "'", "analysis"),
    *(
        "assistantfinal",
        "[",
        "]",
        "【",
        "】",
        "(",
        ")",
        ":",
        "：",
        "We",
        "I know it is late.",
        "心想",
        "我不能让他知道",
        "a",
    ),
    *("inner monologue", "3", "[I must not show it.]", "[Thomas]", "[内心：不好]", "<think>b</think>", "x" * 700),
]
TEXT = st.lists(st.sampled_from(ODD), max_size=14).map("".join)


def parted(text: str, places: list[int], *, cut: bool = False, opened: str = "") -> tuple[str, str]:
    bounds = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    thoughts = ThoughtFilter(opened)
    spans = [span for a, b in itertools.pairwise(bounds) for span in thoughts.feed(text[a:b])]
    spans += thoughts.end(cut=cut)
    assert "".join(span for span, _ in spans) == text
    return "".join(span for span, seen in spans if seen), thoughts.hidden


@given(TEXT, st.lists(st.integers(0, 2000), max_size=20), st.booleans(), st.sampled_from(["", "<think>"]))
def test_any_way_to_cut_a_reply_leaves_the_same_to_be_seen(
    text: str, places: list[int], cut: bool, opened: str
) -> None:
    whole = parted(text, [], cut=cut, opened=opened)
    assert parted(text, places, cut=cut, opened=opened) == whole
    assert parted(text, list(range(len(text))), cut=cut, opened=opened) == whole


@pytest.mark.parametrize("opening", [tag for tag in PAIRS if tag != "[think]"])
def test_every_familys_tags_hide_what_is_between_them(opening: str) -> None:
    for closing in PAIRS[opening]:
        assert parted(f"{opening}He lies.{closing}\n\nWelcome.", []) == ("Welcome.", "He lies.")
    assert parted(f"Well. {opening.upper()}He lies", [], cut=True) == ("Well. ", "He lies")


@pytest.mark.parametrize(
    ("text", "seen", "hidden"),
    [
        ("<think>a<think>b</think>c</think>d", "d", "a<think>b</think>c"),
        ("<think>a<think>b</think>d", "d", "a<think>b</think>"),
        ("<think>\n<think>a</think>d", "d", "\na"),
        ("<think>one</think>A<think>two</think>B", "AB", "one\ntwo"),
        ("<think></think>d", "d", ""),
        ("Stray </think>end.", "Stray end.", ""),
        (
            "<|channel|>analysis<|message|>He lies.<|end|><|start|>assistant<|channel|>final<|message|>Hi.<|return|>",
            "Hi.",
            "He lies.",
        ),
        ("analysisWe greet him.assistantfinalHi.", "Hi.", "We greet him."),
        ("analysis is what I do.", "analysis is what I do.", ""),
        ("[I must not show it.] (smiles) Welcome.", "(smiles) Welcome.", "I must not show it."),
        ("Hm.\n[我不能让他看出来] 欢迎。", "Hm.\n欢迎。", "我不能让他看出来"),
        ("好的。【内心独白：糟了】 请进。", "好的。 请进。", "内心独白：糟了"),
        ("[I must not show", "", "I must not show"),
        ("（心想：糟了）请进。", "（心想：糟了）请进。", ""),
        ("[laughs and waves] Hello.", "[laughs and waves] Hello.", ""),
        ("[Your Contact Information]", "[Your Contact Information]", ""),
        ("[Affection is now: 20]", "[Affection is now: 20]", ""),
        ("[See the old map](x) and [I do mean it here]", "[See the old map](x) and [I do mean it here]", ""),
        ("[The old sailor]: Ahoy.", "[The old sailor]: Ahoy.", ""),
        ("Write `<think>` first.", "Write `<think>` first.", ""),
        ("```xml\n<think>hm</think>\n```", "```xml\n<think>hm</think>\n```", ""),
        ('It prints "<think>" a lot.', 'It prints "<think>" a lot.', ""),
        ("它会写“<think>”。", "它会写“<think>”。", ""),
        ("Don`t.\n<think>x</think>Go.", "Don`t.\nGo.", "x"),
    ],
)
def test_what_is_seen_and_what_is_hidden(text: str, seen: str, hidden: str) -> None:
    assert parted(text, []) == (seen, hidden)


def test_a_thought_that_the_template_began_ends_at_its_closing_tag() -> None:
    assert parted("He lies.\n</think>\n\nWelcome.", [], opened="<think>") == ("Welcome.", "He lies.\n")
    assert parted("<think>He lies.</think>Welcome.", [], opened="<think>") == ("Welcome.", "He lies.")
    assert parted("He lies and", [], opened="<think>", cut=True) == ("", "He lies and")


def test_a_whole_reply_that_never_closed_the_templates_thought_was_none() -> None:
    assert parted("Welcome.", [], opened="<think>") == ("Welcome.", "")


def test_where_the_server_tells_thoughts_apart_the_templates_is_not_looked_for() -> None:
    thoughts = ThoughtFilter("<think>")
    thoughts.told_apart()
    assert thoughts.feed("Welcome.") == [("Welcome.", True)]


def test_text_without_marks_is_never_held_back() -> None:
    thoughts = ThoughtFilter()
    for piece in ("The sea", " is grey, ", "今天", "a < b"):
        assert "".join(text for text, _ in thoughts.feed(piece)) == piece


def test_thoughts_of_a_text_that_is_sent_are_left_out_and_one_that_never_ended_stays() -> None:
    assert without_thoughts("<think>He lies.</think>\nWelcome. ") == "Welcome."
    for text in ("<think>\nWelcome.", " Welcome. ", "[I must not show it.] Welcome.", "[x] `<think>a</think>`"):
        assert without_thoughts(text) == text


def test_names_of_tags_are_in_lower_case() -> None:
    assert all(name == name.lower() for name in (*NAMES, *TAGS))


@pytest.mark.skipif(not (DATA / "coser").is_dir(), reason="needs MOODLINE_BENCH_DATA")
def test_the_thoughts_of_cosers_play_are_hidden_and_what_is_said_in_other_data_is_not() -> None:
    play = json.loads((DATA / "coser" / "Othello.json").read_text("utf-8"))
    said = [u["message"] for plot in play["plots"] for talk in plot["conversation"] for u in talk["dialogues"]]
    thought = [text for text in said if text.startswith("[")]
    assert len(thought) > 100
    assert all(parted(text, [])[0] == text.partition("]")[2].lstrip() for text in thought)
    contexts = json.loads((DATA / "charactereval" / "contexts_a.json").read_text("utf-8"))
    lines = {line for row in contexts for line in row["context"].split("\n")}
    assert [line for line in lines if parted(line, [])[1]] == []
