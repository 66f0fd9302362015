"""The manifest of a merged checkpoint: what it was made of, and how it must be served. It is written last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.engine import EngineUnavailable
from models.golden import TemplateMark, digest, frame_mark, tokens_of
from models.scene import Message
from models.weights import MANIFEST

KIND = "merged"
SHOWN = 12
"""Characters of a fingerprint that a message shows."""


class ManifestUnreadable(EngineUnavailable):
    """A manifest is missing where one was named, or is not one."""


class ServedOtherwise(EngineUnavailable):
    """The checkpoint is not served as it was merged."""


@dataclass(frozen=True, slots=True)
class Source:
    """A base or an adapter: what it is called, and its fingerprint."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `manifest.json` says. Fingerprints are SHA-256 in hexadecimal, `files` are sizes in bytes with SHA-256.

    `frame` is `golden.frame_mark()`, `verified` what the comparison with base and adapter gave.
    """

    base: Source
    adapter: Source
    template: TemplateMark
    frame: str
    dtype: str
    made: str
    versions: Mapping[str, str]
    verified: Mapping[str, float]
    files: Mapping[str, tuple[int, str]]

    def write(self, folder: Path) -> None:
        """Write it into `folder` and make sure that it is on the disk."""
        text = json.dumps({"kind": KIND, **asdict(self)}, ensure_ascii=False, indent=2)
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())


def file_marks(folder: Path) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file in `folder`, each of them synced to the disk."""
    marks = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            marks[path.name] = (path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
            os.fsync(file.fileno())
    return marks


def is_merged(folder: Path) -> bool:
    """Whether `moodline merge` made the checkpoint in `folder`. The packaged one has a manifest of another kind."""
    file = folder / MANIFEST
    return file.is_file() and f'"kind": "{KIND}"' in file.read_text("utf-8", "replace")


def read_manifest(file: Path) -> Manifest:
    """The manifest in `file`, or in the folder of that name. Raises `ManifestUnreadable`."""
    file = file / MANIFEST if file.is_dir() else file
    try:
        fields = json.loads(file.read_text("utf-8"))
        if fields.pop("kind") != KIND:
            raise ValueError("it is of another kind")
        template = fields.pop("template")
        turns = tuple(Message(**turn) for turn in template["turns"])
        return Manifest(
            base=Source(**fields.pop("base")),
            adapter=Source(**fields.pop("adapter")),
            template=TemplateMark(template["text"], turns, template["tokens"]),
            files={name: (size, mark) for name, (size, mark) in fields.pop("files").items()},
            **fields,
        )
    except FileNotFoundError:
        raise ManifestUnreadable(f"There is no manifest {file}; `moodline merge` writes one.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestUnreadable(f"{file} is not the manifest of a merged checkpoint: {error}.") from error


def check_served(folder: Path, tokenizer: Any) -> None:
    """Hold a merged checkpoint and its tokenizer, as they were loaded from `folder`, against their manifest.

    Raises `ServedOtherwise` or `ManifestUnreadable`; a checkpoint that was not merged here is not looked at.
    """
    if not is_merged(folder):
        return
    manifest = read_manifest(folder)
    check_whole(manifest, folder)
    check_frame(manifest)
    check_text(manifest, digest(tokenizer.chat_template))
    if manifest.template.tokens:
        try:
            tokens = tokens_of(tokenizer, manifest.template.turns)
        except Exception as error:  # a template is a program of the checkpoint's and may raise anything
            raise ServedOtherwise(f"The chat template in {folder} refuses the manifest's turns: {error}") from error
        check_tokens(manifest, tokens)


def check_whole(manifest: Manifest, folder: Path) -> None:
    """Raise `ServedOtherwise` unless every file of the checkpoint is there at its size."""
    for name, (size, _) in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise ServedOtherwise(
                f"{path} is missing or not the file that was merged ({size:,} bytes). Copy the folder whole, or merge "
                "anew."
            )


def check_frame(manifest: Manifest) -> None:
    """Raise `ServedOtherwise` unless this version renders scenes as the one that merged."""
    if (frame := frame_mark()) != manifest.frame:
        raise ServedOtherwise(
            f"The checkpoint of {manifest.adapter.name!r} was merged for another system frame: its manifest has "
            f"{manifest.frame[:SHOWN]}, this Moodline renders {frame[:SHOWN]}. Serve it with version "
            f"{manifest.versions.get('moodline', 'unknown')}, or train and merge the adapter again with this one."
        )


def check_text(manifest: Manifest, mark: str) -> None:
    """Raise `ServedOtherwise` unless a chat template with this mark is the manifest's."""
    if mark != manifest.template.text:
        raise _other_template(manifest, manifest.template.text, mark)


def check_tokens(manifest: Manifest, tokens: Sequence[int]) -> None:
    """Raise `ServedOtherwise` unless these are the tokens that the manifest's turns make."""
    if (mark := digest(list(tokens))) != manifest.template.tokens:
        raise _other_template(manifest, manifest.template.tokens, mark)


def _other_template(manifest: Manifest, known: str, served: str) -> ServedOtherwise:
    return ServedOtherwise(
        f"The checkpoint of {manifest.adapter.name!r} is served with another chat template or tokenizer: its manifest "
        f"has {known[:SHOWN]}, what is served {served[:SHOWN]}. Serve the merged folder as it is, without a template "
        "of your own (vLLM: no --chat-template)."
    )
