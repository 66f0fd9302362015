"""`moodline bench lore`: what activating a lorebook costs, by its size and its share of regular expressions.

Books and chats are drawn from a seed. `naive` looks for every key by itself, as a loop over entries does; both
find the same entries. An index is made once for a revision of a book, so that is told apart.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import re2
from rich.progress import track

from app.bench.report import report
from app.cli.console import err
from app.lore.book import activate
from app.lore.entry import DEFAULTS, Entry, Settings
from app.lore.index import Index
from app.lore.judge import Chat
from app.lore.quirks import OURS

WORDS = 20_000
WORDS_SAID = 40
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def run(sizes: Sequence[int], shares: Sequence[float], messages: int, times: int) -> None:
    """Measure every size with every share of regular expressions."""
    results: dict[str, dict[str, Any]] = {}
    draw = random.Random(1)
    words = ["".join(draw.choices(LETTERS, k=draw.randint(4, 9))) for _ in range(WORDS)]
    chat = _chat(draw, words, messages)
    for size, share in track([(n, s) for n in sizes for s in shares], "activating", console=err):
        results[f"{size} entries, {share:.0%} regex"] = _measure(_book(draw, words, size, share), chat, times)
    report("lore", results, messages=messages, letters=sum(len(text) for _, text in chat.messages))


def _measure(book: Sequence[Entry], chat: Chat, times: int) -> dict[str, Any]:
    settings = Settings(scan_depth=len(chat.messages), budget=10**9)
    began = time.perf_counter()
    index = Index(book, DEFAULTS, OURS)
    built = time.perf_counter() - began
    fired = {entry.uid for entry in activate(index, chat, settings).fired}
    naive = _naive(book)
    text = "\n".join(f"{speaker}: {said}" for speaker, said in chat.messages)
    if naive(text) != fired:
        raise AssertionError("the two find different entries")
    ours, theirs = _times(lambda: activate(index, chat, settings), times), _times(lambda: naive(text), times)
    return {
        "fired": len(fired),
        "index ms": built * 1000,
        "moodline p50 ms": statistics.median(ours),
        "moodline worst ms": max(ours),
        "naive p50 ms": statistics.median(theirs),
        "times as fast": statistics.median(theirs) / statistics.median(ours),
    }


def _times(what: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of several calls."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        took.append((time.perf_counter() - began) * 1000)
    return took


def _naive(book: Sequence[Entry]) -> Callable[[str], set[str]]:
    """Each key by itself, regular expressions compiled beforehand."""
    options = re2.Options()
    options.case_sensitive, options.never_capture = False, True
    keys: list[tuple[str, list[str], list[Any]]] = []
    for entry in book:
        regexes = [re2.compile(key[1:-2], options) for key in entry.keys if key.startswith("/")]
        keys.append((entry.uid, [key.lower() for key in entry.keys if not key.startswith("/")], regexes))

    def found(text: str) -> set[str]:
        folded = text.lower()
        return {
            uid
            for uid, plain, regexes in keys
            if any(key in folded for key in plain) or any(regex.search(text) for regex in regexes)
        }

    return found


def _chat(draw: random.Random, words: Sequence[str], messages: int) -> Chat:
    texts = [" ".join(draw.choices(words, k=WORDS_SAID)) for _ in range(messages)]
    return Chat([(("Ana", "Mara")[n % 2], text) for n, text in enumerate(texts)])


def _book(draw: random.Random, words: Sequence[str], size: int, share: float) -> list[Entry]:
    """Entries of one expression or of three names in two words, of which few are said."""
    entries = []
    for number in range(size):
        one, two, three, four, five, six = draw.choices(words, k=6)
        if number < size * share:
            keys: tuple[str, ...] = (rf"/\b{one} {two}s?\b|{three} (?:of|from) {four}|\b{five}{six}/i",)
        else:
            keys = (f"{one} {two}", f"{three} {four}", f"{five} {six}")
        entries.append(Entry(str(number), f"content {number}", keys=keys, order=draw.randint(0, 200)))
    said = draw.sample(range(size), max(1, size // 100))
    for number in said:
        entries[number] = Entry(str(number), "said", keys=("ana:",))
    return sorted(entries, key=lambda entry: -entry.order)
