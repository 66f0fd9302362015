"""Ask a teacher, which is any engine, many things at once: patiently, within limits, and nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from models.engine import (
    Engine,
    EngineBroke,
    EngineError,
    EngineUnavailable,
    Finish,
    ParameterRefused,
    PromptTooLong,
    Sampling,
)
from models.scene import Language, Message
from models.teacher.answers import Answer, Answers, key_of
from models.teacher.form import AGAIN, F, Unreadable, read_form, response_format
from models.teacher.spending import Cost, Purse
from models.thoughts import without_thoughts
from models.token_count import estimate_tokens


class Rejected(Exception):
    """A row can't be had of this teacher: `reason` is counted, `detail` says what it was about."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a question is asked, and how many seconds are waited between: doubled each time up to `most`.

    A server that says with Retry-After when to come back is believed, up to `longest`.
    """

    attempts: int = 7
    first: float = 1.0
    most: float = 60.0
    longest: float = 600.0


class Teacher:
    """Asks `engine`, keeps its answers in `answers` and its cost in `purse`.

    Answers are kept under `name`, the language model's where it is empty.
    `at_once` questions are under way at a time. `temperature` is the engine's own where it is None; `seed` and a
    question's `draw` make the seed of a reply. `wait` sleeps; all wait when the server limits rates.
    """

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        purse: Purse | None = None,
        *,
        name: str = "",
        at_once: int = 8,
        temperature: float | None = None,
        seed: int = 0,
        patience: Patience | None = None,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.engine, self.answers, self.purse = engine, answers, purse or Purse()
        self.name = name or engine.name
        self.at_once, self.temperature, self.seed = at_once, temperature, seed
        self._used: dict[str, Answer] = {}
        self._patience, self._wait = patience or Patience(), wait
        self._turns = asyncio.Semaphore(at_once)
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._guided = "response_format" in engine.abilities
        self._pause = 0.0
        self._heard = self._refused = 0

    @property
    def used(self) -> Cost:
        """What the answers that were used have cost, in this run or an earlier one."""
        costs = (Cost(1, answer.prompt_tokens, answer.completion_tokens) for answer in self._used.values())
        return sum(costs, Cost())

    async def text(self, messages: Sequence[Message], tokens: int, *, draw: int = 0) -> str:
        """A whole reply of at most `tokens`, stripped. One that is empty is asked for once more.

        Raises:
            Rejected: the reply is empty twice, cut off, or refused.
            LimitReached: nothing more may be asked.
            EngineError: the teacher is gone, or refuses everybody.
        """
        for again in (0, 1):
            answer = await self._answer(messages, self._sampling(tokens, draw + again * 1_000_003))
            if answer.text and answer.reason != "length":
                return answer.text
        raise Rejected("cut off" if answer.text else "empty answer", answer.text[:60])

    async def form(
        self, form: type[F], messages: Sequence[Message], tokens: int, *, language: Language, draw: int = 0
    ) -> F:
        """A reply in `form`, under a schema where the engine can see to that; else it is read with tolerance.

        What can't be read is told to the teacher, which may answer once more. Raises as `text` does.
        """
        sampling = self._sampling(tokens, draw)
        answer = await self._in_form(form, messages, sampling)
        try:
            return read_form(form, answer.text)
        except Unreadable as error:
            said = [Message("assistant", answer.text)] if answer.text else []
            ask_again = Message("user", AGAIN[language].format(why=error))
            second = await self._in_form(form, [*messages, *said, ask_again], sampling)
        try:
            return read_form(form, second.text)
        except Unreadable as error:
            reason = "broken JSON" if second.text else "empty answer"
            raise Rejected(reason, f"{error} {second.text[:60]!r}") from error

    def _sampling(self, tokens: int, draw: int) -> Sampling:
        return Sampling(max_tokens=tokens, temperature=self.temperature, seed=(self.seed + draw) % 2**31)

    async def _in_form(self, form: type[F], messages: Sequence[Message], sampling: Sampling) -> Answer:
        """Under a schema, unless this was answered without one or the teacher turns schemas down."""
        plain = self.answers.get(key_of(self.name, messages, sampling))
        if self._guided and not plain:
            try:
                return await self._answer(messages, replace(sampling, response_format=response_format(form)))
            except Rejected as error:
                if not isinstance(error.__cause__, ParameterRefused):
                    raise
        answer = await self._answer(messages, sampling)
        if not plain:
            self._guided = False  # it turned the schema down and not the question
        return answer

    async def _answer(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        key = key_of(self.name, messages, sampling)
        async with self._asking[key]:  # whoever asks the same meanwhile waits for this answer
            answer = self.answers.get(key)
            if answer is None:
                async with self._turns:
                    answer = await self._patiently(messages, sampling)
                self.answers.add(key, answer)
        self._used[key] = answer
        return answer

    async def _patiently(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        for attempt in range(self._patience.attempts):
            await self._paused()
            try:
                return await self._ask(messages, sampling)
            except (EngineUnavailable, EngineBroke) as error:
                if attempt + 1 == self._patience.attempts:
                    raise
                self._be_patient(error, attempt)
            except PromptTooLong as error:
                raise Rejected("too long for the teacher", str(error)) from error
            except ParameterRefused as error:
                if not self._heard and sampling.response_format is None:
                    self._refused += 1
                    if self._refused > self.at_once:
                        raise  # nobody is served: it is the request's form, not one question
                raise Rejected("refused by the teacher", str(error)) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _be_patient(self, error: EngineError, attempt: int) -> None:
        patience = self._patience
        asked = error.retry_after if isinstance(error, EngineUnavailable) else None
        if asked is not None and asked > patience.longest:
            raise error
        own = min(patience.most, patience.first * 2**attempt) * random.uniform(0.75, 1.25)
        self._pause = max(self._pause, own if asked is None else asked)

    async def _paused(self) -> None:
        """Wait as long as the last fault asks for; whoever comes meanwhile waits as long."""
        while pause := self._pause:
            await self._wait(pause)
            if self._pause == pause:
                self._pause = 0.0

    async def _ask(self, messages: Sequence[Message], sampling: Sampling) -> Answer:
        read = sum(estimate_tokens(said.content) for said in messages)
        most = Cost(1, read, sampling.max_tokens)
        await self.purse.set_aside(most)
        cost = Cost(1)
        pieces: list[str] = []
        try:
            async with aclosing(self.engine.stream(messages, sampling)) as stream:
                async for event in stream:
                    if isinstance(event, str):
                        pieces.append(event)
                    elif isinstance(event, Finish):
                        finish = event
            cost = Cost(1, finish.prompt_tokens, finish.completion_tokens)
        except EngineBroke:
            cost = Cost(1, read, estimate_tokens("".join(pieces)))
            raise
        finally:
            self.purse.settle(most, cost)
        self._heard += 1
        text = without_thoughts("".join(pieces)).strip()
        return Answer(text, finish.reason, finish.prompt_tokens, finish.completion_tokens)
