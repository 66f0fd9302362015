"""Domain errors, raised where they happen and translated once, in `app.http`.

AppError                    status, code
├── BadRequest        400
├── Unauthorized      401
├── Forbidden         403
├── NotFound          404
├── Conflict          409
├── StaleRevision     412
├── TooLarge          413
├── Unsupported       415
├── Unprocessable     422
├── RevisionMissing   428
├── TooManyRequests   429
├── ClientGone        499
└── Unavailable       503
"""

from __future__ import annotations

from typing import ClassVar


class AppError(Exception):
    """Something a caller can be told: an HTTP status, a stable code, and a sentence that says what to do."""

    status: ClassVar[int] = 500
    code: str = "server_error"

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.retry_after = retry_after


class BadRequest(AppError):
    """The request is malformed."""

    status = 400
    code = "invalid_request"


class Unauthorized(AppError):
    """No key, or a wrong one."""

    status = 401
    code = "invalid_api_key"


class Forbidden(AppError):
    """Known caller, not allowed."""

    status = 403
    code = "forbidden"


class NotFound(AppError):
    """No such thing, or not the caller's."""

    status = 404
    code = "not_found"


class Conflict(AppError):
    """It exists already, or something else is under way."""

    status = 409
    code = "conflict"


class StaleRevision(AppError):
    """`If-Match` names an older revision."""

    status = 412
    code = "stale_revision"


class TooLarge(AppError):
    """Over a limit; the message names it."""

    status = 413
    code = "too_large"


class Unsupported(AppError):
    """A media type or format that is not read."""

    status = 415
    code = "unsupported_media_type"


class Unprocessable(AppError):
    """Well-formed, but its content can't be used."""

    status = 422
    code = "unprocessable"


class RevisionMissing(AppError):
    """An edit without `If-Match`."""

    status = 428
    code = "revision_missing"


class TooManyRequests(AppError):
    """Over a limit of the caller's key; `retry_after` says in how many seconds it may ask again."""

    status = 429
    code = "rate_limit_exceeded"


class ClientGone(AppError):
    """The caller hung up before there was an answer; nobody reads this one."""

    status = 499
    code = "client_gone"


class Unavailable(AppError):
    """Not now: loading, or an engine is down."""

    status = 503
    code = "unavailable"
