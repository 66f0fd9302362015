"""BERT's forward pass without a framework's modules around it, for texts of any lengths on a CPU.

Three things make it half as long as the usual way. Texts stand behind one another in one table of tokens, so that none
is padded to the longest; only attention looks at each by itself. Weights are laid out once as oneDNN multiplies them,
not anew in every call. And Python is passed a few times a layer (the three attention projections are one product, bias,
GELU and residual belong to the product before them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Product:
    """`rows @ weight.T + bias`, with the weight laid out for oneDNN where that is possible."""

    weight: Tensor
    bias: Tensor
    packed: bool

    def __call__(self, rows: Tensor) -> Tensor:
        """The product, [tokens, width]."""
        import torch

        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return torch.nn.functional.linear(rows, self.weight, self.bias)

    def gelu(self, rows: Tensor) -> Tensor:
        """The product's GELU."""
        import torch

        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "gelu", [], "none")
        return torch.nn.functional.gelu(self(rows))

    def plus(self, rows: Tensor, more: Tensor) -> Tensor:
        """The product and `more`, added."""
        import torch

        if self.packed:
            return torch.ops.mkldnn._linear_pointwise.binary(rows, more, self.weight, self.bias, "add")
        return self(rows) + more


@dataclass(frozen=True)
class Layer:
    """One layer's products and norms, in the order in which they are applied."""

    attention: Product
    projection: Product
    attention_norm: Pair
    inner: Product
    outer: Product
    norm: Pair


class PlainBert:
    """A `transformers` BertModel with the usual settings, mean pooling and unit length."""

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

    def __call__(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Vectors float32 [n, dimension] of texts' token ids, each at least one and no more than there are places."""
        import torch
        from torch.nn import functional

        sizes = [len(ids) for ids in texts]
        words = self._words[torch.tensor([one for ids in texts for one in ids])]
        state = self._normed(words + torch.cat([self._places[:size] for size in sizes]), self._norm)
        for layer in self._layers:
            seen = self._attended(layer.attention(state), sizes)
            state = self._normed(layer.projection.plus(seen, state), layer.attention_norm)
            state = self._normed(layer.outer.plus(layer.inner.gelu(state), state), layer.norm)
        means = torch.stack([part.float().mean(dim=0) for part in state.split(sizes)])
        return functional.normalize(means, dim=1)

    def _normed(self, rows: Tensor, norm: Pair) -> Tensor:
        from torch.nn import functional

        return functional.layer_norm(rows, rows.shape[1:], *norm, self._epsilon)

    def _attended(self, projected: Tensor, sizes: Sequence[int]) -> Tensor:
        """What each token [tokens, width] sees in its own text, of queries, keys and values [tokens, 3 x width]."""
        import torch
        from torch.nn import functional

        seen = []
        for part in projected.view(len(projected), 3, self._heads, -1).split(list(sizes)):
            query, key, value = part.permute(1, 2, 0, 3).unsqueeze(1)
            attended = functional.scaled_dot_product_attention(query, key, value)
            seen.append(attended[0].transpose(0, 1).reshape(len(part), -1))
        return torch.cat(seen)


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
    return Layer(
        attention=_product(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])),
        projection=_product(*_pair(state, f"{name}.attention.output.dense")),
        attention_norm=_pair(state, f"{name}.attention.output.LayerNorm"),
        inner=_product(*_pair(state, f"{name}.intermediate.dense")),
        outer=_product(*_pair(state, f"{name}.output.dense")),
        norm=_pair(state, f"{name}.output.LayerNorm"),
    )


def _product(weight: Tensor, bias: Tensor) -> Product:
    import torch

    # The operators that torch's own compiler emits for a CPU; a build without oneDNN lacks them.
    mkldnn = torch.ops.mkldnn
    packed = torch.backends.mkldnn.is_available() and (
        weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and mkldnn._is_mkldnn_bf16_supported())
    )
    return Product(mkldnn._reorder_linear_weight(weight.contiguous()) if packed else weight, bias, packed)


def _pair(state: Mapping[str, Tensor], name: str) -> Pair:
    return state[f"{name}.weight"], state[f"{name}.bias"]
