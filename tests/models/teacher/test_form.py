"""The schemas of what teachers are asked for are such as servers take."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from llguidance import LLMatcher

import models.teacher
from models.teacher.form import Form, response_format

for module in pkgutil.iter_modules(models.teacher.__path__):
    importlib.import_module(f"models.teacher.{module.name}")
FORMS = [form for form in Form.__subclasses__() if form.__module__.startswith("models.teacher.")]


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object within one."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.__module__}.{form.__name__}")
def test_a_schema_is_strict_and_can_be_kept_to(form: type[Form]):
    asked = response_format(form)["json_schema"]
    schema = asked["schema"]

    assert asked["strict"]
    for each in objects(schema):
        assert each["required"] == list(each["properties"])
        assert each["additionalProperties"] is False
    assert '"default"' not in json.dumps(schema)
    assert not LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(json.dumps(schema)))


def test_every_builder_has_forms():
    assert len(FORMS) > 15
