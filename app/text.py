"""Text from outside, made storable."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace NUL (PostgreSQL can't store it) and lone surrogates (UTF-8 can't encode them) with U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def _clean_if_text(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def clean_json(value: Any, depth: int = 64) -> Any:
    """JSON made storable, every text cleaned. Raises `ValueError` for one nested deeper than `depth`, or with NaN."""
    if depth < 0:
        raise ValueError("it is nested too deep")
    if isinstance(value, dict):
        return {clean(name): clean_json(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [clean_json(inner, depth - 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and Infinity are no JSON")
    return _clean_if_text(value)


STORABLE = BeforeValidator(_clean_if_text)
"""Makes a string field storable. Goes after the constraints of the field, so that it runs before them."""
Text = Annotated[str, STORABLE]
"""A string field of a request body, made storable."""
JsonObject = Annotated[dict[str, Any], BeforeValidator(clean_json)]
"""A field of a request body that is an object of any JSON, made storable."""
