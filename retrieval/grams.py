"""Hashed n-grams of a text: what a word is, where an embedding only says what it is about."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retrieval.text import legible

# The beginning of a text is enough to hear it; a hostile one costs no more than this.
MAX_BYTES = 2048

_TOKEN = re.compile(r"[a-z']+|[0-9]+|[\u4e00-\u9fff]|[^\w\s]")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


def is_chinese(text: str) -> bool:
    """Whether the text holds a Chinese character."""
    return _CHINESE.search(text) is not None


def buckets(text: str, count: int) -> NDArray[np.int64]:
    """The buckets, 0 to `count` - 1, of the text's n-grams, each once: int64 [k], ascending; [0] for an empty text.

    N-grams are words and pairs of words, and characters by 3 to 5, or by 2 and 3 where the text is Chinese. A word
    is also a single Chinese character or mark. Capital letters are small ones. CRC-32 is the hash: the same everywhere.
    """
    found = {zlib.crc32(gram.encode()) % count for gram in _grams(legible(text, MAX_BYTES))}
    return np.array(sorted(found) or [0], dtype=np.int64)


def _grams(text: str) -> Iterator[str]:
    lower = text.lower().replace("’", "'")
    tokens = _TOKEN.findall(lower)
    yield from ("w" + token for token in tokens)
    yield from (f"b{one} {other}" for one, other in pairwise(tokens))
    if is_chinese(lower):
        yield from _windows("^" + "".join(lower.split()) + "$", (2, 3))
    else:
        yield from _windows(" " + " ".join(lower.split()) + " ", (3, 4, 5))


def _windows(text: str, sizes: Sequence[int]) -> Iterator[str]:
    for size in sizes:
        yield from ("c" + text[start : start + size] for start in range(len(text) - size + 1))
