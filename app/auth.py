"""Who calls: a bearer key belongs to an owner; on loopback a person may go without one."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Forbidden, Unauthorized
from app.limits import KeyLimits, limits_of
from app.services import Services
from app.tables import SHARED, ApiKey

KEY_PREFIX = "ml-"
LOCAL_OWNER = "local"


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner on whose behalf a request acts. An admin may change what everyone shares.

    `limits` are those of the key; whoever needs none has no limits.
    """

    owner: str
    admin: bool = False
    limits: KeyLimits | None = None


def digest(key: str) -> str:
    """What is stored of a key. Plain SHA-256 is enough: keys hold 256 random bits, so there is nothing to guess."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def create_key(session: AsyncSession, owner: str, name: str, admin: bool, **limits: int | None) -> str:
    """Add a key and return it; it can't be shown again. `limits` are columns of `ApiKey`."""
    if owner == SHARED:
        raise Forbidden(f"{SHARED!r} is not an owner; it marks what everyone shares.")
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    session.add(ApiKey(owner=owner, name=name, prefix=key[:8], digest=digest(key), admin=admin, **limits))
    await session.flush()
    return key


async def identify(request: Request, services: Services) -> Caller:
    """The caller of a request.

    Raises:
        Unauthorized: a key is needed and missing, or wrong.
        TooManyRequests: the key has used up its requests or tokens of this minute.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    key = key.strip() if scheme.lower() == "bearer" else ""
    if not services.settings.key_required and not key.startswith(KEY_PREFIX):
        # Clients insist on sending some key; on an open loopback server a placeholder means the local person.
        return Caller(LOCAL_OWNER, admin=True)
    if not key:
        raise Unauthorized("No API key. Send `Authorization: Bearer ml-…`; `moodline keys create NAME` makes one.")
    caller = await _owner_of(services, key)
    if caller.limits:
        try:
            services.limits.count_request(caller.limits)
        finally:
            request.scope["limits"] = services.limits.headers(caller.limits)
    return caller


async def _owner_of(services: Services, key: str) -> Caller:
    async with services.db.read() as session:
        # Found by the digest: the database compares hashes of the secret, so timing tells nothing about the key.
        row = await session.scalar(select(ApiKey).where(ApiKey.digest == digest(key), ApiKey.revoked_at.is_(None)))
    if row is None:
        raise Unauthorized("This API key is not known here or was revoked. `moodline keys list` shows what exists.")
    return Caller(row.owner, row.admin, limits_of(row, services.settings))


def of_request(request: Request) -> Caller:
    """The caller whom `app.http.Gate` identified; a route outside of its paths fails instead of being open."""
    caller: Caller = request.scope["caller"]
    return caller


CallerDep = Annotated[Caller, Depends(of_request)]
