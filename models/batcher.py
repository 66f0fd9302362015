"""Continuous batching: one thread computes a step for every stream under way, again and again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from models.engine import EngineBroke, EngineError, EngineUnavailable, Event, Finish, FinishReason, Sampling, Token
from models.packed import PackedModel, Past, Span, worker_threads
from models.prefix import BLOCK, PrefixCache, block_keys
from models.sampler import Sampler, choose
from models.stops import StopFilter
from models.vocabulary import Vocabulary

Sent = Event | EngineError
PREFIX_BYTES = 512 * 2**20
LOCKSTEP = 32
"""Replies computed in one batch. Up to 32 rows a matrix product gives a row the same bits whatever the others; from
33 rows on oneDNN's bfloat16 kernels sum in another order. So replies never share a batch with prompts, and every prompt
has its own: a seed then gives the same reply under any load, where the CPU has AMX."""

CONTEXT = 8
"""Tokens of the prompt that the words of a continuation are joined to."""
WAITING_PER_STREAM = 8
"""Requests that may wait for each one that runs; more are turned away, since their clients would give up first."""


class Generation:
    """One reply in the making: `limit` tokens at most, over at any token of `ends` and where its grammar ends.

    Everything but `over` belongs to the batcher's thread; `over` is set by the batcher at the end and by whoever no
    longer listens. One that `continues` goes on with the text its prompt ends with. `send` is called from that thread
    with pieces of text, then a `Finish` or an `EngineError`.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        *,
        owner: str,
        limit: int,
        ends: frozenset[int],
        sampler: Sampler,
        send: Callable[[Sent], None],
        vocabulary: Vocabulary | None = None,
        continues: bool = False,
    ) -> None:
        self.prompt = prompt
        self.limit = limit
        self.ends = ends
        self.send = send
        self.over = False
        self.sampler = sampler
        self.past: Past | None = None
        self.pending = list(prompt)
        self.keys = block_keys(owner, prompt[:-1])
        self.cached_tokens = 0
        self._spoken = 0
        self._stops = StopFilter(sampling.stop, included=sampling.include_stop, enough=sampling.enough)
        self._vocabulary = vocabulary
        self._unfinished = False
        # SentencePiece drops the space before a text's first word, so what is gone on with must be known.
        self._decoder = _decoder(prompt[-CONTEXT:] if continues else ())

    @property
    def prefilling(self) -> bool:
        """Whether no token of the reply was chosen yet."""
        return self._spoken == 0

    @property
    def computed(self) -> int:
        """Tokens whose keys and values are known."""
        return self.past.length if self.past else 0

    def take(self, token: int, tokenizer: Any, scores: Any = None) -> bool:
        """Speak `token`; true when that ends the reply. `scores` are the log-probabilities [vocabulary], if wanted."""
        self._spoken += 1
        self.pending = [token]
        constraint = self.sampler.constraint
        if constraint and (error := constraint.error):
            self.send(error)
            return True
        if token in self.ends:
            return self._finish("stop")
        text = self._text(token, tokenizer)
        if scores is not None:
            self.send(self._scored(token, text, scores))
        if piece := self._stops.push(text):
            self.send(piece)
        if self._stops.stopped or (constraint and constraint.over):
            return self._finish("stop")
        return self._spoken >= self.limit and self._finish("length")

    def _scored(self, token: int, text: str, scores: Any) -> Token:
        """`token` with its probability and the likeliest in its place."""
        assert self._vocabulary
        data = self._vocabulary.data(token)
        if text and not self._unfinished:
            data = text.encode()  # a tokenizer may drop the space that a text begins with
        self._unfinished = not text and bool(data)
        best, ids = scores.topk(min(self.sampler.alternatives or 0, len(scores)))
        likely = zip(ids.tolist(), best.tolist(), strict=True)
        top = tuple(self._vocabulary.alternative(other, logprob) for other, logprob in likely)
        return Token(text, float(scores[token]), data, top)

    def _text(self, token: int, tokenizer: Any) -> str:
        """What `token` adds; empty while a character's bytes are incomplete."""
        try:
            return self._decoder.step(tokenizer, token) or ""
        except Exception:  # tokenizers gives up on some byte sequences; what it held was no character
            self._decoder = _decoder()
            return self._decoder.step(tokenizer, token) or ""

    def _finish(self, reason: FinishReason) -> bool:
        if rest := self._stops.flush():
            self.send(rest)
        self.send(Finish(reason, len(self.prompt), self._spoken, self.cached_tokens))
        return True


def _decoder(before: Sequence[int] = ()) -> Any:
    from tokenizers.decoders import DecodeStream

    return DecodeStream(ids=list(before), skip_special_tokens=True)


