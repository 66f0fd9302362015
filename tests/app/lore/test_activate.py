"""What fires, in which order, within which budget, over how many passes, and what each entry's fate says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lore.book import Activation, activate
from app.lore.chance import Draws
from app.lore.entry import CharacterFilter, Entry, Settings
from app.lore.fate import Fate
from app.lore.index import Index
from app.lore.judge import Chat
from app.lore.native import read_entries, write_entry
from app.lore.quirks import OURS, SILLYTAVERN, Quirk
from app.lore.shelf import Book, arrange
from app.lore.timers import NO_TIMERS, Timers

CHAT = (("Rose", "Tell me about the old tower."), ("晚晴", "北边有一座白塔，塔里住着龙。"), ("Rose", "A dragon?"))
CONTEXT = frozenset({"chat", "length", "draws", "timers", "quirks", "fill", "dry_run"})


def read(entries: Sequence[Entry], texts: Sequence[str] | Sequence[tuple[str, str]] = CHAT, **more: Any) -> Activation:
    """Activate books of one book; `more` are settings, or what `activate` itself takes, and parts of the chat."""
    messages = [("", text) if isinstance(text, str) else text for text in texts]
    settings = Settings(**{name: value for name, value in more.items() if name not in CONTEXT})
    quirks: frozenset[Quirk] = more.get("quirks", OURS)
    index = Index(arrange([Book("book", "global", entries)]), settings, quirks)
    chat = replace(more.get("chat", Chat(())), messages=messages)
    given = {name: more[name] for name in ("length", "draws", "timers", "fill", "dry_run") if name in more}
    return activate(index, chat, settings, **given)


def fate(entry: Entry, texts: Sequence[str] | Sequence[tuple[str, str]] = CHAT, **more: Any) -> Fate:
    return read([entry], texts, **more).fates[0]


def fires(key: str, text: str, **fields: Any) -> bool:
    return fate(Entry("1", "", keys=(key,), **fields), [text]).fired


def uids(activation: Activation) -> list[str]:
    return [entry.uid for entry in activation.fired]


def fates(activation: Activation) -> dict[str, str]:
    return {one.uid: one.reason for one in activation.fates}


# Keys


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("dragon", "A Dragon sleeps.", True),
        ("DRAGON", "a dragon sleeps", True),
        ("dragon", "no such beast", False),
        ("白塔", "北边有一座白塔。", True),
        ("黑塔", "北边有一座白塔。", False),
        ("old tower", "the old tower fell", True),
        ("👩‍🚀", "she is a 👩‍🚀", True),
        ("  dragon  ", "a dragon", True),
    ],
)
def test_a_plain_key_is_found_anywhere_in_any_case(key: str, text: str, found: bool) -> None:
    assert fires(key, text) is found


def test_case_can_be_made_to_matter_by_the_book_and_by_the_entry() -> None:
    entry = Entry("1", "", keys=("Rose",))
    assert not fate(entry, ["a rose"], case_sensitive=True).fired
    assert fate(entry, ["a Rose"], case_sensitive=True).fired
    assert fate(Entry("1", "", keys=("Rose",), case_sensitive=False), ["a rose"], case_sensitive=True).fired


@pytest.mark.parametrize(
    ("key", "text", "found"),
    [
        ("cat", "the cat sat", True),
        ("cat", "concatenate", False),
        ("cat", "cat_food", False),
        ("cat", "concatenate the cat", True),
        ("cat", "(cat)", True),
        ("cat", "有一只cat睡着", True),
        ("caf", "un café", False),
        ("old cat", "cold cats", True),
        ("龙", "恐龙王国", True),
        ("龙", "X龙2", True),
        ("ねこ", "こねこだ", True),
        ("용", "공룡용품a용b", True),
        ("c++", "I like c++ more", True),
    ],
)
def test_whole_words_bind_single_latin_words_and_leave_chinese_alone(key: str, text: str, found: bool) -> None:
    assert fires(key, text, whole_words=True) is found


def test_with_ascii_words_chinese_next_to_a_letter_is_no_word_and_an_accent_ends_one() -> None:
    def found(key: str, text: str) -> bool:
        return fate(Entry("1", "", keys=(key,), whole_words=True), [text], quirks=SILLYTAVERN).fired

    assert (found("龙", "X龙2"), found("龙", "恐龙王国"), found("caf", "un café")) == (False, True, True)


@pytest.mark.parametrize("key", ["", "   ", "\u3000\n"])
def test_a_key_that_says_nothing_matches_nothing_unless_the_peculiarity_is_asked_for(key: str) -> None:
    assert not fires(key, "anything")
    assert fate(Entry("1", "", keys=(key,)), ["anything"], quirks=SILLYTAVERN).fired is bool(key)


def test_an_entry_without_keys_says_so() -> None:
    assert fate(Entry("1", "x")).reason == "no_keys"


def test_the_fate_names_the_key_and_the_newest_message_it_was_found_in() -> None:
    got = fate(Entry("7", "", name="塔", keys=("nothing", "白塔")))
    assert got == Fate("7", "塔", fired=True, reason="key", key="白塔", message_index=1, passed=0)
    assert fate(Entry("7", "", keys=("/drag.n/",))).message_index == 2
    assert fate(Entry("7", "", keys=("tower",))).message_index == 0
    assert fate(Entry("7", "", keys=("rose:",))).message_index == 2


def test_a_key_that_names_the_speakers_is_looked_for_with_their_names() -> None:
    entry = Entry("1", "{{user}} again", keys=("ask {{user}}",))
    got = read([entry], ["go ask ana"], fill=lambda text: text.replace("{{user}}", "Ana"))
    assert [one.content for one in got.fired] == ["Ana again"]


def test_a_regular_expression_can_aim_at_one_speaker() -> None:
    key = r"/\x01Rose:[^\x01]*tower/"
    assert fate(Entry("1", "", keys=(key,))).message_index == 0
    assert not fate(Entry("1", "", keys=(key.replace("Rose", "晚晴"),))).fired


def test_an_expression_beyond_re2_never_matches_and_its_fate_says_so() -> None:
    got = fate(Entry("1", "", keys=(r"/(\w)\1/", "dragon")), ["a dragon, book"])
    assert got.fired
    assert "never matches: RE2 can't run it" in got.reason


# Secondary keys


@pytest.mark.parametrize(
    ("logic", "none", "some", "all_"),
    [
        *(("and_any", False, True, True), ("not_all", True, True, False)),
        *(("not_any", True, False, False), ("and_all", False, False, True)),
    ],
)
def test_secondary_keys_agree_by_the_entrys_logic(logic: Any, none: bool, some: bool, all_: bool) -> None:
    entry = Entry("1", "", keys=("a",), secondary_keys=("b", "c"), logic=logic)
    assert [fate(entry, [text]).fired for text in ("a", "a b", "a b c")] == [none, some, all_]
    assert fate(replace(entry, selective=False), ["a"]).fired
    assert {fate(entry, [text]).reason for text in ("a", "a b", "a b c")} == {logic, "secondary"}


# Depth, switches, filters


def test_only_the_last_messages_are_read() -> None:
    texts = ["dragon", "a", "b", "c", "d"]
    entry = Entry("1", "", keys=("dragon",))
    assert not fate(entry, texts).fired
    assert fate(entry, texts, scan_depth=5).fired
    assert fate(entry, texts, scan_depth=10**9).fired
    assert fate(replace(entry, scan_depth=5), texts, scan_depth=1).fired


def test_depth_zero_sees_prompts_and_recursion_but_no_message_and_nothing_where_it_is_blind() -> None:
    entries = [Entry("1", "", keys=("dragon",)), Entry("2", "", keys=("note",)), Entry("3", "", constant=True)]
    chat = Chat((), prompts=["a note"])
    assert set(uids(read(entries, ["dragon"], scan_depth=0, chat=chat))) == {"2", "3"}
    assert uids(read(entries, ["dragon"], scan_depth=0, chat=chat, quirks=SILLYTAVERN)) == ["3"]


def test_a_disabled_entry_is_silent_even_when_constant() -> None:
    assert fate(Entry("1", "", constant=True, enabled=False)).reason == "disabled"


def test_parts_of_the_card_are_matched_only_by_entries_that_ask_for_them() -> None:
    chat = Chat((), fields={"scenario": "a harbour at night", "persona": "a keeper"})
    asks, does_not = Entry("1", "", keys=("harbour",), match=("scenario",)), Entry("2", "", keys=("harbour",))
    regex, elsewhere = (
        Entry("3", "", keys=("/harb.ur/",), match=("scenario",)),
        replace(asks, uid="4", match=("persona",)),
    )
    assert set(uids(read([asks, does_not, regex, elsewhere], ["hello"], chat=chat))) == {"1", "3"}


def test_an_entry_speaks_only_in_the_kinds_of_turn_that_it_names() -> None:
    entry = Entry("1", "", constant=True, triggers=("continue", "quiet"))
    assert fate(entry, chat=Chat((), triggers=("continue",))).fired
    assert fate(entry).reason == "trigger"


@pytest.mark.parametrize(
    ("only", "reason"),
    [
        (CharacterFilter(names=("mara",)), "constant"),
        (CharacterFilter(names=("ben",)), "character"),
        (CharacterFilter(exclude=True, names=("mara",)), "character"),
        (CharacterFilter(tags=("sea",)), "constant"),
        (CharacterFilter(tags=("land",)), "tag"),
        (CharacterFilter(exclude=True, tags=("sea",)), "tag"),
        (CharacterFilter(), "constant"),
    ],
)
def test_an_entry_may_be_for_some_characters_only(only: CharacterFilter, reason: str) -> None:
    entry = Entry("1", "", constant=True, only_for=only)
    assert fate(entry, chat=Chat((), card="mara", tags=("sea", "night"))).reason == reason


def test_what_was_found_by_meaning_speaks_without_its_keys() -> None:
    entry = Entry("1", "", keys=("nothing",), vectorized=True)
    assert fate(entry, chat=Chat((), external=frozenset({"book.1"}))).reason == "external"
    assert not fate(entry).fired


# Order and budget


def test_what_fired_is_in_ascending_order_and_equals_keep_theirs_unless_reversed() -> None:
    entries = [
        Entry(uid, "", constant=True, order=order) for uid, order in zip("abcd", (50, 100, 100, 10), strict=True)
    ]
    assert uids(read(entries)) == ["d", "a", "b", "c"]
    assert uids(read(entries, quirks=SILLYTAVERN)) == ["d", "a", "c", "b"]


def test_the_budget_is_filled_from_the_highest_order_down_and_closes_at_the_first_that_does_not_fit() -> None:
    entries = [Entry(str(order), "x" * size, keys=("dragon",), order=order) for order, size in ((1, 1), (2, 6), (3, 5))]
    got = read(entries, budget=12)
    assert uids(got) == ["3"]
    assert fates(got)["2"] == "budget: 13 tokens with it, the sum must stay below 12"
    assert fates(got)["1"] == "budget: closed by '2'"
    assert got.overflow


def test_constants_take_their_place_first_unless_they_have_no_precedence() -> None:
    entries = [Entry("key", "x" * 6, keys=("dragon",), order=900), Entry("always", "x" * 6, constant=True, order=1)]
    assert uids(read(entries, budget=10)) == ["always"]
    assert uids(read(entries, budget=10, quirks=SILLYTAVERN)) == ["key"]


def test_an_entry_that_ignores_the_budget_is_counted_but_never_dropped() -> None:
    entries = [
        Entry("low", "x" * 4, keys=("dragon",), order=1),
        Entry("free", "x" * 99, keys=("dragon",), order=2, ignore_budget=True),
        Entry("high", "x" * 4, keys=("dragon",), order=3),
    ]
    got = read(entries, budget=10)
    assert uids(got) == ["free", "high"]
    assert fates(got)["low"].startswith("budget: 110 tokens")


def test_priority_decides_about_the_budget_and_order_about_the_place() -> None:
    entries = [Entry(uid, "x" * 5, constant=True, order=300 - n * 100, priority=n) for n, uid in enumerate("abc")]
    assert uids(read(entries, budget=13)) == ["c", "b"]


# Recursion, minimum activations, delay levels


CHAIN = (
    Entry("1", "speaks of the moat", keys=("dragon",)),
    Entry("2", "speaks of eels", keys=("moat",)),
    Entry("3", "eels are long", keys=("eels",)),
)


def test_what_speaks_calls_others_where_books_are_recursive() -> None:
    assert uids(read(CHAIN)) == ["1"]
    got = read(CHAIN, recursive=True)
    assert uids(got) == ["1", "2", "3"]
    assert [one.passed for one in got.fates] == [0, 1, 2]
    assert got.fates[1].message_index is None
    assert uids(read(CHAIN, recursive=True, max_passes=2)) == ["1", "2"]


def test_recursion_can_be_prevented_excluded_and_waited_for() -> None:
    first, second, third = CHAIN
    assert uids(read([replace(first, prevent_recursion=True), second], recursive=True)) == ["1"]
    excluded = read([first, replace(second, exclude_recursion=True)], recursive=True)
    assert fates(excluded)["2"] == "exclude_recursion"
    waiting = [replace(third, uid=str(level), keys=("dragon",), delay_until_recursion=level) for level in (1, 2)]
    got = read([replace(waiting[0], content="x"), replace(waiting[1], content="y")], recursive=True)
    assert [(one.uid, one.passed) for one in got.fates] == [("1", 1), ("2", 3)]
    assert fates(read(waiting))["1"] == "delay_until_recursion"


def test_minimum_activations_read_further_back_until_enough_speak() -> None:
    texts = ["dragon", "tower", "x", "y"]
    entries = [Entry("1", "", keys=("dragon",)), Entry("2", "", keys=("tower",))]
    assert uids(read(entries, texts, scan_depth=1)) == []
    assert uids(read(entries, texts, scan_depth=1, min_activations=1)) == ["2"]
    assert set(uids(read(entries, texts, scan_depth=1, min_activations=2))) == {"1", "2"}
    assert uids(read(entries, texts, scan_depth=1, min_activations=2, max_depth=3)) == ["2"]


# Groups and chance


def test_one_of_a_group_speaks_and_a_draw_decides_by_weights() -> None:
    entries = [Entry(str(n), "", constant=True, group="g", group_weight=weight) for n, weight in ((1, 30), (2, 70))]
    assert uids(read(entries, draws=Draws([0.2]))) == ["1"]
    got = read(entries, draws=Draws([0.9]))
    assert uids(got) == ["2"]
    assert fates(got)["1"] == "group: g"
    assert [(draw.kind, draw.value, draw.about) for draw in got.draws] == [
        ("group", 0.9, {"group": "g", "winner": "2"})
    ]


def test_overrides_and_scores_settle_a_group_before_a_draw() -> None:
    override = [Entry("1", "", constant=True, group="g"), Entry("2", "", constant=True, group="g", group_override=True)]
    assert uids(read(override)) == ["2"]
    scored = [Entry("1", "", keys=("dragon",), group="g"), Entry("2", "", keys=("dragon", "tower"), group="g")]
    got = read(scored, group_scoring=True)
    assert (uids(got), got.draws) == (["2"], ())


def test_a_group_with_an_active_member_is_closed_to_later_passes() -> None:
    later = replace(CHAIN[1], group="b, g")
    assert uids(read([replace(CHAIN[0], group="g"), later], recursive=True)) == ["1"]


def test_who_loses_in_two_groups_takes_nobody_along() -> None:
    entries = [
        Entry("1", "", constant=True, group="a, b", order=3),
        Entry("2", "", constant=True, group="a, b", group_override=True, order=2),
        Entry("3", "", constant=True, order=1),
    ]
    assert set(uids(read(entries))) == {"2", "3"}
    assert uids(read(entries, quirks=SILLYTAVERN)) == ["2"]


def test_chance_is_drawn_once_for_a_turn() -> None:
    entry = Entry("1", "", keys=("dragon",), probability=40)
    assert read([entry], draws=Draws([0.4])).fates[0].fired
    assert read([entry], draws=Draws([0.41])).fates[0].reason == "probability"
    assert read([replace(entry, probability=100)]).draws == ()


# Timers


def over_time(entry: Entry, texts: Sequence[str], quirks: frozenset[Quirk] = OURS) -> list[str]:
    """The reasons of an entry's fate as a chat grows message by message."""
    timers, reasons = Timers(), []
    for length in range(1, len(texts) + 1):
        got = read([entry], texts[:length], scan_depth=1, timers=timers, quirks=quirks)
        timers = got.timers
        reasons.append(got.fates[0].reason)
    return reasons


