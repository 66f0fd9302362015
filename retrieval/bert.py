"""BERT's forward pass without a framework's modules around it, for short texts on a CPU.

A network of this size spends as long in Python (module calls, hooks, mask building) as in arithmetic when a turn embeds
two short texts. The same operations on the same weights, with the three attention projections in one product, take two
thirds of the time; longer batches gain nothing and go the usual way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """Weights and biases of one layer, in the order in which they are applied."""

    attention: tuple[Tensor, Tensor]
    projection: tuple[Tensor, Tensor]
    attention_norm: tuple[Tensor, Tensor]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]


class PlainBert:
    """A `transformers` BertModel with the usual settings, mean pooling and unit length. Shares the model's weights."""

    def __init__(self, bert: Any) -> None:
        state: Mapping[str, Tensor] = bert.state_dict()
        config = bert.config
        self._heads = int(config.num_attention_heads)
        self._epsilon = float(config.layer_norm_eps)
        self._words = state["embeddings.word_embeddings.weight"]
        self._places = (
            state["embeddings.position_embeddings.weight"] + state["embeddings.token_type_embeddings.weight"][0]
        )
        self._norm = _pair(state, "embeddings.LayerNorm")
        self._layers = [_layer(state, f"encoder.layer.{n}") for n in range(config.num_hidden_layers)]

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Vectors float32 [n, dimension] of token ids int64 [n, length] where `mask` [n, length] is 1."""
        import torch
        from torch.nn import functional

        width = self._words.shape[1]
        count, length = ids.shape
        attended = None if bool(mask.all()) else mask[:, None, None, :].bool()
        state = functional.layer_norm(self._words[ids] + self._places[:length], (width,), *self._norm, self._epsilon)
        for layer in self._layers:
            together = functional.linear(state, *layer.attention)
            query, key, value = together.view(count, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=attended)
            told = functional.linear(seen.transpose(1, 2).reshape(count, length, width), *layer.projection)
            state = functional.layer_norm(state + told, (width,), *layer.attention_norm, self._epsilon)
            inner = functional.gelu(functional.linear(state, *layer.inner))
            state = functional.layer_norm(
                state + functional.linear(inner, *layer.outer), (width,), *layer.norm, self._epsilon
            )
        weights = mask.unsqueeze(-1).to(torch.float32)
        mean = (state.float() * weights).sum(dim=1) / weights.sum(dim=1)
        return functional.normalize(mean, dim=1)


def plain_bert(modules: Sequence[Any]) -> PlainBert | None:
    """What computes the same as these sentence-transformers modules; None when they are not plainly BERT on a CPU."""
    if [type(module).__name__ for module in modules] != ["Transformer", "Pooling", "Normalize"]:
        return None
    bert: Any = getattr(modules[0], "auto_model", None) or getattr(modules[0], "model", None)
    if type(bert).__name__ != "BertModel" or bert.device.type != "cpu" or bert.config.hidden_act != "gelu":
        return None
    pooling = modules[1].get_config_dict()
    mean = pooling.get("pooling_mode") == "mean" or pooling.get("pooling_mode_mean_tokens")
    usual = getattr(bert.config, "position_embedding_type", None) in {None, "absolute"}
    return PlainBert(bert) if mean and usual and pooling.get("include_prompt", True) else None


def _layer(state: Mapping[str, Tensor], name: str) -> Layer:
    import torch

    parts = [_pair(state, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
    weight, bias = (torch.cat([part[n] for part in parts]).contiguous() for n in (0, 1))
    return Layer(
        attention=(weight, bias),
        projection=_pair(state, f"{name}.attention.output.dense"),
        attention_norm=_pair(state, f"{name}.attention.output.LayerNorm"),
        inner=_pair(state, f"{name}.intermediate.dense"),
        outer=_pair(state, f"{name}.output.dense"),
        norm=_pair(state, f"{name}.output.LayerNorm"),
    )


def _pair(state: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return state[f"{name}.weight"], state[f"{name}.bias"]