class Batcher:
    """Runs `Generation`s on `model`, at most `streams` at once, the others in the order they came.

    `tokenizer` is a `tokenizers.Tokenizer`. A step takes one token of every
    reply and at most `BLOCK` tokens of waiting prompts, so a long prompt slows the others but never halts them.
    """

    def __init__(self, model: PackedModel, tokenizer: Any, streams: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._streams = streams
        self._waiting: deque[Generation] = deque()
        self._running: list[Generation] = []
        self._prefixes = PrefixCache(PREFIX_BYTES)
        self._turn = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="moodline-batcher", daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Queue `generation`. Raises `EngineUnavailable` when closed or when too many are waiting."""
        with self._turn:
            if self._closed:
                raise EngineUnavailable("The embedded engine is closed.")
            self._waiting = deque(waiting for waiting in self._waiting if not waiting.over)
            if len(self._waiting) >= WAITING_PER_STREAM * self._streams:
                raise EngineUnavailable(
                    f"The embedded engine is busy: {self._streams} replies are under way and {len(self._waiting)} "
                    "requests wait. Try again shortly."
                )
            self._waiting.append(generation)
            self._turn.notify()

    def close(self) -> None:
        """End every stream with `EngineBroke` and the thread with them; returns when the step under way is over."""
        with self._turn:
            self._closed = True
            self._turn.notify()
        self._thread.join()

    def _run(self) -> None:
        import torch

        torch.set_num_threads(worker_threads())
        with torch.inference_mode():
            while self._admit():
                try:
                    self._step()
                except Exception as error:  # out of memory, a broken driver: those who were speaking are told
                    self._prefixes.clear()
                    self._break(f"The embedded engine failed while it spoke: {type(error).__name__}: {error}")
        self._running += self._waiting
        self._waiting.clear()
        self._break("The embedded engine was closed.")

    def _admit(self) -> bool:
        """Wait for work and let it in; false when closed."""
        with self._turn:
            self._running = [generation for generation in self._running if not generation.over]
            self._turn.wait_for(lambda: self._running or self._waiting or self._closed)
            while self._waiting and len(self._running) < self._streams:
                generation = self._waiting.popleft()
                if not generation.over:
                    self._running.append(generation)
            return not self._closed

    def _step(self) -> None:
        for batch in self._plan():
            logits = self._model.forward([span for _, span in batch])
            speaking = []
            for row, (generation, span) in enumerate(batch):
                del generation.pending[: len(span.tokens)]
                self._keep(generation, span)
                if not generation.pending:
                    speaking.append((row, generation))
            if speaking:
                self._speak(logits[[row for row, _ in speaking]], [generation for _, generation in speaking])

    def _speak(self, logits: Any, generations: Sequence[Generation]) -> None:
        samplers = [generation.sampler for generation in generations]
        # Before `choose`, which overwrites them: probabilities as the language model gives them, without our taste.
        scores = [
            None if s.alternatives is None else row.log_softmax(-1) for row, s in zip(logits, samplers, strict=True)
        ]
        tokens = choose(logits, samplers)
        for generation, token, scored in zip(generations, tokens, scores, strict=True):
            if generation.take(token, self._tokenizer, scored):
                generation.over = True

    def _plan(self) -> list[list[tuple[Generation, Span]]]:
        """What the next step computes, in batches: the speakers' last tokens, and prompts in whole steps of `BLOCK`."""
        speakers, prompts = [], []
        room = BLOCK
        for generation in self._running:
            if not generation.prefilling:
                speakers.append(self._span(generation))
            elif room:
                self._recall(generation)
                if (count := min(len(generation.pending), BLOCK)) <= room:
                    room -= count
                    prompts.append([self._span(generation)])
        return [*(speakers[start : start + LOCKSTEP] for start in range(0, len(speakers), LOCKSTEP)), *prompts]

    def _span(self, generation: Generation) -> tuple[Generation, Span]:
        tokens = generation.pending[:BLOCK]
        generation.past = self._model.reserve(generation.past, generation.computed + len(tokens))
        return generation, Span(generation.past, tokens)

    def _recall(self, generation: Generation) -> None:
        """Copy the prompt's next blocks that are in the prefix cache, where another stream may just have put them."""
        past = generation.past = generation.past or self._model.reserve(None, len(generation.prompt))
        for block in self._prefixes.run(generation.keys[generation.computed // BLOCK :]):
            past.store[:, :, :, past.length : past.length + BLOCK] = block
            past.length += BLOCK
            generation.cached_tokens += BLOCK
            del generation.pending[:BLOCK]

    def _keep(self, generation: Generation, span: Span) -> None:
        """Remember the block of the prompt that `span` completed."""
        end = span.past.length
        if end % BLOCK == 0 and len(span.tokens) == BLOCK and end // BLOCK <= len(generation.keys):
            self._prefixes.put(generation.keys[end // BLOCK - 1], span.past.store[:, :, :, end - BLOCK : end].clone())

    def _break(self, reason: str) -> None:
        for generation in self._running:
            if not generation.over:
                generation.send(EngineBroke(reason))
        self._running = []
