"""Training a small random language model: to the same adapter however often it is broken off, or to nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from models.adapter import read_adapter
from models.data.split import divide
from models.example import Example, write_examples
from models.merge import merge
from models.scene import Message, Scene
from models.training.curves import points
from models.training.fit import Progress
from models.training.recipe import Recipe, parse_recipe
from models.training.train import Trained, TrainingRefused, prepare, train
from tests.adapters import rewrite, tiny_base

ANSWERS = ("Fish.", "The lamp.", "在灯塔上。", "Nobody.", "Aye, twice.", "没有。")


def _examples(*, pairs: bool = True) -> list[Example]:
    rows = []
    for number in range(24):
        answer = ANSWERS[number % len(ANSWERS)]
        language = "zh" if answer[0] > "z" else "en"
        history = (Message("user", f"{chr(ord('A') + number) * 9}?"),)
        scene = Scene("Mara", language, "Keeps a lighthouse.", history=history)
        rows.append(Example(scene, answer, rejected="As an assistant I can't." if pairs else "", group=str(number)))
    return rows


def _recipe(method: str = "sft", more: str = "") -> Recipe:
    text = f"""
        method = "{method}"
        {more}
        [data]
        context = 400
        test = 0.2
        [lora]
        rank = 4
        dropout = 0.1
        [train]
        steps = 12
        batch = 2
        accumulate = 1
        rate = 1e-2
        eval_every = 4
        save_every = 3
        precision = "fp32"
    """
    return parse_recipe(textwrap.dedent(text).encode(), "test")


def _shorter(recipe: Recipe, steps: int) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})


@pytest.fixture(scope="module")
def base(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("training") / "tiny", unpacked)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_examples(file, _examples())
    return file


def _train(
    recipe: Recipe, rows: Path, base: Path, out: Path, told: Callable[[Progress], None] = lambda _: None, **more: Any
) -> Trained:
    prepared = prepare(recipe, [rows], base, **more)
    return train(recipe, prepared, out, made="2026-11-28", moodline="test", told=told, **more)


@pytest.fixture(scope="module")
def trained(rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An SFT without a break."""
    return _train(_recipe(), rows, base, tmp_path_factory.mktemp("sft") / "mara")


def test_the_loss_of_what_is_learnt_and_of_what_was_kept_aside_falls(trained: Trained):
    steps, losses = points(trained.log, "loss")
    held = points(trained.log, "eval_loss")[1]

    assert steps == list(range(1, 13))
    assert sum(losses[-3:]) < sum(losses[:3])
    assert held[-1] < held[0]
    assert trained.held_out
    assert trained.rows + trained.held_out == 24


