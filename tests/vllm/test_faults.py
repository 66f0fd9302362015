"""Why real vLLM does not start, as sentences a person can act on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from models.engine import EngineUnavailable
from models.vllm import VllmEngine
from models.vllm_process import Launch


async def failure(launch: Launch) -> str:
    engine = VllmEngine(launch)
    try:
        with pytest.raises(EngineUnavailable) as raised:
            await engine.start()
        return str(raised.value)
    finally:
        await engine.close()


async def test_what_is_wrong_with_a_launch_is_told_and_not_tried_again(vllm_launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = await asyncio.gather(
        failure(replace(vllm_launch, model=str(tmp_path / "empty"))),
        failure(replace(vllm_launch, context_length=999_999)),
        failure(replace(vllm_launch, options=("--warp", "9"))),
    )
    assert told[0].startswith(f"{tmp_path}/empty is neither a folder with a whole checkpoint")
    assert told[1].startswith("The model reads at most 8192 tokens, and MOODLINE_CONTEXT_TOKENS asks for 999999.")
    assert told[2].startswith("This vLLM does not know --warp.")