def test_what_is_sticky_speaks_on_and_then_rests_for_its_cooldown() -> None:
    entry = Entry("1", "", keys=("dragon",), sticky=2, cooldown=2)
    texts = ["dragon", "x", "x", "dragon", "dragon", "dragon"]
    assert over_time(entry, texts) == ["key", "sticky", "cooldown", "cooldown", "key", "sticky"]


def test_a_delayed_entry_waits_until_the_chat_is_long_enough() -> None:
    assert over_time(Entry("1", "", constant=True, delay=3), "abcd") == ["delay", "delay", "constant", "constant"]


def test_a_message_that_is_taken_back_takes_back_the_timer_that_it_began() -> None:
    entry = Entry("1", "", keys=("dragon",), sticky=5)
    begun = read([entry], ["x", "dragon"], scan_depth=1).timers
    assert read([entry], ["x", "y", "z"], scan_depth=1, timers=begun).fates[0].fired
    assert not read([entry], ["x", "other"], scan_depth=1, timers=begun).fates[0].fired


def test_an_edit_ends_timers_only_where_the_peculiarity_is_asked_for() -> None:
    entry = Entry("1", "", keys=("dragon",), sticky=5, digest="a")
    edited = replace(entry, digest="b", name="other")
    for quirks, fired in ((OURS, True), (SILLYTAVERN, False)):
        begun = read([entry], ["dragon"], quirks=quirks).timers
        assert read([edited], ["dragon", "x"], scan_depth=1, timers=begun, quirks=quirks).fates[0].fired is fired


