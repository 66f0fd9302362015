"""One training from its rows to an adapter that `moodline merge` takes, or to nothing.

Everything that can be judged early is: recipe, rows, base and template, before anything heavy is loaded. While it runs,
checkpoints lie in a hidden folder beside the target, and the same command goes on from them. The adapter appears whole,
its manifest written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.adapter import AdapterRefused, misfits, read_adapter
from models.base import BaseRefused, check_plain, read_json, read_tokenizer
from models.data.split import divide
from models.engine import EngineError
from models.example import BadRow, Example, read_examples
from models.golden import digest, frame_mark
from models.manifest import file_marks
from models.tensors import TensorsBroken, fingerprint, weight_files
from models.training.curves import draw, ends
from models.training.fit import NAME, Log, Progress, check_machine, fit
from models.training.recipe import Recipe, RecipeWrong
from models.training.rows import Rows, rows_of
from models.weights import MANIFEST
from models.whole import FolderTaken, check_free, whole_folder

KIND = "trained"
NEEDED = ("trl", "datasets", "matplotlib")
CURVES = "curves.json"
PICTURE = "curves.png"
FIRST = os.environ.get("RANK", "0") == "0"
"""Whether this process writes, of those that `accelerate launch` has started."""


class TrainingRefused(ValueError):
    """Nothing was trained, and nothing is there that was not there before; the message says why."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished training. `log` is what the trainer noted; `peak_bytes` the most memory that the process held."""

    folder: Path
    rows: int
    held_out: int
    too_long: int
    tokens: int
    learnt: int
    log: Log
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a training begins with, judged; `marks` say what it is made from."""

    base: Path
    tokenizer: Any
    train: Rows
    test: Rows
    marks: dict[str, Any]


def prepare(
    recipe: Recipe,
    files: Sequence[Path],
    base: Path,
    *,
    held_out: Sequence[Path] = (),
    begin: Path | None = None,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Prepared:
    """Read and judge what a training begins with; `told` hears how many rows have become tokens.

    `held_out` are rows to judge by; without, a share of the groups is kept aside. Raises `TrainingRefused`.
    """  # fmt: skip
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise TrainingRefused(f"Training needs {', '.join(missing)}: pip install 'moodline[train]', or make test.")
    try:
        check_machine(recipe)
        examples, aside = _examples(recipe, files, held_out)
        check_plain(read_json(base / "config.json"))
        tokenizer = read_tokenizer(base)
        if tokenizer is None:
            raise BaseRefused(f"{base} has no tokenizer (tokenizer.json).")
        if begin is not None:
            _check_begin(begin, base)
        rows = _tokens(recipe, tokenizer, (examples, aside), told)
        marks = _marks(recipe, files, held_out, base, tokenizer, begin)
    except (BadRow, BaseRefused, AdapterRefused, TensorsBroken, RecipeWrong, EngineError, OSError) as error:
        raise TrainingRefused(str(error)) from error
    if not rows[0].rows:
        raise TrainingRefused(
            f"No row fits data.context = {recipe.data.context} tokens: raise it, or shorten the characters' texts."
        )
    return Prepared(base, tokenizer, rows[0], rows[1], marks)


def train(
    recipe: Recipe,
    prepared: Prepared,
    out: Path,
    *,
    made: str,
    moodline: str,
    begin: Path | None = None,
    told: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train an adapter into the folder `out`, or go on with one that was broken off.

    `made` is the date and `moodline` the version that the manifest names. Raises `TrainingRefused`.
    """  # fmt: skip
    begun = time.monotonic()
    try:
        check_free(out)
        with _run_folder(out, prepared.marks) as run:
            model, log = fit(
                recipe, prepared.base, prepared.tokenizer, prepared.train, prepared.test, run, begin=begin, told=told
            )
            if FIRST:
                with whole_folder(out) as folder:
                    _write(model, log, recipe, prepared, folder, made, moodline)
    except (FolderTaken, OSError, ValueError) as error:
        raise TrainingRefused(str(error)) from error
    return Trained(
        folder=out,
        rows=len(prepared.train.rows),
        held_out=len(prepared.test.rows),
        too_long=prepared.train.too_long + prepared.test.too_long,
        tokens=prepared.train.tokens,
        learnt=prepared.train.learnt,
        log=log,
        seconds=time.monotonic() - begun,
        peak_bytes=peak_bytes(),
    )


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _examples(recipe: Recipe, files: Sequence[Path], held_out: Sequence[Path]) -> tuple[list[Example], list[Example]]:
    """What is learnt from and what it is judged by."""
    examples = [example for file in files for example in read_examples(file)]
    aside = [example for file in held_out for example in read_examples(file)]
    # A row that says only what is unwanted (KTO's) teaches neither method anything.
    examples, aside = ([row for row in rows if row.reply.strip() or not row.rejected] for rows in (examples, aside))
    if recipe.method == "dpo":
        examples, aside = ([row for row in rows if row.rejected] for rows in (examples, aside))
    empty = [row for row in (*examples, *aside) if not row.reply.strip()]
    if empty:
        raise TrainingRefused(f"{len(empty)} rows have no reply to learn, the first with the id {empty[0].id!r}.")
    if not examples:
        lacking = "with a `rejected` reply, which DPO learns from" if recipe.method == "dpo" else "to learn from"
        raise TrainingRefused(f"{', '.join(map(str, files))}: there is no row {lacking}.")
    if held_out:
        return examples, aside
    # Not as `moodline data split` draws: of what it has left nothing would be kept aside.
    return divide(examples, recipe.data.test, f"training {recipe.train.seed}")


