"""Real vLLM speaks with adapters beside their base as the merged checkpoint does alone."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.engine import ADAPTER, EngineRefused, Sampling
from models.golden import tokens_of
from models.merge import merge
from models.scene import Message
from models.stored import drop, keep
from models.vllm import VllmEngine
from models.vllm_process import Launch
from tests.adapters import TOKENIZER, random_adapter

PIRATE = [Message("system", "You are Captain Mira, a pirate."), Message("user", "Hello captain! Where are we going?")]
GREEDY = Sampling(max_tokens=16, min_tokens=16, temperature=0, repetition_penalty=1)


@pytest.fixture(scope="module")
def base(vllm_launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 in float32, where two ways to compute the same agree on every token."""
    folder = tmp_path_factory.mktemp("base") / "smollm2"
    model = AutoModelForCausalLM.from_pretrained(vllm_launch.model, dtype=torch.float32, local_files_only=True)
    model.save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copyfile(Path(vllm_launch.model) / name, folder / name)
    return folder


@pytest.fixture(scope="module")
async def engine(
    vllm_launch: Launch, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VllmEngine]:
    shelf = tmp_path_factory.mktemp("shelf")
    options = (*vllm_launch.options, "--dtype", "float32")
    launch = dataclasses.replace(vllm_launch, model=str(base), options=options, adapters=1, context_length=512)
    engine = VllmEngine(launch, adapters=shelf)
    await engine.start()
    yield engine
    await engine.close()


async def say(engine: VllmEngine, adapter: str | None = None) -> str:
    events = engine.stream(PIRATE, dataclasses.replace(GREEDY, adapter=adapter))
    return "".join([event async for event in events if isinstance(event, str)])


def spoken(folder: Path) -> str:
    """What transformers says with the checkpoint in `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", local_files_only=True)
    prompt = torch.tensor([tokens_of(tokenizer, PIRATE)])
    ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, min_new_tokens=16,
                         do_sample=False, pad_token_id=0)[0, prompt.shape[1] :]  # fmt: skip
    return str(tokenizer.decode(ids, skip_special_tokens=True))


async def test_merged_and_base_with_adapter_say_the_same(engine: VllmEngine, base: Path, tmp_path: Path) -> None:
    assert ADAPTER in engine.abilities
    assert engine._adapters
    shelf = Path(engine._adapters)
    sources = [random_adapter(base, tmp_path / f"adapter{n}", strength=0.04, seed=n) for n in range(2)]
    names = [keep(source, shelf, "mira").name for source in sources]
    plain = await say(engine)
    assert plain == spoken(base)
    merge(sources[0], base, tmp_path / "merged", made="2026-11-27", moodline="0")
    first, second = [await say(engine, name) for name in names]
    assert first == spoken(tmp_path / "merged")
    assert len({plain, first, second}) == 3
    # More adapters than a step holds: they take turns.
    assert (await say(engine, names[0]), await say(engine), await say(engine, names[1])) == (first, plain, second)
    await engine.drop_adapter(names[1])
    assert await say(engine, names[1]) == second, "as after a restart, it is loaded again"
    drop(shelf, names[0])
    await engine.drop_adapter(names[0])
    await engine.drop_adapter(names[0])
    with pytest.raises(EngineRefused, match=names[0]):
        await say(engine, names[0])
    large = random_adapter(base, tmp_path / "large", r=64)
    with pytest.raises(EngineRefused, match=r"can't be loaded.*rank 64"):
        await say(engine, keep(large, shelf, "mira").name)
    assert await say(engine) == plain
