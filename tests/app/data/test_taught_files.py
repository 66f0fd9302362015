"""Builders with a teacher on files that people have published, from the command to rows that render."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from models.example import read_examples
from models.prompt import render
from models.token_count import estimate_tokens
from tests.peer import Peer

LINES = 60
"""Of each file; the rest is like it."""


def filled(schema: dict[str, Any], defs: dict[str, Any], mark: str) -> Any:
    """The least that fits a schema, its texts told apart by `mark`."""
    if "$ref" in schema:
        return filled(defs[schema["$ref"].rsplit("/", 1)[1]], defs, mark)
    if "enum" in schema:
        return schema["enum"][0]
    match schema["type"]:
        case "object":
            return {name: filled(part, defs, f"{mark}{name}") for name, part in schema["properties"].items()}
        case "array":
            return [filled(schema["items"], defs, mark)]
        case "integer":
            return schema["minimum"]
        case _:
            return "" if mark.endswith("contradiction") else f"I, {hashlib.sha256(mark.encode()).hexdigest()}"


def answer(body: dict[str, Any]) -> str:
    """What fits whatever is asked: a form by its schema, a play for a scene, else a sentence."""
    words = body["messages"][-1]["content"]
    mark = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()[:12]
    if count := re.search(r"(\d+) in all", words):
        return json.dumps({"monologue": "I wait here.", "thoughts": [f"{mark} {n}" for n in range(int(count[1]))]})
    if form := body.get("response_format"):
        schema = form["json_schema"]["schema"]
        return json.dumps(filled(schema, schema.get("$defs", {}), mark))
    if "(thinking)" in words:
        return f"Visitor (speaking): Why {mark}?\nBeethoven (thinking): Hm.\nBeethoven (speaking): Because {mark}."
    return f"So it is with {mark}."


def head(bench_data: Path, name: str, folder: Path) -> Path:
    """The beginning of a published file; scripts in JSON whole."""
    source = bench_data / name
    if not source.exists():
        pytest.skip(f"needs {source}")
    target = folder / source.name
    if "cdial" in name:
        target.write_text(json.dumps(json.loads(source.read_text("utf-8"))["test"][:20]), "utf-8")
        return target
    if source.suffix == ".json":
        return source
    target.write_text("\n".join(source.read_text("utf-8").split("\n")[:LINES]), "utf-8")
    return target


@pytest.mark.parametrize(
    ("verb", "name", "options"),
    [
        ("profiles", "huanhuan/script_excerpt.txt", ["--role", "皇帝"]),
        ("instruct", "scripts_zh/甄嬛传-华妃.jsonl", ["--role", "华妃", "--count", "1"]),
        ("experiences", "character_llm/profiles/wiki_Beethoven.txt", ["--role", "Beethoven", "--protective", "1"]),
        ("extract", "huanhuan/script_excerpt.txt", []),
        ("feelings", "scripts_zh/西游记-孙悟空.jsonl", ["--role", "孙悟空"]),
        ("acts", "character_llm/profiles/wiki_Beethoven.txt", []),
        ("human-pairs", "goemotions/labels.txt", ["--topics", "1"]),
        ("monologues", "coser/Othello.json", ["--role", "Iago"]),
        ("personas", "cdial/toy_data.json", []),
        ("styles", "goemotions/labels.txt", ["--style", "Humor", "--profiles", "PROFILES"]),
    ],
)
async def test_published_files_become_rows_that_render(
    bench_data: Path, peer: Peer, tmp_path: Path, verb: str, name: str, options: list[str]
):
    source, out = head(bench_data, name, tmp_path), tmp_path / "rows.jsonl"
    peer.answering = answer
    options = [str(bench_data / "styleeval" / "style_profile") if one == "PROFILES" else one for one in options]
    command = ["data", verb, str(source), *options, "--teacher", f"{peer.address}/v1", "-o", str(out)]

    done = await asyncio.to_thread(CliRunner().invoke, app, command)

    manifest = tmp_path / "rows.manifest.json"
    if verb in ("extract", "acts"):  # what the peer makes up stands in no novel
        assert (done.exit_code, out.exists(), manifest.exists()) == (1, False, False)
        assert "the text" in done.output
        return
    assert done.exit_code == 0, done.output
    made = json.loads(manifest.read_text("utf-8"))
    assert made["rows"] == len(out.read_text("utf-8").splitlines()) > 0
    if verb == "feelings":
        return
    for row in read_examples(out):
        prompt = render(row.scene, layout="late", budget=8000, window=40, count=estimate_tokens)
        assert prompt.messages[-1].role in ("user", "system")
