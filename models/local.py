"""The engine that runs anywhere: a transformers language model in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.batcher import Batcher, Generation, Sent
from models.engine import (
    OPTIONAL,
    EngineError,
    EngineUnavailable,
    Event,
    Finish,
    ParameterRefused,
    PromptTooLong,
    Sampling,
    continues,
)
from models.loading import BY_BYTES, Loaded, load
from models.sampler import Sampler, check_sampling
from models.scene import Message
from models.tools import CallReader, ending, grammar, in_words, offered, optional, words
from models.unsaid import WIDE, Unsaid
from models.vocabulary import Constraint, Vocabulary
from models.weights import NAME


class LocalEngine:
    """Speaks with the checkpoint in `folder`, or with the packaged SmolLM2 (unpacked below `home`) for None.

    `context_length` is lowered to what the checkpoint can do. `max_streams` replies are computed at once, others wait.
    Keys and values take 23 kB a token with SmolLM2, so a full context of 4096 takes 94 MB; 512 MB more hold prompt
    prefixes for reuse between turns and sessions of one `owner` (`Finish.cached_tokens`, a multiple of 256). `session`
    is not needed for that. `Finish.completion_tokens` counts the token that ends the reply.
    """

    def __init__(self, folder: Path | None, home: Path, *, context_length: int = 4096, max_streams: int = 24) -> None:
        self._folder = folder
        self._home = home
        self._context_length = context_length
        self._max_streams = max_streams
        self._checkpoint: Loaded | None = None
        self._batcher: Batcher | None = None
        self._status = "The embedded engine has not been started."
        self._changing = asyncio.Lock()

    @property
    def name(self) -> str:
        """The checkpoint folder's name."""
        return self._folder.resolve().name if self._folder else NAME

    @property
    def context_length(self) -> int:
        """Tokens that prompt and reply share; before `start`, what was asked for."""
        return self._context_length

    @property
    def streams(self) -> int:
        """Replies computed at once."""
        return self._max_streams

    @property
    def abilities(self) -> frozenset[str]:
        """Everything, with almost every tokenizer."""
        blind = self._checkpoint is not None and self._checkpoint.vocabulary is None
        return OPTIONAL - BY_BYTES if blind else OPTIONAL

    @property
    def opened(self) -> str:
        """As the checkpoint's template has it."""
        return self._checkpoint.opened if self._checkpoint else ""

    async def start(self) -> None:
        """Unpack where needed, load and try out the checkpoint in a worker thread. Raises `EngineUnavailable`."""
        async with self._changing:
            if self._batcher:
                return
            self._status = "The embedded language model is still loading."
            try:
                loaded = await asyncio.to_thread(load, self._folder, self._home)
            except EngineError as error:
                self._status = str(error)
                raise
            except Exception as error:  # a checkpoint can be broken in as many ways as there are libraries below
                self._status = f"The checkpoint could not be loaded: {type(error).__name__}: {error}"
                raise EngineUnavailable(self._status) from error
            self._context_length = min(self._context_length, loaded.model.context_length)
            self._checkpoint = loaded
            self._batcher = Batcher(loaded.model, loaded.tokenizer.backend_tokenizer, self._max_streams)

    async def close(self) -> None:
        """Free the checkpoint. Streams under way end with `EngineBroke`."""
        async with self._changing:
            self._status = "The embedded engine is closed."
            batcher, self._batcher, self._checkpoint = self._batcher, None, None
            if batcher:
                await asyncio.to_thread(batcher.close)

    async def check(self) -> None:
        """Raise `EngineUnavailable`, saying why, unless a stream could begin now."""
        self._ready()

    async def drop_adapter(self, name: str) -> None:
        """It speaks with none."""

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, as it would stand in a prompt. Raises `EngineUnavailable` before `start`."""
        checkpoint, _ = self._ready()
        return await asyncio.to_thread(checkpoint.template.count, texts) if texts else []

    async def stream(
        self, messages: Sequence[Message], sampling: Sampling, *, session: str = "", owner: str = ""
    ) -> AsyncGenerator[Event, None]:
        """Yield pieces of text, then one `Finish`. Raises `EngineError`s.

        Where `sampling` says None, `models.taste` has the checkpoint's defaults.
        """
        checkpoint, batcher = self._ready()
        check_sampling(sampling)
        functions, may = offered(sampling.tools, messages), optional(sampling.tools)
        if functions and not may:
            sampling = replace(sampling, stop=(), logprobs=None, response_format=None)
        messages = in_words(messages, functions, may=may)
        prompt = await asyncio.to_thread(checkpoint.template.encode, messages)
        room = self._context_length - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"The prompt has {len(prompt)} tokens; with a reply it must fit the context of {self._context_length}."
            )
        ends = checkpoint.ends | set(sampling.stop_token_ids)
        sampler = await asyncio.to_thread(_sampler, checkpoint, prompt, sampling, ends, functions)
        events: asyncio.Queue[Sent] = asyncio.Queue()
        generation = Generation(
            prompt,
            sampling,
            owner=owner,
            limit=min(sampling.max_tokens, room),
            ends=ends,
            sampler=sampler,
            vocabulary=checkpoint.vocabulary,
            continues=continues(messages),
            send=_sender(events, asyncio.get_running_loop()),
        )
        stream = _generate(batcher, generation, events)
        async with aclosing(_read_calls(stream, functions) if functions else stream) as spoken:
            async for event in spoken:
                yield ending(sampling.tools, event) if isinstance(event, Finish) else event

    def _ready(self) -> tuple[Loaded, Batcher]:
        if not self._checkpoint or not self._batcher:
            raise EngineUnavailable(self._status)
        return self._checkpoint, self._batcher


async def _generate(
    batcher: Batcher, generation: Generation, events: asyncio.Queue[Sent]
) -> AsyncGenerator[Event, None]:
    batcher.submit(generation)
    try:
        while not isinstance(event := await events.get(), Finish):
            if isinstance(event, EngineError):
                raise event
            yield event
        yield event
    finally:
        generation.over = True


async def _read_calls(
    stream: AsyncGenerator[Event, None], functions: Sequence[Mapping[str, Any]]
) -> AsyncGenerator[Event, None]:
    """A reply that keeps to `tools.grammar`: a call as the call that it is, words as they are."""
    reader = CallReader(functions)
    held: list[Event] = []
    async with aclosing(stream):
        async for event in stream:
            if reader.calls is not False and isinstance(event, str):
                for part in reader.feed(event):
                    yield part
            if reader.calls and isinstance(event, Finish):
                for part in reader.end(event):
                    yield part
                yield event if event.reason == "length" else replace(event, reason="tool_calls")
            elif reader.calls is None and not isinstance(event, Finish):
                held.append(event)
            elif not reader.calls:
                for earlier in held:
                    yield earlier
                held.clear()
                yield event


def _sampler(
    checkpoint: Loaded,
    prompt: Sequence[int],
    sampling: Sampling,
    ends: frozenset[int],
    functions: Sequence[Mapping[str, Any]],
) -> Sampler:
    """How to choose the tokens of a reply. Raises `ParameterRefused`."""
    size = len(checkpoint.tokenizer)
    for param, tokens in (
        ("logit_bias", [token for token, _ in sampling.logit_bias]),
        ("stop_token_ids", sampling.stop_token_ids),
    ):
        if unknown := [token for token in tokens if token >= size]:
            raise ParameterRefused(f"{param} names token {unknown[0]}; there are tokens 0 to {size - 1}.", param)
    words = [word.strip() for word in sampling.bad_words if word.strip()]
    wide = [word for word in words if checkpoint.vocabulary and WIDE.search(word)]
    spelled = [form for word in words if word not in wide for form in (word, " " + word)]
    banned = checkpoint.tokenizer(spelled, add_special_tokens=False).input_ids if spelled else []
    return Sampler(
        sampling,
        prompt,
        ends=ends,
        banned=[ids for ids in banned if ids],
        constraint=_constraint(checkpoint.vocabulary, sampling, functions),
        taste=checkpoint.taste,
        vocabulary=checkpoint.vocabulary,
        unsaid=Unsaid(wide, checkpoint.vocabulary.spellings) if checkpoint.vocabulary and wide else None,
    )


def _constraint(
    vocabulary: Vocabulary | None, sampling: Sampling, functions: Sequence[Mapping[str, Any]]
) -> Constraint | None:
    """The grammar that a reply must keep to, if any."""
    form = sampling.response_format
    if not vocabulary or not (form or functions):
        return None
    if functions:
        otherwise = words(form) if optional(sampling.tools) else ""
        return vocabulary.lark(grammar(functions, otherwise), "tools", free=bool(otherwise) and not form)
    if form and form["type"] == "json_schema":
        return vocabulary.json(form["json_schema"]["schema"], "response_format")
    return vocabulary.json({"type": "object"}, "response_format")


def _sender(events: asyncio.Queue[Sent], loop: asyncio.AbstractEventLoop) -> Callable[[Sent], None]:
    """Puts into `events` from another thread; a loop that is gone hears nothing."""

    def send(event: Sent) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(events.put_nowait, event)

    return send