def test_a_dry_run_sees_timers_and_leaves_them() -> None:
    entry = Entry("1", "", keys=("dragon",), sticky=5)
    assert read([entry], ["dragon"], dry_run=True).timers == NO_TIMERS
    begun = read([entry], ["dragon"]).timers
    later = read([entry], ["dragon", "x"], scan_depth=1, timers=begun, dry_run=True)
    assert (later.fates[0].reason, later.timers) == ("sticky", begun)


# Several books


def test_books_come_in_the_order_of_the_strategy_and_the_chats_own_first() -> None:
    def book(name: str, source: Any, order: int) -> Book:
        return Book(name, source, [Entry(name, "", constant=True, order=order, book=name)])

    shelf = [book("world", "global", 2), book("own", "character", 1), book("talk", "chat", 0)]
    for strategy, wanted in (
        ("character_first", ["talk", "own", "world"]),
        ("global_first", ["talk", "world", "own"]),
        ("evenly", ["talk", "world", "own"]),
    ):
        assert [entry.uid for entry in arrange(shelf, strategy)] == wanted  # type: ignore[arg-type]


# Everything at once

entry_values = st.builds(
    Entry,
    uid=st.integers(0, 30).map(str),
    content=st.sampled_from(["", "a", "dragon tower", "龙 x", "@@activate\nb", "@@depth 2\n@@exclude_keys a\nc"]),
    keys=st.lists(
        st.sampled_from(["a", "龙", "dragon", "", " "])
        | st.text(max_size=4)
        | st.text("ab(|)*+?{}[]^$\\/iu\ud800龙", max_size=10).map("/{}/i".format),
        max_size=3,
    ).map(tuple),
    secondary_keys=st.lists(st.text("ab龙", max_size=2), max_size=2).map(tuple),
    logic=st.sampled_from(["and_any", "not_all", "not_any", "and_all"]),
    constant=st.booleans(),
    enabled=st.booleans(),
    order=st.integers(-2, 2),
    priority=st.none() | st.integers(-5, 5),
    scan_depth=st.none() | st.integers(-1, 4),
    case_sensitive=st.none() | st.booleans(),
    whole_words=st.none() | st.booleans(),
    ignore_budget=st.booleans(),
    probability=st.sampled_from([0, 50, 100]),
    group=st.sampled_from(["", "g", "g, h", "2"]),
    group_override=st.booleans(),
    exclude_recursion=st.booleans(),
    prevent_recursion=st.booleans(),
    delay_until_recursion=st.integers(0, 2),
    sticky=st.integers(0, 2),
    cooldown=st.integers(0, 2),
    delay=st.integers(0, 3),
)
books = st.lists(entry_values, max_size=8, unique_by=lambda entry: entry.uid)
chats = st.lists(st.tuples(st.sampled_from(["", "Rose"]), st.text("ab 龙\n/dragon", max_size=20)), max_size=5)
settings_values = st.builds(
    Settings,
    scan_depth=st.integers(-1, 6),
    budget=st.integers(-1, 40),
    recursive=st.booleans(),
    group_scoring=st.booleans(),
    min_activations=st.integers(0, 3),
    max_passes=st.integers(0, 4),
)


