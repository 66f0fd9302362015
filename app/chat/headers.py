"""What a request may say in headers, for clients that can't add fields to its body."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from pydantic import ValidationError

from app.chat.protocol import ChatRequest, Extensions, User
from app.errors import BadRequest

PREFIX = "x-moodline-"
FORWARDED_USER = "x-openwebui-user-id"
"""Whom Open WebUI names where it is told to; it has no way to send `user`."""


class _Named(Extensions):
    """Everything that can be said in a header."""

    user: User | None = None


def with_headers(body: ChatRequest, headers: Mapping[str, str]) -> ChatRequest:
    """The request with the fields of `moodline`, and `user`, that came as headers; those of the body win.

    A value outside of ASCII is UTF-8, as it is or percent-encoded.

    Raises:
        BadRequest: a header has a value that its field would not have.
    """
    named = {name: _decoded(header) for name in _Named.model_fields if (header := headers.get(header_of(name)))}
    if "user" not in named and (forwarded := headers.get(FORWARDED_USER)):
        named["user"] = _decoded(forwarded)
    if not named:
        return body
    said = body.moodline.model_dump(exclude_none=True) | ({"user": body.user} if body.user else {})
    try:
        both = _Named.model_validate(named | said)
    except ValidationError as error:
        fault = error.errors()[0]
        header = header_of(str(fault["loc"][0]))
        raise BadRequest(f"The header {header} is wrong: {fault['msg']}.", param=header) from error
    extensions = Extensions.model_validate(both.model_dump(exclude={"user"}))
    return body.model_copy(update={"moodline": extensions, "user": both.user})


def header_of(field: str) -> str:
    """The header that a field may come in."""
    return PREFIX + field.replace("_", "-")


def _decoded(header: str) -> str:
    return unquote(header.encode("latin-1", "replace").decode("utf-8", "replace"))
