"""What of a text makes it the same text: how it is compared with what a client sends back. Pure.

Front ends hand a conversation back changed in ways nobody sees. What is evened out, and where it comes from:

* white space: texts are trimmed, lines re-wrapped, `\\r\\n` comes from Windows; it counts as one space, and as none
  beside a Chinese or Japanese character, where it separates no words
* characters of no width, which editors, clipboards and the neutralising of control tokens leave behind; direction marks
* composed and decomposed letters: macOS and some input methods write é as e and an accent (NFC, Unicode annex 15)
"""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = re.compile("[\\u00ad\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2064\\u2066-\\u2069\\ufe0e\\ufe0f\\ufeff]")
# With the punctuation that stands between such characters.
_WIDE = r"[\u2018-\u201d\u2026\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
_BESIDE_WIDE = re.compile(f"(?<={_WIDE}) | (?={_WIDE})")


def normal(text: str) -> str:
    """`text` as it is compared and hashed, never as it is stored or shown."""
    text = " ".join(_INVISIBLE.sub("", text).split())
    return unicodedata.normalize("NFC", _BESIDE_WIDE.sub("", text))
