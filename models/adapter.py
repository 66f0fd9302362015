"""A LoRA adapter as PEFT stores it: read, judged, and held against the base that it is meant for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.golden import digest
from models.tensors import TensorsBroken, fingerprint, opened, shapes

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
PLACE = frozenset({"base_model_name_or_path", "revision", "inference_mode", "peft_version", "task_type"})
"""Fields of the configuration that say nothing of what the adapter does."""
EXACT = PLACE | frozenset(
    {
        *("peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "modules_to_save", "bias", "lora_bias"),
        *("layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora"),
        *("fan_in_fan_out", "lora_dropout", "init_lora_weights", "auto_mapping", "loftq_config", "megatron_core"),
        *("runtime_config", "ensure_weight_tying", "qalora_group_size"),
    }
)
"""Fields that may be set: with them alone a merge computes what base and adapter compute."""
KEEPS_BASE = (True, False, "gaussian", "eva", "orthogonal")
"""Ways to begin an adapter that leave the base as it is. PiSSA, OLoRA and others train against a changed base."""
PART = re.compile(r"\.(lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(\.weight|\.bias)?$")


class AdapterRefused(ValueError):
    """An adapter that can't be merged or served; the message says why."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter on disk. `tensors` are names with dtype and shape, `fingerprint` covers weights and configuration."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    fingerprint: str

    @property
    def base(self) -> str:
        """What it calls its base."""
        return str(self.config.get("base_model_name_or_path") or "")

    @property
    def rank(self) -> int:
        """The highest rank of its matrices."""
        ranks = [shape[0] for name, (_, shape) in self.tensors.items() if ".lora_A." in name or "embedding_A" in name]
        return max(ranks, default=0)


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`; its weights are read through once.

    Raises `AdapterRefused` for what is no LoRA for causal language models, computes what a merge can't, or is damaged.
    """
    config = _config(folder)
    _judge(config)
    if not (folder / WEIGHTS).is_file():
        raise AdapterRefused(f"{folder} has no {WEIGHTS}. Adapters in other files, which run code, are not read.")
    weights = ""
    try:
        tensors = shapes([folder / WEIGHTS])
        _finite(folder / WEIGHTS)
        for _, weights in fingerprint([folder / WEIGHTS]):  # noqa: B007
            pass
    except TensorsBroken as error:
        raise AdapterRefused(str(error)) from error
    if not tensors:
        raise AdapterRefused(f"{folder / WEIGHTS} holds no tensors.")
    does = {key: value for key, value in config.items() if key not in PLACE and value not in (None, False, [], {})}
    return Adapter(folder, config, tensors, digest([does, weights]))


def misfits(adapter: Adapter, model: Any) -> list[str]:
    """What of the adapter has no place in `model`, a transformers model that may be on the meta device."""
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    faults = []
    for name, (_, shape) in adapter.tensors.items():
        path = name.removeprefix(PREFIX)
        if part := PART.search(path):
            expected = _expected(part[1], shape, modules.get(path[: part.start()]))
        else:
            whole = parameters.get(path.replace(".base_layer.", "."))
            expected = None if whole is None else tuple(whole.shape)
        if expected != shape:
            faults.append(_fault(path, shape, expected))
    return faults


def _expected(part: str, shape: tuple[int, ...], module: Any) -> tuple[int, ...] | None:
    """The shape that a part of the adapter has beside `module`, its rank taken as it is; None where it has no place."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 2:
        return None
    out, into = weight.shape[::-1] if type(module).__name__ == "Conv1D" else weight.shape
    return {
        "lora_A": (*shape[:1], into),
        "lora_B": (out, *shape[1:]),
        "lora_embedding_A": (*shape[:1], out),
        "lora_embedding_B": (into, *shape[1:]),
        "lora_magnitude_vector": (out,),
    }[part]


def _fault(path: str, shape: tuple[int, ...], expected: tuple[int, ...] | None) -> str:
    return f"{path} {list(shape)}" + (f", where the base needs {list(expected)}" if expected else ", which it lacks")


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise AdapterRefused(f"There is no folder {folder}. Name the folder that holds {CONFIG}.")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except FileNotFoundError:
        raise AdapterRefused(f"{folder} is no PEFT adapter: it has no {CONFIG}.") from None
    except (ValueError, OSError) as error:
        raise AdapterRefused(f"{folder / CONFIG} can't be read: {error}.") from error
    if not isinstance(config, dict):
        raise AdapterRefused(f"{folder / CONFIG} is not a JSON object.")
    return config


def _judge(config: Mapping[str, Any]) -> None:
    if (kind := config.get("peft_type")) != "LORA":
        raise AdapterRefused(f"The adapter is of type {kind!r}; only LoRA is merged.")
    if (task := config.get("task_type")) not in (None, "CAUSAL_LM"):
        raise AdapterRefused(f"The adapter is for {task!r}, not for a causal language model.")
    if more := sorted(key for key, value in config.items() if value and key not in EXACT):
        raise AdapterRefused(f"The adapter uses {', '.join(more)}, which a merge would not compute exactly.")
    if config.get("loftq_config"):
        raise AdapterRefused("The adapter was trained against a quantised base (LoftQ), which a merge can't give back.")
    begun = config.get("init_lora_weights", True)
    if begun not in KEEPS_BASE:
        raise AdapterRefused(
            f"The adapter began as {begun!r}, which changes the base itself. Save it anew with PEFT's "
            "path_initial_model_for_weight_conversion, which makes a plain LoRA of it."
        )


def _finite(file: Path) -> None:
    import torch

    with opened(file) as tensors:
        for name in tensors.keys():  # noqa: SIM118
            if not bool(torch.isfinite(tensors.get_tensor(name)).all()):
                raise AdapterRefused(f"{name} holds numbers that are not finite; the training has diverged.")
