"""Books and chats that are made to cost: work is counted, so what is too dear is left out and said so."""

from __future__ import annotations

from typing import Any

import pytest

from app.lore import find, index, passes
from app.lore.book import Activation, activate
from app.lore.entry import Entry, Settings
from app.lore.index import Index
from app.lore.judge import Chat
from app.lore.quirks import OURS

WIDE: dict[str, Any] = {"scan_depth": 1000, "budget": 10**9}


def run(entries: list[Entry], texts: list[str], **settings: Any) -> Activation:
    chosen = Settings(**{**WIDE, **settings})
    return activate(Index(entries, chosen, OURS), Chat([("", text) for text in texts]), chosen)


def test_catastrophic_patterns_are_just_patterns() -> None:
    keys = ("/(a+)+$/", "/(a|aa)+$/", "/^(([a-z])+.)+[A-Z]([a-z])+$/", "/(.*)(.*)(.*)(.*)x/")
    got = run([Entry(str(n), "", keys=(key,)) for n, key in enumerate(keys)], ["a" * 30_000 + "!"])
    assert {one.reason for one in got.fates} == {"no match"}


def test_a_book_of_costly_patterns_stops_searching_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "MAX_REGEX_WORK", 10**7)
    entries = [Entry(str(i), "", keys=(rf"/(?:.{{30}}){{3}}\d{{{i % 5 + 1}}}/",)) for i in range(20)]
    got = run([*entries, Entry("plain", "", keys=("x中y",))], ["x中y " * 8_000])
    assert [entry.uid for entry in got.fired] == ["plain"]
    assert "was not tried" in got.fates[19].reason


def test_a_book_of_patterns_costly_to_compile_stops_compiling_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_COMPILING", 10**7)
    got = run([Entry(str(i), "", keys=("/" + r"\p{L}" * 19 + f"{i}/iu",)) for i in range(40)], ["short"])
    assert "took all the work" in got.fates[39].reason


def test_keys_within_keys_are_each_found_once_however_often_they_occur() -> None:
    entries = [Entry(str(n), "", keys=tuple("a" * (n * 20 + i + 1) for i in range(20))) for n in range(10)]
    got = run([*entries, Entry("no", "", keys=("ab",))], ["a" * 30_000] * 20)
    assert len(got.fired) == 10


def test_a_book_has_room_for_so_many_keys_and_says_which_entries_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_KEYS", 100)
    got = run([Entry(str(n), "", keys=tuple(f"k{n}x{i}" for i in range(40))) for n in range(4)], ["k0x1 k3x1"])
    assert [one.fired for one in got.fates] == [True, False, False, False]
    assert "its keys are not read" in got.fates[3].reason


def test_a_chain_of_entries_that_call_each_other_ends() -> None:
    entries = [Entry(str(i), f"key{i + 1}.", keys=(f"key{i}.",)) for i in range(passes.MAX_PASSES * 2)]
    got = run(entries, ["key0."], recursive=True)
    assert len(got.passes) == len(got.fired) == passes.MAX_PASSES


def test_entries_that_every_pass_has_to_judge_end_the_passes_when_the_work_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(find, "MAX_WORK", 10**7)
    monkeypatch.setattr("app.lore.book.MAX_WORK", 10**7)
    entries = [Entry(str(i), "", keys=("z",), delay=1) for i in range(500)]
    got = run(entries, ["hello"] * 300, scan_depth=1, min_activations=1)
    assert len(got.passes) < 10


def test_entries_of_very_many_depths_keep_no_text_for_each() -> None:
    entries = [Entry(str(i), "", keys=(f"/x{i}y/",), scan_depth=i) for i in range(300)]
    got = run(entries, ["hello " * 100] * 300)
    assert not got.fired


def test_lone_surrogates_break_nothing() -> None:
    text = "\ud83d dragon"
    keys = ("/dragon/", "dragon", "\ud83d", "/\ud83d/", "{{user}}\ud83d")
    got = run([Entry(str(n), "", keys=(key,)) for n, key in enumerate(keys)], [text])
    assert [one.fired for one in got.fates] == [True, True, True, False, False]


def test_thousands_of_entries_with_ordinary_patterns_are_all_tried() -> None:
    entries = [Entry(str(i), "", keys=(rf"/\bdragon {i}\b|龙{i}号/i", f"key{i}.")) for i in range(3_000)]
    got = run(entries, ["I saw Dragon 2999.", "还有龙17号吗", "key1234."])
    assert {entry.uid for entry in got.fired} == {"2999", "1234", "17"}


def test_words_of_very_many_expressions_are_more_than_one_filter_holds() -> None:
    words = [f"{chr(97 + n % 26)}{n * 7919 % 10007:05d}word" for n in range(9_000)]
    keys = [
        rf"/\b{a} {b}s?\b|{c} (?:of|from) {a}/i" for a, b, c in zip(words[::3], words[1::3], words[2::3], strict=True)
    ]
    got = run([Entry(str(n), "", keys=(key,)) for n, key in enumerate(keys)], [f"see {words[0]} {words[1]}s"])
    assert [entry.uid for entry in got.fired] == ["0"]
    assert len(Index(list(got.fired), Settings(), OURS).programs) == 1
