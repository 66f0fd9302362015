"""The ways a conversation is told, and its middle: the pure parts of finding it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sessions.run import Said, is_certain, longest_run
from app.sessions.told import Opening, tellings, without_name, without_names
from models.scene import Message

OPENING = Opening("Mira", "ana", ("Mind the ropes, {{user}}.", "", "{{char}} nods."))
U, A = "user", "assistant"


def talk(*said: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role, text) for role, text in said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "plain"),
    [
        ([(A, "Mira: Aye."), (U, "Ana B.: Hello.")], [(A, "Aye."), (U, "Hello.")]),
        ([(A, "Mira：来了。"), (U, "小安：你好。"), (U, "小安: 在吗")], [(A, "来了。"), (U, "你好。"), (U, "在吗")]),
        ([(U, "ana: Hello."), (A, "Aye.")], [(U, "Hello."), (A, "Aye.")]),
        # No names: only some begin so, or the character's do not.
        (
            [(A, "Mira: Aye."), (U, "Note: bring rope."), (U, "Hello.")],
            [(A, "Aye."), (U, "Note: bring rope."), (U, "Hello.")],
        ),
        ([(A, "Aye."), (U, "Note: bring rope.")], [(A, "Aye."), (U, "Note: bring rope.")]),
        ([(U, "Note: bring rope.")], [(U, "Note: bring rope.")]),
        ([(A, "Mira: Aye."), (U, "Ana: Hi."), (U, "Bo: Hi.")], [(A, "Aye."), (U, "Ana: Hi."), (U, "Bo: Hi.")]),
        ([(A, "Mira:"), (U, "at 10:30")], [(A, "Mira:"), (U, "at 10:30")]),
    ],
)
def test_names_before_what_is_said_are_left_out_where_they_are_names(
    sent: list[tuple[str, str]], plain: list[tuple[str, str]]
) -> None:
    assert without_names(talk(*sent), "Mira", "ana") == talk(*plain)


def test_a_name_is_only_taken_from_the_front() -> None:
    assert without_name("  Mira ： Aye.\nMira: No.", "Mira") == "Aye.\nMira: No."
    assert without_name("Miranda: Aye.", "Mira") == "Miranda: Aye."
    assert without_name("Mira: Aye.", "") == "Mira: Aye."


def test_a_conversation_is_told_with_and_without_the_greeting() -> None:
    said = talk((U, "Hello."))
    greeted = (Message(A, "Mind the ropes, ana."), *said)  # type: ignore[arg-type]
    assert tellings(said, OPENING) == [said, greeted, (Message("assistant", "Mira nods."), *said)]
    other = (Message("assistant", "Mind the\nropes, Ana B.."), *said)
    assert tellings(other, OPENING)[0] == other
    assert said in tellings(other, OPENING)
    assert greeted in tellings(other, OPENING), "whatever the user is called in it"
    stranger = (Message("assistant", "Who goes there?"), *said)
    assert tellings(stranger, OPENING) == [stranger]


@pytest.mark.parametrize(
    ("greeting", "sent", "same"),
    [
        ("{{user}}, {{user}}!", "Bo, Bo!", True),
        ("{{user}}", "anything", True),
        ("Hi {{user}}, I am {{char}}.", "Hi Bo, I am Mira.", True),
        ("Hi {{user}}, I am {{char}}.", "Hi Bo, I am Mara.", False),
        ("Hi {{user}}.", "Hi Bo. And more", False),
        ("ab{{user}}ba", "aba", False),
        ("Hi.", "Hi.", True),
        ("{{user}}x" * 3_000, "x" * 2_999, False),
    ],
)
def test_a_greeting_is_known_with_any_name_in_it(greeting: str, sent: str, same: bool) -> None:
    said = (Message("assistant", sent), Message("user", "Hello."))
    assert (said[1:] in tellings(said, Opening("Mira", "ana", (greeting,)))) is same


def row(name: str, parent: str | None, depth: int, said: str, session: str = "s", minute: int = 0) -> Said:
    return Said(name, parent, session, depth, said, datetime(2026, 1, 1) + timedelta(minutes=minute))


BRANCH = [row(f"m{n}", f"m{n - 1}" if n else None, n, f"h{n}", minute=n) for n in range(8)]


def test_a_run_is_found_in_the_middle_and_goes_as_far_as_it_says_the_same() -> None:
    run = longest_run(["h3", "h4", "h5", "new"], BRANCH, 0)
    assert run
    assert (run.start, run.end, run.leaf.id) == (0, 3, "m5")
    assert longest_run(["new", "h3", "h4"], BRANCH, 0) is None, "what was sent first must be there"
    assert longest_run(["h3", "h5"], BRANCH, 0).end == 1, "a message that was left out in the middle ends it"  # type: ignore[union-attr]


def test_a_run_after_a_beginning_that_was_kept_begins_where_something_was_left_out() -> None:
    run = longest_run(["h0", "h1", "h5", "h6", "new"], BRANCH, 2, "s")
    assert run
    assert (run.start, run.end, run.leaf.id) == (2, 4, "m6")
    assert longest_run(["h0", "h1", "h2", "h3"], BRANCH, 2, "s") is None, "nothing was left out"
    assert longest_run(["h0", "h5"], BRANCH, 1, "t") is None, "another session"


def test_of_equal_runs_the_newest_is_found() -> None:
    other = [row("n0", None, 0, "x", "t", 90), row("n1", "n0", 1, "h3", "t", 91), row("n2", "n1", 2, "h4", "t", 92)]
    run = longest_run(["h3", "h4"], [*BRANCH, *other], 0)
    assert run
    assert run.leaf.id == "n2"


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(0, 11), st.integers(1, 12))
def test_any_middle_of_a_branch_is_found_whole(said: list[str], begin: int, length: int) -> None:
    branch = [row(f"m{n}", f"m{n - 1}" if n else None, n, text, minute=n) for n, text in enumerate(said)]
    sent = said[begin : begin + length]
    run = longest_run(sent, branch, 0)
    if begin == 0 or not sent:
        return
    assert run
    assert run.end == len(sent)


@pytest.mark.parametrize(
    ("said", "certain"),
    [
        ([(U, "hi"), (A, "Hello.")], False),
        ([(U, "hi"), (A, "Hello."), (U, "ok")], True),
        ([(U, "hi"), (A, "The lamp has been lit every night since the storm.")], True),
        ([(A, "The lamp has been lit every night since the storm.")], False),
        ([(U, "a"), (U, "b"), (U, "c")], False),
    ],
)
def test_a_few_common_words_are_no_proof_of_a_conversation(said: list[tuple[str, str]], certain: bool) -> None:
    assert is_certain(talk(*said)) is certain
