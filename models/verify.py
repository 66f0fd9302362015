"""Does a merged language model say what base and adapter say? Logits and greedy tokens, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TOKENS = 24
"""Tokens of a reply that are compared."""
NOISE = {"torch.float32": 1e-4, "torch.bfloat16": 0.02, "torch.float16": 0.02}
"""Divergence that rounding alone may cause, nats a token. SmolLM2 with random adapters: 2e-7 in float32, 0.002 in
bfloat16, whose weights are rounded once more by merging."""
SHARE = 0.05
"""Of what the adapter changes, the part that may be lost; matters for an adapter that overdoes everything."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A prompt's greedy reply: all token ids [1, prompt + TOKENS], and its logits, float32 [TOKENS, vocabulary]."""

    ids: Any
    logits: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """Means over all tokens. `lost` is the divergence of merged from base+adapter, `moved` that of base from it, in
    nats a token; `agreed` the share of tokens that both find likeliest.
    """

    lost: float
    moved: float
    agreed: float
    allowed: float

    @property
    def same(self) -> bool:
        """Whether the merged model says what it should."""
        return self.lost <= self.allowed


def replies(model: Any, prompts: Sequence[Sequence[int]]) -> list[Reply]:
    """What `model` answers to prompts of token ids, greedily."""
    import torch
    from transformers import GenerationConfig

    plain = GenerationConfig(do_sample=False, max_new_tokens=TOKENS, min_new_tokens=TOKENS, pad_token_id=0)
    spoken = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = torch.tensor([list(prompt)])
            ids = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=plain)
            spoken.append(Reply(ids, scores(model, ids)))
    return spoken


def scores(model: Any, ids: Any) -> Any:
    """Logits of the last `TOKENS` of `ids`, each given those before it, float32 [TOKENS, vocabulary]."""
    import torch

    with torch.inference_mode():
        return model(input_ids=ids, logits_to_keep=TOKENS + 1).logits[0, :-1].float()


def compare(spoken: Sequence[Reply], base: Sequence[Any], merged: Any) -> Comparison:
    """Hold `merged` against the replies of base+adapter; `base` are the base's logits for the same tokens."""
    import torch

    logits = torch.cat([reply.logits for reply in spoken])
    found = torch.cat([scores(merged, reply.ids) for reply in spoken])
    moved = _divergence(logits, torch.cat(list(base)))
    return Comparison(
        lost=_divergence(logits, found),
        moved=moved,
        agreed=float((logits.argmax(-1) == found.argmax(-1)).float().mean()),
        allowed=max(NOISE.get(str(merged.dtype), 0.0), SHARE * moved),
    )


def _divergence(right: Any, other: Any) -> float:
    """Mean Kullback-Leibler divergence of two tables of logits [tokens, vocabulary], in nats."""
    likely = right.log_softmax(-1)
    return max(0.0, float((likely.exp() * (likely - other.log_softmax(-1))).sum(-1).mean()))
