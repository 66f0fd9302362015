"""Structured answers: the form that is asked for, and a tolerant reader for teachers that only nearly keep to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from models.scene import Language

AGAIN: Mapping[Language, str] = {
    "zh": "这个回答无法读取：{why}请严格按照要求的格式重新回答，只输出JSON，不要任何其他文字。",
    "en": "That can't be read: {why} Answer again in exactly the form that was asked for, with JSON and nothing else.",
}
TRIES = 64
"""Brackets of an answer that may begin its JSON; each is read to the end, so many would take long."""
SAYS = 8
"""Characters from which on a text is no longer a name or a word of the form."""
_COMMA = re.compile(r",(\s*[}\]])")
_BEGINS = re.compile(r"[{\[]")


class Unreadable(ValueError):
    """An answer is not in the form that was asked for."""


class Form(BaseModel):
    """What an answer has to hold. Texts are stripped; fields that nobody asked for are passed over."""

    model_config = ConfigDict(
        extra="ignore", str_strip_whitespace=True, frozen=True, json_schema_extra={"additionalProperties": False}
    )


F = TypeVar("F", bound=Form)


def response_format(form: type[Form]) -> dict[str, Any]:
    """OpenAI's `response_format` for a form, whose strict mode wants every field named as required, and no defaults."""
    schema = {"name": form.__name__, "schema": _strict(form.model_json_schema()), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def read_form(form: type[F], answer: str) -> F:
    """The first JSON value in `answer` that fits the form.

    Words and fences around it, commas before a closing bracket and line ends within texts are passed over. A bare list
    fits a form of one list; the prompt's own example, dots for texts, is no answer. Raises Unreadable, with what is
    wrong in a sentence.
    """
    why = "it holds no JSON." if answer.strip() else "it is empty."
    for value in _values(answer):
        if _is_example(value):
            why = "it repeats the example instead of answering."
            continue
        try:
            return form.model_validate(_wrapped(form, value))
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(map(str, first["loc"]))
            why = f"{at}: {first['msg']}." if at else f"{first['msg']}."
    raise Unreadable(why)


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # What stands below `properties` are names of fields, which may be called `title` or `default` too.
    kept = {
        key: {name: _strict(part) for name, part in value.items()} if key in ("properties", "$defs") else _strict(value)
        for key, value in schema.items()
        if key not in ("title", "default", "description")
    }
    return kept | ({"required": list(schema["properties"])} if "properties" in schema else {})


def _is_example(value: Any) -> bool:
    """Whether there are the dots of an example in it, and no text that says anything."""
    texts = [*_texts(value)]
    return any(text.strip() and not text.strip(" .…") for text in texts) and max(map(len, texts)) < SAYS


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def _values(answer: str) -> Iterator[Any]:
    """The JSON objects and lists in a text, outermost only."""
    decoder = json.JSONDecoder(strict=False)
    text, place = _COMMA.sub(r"\1", answer), 0
    for _ in range(TRIES):
        if not (found := _BEGINS.search(text, place)):
            return
        try:
            value, place = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            place = found.end()
            continue
        yield value


def _wrapped(form: type[Form], value: Any) -> Any:
    fields = form.model_fields
    return {next(iter(fields)): value} if isinstance(value, list) and len(fields) == 1 else value
