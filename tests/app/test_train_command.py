"""`moodline train`: what a person is told before anything heavy begins."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from app.cli.main import app
from models.example import Example, write_examples
from models.scene import Message, Scene
from models.weights import checkpoint


def _train(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["train", *arguments])
    return ended.exit_code, " ".join(ended.output.split())


def test_recipes_are_listed_and_one_can_be_taken_as_a_beginning():
    assert "huanhuan" in _train("recipes")[1]
    code, text = _train("recipes", "huanhuan")

    assert code == 0
    assert 'method = "sft"' in text
    assert _train("recipes", "nowhere")[0] == 1


def test_a_dry_run_counts_the_tokens_and_writes_nothing(tmp_path: Path, weights_home: Path):
    rows = tmp_path / "rows.jsonl"
    scene = Scene("Mara", "en", "Keeps a lighthouse.", history=(Message("user", "Hungry?"),))
    write_examples(rows, [Example(scene, "Fish.", group=str(number)) for number in range(30)])
    base = checkpoint(None, weights_home)

    code, text = _train(
        "sft", "cpu", "--data", str(rows), "--base", str(base), "--out", str(tmp_path / "o"), "--dry-run"
    )

    assert code == 0, text
    kept, aside = (int(text.split(word)[0].split()[-1]) for word in (" rows to learn from", " kept aside"))
    assert kept + aside == 30
    assert f"of which {3 * kept} are learnt" in text, "two tokens of the reply, and the one that ends it"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["rows.jsonl"]


def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path, weights_home: Path):
    base, out = str(checkpoint(None, weights_home)), str(tmp_path / "o")

    code, text = _train("sft", "qwen3-dpo", "--data", "x.jsonl", "--base", base, "--out", out)
    assert code == 1
    assert "qwen3-dpo is a recipe for dpo: moodline train dpo qwen3-dpo" in text
    code, text = _train("sft", "cpu", "--data", "x.jsonl", "--base", base, "--out", out)
    assert code == 1
    assert "Not trained." in text
    assert "x.jsonl" in text
    code, text = _train("sft", "cpuu", "--data", "x.jsonl", "--base", base, "--out", out)
    assert code == 1
    assert "There is no file cpuu, and no recipe of that name" in text
