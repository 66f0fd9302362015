"""The file of a request: of a multipart form, or the raw body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from app.errors import BadRequest, TooLarge
from app.text import clean

MOST_FIELDS = 100
"""Of a form; what a client sends beside the file is left alone."""


def upload_body(examples: Mapping[str, str]) -> dict[str, Any]:
    """What the OpenAPI document says of such a request: a form, or one of these media types with its example."""
    form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
    raw = {media: {"schema": {"type": "string"}, "example": example} for media, example in examples.items()}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}, **raw}}}


async def read_upload(request: Request, limit: int, setting: str = "MOODLINE_MAX_UPLOAD_BYTES") -> tuple[str, bytes]:
    """Its name, by whose ending a raw body's format is told, and its content of at most `limit` bytes,
    which `setting` sets.

    Raises:
        TooLarge: it is over the limit.
        BadRequest: the form has no field `file`.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise TooLarge(f"The file is over {limit:,} bytes ({setting}).")
        return _named(request), bytes(body)
    async with request.form(max_files=1, max_fields=MOST_FIELDS) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadRequest("Send the file in the form field `file`.", param="file")
        content = await file.read(limit + 1)
        if len(content) > limit:
            raise TooLarge(f"The file is over {limit:,} bytes ({setting}).")
        return clean(file.filename or ""), content


def _named(request: Request) -> str:
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    endings = {"application/jsonl": "jsonl", "application/x-ndjson": "jsonl", "text/csv": "csv"}
    return f"body.{endings[media]}" if media in endings else "body"
