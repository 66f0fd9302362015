"""How long a reply may be: what was asked for, as far as the prompt leaves room in the context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from app.chat.ask import Ask
from app.errors import BadRequest
from app.services import Services
from models.engine import Sampling
from models.prompt import MESSAGE_TOKENS, Prompt
from models.scene import Message

HEADER = "x-moodline-max-tokens"
"""Tells how many tokens the reply may have, where those are fewer than were asked for."""


def context_of(services: Services) -> int:
    """Tokens that prompt and reply share."""
    return min(services.settings.context_tokens, services.engine.context_length)


def kept_for_reply(services: Services, sampling: Sampling) -> int:
    """Tokens that no prompt may take: half of the context at most, since a talk needs room as well."""
    return min(sampling.max_tokens, context_of(services) // 2)


def check_limit(asked: int | None, param: str, context: int) -> None:
    """Refuse what no prompt could leave room for, as vLLM does; raises `BadRequest`."""
    if asked is not None and asked > context:
        raise BadRequest(
            f"{param}={asked} cannot be greater than the context of {context} tokens. Request fewer.", param=param
        )


async def without_calls(services: Services, ask: Ask) -> Ask:
    """An ask whose prompt and reply have what tools and their results leave."""
    taken = await _tokens_of_calls(services, ask.calls, ask.sampling)
    return replace(ask, budget=ask.budget - taken, room=ask.room - taken) if taken else ask


def fitted(ask: Ask, prompt: Prompt) -> Ask:
    """An ask whose reply is no longer than its prompt leaves room for."""
    left = min(ask.sampling.max_tokens, ask.room - prompt.tokens)
    return replace(ask, sampling=replace(ask.sampling, max_tokens=left))


async def fitted_bare(services: Services, messages: Sequence[Message], sampling: Sampling) -> Sampling:
    """The same for messages that are passed through; what leaves no room at all is for the engine to refuse."""
    context = context_of(services)
    texts = [message.content for message in messages]
    around = MESSAGE_TOKENS * len(texts)
    # No token is shorter than a byte, so most requests need no counting.
    if sampling.tools is None and sum(len(text.encode()) for text in texts) + around + sampling.max_tokens <= context:
        return sampling
    taken = sum(await services.engine.count(texts)) + around
    taken += await _tokens_of_calls(services, (), sampling)
    return replace(sampling, max_tokens=max(1, min(sampling.max_tokens, context - taken)))


def lowered(asked: int | None, sampling: Sampling) -> dict[str, str]:
    """The header that tells of a lowered limit, if it was."""
    return {HEADER: str(sampling.max_tokens)} if asked is not None and sampling.max_tokens < asked else {}


async def _tokens_of_calls(services: Services, calls: Sequence[Message], sampling: Sampling) -> int:
    if not calls and not sampling.tools:
        return 0
    written = [asdict(message) for message in calls], sampling.tools and list(sampling.tools.functions)
    return sum(await services.engine.count([json.dumps(written, ensure_ascii=False)]))
