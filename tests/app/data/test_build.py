"""Every builder at the command line: a small file in, rows out; what is wrong is told and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from models.example import read_examples

PLAY = {
    "plots": [
        {
            "key_characters": [{"name": "Bo", "description": "A sailor."}],
            "conversation": [
                {
                    "scenario": "A quay.",
                    "key_characters": [{"name": "Mira", "motivation": "She wants to be alone."}],
                    "dialogues": [
                        {"character": "Bo", "message": "When does the ferry leave for the island?"},
                        {"character": "Mira", "message": "[Go away.] (knots) When the tide has turned and not before."},
                    ],
                }
            ],
        }
    ],
    "character_datasets": {"Mira": {"profile": "She mends nets."}},
}
CHAT = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Mira."}]
FILES = {
    "play.json": PLAY,
    "pairs.json": [{"chosen": CHAT, "rejected": [CHAT[0], {"role": "assistant", "content": "An AI."}]}],
    "style.json": [{"context": "A: Tea ?\nB: \n", "response": "Indeed.", "style": "Formal"}],
    "Formal.json": {"name": "Formal", "description": "Stiff.", "examples": [], "observation": {}},
    "Mira.txt": "Mira was born at sea.\tWhere were you born?\tAt sea.",
    "bench.json": [{"role": "Mira", "question": "Tired?", "generated": ["Never."]}],
    "cards.json": {"Mira": "She mends nets."},
    "chats.json": [["在 吗", "在 呀"]],
    "glm.json": {"Mira": {"bot_info": "She mends nets.", "greeting": "Mind the ropes."}},
}


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        (["turns", "pairs.json", "--role", "Mira"], "Mira."),
        (["coser", "play.json", "--role", "Mira"], "[Go away.] (knots) When the tide has turned and not before."),
        (["mirau", "play.json", "--role", "Mira"], "<think>\nGo away.\n</think>\n\n(knots) When the tide has"),
        (["stylechat", "style.json", "--profiles", "Formal.json", "--task", "recite"], "<think>\nThe Formal style"),
        (["character100", "Mira.txt"], "At sea."),
        (["rolebench", "bench.json", "--persona", "cards.json"], "Never."),
        (["lccc", "chats.json"], "在呀"),
        (["characterglm", "glm.json"], "Mind the ropes."),
        (["index", "play.json", "--role", "Mira"], "When the tide has turned and not before."),
    ],
)
def test_a_builder_writes_rows(tmp_path: Path, monkeypatch, request, arguments, reply):
    if arguments[0] == "index":
        encoder = request.getfixturevalue("loaded_encoder")
        monkeypatch.setattr("app.services.load_encoder", lambda _settings: encoder)
    _lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["data", *arguments, "-o", "rows.jsonl"])

    assert done.exit_code == 0, done.output
    assert next(read_examples(tmp_path / "rows.jsonl")).reply.startswith(reply)


def test_a_memory_bank_is_written_with_what_the_head_hears(tmp_path: Path, monkeypatch, loaded_encoder):
    monkeypatch.setattr("app.services.load_encoder", lambda _settings: loaded_encoder)
    _lay_out(tmp_path)

    bank = tmp_path / "bank.jsonl"
    done = CliRunner().invoke(
        app, ["data", "emotional-rag", str(tmp_path / "play.json"), "--role", "Mira", "-o", str(bank)]
    )

    assert done.exit_code == 0, done.output
    (memory,) = map(json.loads, bank.read_text("utf-8").splitlines())
    assert memory["text"].endswith("\nMira: When the tide has turned and not before.")
    assert 0 <= min(memory["emotion"].values()) <= max(memory["emotion"].values()) <= 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["coser", "play.json", "--role", "Mir"], "'Mir' says nothing in play. Speakers are Mira"),
        (["emotional-rag", "play.json", "--role", "Mir"], "'Mir' says nothing in play"),
        (["rolebench", "bench.json", "--persona", "chats.json"], "has no card of 'Mira'"),
        (["rolebench", "play.json"], "line 1: role must be a text"),
        (["stylechat", "pairs.json"], "line 1: context must be a text"),
        (["sessions", "bench.json"], "the export has no end"),
        (["lccc", "none.json"], "none.json: No such file"),
    ],
)
def test_what_is_wrong_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch, arguments, why):
    _lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["data", *arguments, "-o", "rows.jsonl"])

    assert done.exit_code == 1
    assert why in " ".join(done.output.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def _lay_out(folder: Path) -> None:
    for name, content in FILES.items():
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (folder / name).write_text(text, "utf-8")
