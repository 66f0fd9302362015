"""The checkpoint that an adapter is merged onto: read, judged, and given its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.adapter import Adapter, misfits
from models.golden import digest, frame_mark
from models.tensors import FLOATS, TensorsBroken, fingerprint, shapes, weight_files
from models.weights import MANIFEST

FAULTS = 3
"""How many misfits a message names."""


class BaseRefused(ValueError):
    """Nothing can be merged onto this checkpoint, or not this adapter; the message says why."""


@dataclass(frozen=True, slots=True)
class Base:
    """An unquantised checkpoint in `folder`. `tokenizer` has the chat template that the merged one is served with."""

    folder: Path
    tokenizer: Any
    size: int
    fingerprint: str


def read_base(folder: Path, adapter: Adapter, told: Callable[[float], None] = lambda _: None) -> Base:
    """The base in `folder` for `adapter`; `told` hears how much of its weights is read. Raises `BaseRefused`."""
    config = read_json(folder / "config.json")
    check_plain(config)
    try:
        files = weight_files(folder)
        kinds = {dtype for dtype, _ in shapes(files).values()}
    except TensorsBroken as error:
        raise BaseRefused(str(error)) from error
    if odd := sorted(kinds - FLOATS):
        raise BaseRefused(f"The base holds tensors of {', '.join(odd)}: it is quantised. Name the unquantised one.")
    tokenizer = _tokenizer(folder, adapter)
    _check_fit(folder, adapter)
    size, done, mark = sum(file.stat().st_size for file in files), 0, ""
    for more, mark in fingerprint(files):  # noqa: B007
        done += more
        told(min(1.0, done / size))
    _check_training(adapter, mark, tokenizer)
    return Base(folder, tokenizer, size, mark)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a checkpoint's `file`. Raises `BaseRefused`."""
    folder = file.parent
    if not folder.is_dir():
        raise BaseRefused(f"There is no folder {folder}. Name the folder of an unquantised transformers checkpoint.")
    if not file.is_file():
        if packed := next(folder.glob("*.gguf"), None):
            raise BaseRefused(f"{packed} is packed as GGUF; name the unquantised checkpoint in safetensors.")
        raise BaseRefused(f"{folder} is no transformers checkpoint: it has no {file.name}.")
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise BaseRefused(f"{file} can't be read: {error}.") from error
    if not isinstance(content, dict):
        raise BaseRefused(f"{file} is not a JSON object.")
    return content


def read_tokenizer(folder: Path) -> Any:
    """The fast tokenizer in `folder`, None where there is none. Raises `BaseRefused`."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        return None
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises plain exceptions for a damaged file
        raise BaseRefused(f"The tokenizer in {folder} can't be read: {error}") from error


def check_plain(config: Mapping[str, Any]) -> None:
    """Raise `BaseRefused` for a checkpoint, by its configuration, that is quantised or runs code of its own."""
    if quantised := config.get("quantization_config"):
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, Mapping) else quantised
        raise BaseRefused(
            f"The base is quantised ({method}). A merge onto rounded weights is another model than the one that was "
            "trained; name the unquantised checkpoint."
        )
    if config.get("auto_map"):
        raise BaseRefused("The base brings code of its own, which is not run here. Name a checkpoint without it.")


def _tokenizer(folder: Path, adapter: Adapter) -> Any:
    """The base's tokenizer with the chat template that the adapter was trained with."""
    tokenizer = read_tokenizer(folder)
    if tokenizer is None:
        raise BaseRefused(f"{folder} has no tokenizer (tokenizer.json); a checkpoint without one can't be served.")
    own = read_tokenizer(adapter.folder)
    template = own.chat_template if own is not None else None
    if own is not None and own.get_vocab() != tokenizer.get_vocab():
        raise BaseRefused("The adapter comes with another vocabulary than the base's; it is for another base.")
    if template and tokenizer.chat_template and template != tokenizer.chat_template:
        raise BaseRefused(
            "The adapter comes with another chat template than the base's. What is served must have the one that the "
            "adapter was trained with: remove the other (chat_template.jinja, or in tokenizer_config.json)."
        )
    tokenizer.chat_template = tokenizer.chat_template or template
    if not tokenizer.chat_template:
        raise BaseRefused("Neither base nor adapter has a chat template. Put chat_template.jinja beside the tokenizer.")
    return tokenizer


def _check_fit(folder: Path, adapter: Adapter) -> None:
    """Hold the adapter's names and shapes against an empty model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            empty = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    except (ValueError, KeyError, OSError, AttributeError) as error:
        raise BaseRefused(f"{folder} is no checkpoint that transformers knows: {error}") from error
    if faults := misfits(adapter, empty):
        more = f" and {len(faults) - FAULTS} more" if len(faults) > FAULTS else ""
        named = f"It was trained on {adapter.base!r}. " if adapter.base else ""
        raise BaseRefused(f"The adapter is for another base. {named}{'; '.join(faults[:FAULTS])}{more}.")


def _check_training(adapter: Adapter, mark: str, tokenizer: Any) -> None:
    """Hold the manifest that training leaves beside an adapter, where there is one, against base and template."""
    if not (adapter.folder / MANIFEST).is_file():
        return
    trained = read_json(adapter.folder / MANIFEST)
    for field, word, now in (
        ("base", "base", mark),
        ("template", "chat template", digest(tokenizer.chat_template)),
        ("frame", "system frame", frame_mark()),
    ):
        if (known := trained.get(field, now)) != now:
            raise BaseRefused(
                f"The adapter was trained with another {word}: its manifest has {str(known)[:12]}, here it is "
                f"{now[:12]}."
            )
