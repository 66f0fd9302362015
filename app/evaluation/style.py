"""`moodline eval style`: which of four replies is in a style (StyleEval's multiple choice, 2403.11439)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import typer

from app.evaluation.asking import answers
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import few, rows_of
from app.evaluation.report import Result, report
from models.engine import Sampling
from models.example import BadRow
from models.judging.asking import Answer, Question
from models.judging.intervals import interval
from models.scene import Message

ONLY = "\nAnswer with the letter of the best choice only."
_STYLE = re.compile(r"is in (.+?) style")
_LETTER = re.compile(r"\(?\b([A-D])\b\)?")


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its four choices, the letter that is right, and the style it asks for."""

    text: str
    right: str
    style: str


async def run(choices: Choices, data: Path) -> None:
    """Ask for the letter, and take the likeliest of the four where the engine tells first-token probabilities."""
    items = few(read(data), choices.limit)
    async with opened(choices.engine, choices) as engine:
        if engine.plays:
            raise typer.BadParameter("a character would answer in its own style; ask a language model.")
        told = 20 if "logprobs" in engine.engine.abilities else None
        said = Sampling(max_tokens=8, temperature=0.0, logprobs=told)
        asked = [Question((Message("user", item.text),), said) for item in items]
        heard = [letter(answer) for answer in await answers(engine, asked, "asking")]
    right = [float(found == item.right) for found, item in zip(heard, items, strict=True)]
    shares = {f"chose {one}": sum(found == one for found in heard) / len(heard) for one in "ABCD"}
    row: Result = {
        "accuracy": interval(right, [item.style for item in items]),
        "unreadable": sum(found is None for found in heard),
        **shares,
    }
    rows = [
        {"style": item.style, "right": item.right, "chosen": found} for item, found in zip(items, heard, strict=True)
    ]
    report("style", {choices.engine: row}, file=choices.out, rows=rows, questions=len(items), chance=0.25)


def read(file: Path) -> list[Item]:
    """The questions, without the instruction to think aloud. Raises typer.BadParameter with the damaged line."""
    try:
        return [_item(row.text("instruction"), row.text("output")) for row in rows_of(file)]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None


def letter(answer: Answer) -> str | None:
    """The likeliest letter, else the only one that was said; None where there is none or there are several."""
    options: dict[str, float] = {}
    for text, value in answer.first:
        plain = text.strip().strip("(")
        if plain in {"A", "B", "C", "D"}:
            options[plain] = options.get(plain, 0.0) + math.exp(value)
    if options:
        return max(options, key=lambda one: (options[one], one))
    said = set(_LETTER.findall(answer.text))
    return said.pop() if len(said) == 1 else None


def _item(instruction: str, output: str) -> Item:
    question, _, _ = instruction.partition("\nOutput the answer")
    style = _STYLE.search(question)
    return Item(question + ONLY, output.strip().strip("()")[:1], style[1] if style else "")
