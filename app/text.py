"""Text from outside, made storable."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace NUL (PostgreSQL can't store it) and lone surrogates (UTF-8 can't encode them) with U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def _clean_if_text(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


STORABLE = BeforeValidator(_clean_if_text)
"""Makes a string field storable. Goes after the constraints of the field, so that it runs before them."""
Text = Annotated[str, STORABLE]
"""A string field of a request body, made storable."""