@given(books, chats, settings_values, st.sampled_from([OURS, SILLYTAVERN]), st.randoms(use_true_random=False))
def test_whatever_comes_in_the_budget_holds_and_neither_chance_nor_insertion_changes_the_answer(
    entries: list[Entry], messages: list[tuple[str, str]], settings: Settings, quirks: frozenset[Quirk], shuffler: Any
) -> None:
    def once(given: list[Entry]) -> Activation:
        read_again = read_entries({"entries": {entry.uid: write_entry(entry, int(entry.uid)) for entry in given}})
        index = Index(arrange([Book("book", "global", read_again)]), settings, quirks)
        return activate(index, Chat(messages), settings, draws=Draws(seed=7))

    got = once(entries)
    shuffled = list(entries)
    shuffler.shuffle(shuffled)
    assert got == once(entries) == once(shuffled)
    assert len(got.fates) == len(entries)
    assert {one.uid for one in got.fates if one.fired} == set(uids(got))
    assert all(one.enabled for one in got.fired)
    assert [one.order for one in got.fired] == sorted(one.order for one in got.fired)
    bounded = [len(one.content) + 1 for one in got.activated if not one.ignore_budget]
    if "budget_counts_scanned_text_only" not in quirks:
        assert sum(bounded) < max(settings.budget, 1)
    for one in got.fates:
        assert one.message_index is None or 0 <= one.message_index < len(messages)
