"""A checkpoint is sampled as its makers say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.engine import Sampling
from models.sampler import Sampler
from models.taste import FAMILIES, LLAMA, SMALL, Taste, taste_of


def folder(place: Path, config: dict[str, Any], generation: Any = None) -> Path:
    (place / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (place / "generation_config.json").write_text(
            generation if isinstance(generation, str) else json.dumps(generation)
        )
    return place


def test_the_checkpoints_own_file_comes_first_and_what_it_leaves_out_is_off(tmp_path: Path) -> None:
    own = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20}
    assert taste_of(folder(tmp_path, {"model_type": "qwen2"}, own)) == Taste(0.6, 0.95, 20, 0.0, 1.0)


@pytest.mark.parametrize("generation", [None, {"eos_token_id": 2}, {"do_sample": False, "temperature": 0.1}, "{", "[]"])
def test_a_file_that_says_nothing_of_it_leaves_it_to_the_family(tmp_path: Path, generation: Any) -> None:
    assert taste_of(folder(tmp_path, {"model_type": "qwen3"}, generation)) == FAMILIES["qwen3"]


@pytest.mark.parametrize(
    ("config", "taste"),
    [
        ({"model_type": "llama", "hidden_size": 4096}, LLAMA),
        ({"model_type": "llama", "hidden_size": 576}, SMALL),
        ({"model_type": "unheard-of"}, SMALL),
        ({}, SMALL),
    ],
)
def test_a_small_or_unknown_model_keeps_its_repetition_penalty(
    tmp_path: Path, config: dict[str, Any], taste: Taste
) -> None:
    assert taste_of(folder(tmp_path, config)) == taste


@pytest.mark.parametrize("value", [None, "hot", True, -1, 1e9, float("nan")])
def test_a_number_that_cannot_be_is_taken_as_absent(tmp_path: Path, value: Any) -> None:
    own = {"temperature": value, "top_p": value, "top_k": value if value != 1e9 else -1, "repetition_penalty": value}
    assert taste_of(folder(tmp_path, {}, own)) == Taste(1.0, 1.0, 0, 0.0, 1.0)


def test_what_a_request_says_wins(tmp_path: Path) -> None:
    taste = Taste(0.3, 0.5, 7, 0.1, 1.2)
    plain = Sampler(Sampling(), [], taste=taste)
    assert (plain.temperature, plain.top_p, plain.top_k, plain.min_p, plain.repetition_penalty) == (
        0.3,
        0.5,
        7,
        0.1,
        1.2,
    )
    off = Sampler(Sampling(temperature=0, top_p=1, top_k=0, min_p=0, repetition_penalty=1), [], taste=taste)
    assert (off.temperature, off.top_p, off.top_k, off.min_p, off.repetition_penalty) == (0, 1, 0, 0, 1)
