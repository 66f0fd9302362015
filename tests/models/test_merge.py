"""Adapters become checkpoints that say the same, or nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from models import golden, merge
from models.engine import Finish, Sampling
from models.local import LocalEngine
from models.manifest import MANIFEST, file_marks, read_manifest
from models.merge import Merged, MergeRefused
from models.scene import Message
from models.tensors import WEIGHTS
from models.weights import packaged_gguf
from tests.adapters import random_adapter, rewrite, tiny_base

ROOT = Path(__file__).resolve().parents[2]
Change = Callable[[Path, Path], Any]


@pytest.fixture(scope="module")
def base(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base. Tests copy it before they change it."""
    return tiny_base(tmp_path_factory.mktemp("tiny") / "base", unpacked)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_adapter(base, tmp_path_factory.mktemp("tiny") / "adapter")


def merged(adapter: Path, base: Path, out: Path) -> Merged:
    return merge.merge(adapter, base, out, made="2026-11-27", moodline="0")


def load(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True).eval()


def greedy(model: Any, prompt: Any) -> Any:
    return model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=32, do_sample=False, pad_token_id=0
    )


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({}, False),
        ({"use_rslora": True, "target_modules": ["q_proj", "down_proj"]}, False),
        ({"rank_pattern": {"q_proj": 4}, "alpha_pattern": {"v_proj": 64}}, True),
        ({"use_dora": True}, True),
        ({"bias": "all", "target_modules": ["o_proj"]}, False),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "norm"]}, False),
        ({"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}, True),
        ({"target_modules": ["embed_tokens", "lm_head"]}, False),
        ({"target_modules": ["embed_tokens"]}, True),
    ],
    ids=["plain", "rslora", "patterns", "dora", "bias", "whole", "whole, tied", "embeddings", "embeddings, tied"],
)
def test_the_merged_model_says_what_base_and_adapter_say(
    unpacked: Path, tmp_path: Path, config: dict[str, Any], tied: bool
) -> None:
    base = tiny_base(tmp_path / "base", unpacked, tie_word_embeddings=tied, attention_bias=True)
    adapter = random_adapter(base, tmp_path / "adapter", **config)
    result = merged(adapter, base, tmp_path / "out")
    assert result.comparison.lost < 1e-5
    assert result.comparison.moved > 1e-2
    assert result.comparison.agreed == 1
    prompt = torch.tensor([[1, 4093, 198, 30, 500, 9]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = PeftModel.from_pretrained(load(base), str(adapter)).eval()
    expected = greedy(adapted, prompt)
    assert torch.equal(greedy(load(tmp_path / "out"), prompt), expected)
    assert not torch.equal(greedy(load(base), prompt), expected)


def test_a_checkpoint_in_bfloat16_stays_one_and_comes_in_shards(
    base: Path, unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tiny_base(tmp_path / "half", unpacked)
    load(base).to(torch.bfloat16).save_pretrained(half, max_shard_size="1MB")
    (half / "model.safetensors").unlink()
    adapter = random_adapter(half, tmp_path / "adapter", modules_to_save=["lm_head"])
    monkeypatch.setattr(merge, "SHARD", "2MB")
    result = merged(adapter, half, tmp_path / "out")
    assert result.manifest.dtype == "bfloat16"
    assert {tensor.dtype for tensor in load(tmp_path / "out").parameters()} == {torch.bfloat16}
    assert len([*(tmp_path / "out").glob("model-*.safetensors")]) > 1


def test_the_manifest_says_what_it_was_made_of(base: Path, adapter: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = merged(adapter, base, out)
    manifest = read_manifest(out)
    assert manifest == result.manifest
    assert (manifest.base.name, manifest.adapter.name, manifest.made) == ("base", "adapter", "2026-11-27")
    assert manifest.frame == golden.frame_mark()
    assert manifest.template == golden.template_mark(AutoTokenizer.from_pretrained(out, local_files_only=True))
    assert {"torch", "transformers", "peft", "moodline"} <= manifest.versions.keys()
    (out / MANIFEST).unlink()
    assert file_marks(out) == manifest.files
    assert {oct(file.stat().st_mode & 0o777) for file in out.iterdir()} == {"0o644"}


def test_fingerprints_know_bases_and_adapters_apart(base: Path, adapter: Path, unpacked: Path, tmp_path: Path) -> None:
    first = merged(adapter, base, tmp_path / "first").manifest
    load(base).save_pretrained(tmp_path / "sharded", max_shard_size="1MB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / name, tmp_path / "sharded" / name)
    again = merged(adapter, tmp_path / "sharded", tmp_path / "again").manifest
    assert again.base.fingerprint == first.base.fingerprint
    assert again.adapter == first.adapter
    other = shutil.copytree(adapter, tmp_path / "other")
    rewrite(other / "adapter_config.json", lora_alpha=17)
    changed = merged(other, base, tmp_path / "third").manifest
    assert changed.adapter.fingerprint != first.adapter.fingerprint
    assert changed.base == first.base


def a_field(name: str, value: Any, file: str = "adapter_config.json") -> Change:
    return lambda adapter, base: rewrite((adapter if file.startswith("adapter") else base) / file, **{name: value})


def cut(folder: str, name: str) -> Change:
    def change(adapter: Path, base: Path) -> None:
        file = (adapter if folder == "adapter" else base) / name
        os.truncate(file, file.stat().st_size * 2 // 3)

    return change


def another_base(adapter: Path, base: Path) -> None:
    tiny_base(base, base.parent.parent / "tokenizer", hidden_size=48)


def fewer_layers(adapter: Path, base: Path) -> None:
    tiny_base(base, base.parent.parent / "tokenizer", num_hidden_layers=1)


def half_an_adapter(adapter: Path, base: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file(
        {name: tensor for name, tensor in tensors.items() if "q_proj" in name}, adapter / "adapter_model.safetensors"
    )


def diverged(adapter: Path, base: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors")


def only_a_pickle(adapter: Path, base: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def a_base_in_integers(adapter: Path, base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.int8)
    save_file(tensors, base / "model.safetensors", {"format": "pt"})


def packed(adapter: Path, base: Path) -> None:
    (base / "config.json").unlink()
    (base / "model.Q4_1.gguf").write_bytes(b"GGUF")


def another_template(adapter: Path, base: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, adapter / name)
    (adapter / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")


def no_template(adapter: Path, base: Path) -> None:
    (base / "chat_template.jinja").unlink()


def other_words(adapter: Path, base: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    tokenizer.add_tokens(["<mood>"])
    tokenizer.save_pretrained(adapter)


def gone(name: str) -> Change:
    return lambda adapter, base: (base / name).unlink()


def trained(field: str) -> Change:
    return lambda adapter, base: (adapter / MANIFEST).write_text(json.dumps({field: "0" * 64}))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (another_base, r"another base.*lora_A.* \[8, 32\], where the base needs \[8, 48\].* more"),
        (fewer_layers, r"another base.*layers\.1\..*which it lacks"),
        (trained("base"), "trained with another base"),
        (trained("template"), "trained with another chat template"),
        (trained("frame"), "trained with another system frame"),
        (half_an_adapter, "file and its configuration disagree about"),
        (diverged, "not finite"),
        (only_a_pickle, r"no adapter_model\.safetensors.*run code"),
        (cut("adapter", "adapter_model.safetensors"), "adapter_model.safetensors is cut short or damaged"),
        (cut("base", "model.safetensors"), "model.safetensors is cut short or damaged"),
        (cut("adapter", "adapter_config.json"), "adapter_config.json can't be read"),
        (cut("base", "config.json"), "config.json can't be read"),
        (cut("base", "tokenizer.json"), "tokenizer in .* can't be read"),
        (a_field("peft_type", "IA3"), "type 'IA3'; only LoRA"),
        (a_field("task_type", "SEQ_CLS"), "'SEQ_CLS'"),
        (a_field("init_lora_weights", "pissa"), "began as 'pissa'"),
        (a_field("alora_invocation_tokens", [3]), "uses alora_invocation_tokens"),
        (a_field("layer_replication", [[0, 2]]), "uses layer_replication"),
        (a_field("a_field_of_next_year", "on"), "uses a_field_of_next_year"),
        (a_field("loftq_config", {"loftq_bits": 4}), "quantised base"),
        (a_field("quantization_config", {"quant_method": "gptq"}, "config.json"), r"quantised \(gptq\)"),
        (a_field("auto_map", {"AutoModelForCausalLM": "m.M"}, "config.json"), "code of its own"),
        (a_field("model_type", "a-model-of-next-year", "config.json"), "no checkpoint that transformers knows"),
        (a_base_in_integers, "I8: it is quantised"),
        (packed, "packed as GGUF"),
        (gone("tokenizer.json"), "no tokenizer"),
        (gone("config.json"), r"no config\.json"),
        (gone("model.safetensors"), r"lacks model\.safetensors"),
        (another_template, "another chat template"),
        (no_template, "Neither base nor adapter has a chat template"),
        (other_words, "another vocabulary"),
    ],
)  # fmt: skip
def test_what_can_not_be_merged_is_refused_with_the_reason_and_nothing_is_written(
    base: Path, adapter: Path, unpacked: Path, tmp_path: Path, change: Change, reason: str
) -> None:
    (tmp_path / "tokenizer").symlink_to(unpacked)
    mine = shutil.copytree(adapter, tmp_path / "in" / "adapter")
    change(mine, shutil.copytree(base, tmp_path / "in" / "base"))
    with pytest.raises(MergeRefused, match=reason):
        merged(mine, tmp_path / "in" / "base", tmp_path / "out" / "merged")
    assert not (tmp_path / "out").exists() or not os.listdir(tmp_path / "out")


def test_the_adapter_s_template_is_used_where_the_base_has_none(base: Path, adapter: Path, tmp_path: Path) -> None:
    plain = shutil.copytree(base, tmp_path / "base")
    mine = shutil.copytree(adapter, tmp_path / "adapter")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base / name, mine / name)
    (plain / "chat_template.jinja").unlink()
    merged(mine, plain, tmp_path / "out")
    assert (tmp_path / "out" / "chat_template.jinja").read_text() == (base / "chat_template.jinja").read_text()


def test_folders_that_are_not_there_or_not_empty_are_told(base: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(MergeRefused, match=r"There is no folder .*nowhere"):
        merged(tmp_path / "nowhere", base, tmp_path / "out")
    with pytest.raises(MergeRefused, match=r"There is no folder .*nowhere"):
        merged(adapter, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(MergeRefused, match="no PEFT adapter"):
        merged(base, base, tmp_path / "out")
    gguf = packaged_gguf()
    assert gguf
    with pytest.raises(MergeRefused, match="packed as GGUF"):
        merged(adapter, gguf.parent, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(MergeRefused, match="not an empty folder"):
        merged(adapter, base, tmp_path / "full")
    assert os.listdir(tmp_path) == ["full"]
    (tmp_path / "empty").mkdir()
    merged(adapter, base, tmp_path / "empty")
    assert (tmp_path / "empty" / MANIFEST).is_file()


def test_a_merge_that_went_wrong_is_not_kept(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_merged", lambda model, told: model.unload())
        with pytest.raises(MergeRefused, match="does not say what base and adapter say"):
            merged(adapter, base, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_copy_tokenizer", lambda base, folder: shutil.copy(base.folder / WEIGHTS, folder))
        with pytest.raises(MergeRefused, match="do not come back as they were written"):
            merged(adapter, base, tmp_path / "out")
    assert not os.listdir(tmp_path)


MERGER = """
import sys
from pathlib import Path
from models.merge import COMPARING, merge
def told(step, done):
    if step == COMPARING:
        print("written", flush=True)
        sys.stdin.readline()
adapter, base, out = map(Path, sys.argv[1:])
merge(adapter, base, out, made="2026-11-27", moodline="0", told=told)
"""


def test_a_killed_merge_leaves_no_checkpoint_and_does_not_stand_in_the_way(
    base: Path, adapter: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", MERGER, str(adapter), str(base), str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        with pytest.raises(MergeRefused, match="Somebody else is writing"):
            merged(adapter, base, out)
        process.kill()
    assert not out.exists()
    assert len(os.listdir(tmp_path)) == 1  # what it had written, under a hidden name
    assert not [*tmp_path.glob(f".*/{MANIFEST}")]
    merged(adapter, base, out)
    assert os.listdir(tmp_path) == ["out"]


async def test_the_embedded_engine_speaks_with_the_merged_smollm(
    smollm: LocalEngine, unpacked: Path, tmp_path: Path
) -> None:
    adapter = random_adapter(unpacked, tmp_path / "adapter", strength=0.04)
    result = merged(adapter, unpacked, tmp_path / "merged")
    assert result.comparison.lost < 0.02
    assert result.comparison.moved > 0.05
    engine = LocalEngine(tmp_path / "merged", tmp_path, context_length=512, max_streams=1)
    await engine.start()
    messages = [Message("user", "Who are you and where do you live?")]
    sampling = Sampling(max_tokens=24, temperature=0, repetition_penalty=1)
    said = [[event async for event in one.stream(messages, sampling)] for one in (engine, smollm)]
    await engine.close()
    assert isinstance(said[0][-1], Finish)
    assert "".join(map(str, said[0][:-1])) != "".join(map(str, said[1][:-1]))
