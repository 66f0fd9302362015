"""An answer as a stream of OpenAI's chunks."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

from app.chat.answer import Answer, chunk, delta, reason, usage
from app.chat.piece import Piece
from app.chat.sse import DONE, event
from app.errors import AppError
from app.http import engine_status, openai_error
from models.engine import EngineError

log = logging.getLogger("moodline")


async def events(answer: Answer, first: Piece, *, counted: bool) -> AsyncGenerator[str, None]:
    """Each choice's role, what it says, each choice's finish, usage if `counted`; always one [DONE].

    An error on the way is an event too. Choices finish after everything is stored, so a client that has seen the finish
    can rely on it.
    """
    nothing: dict[str, Any] = {"usage": None} if counted else {}
    choices = range(len(answer.speeches))
    try:
        for choice in choices:
            yield event(chunk(answer, choice, {"role": "assistant", "content": ""}) | nothing)
        if first:
            yield event(chunk(answer, first.choice, delta(first), first.tokens) | nothing)
        async for piece in answer.pieces:
            yield event(chunk(answer, piece.choice, delta(piece), piece.tokens) | nothing)
        last = [chunk(answer, n, {}, finish_reason=reason(answer.speeches[n])) | nothing for n in choices]
        if counted:
            last.append(chunk(answer, 0, {}) | {"choices": [], "usage": usage(answer.speeches)})
        last[-1] |= answer.extra()
        for body in last:
            yield event(body)
    except EngineError as error:
        answer.broke()
        log.warning("%s broke off: %s", answer.id, error)
        status, code = engine_status(error)
        yield event(openai_error(status, str(error), code, getattr(error, "param", None)))
    except AppError as error:
        answer.broke()
        yield event(openai_error(error.status, error.message, error.code, error.param))
    except Exception:
        answer.broke()
        log.exception("%s broke off", answer.id)
        yield event(openai_error(500, "Something broke on our side; the log has it.", "server_error"))
    yield DONE
