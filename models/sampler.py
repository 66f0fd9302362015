"""The choice of the next token from logits, request by request."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engine import ParameterRefused, Sampling
from models.taste import SMALL, Taste
from models.unsaid import Unsaid
from models.vocabulary import Constraint, Vocabulary

GREEDY_BELOW = 1e-5
"""A temperature this low is taken as 0: dividing by it would overflow (vLLM draws the line at the same place)."""

CANDIDATES = 256
"""How many of the likeliest tokens are looked at before the whole vocabulary is sorted, 20 times the work."""


def check_sampling(sampling: Sampling) -> None:
    """Raise `ParameterRefused`, naming the field, unless every number lies where sampling is defined."""
    allowed = (
        ("max_tokens", sampling.max_tokens >= 1, "at least 1"),
        ("temperature", _within(sampling.temperature, 0, 100), "between 0 and 100"),
        ("top_p", _within(sampling.top_p, 0, 1) and sampling.top_p != 0, "above 0 and at most 1"),
        ("top_k", sampling.top_k is None or sampling.top_k >= -1, "at least 1, or 0 or -1 for no limit"),
        ("min_p", _within(sampling.min_p, 0, 1), "between 0 and 1"),
        ("repetition_penalty", _within(sampling.repetition_penalty, 0.01, 100), "between 0.01 and 100"),
        ("presence_penalty", _within(sampling.presence_penalty, -2, 2), "between -2 and 2"),
        ("frequency_penalty", _within(sampling.frequency_penalty, -2, 2), "between -2 and 2"),
    )
    for field, fine, range_ in allowed:
        if not fine:
            raise ParameterRefused(f"{field} is {getattr(sampling, field)}; it must be {range_}.", field)


def _within(value: float | None, low: float, high: float) -> bool:
    return value is None or low <= value <= high  # false for NaN


class Sampler:
    """One request's taste and its memory of what was said.

    Steps follow vLLM: penalties, temperature, min_p, top_k, top_p. `repetition_penalty` (CTRL, Keskar et al. 2019)
    counts prompt and reply, `presence_penalty` and `frequency_penalty` (OpenAI) the reply alone. One random number is
    drawn per token from the request's own generator, so its draws don't depend on what else runs.

    `ends` are the tokens that end a reply. They end every message of the prompt too, and when the repetition penalty
    counts them replies run on: SmolLM2's were 31 % longer. `banned` are sequences of tokens that must not be completed,
    `unsaid` texts that must not, whose bytes `vocabulary` tells; `taste` has the defaults where `sampling` says None.
    `constraint` is a grammar to keep to; but for one that lets a reply be any text, nothing is taken for a repetition
    under it unless a penalty is asked for.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Iterable[int],
        *,
        ends: Collection[int] = (),
        banned: Sequence[Sequence[int]] = (),
        constraint: Constraint | None = None,
        taste: Taste = SMALL,
        vocabulary: Vocabulary | None = None,
        unsaid: Unsaid | None = None,
    ) -> None:
        self.temperature = taste.temperature if sampling.temperature is None else sampling.temperature
        self.top_p = taste.top_p if sampling.top_p is None else sampling.top_p
        self.top_k = max(taste.top_k if sampling.top_k is None else sampling.top_k, 0)
        self.min_p = taste.min_p if sampling.min_p is None else sampling.min_p
        penalty = sampling.repetition_penalty
        usual = 1.0 if constraint and not constraint.free else taste.repetition_penalty
        self.repetition_penalty = usual if penalty is None else penalty
        self.presence_penalty = sampling.presence_penalty or 0.0
        self.frequency_penalty = sampling.frequency_penalty or 0.0
        self._random = random.Random(sampling.seed)
        self._seen = dict.fromkeys((token for token in prompt if token not in ends), 0)
        self.alternatives = sampling.logprobs
        self.constraint = constraint
        self._ends = list(ends)
        self._hold = sampling.min_tokens
        self._bias = dict(sampling.logit_bias)
        self._banned = banned
        self._said = list[int]()
        self._vocabulary = vocabulary
        self._unsaid = unsaid

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature < GREEDY_BELOW

    def penalise(self, logits: NDArray[np.float32]) -> None:
        """Lower, in place, the logits [vocabulary] of tokens that were seen."""
        if self.repetition_penalty != 1.0 and self._seen:
            ids = np.fromiter(self._seen, np.int64, len(self._seen))
            seen = logits[ids]
            logits[ids] = np.where(seen > 0, seen / self.repetition_penalty, seen * self.repetition_penalty)
        if self.presence_penalty or self.frequency_penalty:
            said = [(token, times) for token, times in self._seen.items() if times]
            if said:
                ids, times = np.array(said, np.int64).T
                logits[ids] -= self.presence_penalty + self.frequency_penalty * times.astype(np.float32)

    def restrict(self, logits: NDArray[np.float32]) -> None:
        """Bias the logits [vocabulary] and forbid what may not come next, in place; where nothing may, it ends."""
        if self._bias:
            logits[list(self._bias)] += np.fromiter(self._bias.values(), np.float32)
        if len(self._said) < self._hold:
            logits[self._ends] = -np.inf
        for *before, last in self._banned:
            if self._said[len(self._said) - len(before) :] == before:
                logits[last] = -np.inf
        if self._unsaid:
            self._unsaid.mask(logits)
        if self.constraint:
            self.constraint.mask(logits)
        if self._ends and not np.isfinite(logits.max()):
            logits[self._ends] = 0.0

    def pick(self, probabilities: NDArray[np.float64], draw: float, *, whole: bool) -> int | None:
        """The place of the chosen token among `probabilities`, those of the likeliest tokens, descending.

        `draw` lies in [0, 1). None when the answer needs tokens beyond these; never with `whole`, which says that
        these are the entire vocabulary.
        """
        cumulative = probabilities.cumsum()
        kept: int | None = len(probabilities)
        mass = 1.0
        if whole or self.top_p < 1 or self.top_k or self.min_p:
            kept = self._kept(probabilities, cumulative, whole)
            if kept is None:
                return None
            mass = float(cumulative[kept - 1])
        place = int(np.searchsorted(cumulative[:kept], draw * mass, side="right"))
        if place < len(cumulative[:kept]):
            return place
        # Rounding may leave a draw above the sum; tokens that are forbidden are not next in line for it.
        return max(0, min(place, int(np.count_nonzero(probabilities))) - 1) if whole else None

    def _kept(self, probabilities: NDArray[np.float64], cumulative: NDArray[np.float64], whole: bool) -> int | None:
        """How many of the likeliest tokens may be chosen; None when that is more than are given."""
        count = len(probabilities)
        limits = [count] if whole else []
        if 0 < self.top_k <= count:
            limits.append(self.top_k)
        if self.min_p:
            likely = int((probabilities >= self.min_p * probabilities[0]).sum())
            limits.extend([likely] if likely < count else [])
        limit = min(limits, default=None)
        if limit is None and (self.top_k or self.min_p):
            return None  # top_p is a share of what these leave, which is not known yet
        if self.top_p < 1:
            mass = float(cumulative[limit - 1]) if limit else 1.0
            nucleus = int(np.searchsorted(cumulative, self.top_p * mass)) + 1
            return nucleus if nucleus <= (limit or count) else limit
        return limit

    def take(self, token: int) -> None:
        """Remember that `token` was said."""
        self._seen[token] = self._seen.get(token, 0) + 1
        self._said.append(token)
        if self._unsaid and self._vocabulary:
            self._unsaid.take(self._vocabulary.data(token) or b"")
        if self.constraint:
            self.constraint.take(token)

    def draw(self) -> float:
        """The next random number in [0, 1)."""
        return self._random.random()


