"""How a language model likes to be sampled where a request doesn't say: as its checkpoint does, or its family. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Taste:
    """Defaults of one language model; 0 is off for `top_k` and `min_p`, 1 for the others."""

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.1


SMALL = Taste()
"""For small instruction-tuned models, which loop without a repetition penalty; for whatever isn't known, too."""
FAMILIES: Mapping[str, Taste] = {
    "qwen2": Taste(0.7, 0.8, 20, 0.0, 1.05),
    "qwen3": Taste(0.7, 0.8, 20, 0.0, 1.0),
    "qwen3_moe": Taste(0.7, 0.8, 20, 0.0, 1.0),
    "gemma3_text": Taste(1.0, 0.95, 64, 0.0, 1.0),
    "smollm3": Taste(0.6, 0.95, 0, 0.0, 1.0),
    "cohere": Taste(0.3, 0.75, 0, 0.0, 1.0),
}
"""What their makers ship or recommend for conversation without thinking aloud, by `model_type` of config.json."""
LARGE = 2048
"""From this hidden size on, `llama` is Llama 2 or 3 and not one of the small models that share its form."""
LLAMA = Taste(0.6, 0.9, 0, 0.0, 1.0)
"""Meta's own generation_config.json of Llama 2 and 3."""


def taste_of(folder: Path) -> Taste:
    """The defaults of a checkpoint: those of its generation_config.json where that has any, else its family's."""
    own, config = _read(folder / "generation_config.json"), _read(folder / "config.json")
    if own.get("do_sample") is not False and any(name in own for name in ("temperature", "top_p", "top_k", "min_p")):
        return Taste(
            temperature=_number(own, "temperature", 1.0, 0.0, 2.0),
            top_p=_number(own, "top_p", 1.0, 0.01, 1.0),
            top_k=int(_number(own, "top_k", 0, 0, 1_000_000)),
            min_p=_number(own, "min_p", 0.0, 0.0, 1.0),
            repetition_penalty=_number(own, "repetition_penalty", 1.0, 0.5, 2.0),
        )
    kind, size = config.get("model_type"), config.get("hidden_size")
    if kind == "llama" and isinstance(size, int) and size >= LARGE:
        return LLAMA
    return FAMILIES.get(str(kind), SMALL)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _number(own: Mapping[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number of the file; what is no number, or out of its range, is taken as absent."""
    value = own.get(name)
    fine = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    return float(value) if fine and value is not None else default
