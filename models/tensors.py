"""Safetensors files on disk: which belong to a checkpoint, what they hold, whether they are whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


class TensorsBroken(ValueError):
    """A file is missing, cut short, or no safetensors file."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the checkpoint in `folder`, by name. Raises `TensorsBroken`."""
    if (folder / INDEX).is_file():
        try:
            names = set(json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise TensorsBroken(f"{folder / INDEX} can't be read: {error}.") from error
        files = [folder / str(name) for name in sorted(names)]
    else:
        files = [folder / WEIGHTS]
    if missing := [file.name for file in files if not file.is_file()]:
        raise TensorsBroken(
            f"{folder} lacks {', '.join(missing)}. Weights have to be safetensors; .bin files run code."
        )
    return files


def shapes(files: Sequence[Path]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Every tensor's dtype, as safetensors spells it, and shape. Raises `TensorsBroken`."""
    found = {}
    for file in files:
        with opened(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                found[name] = (part.get_dtype(), tuple(part.get_shape()))
    return found


def fingerprint(files: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """SHA-256 over names, dtypes, shapes and bytes of all tensors, however they are divided into files.

    Yields, after each tensor, how many bytes it had and the hash so far; the last is the fingerprint.
    """
    places = {name: file for file in files for name in shapes([file])}
    total = hashlib.sha256()
    for name in sorted(places):
        with opened(places[name]) as tensors:
            tensor = tensors.get_tensor(name)
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(raw(tensor))
        yield tensor.nbytes, total.hexdigest()


def raw(tensor: Any) -> Any:
    """The bytes of a tensor on the CPU, uint8 [bytes]."""
    import torch

    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped into memory. Raises `TensorsBroken`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except (SafetensorError, OSError) as error:
        raise TensorsBroken(f"{file} is cut short or damaged: {error}.") from error
