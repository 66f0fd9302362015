"""The OpenAI chat dialect as we answer it: whole answers, chunks of a stream, usage, log-probabilities."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from app.chat.piece import Piece
from app.chat.speak import Speech
from app.tables import new_id
from app.version import VERSION
from models.completion import LEAST
from models.engine import CallPart, Token


@dataclass(frozen=True, slots=True)
class Answer:
    """Replies under way: their pieces, and the speeches they make, one for each choice. `model` is as it was asked for.

    `extra` tells, once all is said, what a whole answer or the last chunk has besides OpenAI's fields. `broke` is told
    of a stream that broke off: its status can tell nobody any more.
    """

    model: str
    engine: str
    pieces: AsyncGenerator[Piece, None]
    speeches: Sequence[Speech]
    logprobs: bool = False
    extra: Callable[[], dict[str, Any]] = dict
    broke: Callable[[], object] = object
    headers: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: f"chatcmpl-{new_id()}")
    created: int = field(default_factory=lambda: int(time.time()))

    def head(self, kind: str) -> dict[str, Any]:
        """What is the same in a whole answer and in every chunk."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": fingerprint(self.engine),
        }


def completion(answer: Answer, pieces: Iterable[Piece]) -> dict[str, Any]:
    """A whole answer, of all its pieces in order."""
    said = list(pieces)
    choices = [
        {
            "index": index,
            "message": _message([piece for piece in said if piece.choice == index]),
            "logprobs": logprobs(t for p in said if p.choice == index for t in p.tokens) if answer.logprobs else None,
            "finish_reason": reason(speech),
        }
        for index, speech in enumerate(answer.speeches)
    ]
    return answer.head("chat.completion") | {"choices": choices, "usage": usage(answer.speeches)} | answer.extra()


def chunk(
    answer: Answer, index: int, delta: dict[str, Any], tokens: Sequence[Token] = (), **more: Any
) -> dict[str, Any]:
    """One event of a stream; `more` may be its `finish_reason`."""
    content = logprobs(tokens) if answer.logprobs and (tokens or delta.get("content")) else None
    choice = {"index": index, "delta": delta, "logprobs": content, "finish_reason": None} | more
    return answer.head("chat.completion.chunk") | {"choices": [choice]}


def delta(piece: Piece) -> dict[str, Any]:
    """What a piece adds to its message."""
    said: dict[str, Any] = {"content": piece.text} if piece.text or piece.tokens else {}
    if piece.thought:
        said["reasoning_content"] = piece.thought
    if piece.calls:
        said["tool_calls"] = [{"index": part.index} | _call(part, begun=bool(part.name)) for part in piece.calls]
    return said


def reason(speech: Speech) -> str:
    """Why a reply ended."""
    return speech.finish.reason if speech.finish else "stop"


def usage(speeches: Sequence[Speech]) -> dict[str, Any]:
    """Token counts: the prompt once, the replies all; zeros when the engine told none."""
    finishes = [speech.finish for speech in speeches if speech.finish]
    prompt = finishes[0].prompt_tokens if finishes else 0
    reply = sum(finish.completion_tokens for finish in finishes)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": reply,
        "total_tokens": prompt + reply,
        "prompt_tokens_details": {"cached_tokens": finishes[0].cached_tokens if finishes else 0},
    }


def logprobs(tokens: Iterable[Token]) -> dict[str, Any]:
    """Log-probabilities of tokens, in OpenAI's form."""
    content = [_token(token) | {"top_logprobs": [_token(other) for other in token.top]} for token in tokens]
    return {"content": content, "refusal": None}


@lru_cache(maxsize=16)
def fingerprint(engine: str) -> str:
    """Changes when replies may change although seed and parameters are the same: with our version or another engine."""
    return "fp_" + hashlib.blake2b(f"{VERSION} {engine}".encode(), digest_size=5).hexdigest()


def _token(token: Token) -> dict[str, Any]:
    data = None if token.data is None else list(token.data)
    return {"token": token.text, "logprob": max(token.logprob, LEAST), "bytes": data}


def _message(pieces: Sequence[Piece]) -> dict[str, Any]:
    text = "".join(piece.text for piece in pieces)
    calls: dict[int, CallPart] = {}
    for part in (part for piece in pieces for part in piece.calls):
        before = calls.get(part.index, CallPart(part.index))
        calls[part.index] = CallPart(
            part.index, before.arguments + part.arguments, before.id or part.id, before.name or part.name
        )
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if thought := "".join(piece.thought for piece in pieces):
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [_call(calls[index], begun=True) for index in sorted(calls)]
    return message


def _call(part: CallPart, *, begun: bool) -> dict[str, Any]:
    if not begun:
        return {"function": {"arguments": part.arguments}}
    return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
