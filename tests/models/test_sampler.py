import collections
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import EngineRefused, Sampling
from models.sampler import CANDIDATES, Sampler, check_sampling, choose

VOCABULARY = 2000
PLAIN = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}


def logits_of(seed: int, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread


def allowed_by_definition(logits: torch.Tensor, sampling: Sampling) -> set[int]:
    """The textbook filters, one after another over the whole vocabulary."""
    probabilities = (logits[0] / sampling.temperature).double().softmax(-1)
    order = probabilities.argsort(descending=True).tolist()
    if sampling.min_p:
        order = order[: int((probabilities >= sampling.min_p * probabilities.max()).sum())]
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p == 1:
        return set(order)
    shares = probabilities[order].cumsum(0) / probabilities[order].sum()
    return set(order[: int((shares < sampling.top_p - 1e-9).sum()) + 1])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 50),
    st.sampled_from([0.3, 1.0, 5.0]),
    st.sampled_from([0, 1, 5, 300, 5000]),
    st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
)
def test_a_token_outside_the_filters_is_never_chosen(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=1, seed=seed)
    allowed = allowed_by_definition(logits_of(seed), sampling)
    sampler = Sampler(sampling, ())
    chosen = {choose(logits_of(seed), [sampler])[0] for _ in range(20)}
    assert chosen <= allowed


def test_tokens_are_chosen_as_often_as_their_probabilities_say() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
    sampler = Sampler(Sampling(seed=1, **PLAIN), ())
    times = collections.Counter(choose(logits.clone(), [sampler])[0] for _ in range(4000))
    for token, probability in enumerate(logits[0].softmax(-1).tolist()):
        assert times[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_the_tail_beyond_the_candidates_is_reached() -> None:
    sampler = Sampler(Sampling(seed=1, **PLAIN), ())
    flat = torch.zeros(1, VOCABULARY)
    chosen = {choose(flat.clone(), [sampler])[0] for _ in range(200)}
    assert len(chosen) > 100
    best = set(flat.topk(CANDIDATES).indices[0].tolist())
    assert chosen - best


def test_temperature_zero_takes_the_likeliest_token() -> None:
    sampler = Sampler(Sampling(temperature=0, repetition_penalty=1), ())
    assert choose(logits_of(4), [sampler]) == [int(logits_of(4).argmax())]


def test_a_seed_gives_the_same_tokens_whoever_shares_the_step() -> None:
    alone = Sampler(Sampling(seed=7, **PLAIN), ())
    first = [choose(logits_of(step), [alone])[0] for step in range(10)]
    shared = Sampler(Sampling(seed=7, **PLAIN), ())
    others = [Sampler(Sampling(seed=seed, **PLAIN), ()) for seed in (1, 2)]
    second = [
        choose(torch.cat([logits_of(99), logits_of(step), logits_of(98)]), [others[0], shared, others[1]])[1]
        for step in range(10)
    ]
    assert first == second


def test_without_a_seed_replies_differ() -> None:
    runs = {
        tuple(choose(torch.zeros(1, VOCABULARY), [sampler])[0] for _ in range(5))
        for sampler in (Sampler(Sampling(**PLAIN), ()) for _ in range(5))
    }
    assert len(runs) == 5


def test_the_repetition_penalty_counts_prompt_and_reply() -> None:
    sampler = Sampler(Sampling(repetition_penalty=2.0), prompt=[0, 1])
    sampler.take(2)
    logits = np.array([4.0, -4.0, 1.0, 1.0], dtype=np.float32)
    sampler.penalise(logits)
    assert logits.tolist() == [2.0, -8.0, 0.5, 1.0]


def test_presence_and_frequency_penalties_count_the_reply_alone() -> None:
    sampler = Sampler(Sampling(repetition_penalty=1, presence_penalty=0.5, frequency_penalty=0.25), prompt=[0])
    sampler.take(1)
    sampler.take(1)
    logits = np.zeros(3, dtype=np.float32)
    sampler.penalise(logits)
    assert logits.tolist() == [0.0, -1.0, 0.0]


def test_top_p_is_a_share_of_what_top_k_leaves() -> None:
    logits = torch.log(torch.tensor([[0.4, 0.2, 0.2, 0.2]]))
    sampler = Sampler(Sampling(temperature=1, top_k=2, top_p=0.6, repetition_penalty=1, seed=1), ())
    assert {choose(logits.clone(), [sampler])[0] for _ in range(50)} == {0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_k", -2),
        ("min_p", 2.0),
        ("repetition_penalty", 0.0),
        ("presence_penalty", 3.0),
        ("frequency_penalty", math.nan),
    ],
)
def test_a_number_outside_its_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(EngineRefused, match=field):
        check_sampling(Sampling(**{field: value}))


def test_every_default_and_every_edge_is_allowed() -> None:
    check_sampling(Sampling())
    check_sampling(Sampling(max_tokens=1, temperature=0, top_p=1, top_k=-1, min_p=0, repetition_penalty=1))