def _tokens(
    recipe: Recipe, tokenizer: Any, parts: Sequence[Sequence[Example]], told: Callable[[int, int], None]
) -> list[Rows]:
    """Every part as tokens."""
    everything = sum(map(len, parts))
    done = iter(range(1, everything + 1))
    return [rows_of(part, tokenizer, recipe.data, lambda: told(next(done), everything)) for part in parts]


def _marks(
    recipe: Recipe, files: Sequence[Path], held_out: Sequence[Path], base: Path, tokenizer: Any, begin: Path | None
) -> dict[str, Any]:
    """What a training is made from. Raises `TensorsBroken`, OSError."""
    mark = ""
    for _, mark in fingerprint(weight_files(base)):  # noqa: B007
        pass
    return {
        "recipe": recipe.model_dump(),
        "data": _file_marks(files),
        "test": _file_marks(held_out),
        "base": mark,
        "template": digest(tokenizer.chat_template),
        "frame": frame_mark(),
        "begin": read_adapter(begin).fingerprint if begin else "",
    }


def _check_begin(begin: Path, base: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    adapter = read_adapter(begin)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base, local_files_only=True))
    if faults := misfits(adapter, empty):
        raise AdapterRefused(f"The adapter to begin with is for another base: {faults[0]}.")


@contextmanager
def _run_folder(out: Path, marks: dict[str, Any]) -> Iterator[Path]:
    """The folder of a training's checkpoints, gone when the training is done; kept for the next try otherwise.

    Raises `TrainingRefused` where what was broken off was made from something else.
    """
    out = out.absolute()
    run = out.parent / f".{out.name}.training"
    known = run / "made_from.json"
    if known.is_file() and json.loads(known.read_text("utf-8")) != json.loads(json.dumps(marks)):
        raise TrainingRefused(
            f"A training of {out.name} was broken off that was made from other rows, another recipe or base. "
            f"Begin anew by removing {run}, or name another folder."
        )
    run.mkdir(parents=True, exist_ok=True)
    if FIRST:
        scratch = known.with_suffix(".new")
        scratch.write_text(json.dumps(marks, ensure_ascii=False), "utf-8")
        scratch.replace(known)
    yield run
    if FIRST:
        shutil.rmtree(run)


def _write(model: Any, log: Log, recipe: Recipe, prepared: Prepared, folder: Path, made: str, moodline: str) -> None:
    """Write adapter, curves and, last, the manifest."""
    # PEFT would write the path that the base has on this machine.
    model.peft_config[NAME].base_model_name_or_path = prepared.base.resolve().name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT looks for the base by that name
        model.save_pretrained(str(folder), selected_adapters=[NAME], safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's form, with nothing filled in
    (folder / CURVES).write_text(json.dumps(log, indent=1) + "\n", "utf-8")
    draw(log, folder / PICTURE, title=f"{recipe.method} of {prepared.base.resolve().name}")
    manifest = {
        "kind": KIND,
        **prepared.marks,
        "base_name": prepared.base.resolve().name,
        "rows": len(prepared.train.rows),
        "held_out": len(prepared.test.rows),
        "losses": ends(log),
        "made": made,
        "versions": {"moodline": moodline} | {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
        "files": file_marks(folder),
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _file_marks(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 by the files' names, which are no paths of this machine; a name that comes again gets a number."""
    marks: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        with file.open("rb") as content:
            mark = hashlib.file_digest(content, "sha256").hexdigest()
        marks[f"{file.name} ({number})" if file.name in marks else file.name] = mark
    return marks
