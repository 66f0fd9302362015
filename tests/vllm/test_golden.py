"""Real vLLM reads the golden prompts, and a manifest's turns, as we do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from models.golden import TURNS, frame_mark, golden_prompts, template_mark, tokens_of
from models.manifest import Manifest, ServedOtherwise, Source
from models.template import ChatTemplate
from models.vllm import VllmEngine
from models.vllm_process import Launch


@pytest.fixture(scope="module")
def tokenizer(vllm_launch: Launch) -> Any:
    return AutoTokenizer.from_pretrained(vllm_launch.model, local_files_only=True)


async def test_the_golden_prompts_are_the_same_tokens_in_both_engines(vllm: VllmEngine, tokenizer: Any) -> None:
    template = ChatTemplate(tokenizer)
    for prompt in (*golden_prompts("late"), *golden_prompts("classic"), TURNS):
        assert await vllm._served.tokens_of(prompt) == template.encode(prompt)
    assert await vllm._served.tokens_of(TURNS) == tokens_of(tokenizer, TURNS)


async def test_it_speaks_for_its_own_manifest_and_for_no_other(
    vllm: VllmEngine, tokenizer: Any, tmp_path: Path
) -> None:
    source, mark = Source("mara", ""), template_mark(tokenizer)
    Manifest(source, source, mark, frame_mark(), "bfloat16", "2026-11-27", {}, {}, {}).write(tmp_path)
    await vllm._served.prove(tmp_path)
    tokenizer.chat_template = tokenizer.chat_template.replace("helpful", "sullen") + " "
    Manifest(source, source, template_mark(tokenizer), frame_mark(), "bfloat16", "", {}, {}, {}).write(tmp_path)
    with pytest.raises(ServedOtherwise, match="another chat template"):
        await vllm._served.prove(tmp_path)
    vllm._proven = True
