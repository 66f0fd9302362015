"""Adapters that are kept to speak with beside their base: a folder each, below one folder.

A name is `role@` and twelve digits of the fingerprint, so other weights have another name: vLLM's prefix cache goes by
names, and would answer with what an earlier adapter of the same name had computed.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from models.adapter import CONFIG, WEIGHTS, Adapter, AdapterRefused, read_adapter
from models.tensors import shapes
from models.whole import FolderTaken, whole_folder

ROLE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}@[0-9a-f]{12}$"
DIGITS = 12
MERGED_ONLY = ("use_dora", "modules_to_save", "lora_bias", "rank_pattern", "alpha_pattern")
"""What vLLM does not add to a base exactly, in every version; merged it is exact."""


class AdapterMissing(ValueError):
    """There is no stored adapter of this name."""


@dataclass(frozen=True, slots=True)
class StoredAdapter:
    """A kept adapter. `base` is what it calls its base, `size` its bytes, `added` when it came."""

    name: str
    base: str
    rank: int
    size: int
    added: datetime


def keep(source: Path, folder: Path, role: str) -> StoredAdapter:
    """Keep the adapter in `source` below `folder` as `role@…`; one that is there already is left as it is.

    Raises `AdapterRefused` for one that is damaged, or that can only be merged.
    """
    if not ROLE.fullmatch(role):
        raise AdapterRefused(f"{role!r} is no name for an adapter; use small letters, digits and hyphens.")
    adapter = read_adapter(source)
    _check_servable(adapter)
    name = f"{role}@{adapter.fingerprint[:DIGITS]}"
    if not (folder / name).is_dir():
        try:
            with whole_folder(folder / name) as fresh:
                for file in (CONFIG, WEIGHTS):
                    shutil.copyfile(source / file, fresh / file)
        except FolderTaken:
            raise AdapterRefused(f"{name} is being added by somebody else just now.") from None
    return _read(folder / name)


def kept(folder: Path) -> list[StoredAdapter]:
    """All that are kept, by name."""
    names = sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    return [_read(path) for path in names if re.fullmatch(NAME_PATTERN, path.name)]


def drop(folder: Path, name: str) -> None:
    """Take one away. Raises `AdapterMissing`."""
    check_kept(folder, name)
    gone = folder / f".{name}.gone"
    shutil.rmtree(gone, ignore_errors=True)
    (folder / name).replace(gone)
    shutil.rmtree(gone)


def check_kept(folder: Path, name: str) -> None:
    """Raise `AdapterMissing` unless an adapter of this name is kept."""
    if not re.fullmatch(NAME_PATTERN, name) or not (folder / name).is_dir():
        raise AdapterMissing(f"There is no adapter {name!r} here; `moodline adapters list` shows what there is.")


def _check_servable(adapter: Adapter) -> None:
    config = adapter.config
    odd = [field for field in MERGED_ONLY if config.get(field)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if odd:
        raise AdapterRefused(
            f"The adapter uses {', '.join(odd)}, which vLLM does not add to a base exactly. Merge it instead: "
            "`moodline merge`."
        )


def _read(path: Path) -> StoredAdapter:
    config = json.loads((path / CONFIG).read_text("utf-8"))
    adapter = Adapter(path, config, shapes([path / WEIGHTS]), path.name.partition("@")[2])
    size = sum(file.stat().st_size for file in path.iterdir())
    added = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return StoredAdapter(path.name, adapter.base, adapter.rank, size, added)
