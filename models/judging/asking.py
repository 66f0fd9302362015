"""Questions to an engine and its answers, each kept on disk as it comes, so that a run that broke off goes on."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from models.engine import Engine, EngineRefused, EngineUnavailable, FinishReason, PromptTooLong, Sampling, Token
from models.prompt import Layout, pieces, render
from models.scene import Message, Scene
from models.thoughts import without_thoughts

CHARACTER = "char/"
"""What the name of a running Moodline's character begins with, as a language model's."""
SLACK = 16
"""Tokens that a template may add to the prompt's own count."""
TRIES = 3
"""How often a question is asked of an engine that is away for the moment."""
PAUSE = 2.0
"""Seconds before the second try; twice as long before every later one, or as long as the server asks for."""
LONGEST = 600.0
"""Seconds that are waited for a server at most; one that asks for more ends the run."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an engine is asked, as it reads it."""

    messages: tuple[Message, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Answer:
    """What it said, without thoughts. `first` are the alternatives to its first token, with log-probabilities.

    `refused` says why there is no answer where the engine would not take the question, such as one that is too long.
    """

    text: str
    reason: FinishReason = "stop"
    first: tuple[tuple[str, float], ...] = ()
    refused: str = ""


class Answers:
    """Answers in `folder`, a file each, under what was asked of whom; safe to share between processes and to kill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, engine: str, question: Question) -> Answer | None:
        """The answer that is there; None for none, and for a file that is damaged."""
        try:
            kept = json.loads(self._file(engine, question).read_text("utf-8"))
            first = tuple((str(text), float(value)) for text, value in kept["first"])
            return Answer(str(kept["text"]), kept["reason"], first)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, engine: str, question: Question, answer: Answer) -> None:
        """Write the answer; it is there whole or not at all."""
        file = self._file(engine, question)
        file.parent.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f".{file.name}.{os.getpid()}")
        scratch.write_text(json.dumps(dataclasses.asdict(answer), ensure_ascii=False), "utf-8")
        scratch.replace(file)

    def _file(self, engine: str, question: Question) -> Path:
        sampling = {
            f.name: getattr(question.sampling, f.name) for f in dataclasses.fields(Sampling) if f.name != "enough"
        }
        said = [[message.role, message.content] for message in question.messages]
        key = hashlib.sha256(json.dumps([engine, said, sampling], default=str).encode()).hexdigest()
        return self._folder / key[:2] / f"{key}.json"


@dataclass(frozen=True)
class Asked:
    """An engine under the name that its answers are kept by; `at_once` questions are under way at most."""

    engine: Engine
    name: str
    answers: Answers
    at_once: int = 8
    layout: Layout = "late"
    window: int = 40

    @property
    def plays(self) -> bool:
        """Whether this is a character of a running server, which knows its persona and is sent the talk alone."""
        return self.engine.name.startswith(CHARACTER)

    async def question(self, scene: Scene, sampling: Sampling) -> Question:
        """What a scene is asked as: rendered as the server renders it. Raises `PromptTooLong`."""
        if self.plays:
            return Question(scene.history, sampling)
        texts = list(dict.fromkeys(pieces(scene)))
        counted = dict(zip(texts, await self.engine.count(texts), strict=True))
        budget = self.engine.context_length - min(sampling.max_tokens, self.engine.context_length // 2) - SLACK
        prompt = render(scene, layout=self.layout, budget=budget, window=self.window, count=counted.__getitem__)
        return Question(prompt.messages, sampling)

    async def ask(self, questions: Sequence[Question], told: Callable[[], None] = lambda: None) -> list[Answer]:
        """An answer to each, in order; `told` is called after every one. Same questions are asked once.

        Raises:
            EngineError: the engine broke, stayed away, or refuses everybody. What was answered is kept.
        """
        places = asyncio.Semaphore(min(self.at_once, self.engine.streams))
        under_way: dict[Question, asyncio.Task[Answer]] = {}
        enough = self.at_once + 1
        heard, refusals = False, list[EngineRefused]()

        async def one(question: Question) -> Answer:
            nonlocal heard
            async with places:
                if not heard and len(refusals) >= enough:
                    raise refusals[-1]  # it is the key or the model, not one question
                try:
                    answer = self.answers.find(self.name, question) or await self._ask(question)
                except PromptTooLong as error:
                    return Answer("", refused=str(error))
                except EngineRefused as error:
                    refusals.append(error)
                    return Answer("", refused=str(error))
                heard = True
                return answer

        async with asyncio.TaskGroup() as group:
            for question in questions:
                if question not in under_way:
                    under_way[question] = group.create_task(one(question))
                under_way[question].add_done_callback(lambda _: told())
        if refusals and len(refusals) == len(under_way):
            raise refusals[-1]
        return [under_way[question].result() for question in questions]

    async def _ask(self, question: Question) -> Answer:
        for again in range(TRIES):
            try:
                answer = await self._answer(question)
            except EngineUnavailable as error:
                asked = error.retry_after or 0.0
                if again == TRIES - 1 or asked > LONGEST:
                    raise
                await asyncio.sleep(max(asked, PAUSE * 2**again))
            else:
                self.answers.keep(self.name, question, answer)
                return answer
        raise AssertionError("the last try answers or raises")

    async def _answer(self, question: Question) -> Answer:
        text, reason, first = "", "stop", tuple[tuple[str, float], ...]()
        async with aclosing(self.engine.stream(question.messages, question.sampling)) as events:
            async for event in events:
                if isinstance(event, str):
                    text += event
                elif isinstance(event, Token) and not first:
                    first = tuple((token.text, token.logprob) for token in event.top or (event,))
                elif not isinstance(event, Token):
                    reason = getattr(event, "reason", reason)
        return Answer(without_thoughts(text).strip(), reason, first)  # type: ignore[arg-type]
