"""Texts as terms, for search by words: Chinese by jieba's dictionary, English by stems, dates in one form for both.

A term is kept as the 32-bit hash of its normal form, so that a row's terms are an array that a database stores beside
its vector and an index loads without reading a text again. Two of 50,000 different terms share a hash with a
probability of 0.25, and then only add each other's counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date
from zlib import crc32

import numpy as np
import rjieba
import Stemmer
from numpy.typing import NDArray

from retrieval.stopwords import STOPWORDS

Terms = NDArray[np.uint32]

VERSION = "terms1"
"""Raised when the same text would give other terms, so that stored ones are made anew."""

MOST_CHARACTERS = 20_000
"""Of a text that are read; a chat message is far shorter."""

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+(?:'[^\W\d_{_HAN}]+)?")
_IS_HAN = re.compile(f"[{_HAN}]")
_NUMERIC_DATE = re.compile(r"\b((?:19|20)\d\d)[-/.](1[0-2]|0?[1-9])[-/.](3[01]|[12]\d|0?[1-9])\b")
_DAY = re.compile(r"(3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?$")
# No number to Python: digits of some scripts, and more than 4,300 of any. Beyond nine it is none of a date.
_FIGURES = re.compile(r"\d{1,9}$")
_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    "december",
)
_MONTHS = {name: n for n, full in enumerate(_MONTH_NAMES, 1) for name in (full, full[:3])} | {"sept": 9}
# Words of their own as well: months only beside a day or a year, or when written like a name.
_WORDS_TOO = {"may", "march", "mar", "sep"}


def terms(text: str) -> Terms:
    """Hashes of the text's terms with their repeats, uint32 [n]; stop words are left out."""
    return _hashed(normal_forms(text))


def date_terms(day: date) -> Terms:
    """The terms by which a question that names the year, the month or the day finds what was said then."""
    return _hashed([str(day.year), f"#m{day.month}", f"#d{day.day}"])


def normal_forms(text: str) -> list[str]:
    """The terms before they are hashed. A date's month and day are `#m5`, `#d8` in every language."""
    folded = unicodedata.normalize("NFKC", text[:MOST_CHARACTERS]).replace("’", "'")
    folded = folded.encode(errors="ignore").decode()
    dated = _NUMERIC_DATE.sub(lambda found: f"{found[1]}年{found[2]}月{found[3]}日", folded)
    return list(_read([run for run in _RUN.findall(dated) if run.lower() != "of"]))


def _hashed(forms: Sequence[str]) -> Terms:
    return np.fromiter((crc32(form.encode()) for form in forms), np.uint32, len(forms))


def _read(runs: Sequence[str]) -> Iterator[str]:
    # A stemmer keeps state and must not be shared by threads; making one takes less than a microsecond.
    stem = Stemmer.Stemmer("english").stemWord
    for place, run in enumerate(runs):
        before, after = runs[place - 1] if place else "", runs[place + 1] if place + 1 < len(runs) else ""
        if _IS_HAN.match(run):
            yield from _chinese_words(run, before)
        elif (month := _month(run, before, after)) is not None:
            yield f"#m{month}"
        elif (day := _day(run, before, after)) is not None:
            yield f"#d{day}"
        elif not (after[:1] == "月" and _FIGURES.match(run)):
            word = run.lower().removesuffix("'s").replace("'", "")
            if word not in STOPWORDS:
                yield stem(word)


def _chinese_words(run: str, before: str) -> Iterator[str]:
    """Compounds with their parts (好意思: 好意, 意思, 好意思), so that either finds the other."""
    if _FIGURES.match(before) and run[0] in "年月日号":
        if run[0] == "月":
            yield f"#m{int(before)}"
        run = run[1:]
    yield from (word for word in rjieba.cut_for_search(run) if word not in STOPWORDS)


def _month(run: str, before: str, after: str) -> int | None:
    name = run.lower()
    month = _MONTHS.get(name)
    if month is None or name not in _WORDS_TOO:
        return month
    beside_a_number = bool(_DAY.match(before) or after[:1].isdigit())
    return month if beside_a_number or (name in {"may", "march"} and run[0].isupper() and before) else None


def _day(run: str, before: str, after: str) -> int | None:
    found = _DAY.match(run)
    if not found:
        return None
    beside_a_month = before.lower() in _MONTHS or after.lower() in _MONTHS or (before == "月" and after[:1] in "日号")
    return int(found[1]) if beside_a_month and after[:1] != "月" else None
