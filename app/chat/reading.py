"""From a chat request to what a turn needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.auth import Caller
from app.chat.ask import Ask
from app.chat.calls import exchange_under_way, is_talk, to_engine
from app.chat.protocol import ChatMessage, ChatRequest
from app.chat.room import check_limit, context_of, kept_for_reply
from app.chat.tasks import task_of
from app.errors import BadRequest
from app.services import Services
from models.engine import Sampling, Tools
from models.scene import Message
from models.thoughts import without_thoughts


def is_task(body: ChatRequest) -> bool:
    """Whether a request is no part of a talk, as it says itself or as `tasks` knows it."""
    if body.moodline.task is not None:
        return body.moodline.task
    return task_of([to_engine(message) for message in body.messages]) is not None


def read_ask(body: ChatRequest, caller: Caller, services: Services, slug: str, session: str | None) -> Ask:
    """What a request asks of a character.

    Raises:
        BadRequest: no message is a user's, the last of these is empty, or one is over the limit.
    """
    settings = services.settings
    _check_messages(body, settings.max_message_chars)
    talk, begun = _talk(body.messages)
    system, late = _instructions(body.messages)
    sampling = read_sampling(body, services)
    extensions = body.moodline
    return Ask(
        caller=caller,
        slug=slug,
        user=(body.user or body.safety_identifier or "").strip(),
        messages=talk,
        sampling=sampling,
        budget=context_of(services) - kept_for_reply(services, sampling),
        room=context_of(services),
        window=extensions.window or settings.window,
        layout=extensions.layout or settings.layout,
        strategy=extensions.strategy,
        client_system=system,
        client_late=late,
        session_id=session or body.session_id,
        store=body.store is not False,
        choices=body.n or 1,
        stage=extensions.stage,
        persona=extensions.persona,
        calls=exchange_under_way(body.messages),
        begun=begun,
        limited=body.reply_tokens is not None,
    )


def _instructions(messages: Sequence[ChatMessage]) -> tuple[str, str]:
    """The client's system prompts: those before anything is said, and those that came later and mean this reply.

    SillyTavern sends examples of talk as system messages, with the names `example_user` and `example_assistant`.
    """
    first = next((place for place, message in enumerate(messages) if is_talk(message)), len(messages))
    texts: tuple[list[str], list[str]] = [], []
    for place, message in enumerate(messages):
        if message.role in ("system", "developer") and message.text.strip():
            example = message.name in ("example_user", "example_assistant")
            texts[place > first].append(f"{message.name}: {message.text}" if example else message.text)
    return "\n\n".join(texts[0]), "\n\n".join(texts[1])


def _talk(messages: Sequence[ChatMessage]) -> tuple[tuple[Message, ...], str]:
    """What was said, up to the user's last message, and what the reply to it already begins with.

    Messages without text say nothing; front ends leave them behind where a reply failed. Thoughts, of a conversation
    that was begun elsewhere, are no part of what was said.
    """
    told = [_spoken(to_engine(message)) for message in messages if is_talk(message)]
    said = [message for message in told if message.content.strip()]
    end = max(place for place, message in enumerate(said, 1) if message.role == "user")
    return tuple(said[:end]), "\n\n".join(message.content for message in said[end:])


def _spoken(message: Message) -> Message:
    return replace(message, content=without_thoughts(message.content)) if message.role == "assistant" else message


def read_sampling(body: ChatRequest, services: Services) -> Sampling:
    """How to sample; raises `BadRequest` for a reply longer than the context."""
    context = context_of(services)
    check_limit(body.reply_tokens, body.reply_limit, context)
    form = body.response_format
    return Sampling(
        max_tokens=body.reply_tokens or min(services.settings.reply_tokens, context // 2),
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        min_p=body.min_p,
        repetition_penalty=body.repetition_penalty,
        presence_penalty=body.presence_penalty,
        frequency_penalty=body.frequency_penalty,
        seed=body.seed,
        stop=body.stops,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        logit_bias=tuple((int(token), bias) for token, bias in (body.logit_bias or {}).items()),
        min_tokens=body.min_tokens or 0,
        bad_words=tuple(body.bad_words or ()),
        stop_token_ids=tuple(body.stop_token_ids or ()),
        include_stop=bool(body.include_stop_str_in_output),
        response_format=form.model_dump(exclude_none=True) if form and form.type != "text" else None,
        tools=_read_tools(body),
    )


def _read_tools(body: ChatRequest) -> Tools | None:
    if body.tools is None:
        return None
    functions = tuple(tool.model_dump(exclude_none=True) for tool in body.tools)
    choice = body.tool_choice
    named = choice if isinstance(choice, str) else choice.model_dump() if choice else "auto"
    return Tools(functions, named, body.parallel_tool_calls)


def _check_messages(body: ChatRequest, longest: int) -> None:
    for place, message in enumerate(body.messages):
        if len(message.text) > longest:
            raise BadRequest(
                f"Message {place} has {len(message.text):,} characters; the limit is {longest:,} "
                "(MOODLINE_MAX_MESSAGE_CHARS).",
                code="message_too_long",
                param=f"messages.{place}.content",
            )
    last = next((message for message in reversed(body.messages) if message.role == "user"), None)
    if last is None:
        raise BadRequest(
            "There is no message of the user's; a character answers somebody.", code="invalid_request", param="messages"
        )
    if body.begins_anew:
        raise BadRequest(
            "A character goes on with its last message, or answers the user's: leave `add_generation_prompt` and "
            "`continue_final_message` out, or add a message of the user's.",
            param="add_generation_prompt" if body.add_generation_prompt else "continue_final_message",
        )
    if not last.text.strip():
        raise BadRequest("The last message is empty; say something.", code="empty_message", param="messages")
