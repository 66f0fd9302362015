"""Macros of cards: what each gives, what is bounded, and what stays the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.characters.macros import DEPTH, MOST, Moment, fill, fill_names


@pytest.mark.parametrize("spelling", ["{{char}}", "{{Char}}", "{{CHAR}}", "{{ char }}", "<BOT>", "<bot>", "<char>"])
def test_every_spelling_of_the_character_is_filled_in(spelling: str) -> None:
    assert fill_names(f"我是{spelling}。", "柴米", "来客") == "我是柴米。"


@pytest.mark.parametrize("spelling", ["{{user}}", "{{User}}", "{{  USER }}", "<USER>", "<user>"])
def test_every_spelling_of_the_user_is_filled_in(spelling: str) -> None:
    assert fill_names(f"{spelling}, {spelling}!", "Mira", "Ana") == "Ana, Ana!"


def test_a_name_that_looks_like_a_placeholder_is_not_expanded_again() -> None:
    assert fill_names("{{char}} meets {{user}}", "{{user}}", "{{char}}") == "{{user}} meets {{char}}"
    assert fill_names("<bot><user>", "<user>", "<bot>") == "<user><bot>"


def test_a_name_with_backslashes_and_groups_is_put_in_as_it_is() -> None:
    assert fill_names("{{char}} {{user}}", r"\1\g<0>", r"\n\\") == r"\1\g<0> \n\\"


@pytest.mark.parametrize(
    "text", ["", "{char}", "{{chars}}", "{{char", "<bots>", "{{random:a,b}}", "{{use r}}", "%s {0}"]
)
def test_everything_else_stays(text: str) -> None:
    assert fill_names(text, "Mira", "Ana") == text


@given(
    st.lists(st.sampled_from(["{{char}}", "{{user}}", "{", "}", "{{", "<", "user", "x"])).map("".join),
    st.text(),
    st.text(),
)
def test_no_placeholder_is_left_and_none_is_made_up(text: str, char: str, user: str) -> None:
    marked = fill_names(text, "\ue000", "\ue001")
    assert "{{char}}" not in marked
    assert "{{user}}" not in marked
    assert fill_names(text, char, user) == "".join({"\ue000": char, "\ue001": user}.get(c, c) for c in marked)


FRIDAY = datetime(2026, 11, 27, 14, 5, 9, tzinfo=UTC)
MOMENT = Moment("Mira", "Ana", chat="c", turn="t", now=FRIDAY, idle=timedelta(minutes=90), original="Be kind.")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{Char}} and <USER>, {{group}}, {{notChar}}", "Mira and Ana, Mira, Ana"),
        ("Rules: {{original}}", "Rules: Be kind."),
        ("It is {{time}} on {{weekday}}, {{date}}.", "It is 14:05 on Friday, November 27, 2026."),
        ("{{isodate}}T{{isotime}} {{time_UTC+9}} {{time_UTC-12}}", "2026-11-27T14:05 23:05 02:05"),
        ("{{datetimeformat::dddd D MMM YYYY, h:mm a}}", "Friday 27 Nov 2026, 2:05 pm"),
        ("You were away {{idle_duration}} ({{idleDuration}}).", "You were away 1 hour (1 hour)."),
        ("a{{// no one: sees {{this}} }}b{{comment: nor this}}c{{hidden_key:sea}}d{{noop}}", "abcd"),
        ("{{reverse:abc}} {{reverse::{{char}}}}", "cba ariM"),
        ("a\n\n{{trim}}\n\nb {{newline}}|{{newline::2}}|{{space::3}}|", "ab \n|\n\n|   |"),
        ("{{setvar::mood::calm}}{{getvar::mood}} {{getvar::none}}|{{hasvar::mood}}", "calm |true"),
        (
            "{{setvar::n::2}}{{addvar::n::3}}{{getvar::n}}{{incvar::n}}{{decvar::n}}{{addvar::n::x}}{{getvar::n}}",
            "5655x",
        ),
        ("{{setvar::a::1}}{{setglobalvar::a::2}}{{getvar::a}}{{getglobalvar::a}}{{flushvar::a}}{{getvar::a}}", "12"),
        ("{{random::same::same}} {{random:same,same}} {{pick:a\\,b}} {{pick::{{user}}}}", "same same a,b Ana"),
        ("{{roll:1}} {{roll d1}} {{roll:3d1+4}} {{ROLL:2d1-1}}", "1 1 7 1"),
    ],
)
def test_what_a_macro_gives(text: str, filled: str) -> None:
    assert fill(text, MOMENT) == filled


@pytest.mark.parametrize(
    "text",
    [
        *("{{unknown}}", "{{unknown::a}}", "{{getvar}}", "{{random}}", "{{roll:many}}", "{{roll:101d6}}", "{{roll:0}}"),
        *("{{time:now}}", "{{time_UTC+99}}", "{{if x}}y{{/if}}", "{{", "}}", "{{}}", "{{ }}", "a {b} {{c", "<div>"),
        *("{{char says: hi, you}}", "{{unknown {{nested::x, y}} }}"),
    ],
)
def test_what_is_not_known_stays_as_it_is_written(text: str) -> None:
    assert fill(text, MOMENT) == text


def test_chinese_characters_tell_time_in_chinese() -> None:
    moment = replace(MOMENT, language="zh", idle=timedelta(days=3))
    assert fill("{{date}}，{{weekday}}，你走了{{idle_duration}}。", moment) == "2026年11月27日，星期五，你走了3天。"


def test_names_and_values_that_look_like_macros_are_not_read_again() -> None:
    moment = replace(MOMENT, char="{{user}}", user="{{time}}::x,y")
    assert fill("{{char}} {{user}} {{reverse:{{user}}}}", moment) == "{{user}} {{time}}::x,y y,x::}}emit{{"
    assert fill("{{setvar::a::{{user}}}}{{getvar::a}} {{random::{{user}}}}", moment) == "{{time}}::x,y {{time}}::x,y"


def test_a_pick_is_the_same_in_a_chat_and_place_and_chance_in_a_turn() -> None:
    text = "{{pick::a::b::c::d::e::f::g::h}}"
    turns = [replace(MOMENT, turn=str(n)) for n in range(20)]
    assert len({fill(text, turn, "persona") for turn in turns}) == 1
    assert len({fill(text, replace(MOMENT, chat=str(n)), "persona") for n in range(20)}) > 3
    assert len({fill(text, MOMENT, f"lore {n}") for n in range(20)}) > 3
    assert len(set(fill("-".join([text] * 20), MOMENT).split("-"))) > 3
    assert len({fill("{{random:a,b,c,d,e,f,g,h}}", turn) for turn in turns}) > 3
    assert len({fill("{{roll:20}}", turn) for turn in turns}) > 3


def test_a_prompts_cached_beginning_changes_by_the_hour_at_most() -> None:
    text = "{{random::a::b::c}} {{roll:d20}} {{time}} {{idle_duration}} {{lastMessage}}|"
    first = replace(MOMENT, late_texts={"lastmessage": "Hello."})
    later = replace(
        first,
        turn="u",
        now=FRIDAY + timedelta(minutes=54),
        idle=timedelta(minutes=61),
        late_texts={"lastmessage": "So."},
    )
    assert fill(text, first.held()) == fill(text, later.held())
    assert fill(text, first) != fill(text, later)
    assert fill("{{lastMessage}}", later) == "So."


@pytest.mark.parametrize(
    "bomb",
    [
        "{{a" * 20_000 + "}}" * 20_000,
        "{{reverse:" * 6_000 + "x" + "}}" * 6_000,
        "{{setvar::a::xxxxxxxxxx}}" + "{{addvar::a::{{getvar::a}}}}" * 2_000 + "{{getvar::a}}" * 500,
        "".join(f"{{{{setvar::{n}::{'y' * 20}}}}}" for n in range(1_500)),
        "{{original}}" * 5_000,
        "{" * 60_000,
        "{{random::" + "a::" * 20_000 + "}}",
    ],
)
def test_bombs_are_bounded(bomb: str) -> None:
    moment = replace(MOMENT, original="z" * 1_000)
    assert len(fill(bomb, moment)) <= len(bomb) + MOST
    assert sum(map(len, moment.values.held.values())) <= 200 * 10_000


def test_what_lies_too_deep_stays_as_it_is_written() -> None:
    nested = "{{reverse:" * DEPTH + "ab" + "}}" * DEPTH
    assert fill(nested, MOMENT) == "ab"
    assert fill("{{reverse:" + nested + "}}", MOMENT) == "{{reverse:ab}}"


@given(st.text(alphabet="{}:,<>/ charuseandomsetv19\n", max_size=80))
def test_any_text_is_filled_in_without_an_error_and_always_alike(text: str) -> None:
    first = fill(text, replace(MOMENT, values=type(MOMENT.values)()))
    assert first == fill(text, replace(MOMENT, values=type(MOMENT.values)()))
