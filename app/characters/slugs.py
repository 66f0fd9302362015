"""Slugs of names, of any script."""

from __future__ import annotations

import re
from collections.abc import Container

from anyascii import anyascii

_MOST = 60
_INNER = re.compile(r"(?<=[a-z])(?=[A-Z])")


def slug_of(name: str) -> str:
    """The name in Latin letters and hyphens, `林晚晴` as `lin-wan-qing`; `character` where nothing is left of it."""
    latin = _INNER.sub("-", anyascii(name[:200])).lower()
    return re.sub(r"[^a-z0-9]+", "-", latin).strip("-")[:_MOST].strip("-") or "character"


def free_slug(slug: str, taken: Container[str]) -> str:
    """The slug, or it with the first number that is free."""
    number, free = 1, slug
    while free in taken:
        number += 1
        free = f"{slug}-{number}"
    return free