def test_curves_are_kept_as_numbers_and_as_a_picture(trained: Trained):
    assert json.loads((trained.folder / "curves.json").read_text("utf-8")) == trained.log
    assert (trained.folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_manifest_says_what_the_adapter_was_made_of_and_names_no_path(trained: Trained, rows: Path, base: Path):
    text = "".join(file.read_text("utf-8") for file in trained.folder.glob("*.json"))
    manifest = json.loads((trained.folder / "manifest.json").read_text("utf-8"))

    assert manifest["recipe"] == _recipe().model_dump()
    assert list(manifest["data"]) == [rows.name]
    held = points(trained.log, "eval_loss")[1]
    assert manifest["losses"]["eval_loss"] == [held[0], held[-1]]
    assert set(manifest["losses"]) == {"loss", "eval_loss"}
    assert set(manifest["files"]) == {file.name for file in trained.folder.iterdir()} - {"manifest.json"}
    assert str(base.parent) not in text
    assert read_adapter(trained.folder).base == "tiny"


def test_what_was_trained_is_merged_onto_its_base_and_onto_no_other(
    trained: Trained, base: Path, unpacked: Path, tmp_path: Path
):
    merged = merge(trained.folder, base, tmp_path / "merged", made="2026-11-28", moodline="test")

    assert merged.comparison.agreed == 1
    other = tiny_base(tmp_path / "other", unpacked, initializer_range=0.2)
    with pytest.raises(ValueError, match="The adapter was trained with another base"):
        merge(trained.folder, other, tmp_path / "wrong", made="2026-11-28", moodline="test")
    assert not (tmp_path / "wrong").exists()


def test_a_training_that_was_broken_off_comes_to_the_same_adapter(
    trained: Trained, rows: Path, base: Path, tmp_path: Path
):
    out = tmp_path / "mara"

    def broken(progress: Progress) -> None:
        if progress.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(_recipe(), rows, base, out, broken)
    assert not out.exists()
    torn = tmp_path / ".mara.training" / "checkpoint-9"
    torn.mkdir()
    (torn / "adapter_model.safetensors").write_bytes(b"half of it")
    heard: list[tuple[int, float | None]] = []
    again = _train(_recipe(), rows, base, out, lambda progress: heard.append((progress.step, progress.loss)))

    steps, losses = points(trained.log, "loss")
    assert points(again.log, "loss") == (steps, losses)
    assert heard == list(zip(range(7, 13), losses[6:], strict=True)), "it went on from the last whole checkpoint"
    assert read_adapter(out).fingerprint == read_adapter(trained.folder).fingerprint
    assert [file.name for file in tmp_path.iterdir()] == ["mara"]


def test_a_training_that_was_killed_goes_on_too(trained: Trained, rows: Path, base: Path, tmp_path: Path):
    out = tmp_path / "mara"
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(f"""
            import os, signal, sys, warnings
            sys.path[:0] = {[str(Path(__file__).parents[3])]!r}
            from pathlib import Path
            from tests.models.training import test_train as t
            def told(progress):
                if progress.step == 5:
                    os.kill(os.getpid(), signal.SIGKILL)
            t._train(t._recipe(), Path({str(rows)!r}), Path({str(base)!r}), Path({str(out)!r}), told)
        """),
        "utf-8",
    )

    killed = subprocess.run([sys.executable, str(script)], capture_output=True, check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not out.exists()
    _train(_recipe(), rows, base, out)

    assert read_adapter(out).fingerprint == read_adapter(trained.folder).fingerprint


def test_what_was_broken_off_is_not_gone_on_with_from_other_rows(rows: Path, base: Path, tmp_path: Path):
    out, other = tmp_path / "mara", tmp_path / "other.jsonl"
    write_examples(other, _examples()[:-1])

    def broken(_progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(_recipe(), rows, base, out, broken)
    with pytest.raises(TrainingRefused, match=r"made from other rows, another recipe or base\. Begin anew by removing"):
        _train(_recipe(), other, base, out)


def test_what_is_learnt_from_and_judged_by_are_no_less_known_where_files_are_called_alike(base: Path, tmp_path: Path):
    one, other = tmp_path / "rows.jsonl", tmp_path / "more" / "rows.jsonl"
    write_examples(one, _examples()[:4])
    write_examples(other, _examples()[4:])

    both = prepare(_recipe(), [one, other], base).marks
    straight = prepare(_recipe(), [one], base, held_out=[other]).marks
    swapped = prepare(_recipe(), [other], base, held_out=[one]).marks

    assert list(both["data"]) == ["rows.jsonl", "rows.jsonl (2)"]
    assert len(set(both["data"].values())) == 2
    assert (straight["data"], straight["test"]) == (swapped["test"], swapped["data"])
    assert straight != swapped


def test_dpo_after_an_sft_prefers_what_was_chosen(trained: Trained, rows: Path, base: Path, tmp_path: Path):
    tuned = _train(_shorter(_recipe("dpo"), 6), rows, base, tmp_path / "dpo", begin=trained.folder)

    margins = points(tuned.log, "rewards/margins")[1]
    assert margins[0] == 0, "at first the tuned one is its own reference"
    assert sum(margins[-3:]) > 0
    assert points(tuned.log, "eval_rewards/margins")[1][-1] > 0
    manifest = json.loads((tuned.folder / "manifest.json").read_text("utf-8"))
    assert manifest["begin"] == read_adapter(trained.folder).fingerprint
    assert merge(tuned.folder, base, tmp_path / "merged", made="2026-11-28", moodline="test").comparison.agreed == 1


def test_dpo_may_keep_a_share_of_the_chosen_replys_own_loss(rows: Path, base: Path, tmp_path: Path):
    recipe = _recipe("dpo")
    recipe = recipe.model_copy(update={"dpo": recipe.dpo.model_copy(update={"sft": 0.5})})

    tuned = _train(_shorter(recipe, 2), rows, base, tmp_path / "dpo")

    assert points(tuned.log, "loss")[1][0] > 1, "log 2 of the pair, and the loss of a random language model"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, r"The base is quantised \(gptq\)"),
        ({"auto_map": {"AutoModel": "x.py"}}, "brings code of its own"),
    ],
)
def test_a_base_that_a_merge_would_refuse_is_refused_before_training(
    change: dict[str, Any], why: str, rows: Path, unpacked: Path, tmp_path: Path
):
    odd = tiny_base(tmp_path / "odd", unpacked)
    rewrite(odd / "config.json", **change)

    with pytest.raises(TrainingRefused, match=why):
        prepare(_recipe(), [rows], odd)


