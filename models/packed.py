"""A transformers language model whose step computes tokens of many streams at once.

The tokens of a step lie in one row, [1, tokens], so every matrix product reads the weights once for all streams; only
attention looks at each stream's own keys and values. Streams join, leave and have any length without padding. This is
the shape of Orca's selective batching (Yu et al., OSDI 2022), built on transformers' public `AttentionInterface`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.engine import EngineUnavailable
from models.weights import quiet_bars

ATTENTION = "moodline_packed"
ROOM = 256
"""Keys and values are allocated this many tokens at a time."""


@dataclass(slots=True)
class Past:
    """A stream's keys and values: [layers, 2, heads, capacity, size]; the first `length` tokens are valid."""

    store: Any
    length: int = 0


@dataclass(slots=True)
class Span:
    """Consecutive `tokens` of one stream that a step computes; `masks` are kept from layer to layer of the step."""

    past: Past
    tokens: Sequence[int]
    masks: dict[int, Any] = field(default_factory=dict)


class PackedModel:
    """The language model in `folder`, loaded and tried out. Blocking; use it from one thread at a time.

    Raises `EngineUnavailable` when the checkpoint can't be loaded or its architecture can't be computed packed.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        _register()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if fast_bfloat16() else torch.float32
        with quiet_bars():
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=self.dtype, attn_implementation=ATTENTION, local_files_only=True
            )
        self._model: Any = model.eval().to(self.device)
        config = model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._shape = (config.num_hidden_layers, 2, heads, 0, size)
        self.context_length: int = getattr(config, "max_position_embeddings", 2048)
        self._try_out()

    @property
    def ends(self) -> set[int]:
        """Token ids that the checkpoint itself names as the end of a reply."""
        named = self._model.generation_config.eos_token_id
        return set() if named is None else {named} if isinstance(named, int) else set(named)

    def reserve(self, past: Past | None, tokens: int) -> Past:
        """`past` (a new one for None) with room for `tokens` tokens in all."""
        import torch

        capacity = past.store.shape[3] if past else 0
        if past and tokens <= capacity:
            return past
        layers, two, heads, _, size = self._shape
        capacity = -(-tokens // ROOM) * ROOM
        store = torch.empty(layers, two, heads, capacity, size, dtype=self.dtype, device=self.device)
        length = past.length if past else 0
        if past:
            store[:, :, :, :length] = past.store[:, :, :, :length]
        return Past(store, length)

    def forward(self, spans: Sequence[Span]) -> Any:
        """Compute `spans` and extend their pasts, which must have room.

        Returns the logits after each span's last token: float32 [spans, vocabulary], on the CPU.
        """
        import torch

        ids = [token for span in spans for token in span.tokens]
        places = [span.past.length + place for span in spans for place in range(len(span.tokens))]
        last = torch.tensor([len(span.tokens) for span in spans]).cumsum(0) - 1
        with torch.inference_mode():
            logits = self._model(
                torch.tensor([ids], device=self.device),
                position_ids=torch.tensor([places], device=self.device),
                use_cache=False,
                logits_to_keep=last.to(self.device),
                spans=spans,
            ).logits[0]
        for span in spans:
            span.past.length += len(span.tokens)
        return logits.float().cpu()

    def _try_out(self) -> None:
        """Compare a prompt computed packed and in pieces with the stock computation; refuse what differs."""
        import torch

        tokens = [7, 11, 13, 17, 19, 23, 29, 31]
        reason = "its packed computation differs from the stock one"
        try:
            past, other = self.reserve(None, len(tokens)), self.reserve(None, len(tokens))
            self.forward([Span(past, tokens[:5]), Span(other, tokens[2:6])])
            self.forward([Span(other, tokens[6:7]), Span(past, tokens[5:6])])
            packed = self.forward([Span(past, tokens[6:])])[0]
            self._model.set_attn_implementation("sdpa")
            with torch.inference_mode():
                stock = self._model(torch.tensor([tokens], device=self.device), use_cache=False).logits[0, -1]
            self._model.set_attn_implementation(ATTENTION)
            if torch.cosine_similarity(packed, stock.float().cpu(), dim=0) > 0.995:
                return
        except Exception as error:  # architectures fail here in their own ways
            reason = f"{type(error).__name__}: {error}"
        raise EngineUnavailable(
            f"The embedded engine can't run this checkpoint ({type(self._model).__name__}: {reason}). Serve it with "
            "vLLM and name its URL instead."
        )


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def worker_threads() -> int:
    """Threads for one forward pass: `OMP_NUM_THREADS` where set, else all cores but one, which serves requests.

    Threads of a pass wait for each other after every matrix product. One core that something else uses therefore
    slows them all: measured on 2 cores with one busy, 24 tok/s on two threads and 180 on one.
    """
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    return max(1, len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 2) - 1)


def _register() -> None:
    """Make transformers know our attention. Registering again changes nothing."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(ATTENTION, _attend)
    AttentionMaskInterface.register(ATTENTION, lambda *_, **__: None)


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    _mask: Any,
    *,
    spans: Sequence[Span],
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Any = None,
    **_: Any,
) -> tuple[Any, None]:
    """Attention of one layer: `query` [1, heads, tokens, size], `key` and `value` alike with their own heads."""
    import torch

    if softcap is not None or s_aux is not None:
        # `PackedModel._try_out` meets this when the checkpoint is loaded, and refuses it by name.
        raise ValueError("soft-capped attention (as Gemma 2's) and sinks (as gpt-oss's) can't be computed packed")
    out = torch.empty_like(query)
    start = 0
    for span in spans:
        count, past = len(span.tokens), span.past.length
        end, total = start + count, past + count
        keys, values = span.past.store[module.layer_idx]
        keys[:, past:total] = key[0, :, start:end]
        values[:, past:total] = value[0, :, start:end]
        first = max(0, total - sliding_window) if sliding_window and count == 1 else 0
        mask = None if count == 1 else _visible(span, past, count, sliding_window or 0, query.device)
        out[:, :, start:end] = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end],
            keys[None, :, first:total],
            values[None, :, first:total],
            attn_mask=mask,
            scale=scaling,
            enable_gqa=True,
        )
        start = end
    return out.transpose(1, 2).contiguous(), None


def _visible(span: Span, past: int, count: int, window: int, device: Any) -> Any:
    """Which keys each token of `span` sees: none after itself, none `window` or more before it. Once per step."""
    import torch

    if window not in span.masks:
        mask = torch.ones(count, past + count, dtype=torch.bool, device=device).tril(past)
        span.masks[window] = mask.triu(past - window + 1) if window else mask
    return span.masks[window]
