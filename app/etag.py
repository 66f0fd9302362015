"""Revisions as ETags: a change names the revision it was made from, so that nobody overwrites what is new."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from app.errors import RevisionMissing, StaleRevision

IfMatch = Annotated[str | None, Header(alias="If-Match", description="The ETag you read; a stale one is refused.")]


def etag(revision: int) -> str:
    """The ETag of a revision."""
    return f'"{revision}"'


def check_revision(what: str, revision: int, if_match: str | None) -> None:
    """Let a change through that was made from `revision`, or from whatever it is by `*`.

    Raises:
        RevisionMissing: `If-Match` is absent.
        StaleRevision: someone else was faster.
    """
    if if_match is None:
        raise RevisionMissing(f"Send `If-Match: {etag(revision)}` (the ETag you read) with a change.")
    if if_match.strip().removeprefix("W/").strip('"') not in ("*", str(revision)):
        raise StaleRevision(f"{what} is at revision {revision} now, not {if_match}. Read it again, then repeat.")