def choose(logits: Any, samplers: Sequence[Sampler]) -> list[int]:
    """The next token of each request from `logits`, a float32 torch tensor [requests, vocabulary] that is overwritten.

    What a sampler chose is remembered by it.
    """
    import torch

    for row, sampler in zip(logits.numpy(), samplers, strict=True):
        sampler.penalise(row)
        sampler.restrict(row)
    logits /= torch.tensor([1.0 if sampler.greedy else sampler.temperature for sampler in samplers]).unsqueeze(1)
    size = min(CANDIDATES, logits.shape[1])
    best, ids = logits.topk(size, dim=-1)
    probabilities = (best - logits.logsumexp(-1, keepdim=True)).exp().double().numpy()
    tokens = []
    for row, sampler in enumerate(samplers):
        draw = 0.0 if sampler.greedy else sampler.draw()
        place = 0 if sampler.greedy else sampler.pick(probabilities[row], draw, whole=size == logits.shape[1])
        token = _from_all(logits[row], sampler, draw) if place is None else int(ids[row, place])
        sampler.take(token)
        tokens.append(token)
    return tokens


def _from_all(logits: Any, sampler: Sampler, draw: float) -> int:
    """The chosen token when the likeliest candidates did not decide it."""
    ordered, ids = logits.sort(descending=True)
    place = sampler.pick(ordered.softmax(-1).double().numpy(), draw, whole=True)
    return int(ids[place])
