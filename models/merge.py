"""A LoRA adapter and its unquantised base become one servable checkpoint, or nothing.

Everything is looked at before anything is written. The files are made in a folder beside the target, the result is
loaded from there and held against base and adapter, and only then the folder takes the target's name.
"""

from __future__ import annotations

import hashlib
import platform
import resource
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from models.adapter import Adapter, AdapterRefused, read_adapter
from models.base import Base, BaseRefused, read_base, read_tokenizer
from models.engine import EngineError
from models.golden import frame_mark, golden_prompts, template_mark
from models.manifest import Manifest, Source, file_marks
from models.template import ChatTemplate
from models.tensors import TensorsBroken, raw
from models.verify import Comparison, compare, replies, scores
from models.weights import quiet_bars
from models.whole import FolderTaken, check_free, whole_folder

Told = Callable[[str, float], None]
"""Hears which of `STEPS` is under way and how much of it is done, 0 to 1."""
STEPS = READING, ASKING, MERGING, WRITING, COMPARING = (
    "reading the base",
    "asking base and adapter",
    "merging",
    "writing",
    "comparing",
)
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"),
)
SHARD = "5GB"
CHANGED = 3
"""How many tensors a message names."""


class MergeRefused(ValueError):
    """Nothing is there that was not there before; the message says why."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A finished merge. `peak_bytes` is the most memory that the process has held."""

    manifest: Manifest
    comparison: Comparison
    seconds: float
    peak_bytes: int


def merge(
    adapter: Path, base: Path, out: Path, *, made: str, moodline: str, told: Told = lambda _step, _done: None
) -> Merged:
    """Merge `adapter` onto the checkpoint in `base`, in the base's dtype, into the folder `out`.

    `made` is the date and `moodline` the version that the manifest names. Needs memory for the base once and disk for
    it once. Raises `MergeRefused`.
    """
    begun = time.monotonic()
    try:
        check_free(out)
        found = read_adapter(adapter)
        onto = read_base(base, found, lambda done: told(READING, done))
        with whole_folder(out) as folder:
            _check_room(folder, onto.size)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PEFT warns of keys, biases and embeddings, which are looked at here
                comparison, dtype = _make(found, onto, folder, told)
            manifest = Manifest(
                base=Source(base.resolve().name, onto.fingerprint),
                adapter=Source(adapter.resolve().name, found.fingerprint),
                template=template_mark(onto.tokenizer),
                frame=frame_mark(),
                dtype=dtype,
                made=made,
                versions=_versions(moodline),
                verified=asdict(comparison),
                files=file_marks(folder),
            )
            manifest.write(folder)
    except (AdapterRefused, BaseRefused, TensorsBroken, FolderTaken, EngineError, OSError) as error:
        raise MergeRefused(str(error)) from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Merged(manifest, comparison, time.monotonic() - begun, peak)


def _make(adapter: Adapter, base: Base, folder: Path, told: Told) -> tuple[Comparison, str]:
    """Write the merged checkpoint into `folder`, load it from there and compare; its dtype with the result."""
    template = ChatTemplate(base.tokenizer)
    prompts = [template.encode(prompt) for prompt in golden_prompts("late")]
    told(ASKING, 0)
    model = _load(base.folder)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    model = _with_adapter(model, adapter)
    spoken = replies(model, prompts)
    with model.disable_adapter():
        plain = [scores(model, reply.ids) for reply in spoken]
    told(MERGING, 0)
    model = _merged(model, told)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.to(dtypes.get(name, model.dtype))
    marks = _marks(model)
    told(WRITING, 0)
    with quiet_bars():
        model.save_pretrained(folder, max_shard_size=SHARD)
    _copy_tokenizer(base, folder)
    for file in folder.iterdir():
        file.chmod(0o644)  # whoever serves it may be another user
    del model
    told(COMPARING, 0)
    loaded = _load(folder)
    _check_same(marks, _marks(loaded))
    comparison = compare(spoken, plain, loaded)
    told(COMPARING, 1)
    if not comparison.same:
        raise MergeRefused(
            f"The merged model does not say what base and adapter say: {comparison.lost:.3g} nats a token apart, where "
            f"rounding explains {comparison.allowed:.3g}. Nothing was kept."
        )
    return comparison, str(loaded.dtype).removeprefix("torch.")


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    with quiet_bars():
        return AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True).eval()


def _with_adapter(model: Any, adapter: Adapter) -> Any:
    from peft import PeftModel, get_peft_model_state_dict

    adapted = PeftModel.from_pretrained(model, str(adapter.folder), local_files_only=True).eval()
    used = set(get_peft_model_state_dict(adapted))
    if odd := sorted(used ^ set(adapter.tensors)):
        raise MergeRefused(
            f"The adapter's file and its configuration disagree about {len(odd)} tensors, such as {odd[0]}."
        )
    return adapted


def _merged(model: Any, told: Told) -> Any:
    """Merge layer by layer, then leave PEFT. What is added to a base in bfloat16 is float32, so it is rounded once."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for place, layer in enumerate(layers):
        _untie(model, layer.get_base_layer())
        layer.merge()
        told(MERGING, (place + 1) / len(layers))
    return model.merge_and_unload()


def _untie(model: Any, layer: Any) -> None:
    """Give `layer` weights of its own: what is added to tied ones would change the other layer too."""
    from torch.nn import Parameter

    weights = [parameter.data_ptr() for _, parameter in model.named_parameters(remove_duplicate=False)]
    if weights.count(layer.weight.data_ptr()) > 1:
        layer.weight = Parameter(layer.weight.detach().clone())


def _marks(model: Any) -> dict[str, str]:
    """SHA-256 of every parameter. One that is tied to another has its own name too."""
    parameters = model.named_parameters(remove_duplicate=False)
    return {name: hashlib.sha256(raw(parameter)).hexdigest() for name, parameter in parameters}


def _check_same(written: dict[str, str], read: dict[str, str]) -> None:
    changed = sorted(name for name in written.keys() | read.keys() if written.get(name) != read.get(name))
    if changed:
        raise MergeRefused(f"The merged weights do not come back as they were written: {', '.join(changed[:CHANGED])}.")


def _copy_tokenizer(base: Base, folder: Path) -> None:
    """The base's files as they are, since saving a tokenizer anew may write it otherwise."""
    for name in TOKENIZER:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)
    if read_tokenizer(folder).chat_template != base.tokenizer.chat_template:
        (folder / "chat_template.jinja").write_text(base.tokenizer.chat_template, "utf-8")


def _check_room(folder: Path, size: int) -> None:
    if (free := shutil.disk_usage(folder).free) < size:
        raise MergeRefused(f"The merged checkpoint takes {size:,} bytes and {folder.parent} has room for {free:,}.")


def _versions(moodline: str) -> dict[str, str]:
    parts = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"moodline": moodline, "python": platform.python_version(), **parts}
