"""What vLLM writes, as sentences. The lines are those of vLLM 0.32."""

from __future__ import annotations

import pytest

from models.vllm_log import Fault, fault, plain, progress


def died(*lines: str, status: int = 1) -> Fault:
    return fault(lines, status, python="/env/bin/python", model="/weights/mara")


def test_a_line_loses_what_stands_before_it() -> None:
    line = "(EngineCore pid=17870) INFO 11-27 22:50:05 [core.py:402] init engine took 3.81 s"
    assert plain(line) == "init engine took 3.81 s"
    assert plain("(APIServer pid=1) ValueError: no") == "ValueError: no"
    assert plain("ERROR 11-27 22:50:05 [core.py:1]   indented") == "indented"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "(APIServer pid=7) INFO 11-27 22:42:59 [api_utils.py:347]  ▄▄ ▄█ █  █ █ ▀▄▀ █  version 0.32.0",
            "version 0.32.0",
        ),
        (
            "(APIServer pid=7) INFO 11-27 22:49:33 [model.py:733] Resolved architecture: LlamaForCausalLM",
            "the checkpoint is a LlamaForCausalLM",
        ),
        (
            "Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:00<00:00,  6.79it/s]",
            "reading the weights, 50%",
        ),
        (
            "(Worker pid=8) INFO 11-27 22:50:01 [gpu_model_runner.py:5150] Model loading took 14.25 GiB memory "
            "and 3.712345 seconds",
            "the weights take 14.25 GiB, read in 3.7 s",
        ),
        (
            "(EngineCore pid=1) INFO 11-27 22:50:01 [kv_cache_utils.py:2327] CPU KV cache size: 46,592 tokens, "
            "Maximum concurrency for 2,048 tokens per request: 22.75x",
            "room for 46,592 tokens",
        ),
        (
            "model-00001-of-00004.safetensors:  12%|█▏        | 590M/4.98G [00:05<00:40, 108MB/s]",
            "downloading model-00001-of-00004.safetensors, 12%",
        ),
        ("Fetching 4 files:  25%|██▌       | 1/4 [00:10<00:30]", "downloading 4 files, 25%"),
        ("Capturing CUDA graphs (decode, FULL):  40%|████      | 14/35 [00:01<00:02]", "capturing CUDA graphs, 40%"),
        (
            "(APIServer pid=1) INFO 11-27 22:50:08 [entry.py:140] Starting vLLM server on unix:/run/m/s",
            "opening its door",
        ),
        ("(APIServer pid=1) INFO 11-27 22:50:08 [launcher.py:195] Route: /health, Methods: GET", None),
        ("", None),
    ],
)
def test_the_start_is_told_in_stages(line: str, told: str | None) -> None:
    assert progress(line) == told


@pytest.mark.parametrize(
    ("line", "hint", "final"),
    [
        ("guard: [Errno 2] No such file or directory: '/env/bin/python'", "MOODLINE_VLLM_PYTHON is /env/bin", True),
        ("/env/bin/python: Error while finding module specification for 'vllm.entrypoints.openai.api_server' "
         "(ModuleNotFoundError: No module named 'vllm')", "not installed for /env/bin/python", True),
        ("api_server.py: error: unrecognized arguments: --warp 9", "does not know --warp 9", True),
        ("api_server.py: error: argument --port: invalid int value: 'x'", "invalid int value: 'x'", True),
        ("ImportError: /x/vllm/_C.abi3.so: undefined symbol: _ZN3c10", "undefined symbol: _ZN3c10", True),
        ("ModuleNotFoundError: No module named 'transformers.models.new'", "does not fit together", True),
        ("RuntimeError: Failed to infer device type, please set the environment variable", "nvidia-smi", True),
        ("RuntimeError: No CUDA GPUs are available", "nvidia-smi", True),
        ("RuntimeError: The NVIDIA driver on your system is too old (found version 11040)", "driver is too old", True),
        (
            "ValueError: User-specified max_model_len (99999) is greater than the derived max_model_len "
            "(max_position_embeddings=8192 or model_max_length=None in model's config.json).",
            "at most 8192 tokens, and MOODLINE_CONTEXT_TOKENS asks for 99999",
            True,
        ),
        (
            "ValueError: To serve at least one request with the model's max seq len (8192), (4.5 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (1.0 GiB). Based on the available memory, the "
            "estimated maximum model length is 1820. Try increasing `gpu_memory_utilization` …",
            "Set MOODLINE_CONTEXT_TOKENS to 1820",
            False,
        ),
        ("ValueError: No available memory for the cache blocks. Try increasing", "--gpu-memory-utilization", False),
        (
            "ValueError: Free memory on device cuda:0 (3.2/79.1 GiB) on startup is less than desired GPU memory "
            "utilization (0.9, 71.2 GiB). Decrease GPU memory utilization or reduce GPU memory used by others.",
            "Something else uses the card's memory. Free memory on device cuda:0 (3.2/79.1 GiB)",
            False,
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "ran out of memory", False),
        ("pydantic: Value error, Model architectures ['FooLM'] are not supported for now.", "kind is unknown", True),
        ("OSError: You are trying to access a gated repo.", "set HF_TOKEN", True),
        (
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/weights/mara'.",
            "/weights/mara is neither a folder",
            True,
        ),
        ("OSError: Can't load the configuration of '/weights/mara'.", "is neither a folder", True),
        ("huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate", "hub can't be reached", False),
        ("safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata", "damaged", True),
        ("OSError: [Errno 28] No space left on device", "disk is full", False),
    ],
)  # fmt: skip
def test_a_death_is_a_sentence_that_says_what_to_do(line: str, hint: str, final: bool) -> None:
    lines = [
        "(APIServer pid=1) Traceback (most recent call last):",
        f"(EngineCore pid=2) ERROR 11-27 22:50:05 [core.py:1] {line}",
        "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    told = died(*lines)
    assert hint in told.sentence
    assert told.final == final
    assert told.sentence.endswith(".")


def test_an_unknown_death_tells_the_last_error_that_says_something() -> None:
    told = died(
        "Traceback (most recent call last):",
        "(EngineCore pid=2) ERROR 11-27 22:50:05 [core.py:9] ZeroDivisionError: division by zero",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    )
    assert told == Fault("vLLM ended with status 1: ZeroDivisionError: division by zero.")
    assert died(status=3) == Fault("vLLM ended with status 3.")


def test_a_kill_points_at_memory() -> None:
    assert "ran out of memory" in died(status=137).sentence


def test_a_warning_of_the_start_is_not_the_reason() -> None:
    told = died(
        "(APIServer pid=1) WARNING 11-27 22:49:34 [x.py:1] ImportError: libcuda.so.1: cannot open shared object file",
        "(APIServer pid=1) ValueError: No available memory for the cache blocks.",
    )
    assert "leave no memory" in told.sentence
