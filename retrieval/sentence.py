"""The production encoder: any sentence-transformers model, with the prompts its family was trained with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from retrieval.bert import plain_bert
from retrieval.encoder import Vectors
from retrieval.text import legible

DType = Literal["auto", "float32", "bfloat16", "float16"]

# A line or an exchange fits; a hostile text costs no more than a window.
WINDOW = 512
BATCH = 32

_QWEN3_TASK = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@dataclass(frozen=True)
class Prompts:
    """What goes before a text that searches, and before one that is searched."""

    query: str
    passage: str


def prompts_of(name: str) -> Prompts:
    """The prompts of a model's family, by its name: e5, instructed e5, Qwen3-Embedding; none for bge-m3 and others.

    Sources: the model cards of intfloat/multilingual-e5-*, intfloat/multilingual-e5-large-instruct,
    Qwen/Qwen3-Embedding-*, BAAI/bge-m3.
    """
    stem = Path(name).name.lower()
    if re.search(r"(^|-)e5-", stem):
        if "instruct" in stem:
            return Prompts(_QWEN3_TASK + " ", "")
        return Prompts("query: ", "passage: ")
    if "qwen3-embedding" in stem:
        return Prompts(_QWEN3_TASK, "")
    return Prompts("", "")


class SentenceEncoder:
    """A sentence-transformers model by hub name or folder (`retrieval.unpacked.unpack` makes one without a hub).

    Prompts left None are those the model ships, else its family's (`prompts_of`). `dtype` "auto" is bfloat16 where the
    device multiplies it natively, else float32; it is not part of `id`, because the vectors agree (cosine >= 0.9998
    measured). `device` None is the GPU where there is one. Texts are cut at 512 tokens. Safe to call from several
    threads; calls take turns. Code that a model repository brings is never run.
    """

    def __init__(
        self,
        path_or_name: str | Path,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        dtype: DType = "auto",
        device: str | None = None,
    ) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        name = str(path_or_name)
        family = prompts_of(name)
        precision = getattr(torch, dtype if dtype != "auto" else _native_dtype(device))
        self._model = SentenceTransformer(name, device=device, model_kwargs={"dtype": precision})
        self._model.max_seq_length = min(self._model.max_seq_length or WINDOW, WINDOW)
        shipped = self._model.prompts
        self._prompts = Prompts(
            (shipped.get("query") or family.query) if query_prompt is None else query_prompt,
            (shipped.get("document") or family.passage) if passage_prompt is None else passage_prompt,
        )
        self._plain = plain_bert(list(self._model))
        # Tokenizers keep truncation as state and fail when two threads set it at once.
        self._lock = Lock()
        self.dimension = int(self.encode_passages([""]).shape[1])
        self.id = f"{Path(name).name if Path(name).is_dir() else name}@{_revision(name, self._prompts)}"

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Texts that search: float32 [n, dimension], rows of length 1. An empty text gets the bare prompt's vector."""
        return self._encode(texts, self._prompts.query)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Texts that are searched: float32 [n, dimension], rows of length 1; empty ones as for queries."""
        return self._encode(texts, self._prompts.passage)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        safe = [legible(text, WINDOW * 8) for text in texts]
        with self._lock:
            encoded = self._plainly(safe, prompt) if self._plain else self._usually(safe, prompt)
        # Half precision leaves lengths off by up to 0.6 %.
        vectors: Vectors = encoded.float().cpu().numpy()
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _usually(self, texts: list[str], prompt: str) -> Any:
        return self._model.encode(
            texts, prompt=prompt, batch_size=BATCH, convert_to_tensor=True, show_progress_bar=False
        )

    def _plainly(self, texts: list[str], prompt: str) -> Any:
        import torch

        assert self._plain is not None, "only asked where there is one"
        limit = self._model.max_seq_length
        prompted = [prompt + text for text in texts]
        tokens = self._model.tokenizer(prompted, truncation=True, max_length=limit)["input_ids"]
        with torch.inference_mode():
            return torch.cat([self._plain(tokens[n : n + BATCH]) for n in range(0, len(tokens), BATCH)])


def _native_dtype(device: str | None) -> str:
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if capabilities.get("avx512_bf16") else "float32"


def _revision(name: str, prompts: Prompts) -> str:
    """Twelve hex digits of what makes the vectors: the hub's commit or the folder's weights, and the prompts."""
    folder = Path(name)
    weights = _weights_digest(folder) if folder.is_dir() else _commit(name)
    recipe = json.dumps([weights, prompts.query, prompts.passage, WINDOW])
    return sha256(recipe.encode()).hexdigest()[:12]


def _weights_digest(folder: Path) -> str:
    digest = sha256()
    for path in sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.bin"), folder / "tokenizer.json"]):
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def _commit(name: str) -> str:
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json")
    return Path(config).parent.name if isinstance(config, str) else "unknown"
