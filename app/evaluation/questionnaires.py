"""Questionnaires and labels in InCharacter's form, and how a role is asked to fill one in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer

from models.judging.personality import Label, Questionnaire, Statement
from models.scene import Language, Message, Scene

T = TypeVar("T")

PERCENT = (0.0, 100.0)

CHOOSE: Mapping[Language, str] = {
    "zh": "有人这样说你：“{said}”这话有多符合你？只用一个数字回答，从{low}（完全不符合）到{high}（完全符合）。",
    "en": 'Somebody says of you: "{said}" How far is that true of you? Answer with one number only, from {low} (not at '
    "all) to {high} (entirely).",
}
READ: Mapping[Language, str] = {
    "zh": "问一个人：“{asked}”\n回答：“{answer}”\n由这个回答看，下面这句话有多符合这个人？“{said}”\n只用一个数字回答，"
    "从{low}（完全不符合）到{high}（完全符合）。",
    "en": 'Somebody was asked: "{asked}"\nThe answer was: "{answer}"\nBy this answer, how far is the following true of '
    'that person? "{said}"\nAnswer with one number only, from {low} (not at all) to {high} (entirely).',
}


@dataclass(frozen=True, slots=True)
class Item:
    """Statement number `number` put to a role in its language."""

    role: str
    language: Language
    number: int
    statement: Statement

    @property
    def said(self) -> str:
        """The statement."""
        return self.statement.zh if self.language == "zh" else self.statement.en

    @property
    def asked(self) -> str:
        """The same as an interviewer asks it."""
        return self.statement.asked_zh if self.language == "zh" else self.statement.asked_en


def read_questionnaire(file: Path) -> Questionnaire:
    """A questionnaire; raises typer.BadParameter with what is wrong with the file."""
    return _read(file, "--data", _questionnaire)


def read_labels(file: Path, form: str) -> dict[str, dict[str, Label]]:
    """Labels by role and dimension, those of the Personality Database where the file has several sources.

    Raises typer.BadParameter, also where no role has labels for the questionnaire `form`.
    """
    labels = _read(file, "--labels", lambda fields: _labels(fields.get("pdb", fields), form))
    if not labels:
        raise typer.BadParameter(f"{file} labels nobody for {form}.", param_hint="--labels")
    return labels


def choosing(item: Item, form: Questionnaire, persona: str, memories: Sequence[str] = ()) -> Scene:
    """The role is asked for a number itself."""
    text = CHOOSE[item.language].format(said=item.said, low=form.low, high=form.high)
    return _scene(item, text, persona, memories)


def interview(item: Item, persona: str, memories: Sequence[str] = ()) -> Scene:
    """The role is asked as in an interview, and answers as it likes."""
    return _scene(item, item.asked, persona, memories)


def reading(item: Item, form: Questionnaire, answer: str) -> tuple[Message, ...]:
    """A judge is asked what number an answer comes to; it is not told whose."""
    shown = answer.replace(item.role, "X")
    text = READ[item.language].format(asked=item.asked, said=item.said, answer=shown, low=form.low, high=form.high)
    return (Message("user", text),)


def _scene(item: Item, text: str, persona: str, memories: Sequence[str]) -> Scene:
    return Scene(item.role, item.language, persona, memories=tuple(memories), history=(Message("user", text),))


def _questionnaire(fields: dict[str, Any]) -> Questionnaire:
    low, high = map(int, fields["range"])
    reverse = set(map(int, fields["reverse"]))
    least, most = PERCENT if fields["compute_mode"] == "SUM" else (float(low), float(high))
    statements = tuple(
        Statement(
            each["origin_zh"], each["origin_en"], each["rewritten_zh"], each["rewritten_en"], each["dimension"],
            int(number) in reverse,
        )
        for number, each in fields["questions"].items()
    )  # fmt: skip
    return Questionnaire(str(fields["name"]), low, high, least, most, statements)


def _labels(roles: dict[str, Any], form: str) -> dict[str, dict[str, Label]]:
    return {
        role: {name: Label(float(label["score"]), str(label["type"])) for name, label in forms[form].items()}
        for role, forms in roles.items()
        if form in forms
    }


def _read(file: Path, option: str, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        return parse(json.loads(file.read_text("utf-8-sig")))
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}.", param_hint=option) from None
    except KeyError as error:
        raise typer.BadParameter(f"{file} has no {error}; expected InCharacter's form.", param_hint=option) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise typer.BadParameter(f"{file} is not in InCharacter's form: {error}.", param_hint=option) from None