def test_a_base_without_a_chat_template_is_refused(rows: Path, unpacked: Path, tmp_path: Path):
    odd = tiny_base(tmp_path / "odd", unpacked)
    (odd / "chat_template.jinja").unlink(missing_ok=True)
    rewrite(odd / "tokenizer_config.json", chat_template=None)

    with pytest.raises(TrainingRefused, match="has no chat template"):
        prepare(_recipe(), [rows], odd)


@pytest.mark.parametrize(
    ("method", "content", "why"),
    [
        ("sft", "", "there is no row to learn from"),
        ("sft", "{}\n", r"rows\.jsonl, line 1: "),
        ("dpo", None, r"there is no row with a `rejected` reply"),
        ("sft", "wordy", r"No row fits data\.context = 400"),
        ("sft", "silent", "1 rows have no reply to learn, the first with the id 'x'"),
    ],
)
def test_rows_that_teach_nothing_are_refused(method: str, content: str | None, why: str, base: Path, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    if content is None:
        write_examples(file, _examples(pairs=False))
    elif content in ("wordy", "silent"):
        scene = Scene("Mara", "en", "word " * (500 if content == "wordy" else 1), history=(Message("user", "Hi"),))
        write_examples(file, [Example(scene, "Aye." if content == "wordy" else " ", id="x")])
    else:
        file.write_text(content, "utf-8")

    with pytest.raises(TrainingRefused, match=why):
        prepare(_recipe(method), [file], base)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_row_that_says_only_what_is_unwanted_is_left_out(method: str, base: Path, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    write_examples(file, [*_examples(), replace(_examples()[0], reply="", id="unwanted")])

    prepared = prepare(_recipe(method), [file], base)

    assert len(prepared.train.rows) + len(prepared.test.rows) == len(_examples())


def test_of_rows_that_were_divided_already_some_are_kept_aside_again(base: Path, tmp_path: Path):
    file = tmp_path / "rows.jsonl"
    said = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(200)]
    scenes = [Scene("Mara", "en", "Keeps a lighthouse.", history=(Message("user", words),)) for words in said]
    left, _ = divide([Example(scene, "Aye.") for scene in scenes], 0.2)
    write_examples(file, left)

    prepared = prepare(_recipe(), [file], base)

    assert 0.05 < len(prepared.test.rows) / len(left) < 0.4


def test_missing_files_are_told(base: Path, rows: Path, tmp_path: Path):
    with pytest.raises(TrainingRefused, match=r"nowhere\.jsonl"):
        prepare(_recipe(), [tmp_path / "nowhere.jsonl"], base)
    with pytest.raises(TrainingRefused, match="There is no folder"):
        prepare(_recipe(), [rows], tmp_path / "nowhere")
    with pytest.raises(TrainingRefused, match="There is no folder"):
        prepare(_recipe(), [rows], base, begin=tmp_path / "nowhere")


def test_a_folder_that_is_taken_is_left_alone(base: Path, rows: Path, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine", "utf-8")

    with pytest.raises(TrainingRefused, match="is not an empty folder"):
        _train(_recipe(), rows, base, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("key", ["four_bit", "packing"])
def test_what_this_machine_can_not_do_is_told_before_anything_is_read(key: str, tmp_path: Path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine can")
    recipe = _recipe()
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={key: True})})

    with pytest.raises(TrainingRefused, match=rf"train\.{key} needs CUDA"):
        prepare(recipe, [tmp_path / "nowhere.jsonl"], tmp_path / "nowhere")


def test_four_bits_without_bitsandbytes_are_refused_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import torch

    if find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is here")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    recipe = _recipe()
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"four_bit": True})})

    with pytest.raises(TrainingRefused, match="bitsandbytes is not installed"):
        prepare(recipe, [tmp_path / "nowhere.jsonl"], tmp_path)
