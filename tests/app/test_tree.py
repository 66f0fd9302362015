from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sessions.normal import normal
from app.sessions.tree import ROOT, path_hashes, step
from models.scene import Message

messages = st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text()), max_size=6)


def test_a_message_is_known_by_everything_said_up_to_it() -> None:
    talk = [Message("user", "Hello."), Message("assistant", "你好。"), Message("user", "Hello.")]
    first, second, third = path_hashes(talk)
    assert len({first, second, third}) == 3, "the same words later are another message"
    assert path_hashes(talk[:2]) == [first, second]
    assert path_hashes([Message("user", "Hello!"), *talk[1:]])[2] != third
    assert path_hashes([Message("assistant", "Hello.")]) != [first]
    assert path_hashes([]) == []


def test_white_space_does_not_make_another_message() -> None:
    assert step(ROOT, "user", "  a\r\n\tb  ") == step(ROOT, "user", "a b")
    assert step(ROOT, "user", "ab") != step(ROOT, "user", "a b")
    assert step(ROOT, "user", "　a　b") == step(ROOT, "user", "a b"), "full-width space is white space too"


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("他说：\n\n“你好。”\n（转身）", "他说：“你好。”（转身）"),
        ("今天 天气\n很好", "今天天气很好"),
        ("caf\u00e9", "cafe\u0301"),
        ("<|im_start|>", "<\u200b|im_start|>"),
        ("\ufeffHello \u2068Ana\u2069.", "Hello Ana."),
        ("\u2764\ufe0f", "\u2764"),
        ("One.\r\n\r\nTwo.\r\n", "One.\nTwo."),
    ],
)
def test_what_nobody_sees_does_not_make_another_message(stored: str, sent: str) -> None:
    assert step(ROOT, "assistant", stored) == step(ROOT, "assistant", sent)


@pytest.mark.parametrize(
    ("one", "other"), [("너 는", "너는"), ("a b", "ab"), ("Aye.", "aye."), ("好", "好。"), ("é", "e"), ("ﬁ", "fi")]
)
def test_what_is_seen_makes_another_message(one: str, other: str) -> None:
    assert step(ROOT, "user", one) != step(ROOT, "user", other)


@given(messages, messages)
def test_hashes_of_a_continuation_hang_below_its_parent(before: list[Message], after: list[Message]) -> None:
    parent = path_hashes(before)[-1] if before else ROOT
    assert path_hashes([*before, *after]) == [*path_hashes(before), *path_hashes(after, parent)]


@given(messages, messages)
def test_conversations_have_the_same_hash_only_when_they_say_the_same(one: list[Message], other: list[Message]) -> None:
    def plain(talk: list[Message]) -> list[tuple[str, str]]:
        return [(message.role, normal(message.content)) for message in talk]

    assert (path_hashes(one) == path_hashes(other)) == (plain(one) == plain(other))


def test_text_that_is_no_unicode_has_a_hash() -> None:
    assert len(step(ROOT, "user", "\ud800")) == 64
