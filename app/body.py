"""Request bodies under /api: exactly what the document says, nothing coerced, nothing overlooked."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a typing error is noticed, and `"no"` is not a boolean."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Lets an int field take 3.0, a whole number in JSON. Goes after the constraints of the field."""
