"""What vLLM writes while it starts and when it dies, as sentences for a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

KILLED = 128 + 9
"""The status of a process that was ended by SIGKILL."""
PREFIX = re.compile(r"^\((?:APIServer|EngineCore|Worker)\S*(?: pid=\d+)?\) ?")
STAMP = re.compile(r"^(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\S+ )?\[[^\]]*\] ?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why vLLM is not there, as a sentence that says what to do; `final` where trying again changes nothing."""

    sentence: str
    final: bool = False


STAGES = (
    (r"\bversion (\d\S*)$", r"version \1"),
    (r"Resolved architecture: (\w+)", r"the checkpoint is a \1"),
    (r"^(\S+\.(?:safetensors|bin|gguf|json)): +(\d+%)", r"downloading \1, \2"),
    (r"^Fetching (\d+) files: +(\d+%)", r"downloading \1 files, \2"),
    (r"Time spent downloading weights for (\S+): ([\d.]+)", r"\1 was downloaded in \2 s"),
    (r"Starting to load model", "reading the weights"),
    (r"Loading \w+ checkpoint shards: +(\d+%)", r"reading the weights, \1"),
    (
        r"Model loading took ([\d.]+) GiB(?: memory)? and ([\d.]+?\d)\d* seconds",
        r"the weights take \1 GiB, read in \2 s",
    ),
    (r"torch\.compile (?:takes|took) ([\d.]+) s", r"compiled in \1 s"),
    (r"Capturing CUDA graphs[^:]*: +(\d+%)", r"capturing CUDA graphs, \1"),
    (r"KV cache size: ([\d,]+) tokens", r"room for \1 tokens"),
    (r"Starting vLLM server", "opening its door"),
)
"""What a line of the log tells about the start."""

MEMORY = (
    "Give it more room or ask for less: other programs on the card closed, a smaller or quantised model, a smaller "
    'MOODLINE_CONTEXT_TOKENS, or MOODLINE_VLLM_OPTIONS="--gpu-memory-utilization 0.95".'
)
FAULTS = (
    (
        r"^guard: (.+)",
        "There is no python to run vLLM with ({0}). MOODLINE_VLLM_PYTHON is {python}; it has to be the python of an "
        "environment that has vLLM.",
        True,
    ),
    (
        r"No module named '?vllm\b",
        "vLLM is not installed for {python}. Run `pip install -e '.[gpu]'` there, or let MOODLINE_VLLM_PYTHON name the "
        "python of an environment that has it.",
        True,
    ),
    (
        r"unrecognized arguments: (.+)",
        "This vLLM does not know {0}. Moodline needs vLLM 0.19 or newer; MOODLINE_VLLM_OPTIONS must be options it has.",
        True,
    ),
    (
        r"(?:api_server\.py|__main__\.py|vllm): error: (.+)",
        "vLLM refuses its options: {0}. Look at MOODLINE_VLLM_OPTIONS.",
        True,
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device"
        r"|libcuda\.so\.1: cannot open",
        "vLLM finds no GPU. Does `nvidia-smi` list one here, and may this process or container use it? Without a GPU "
        "take `--engine local`, or a build of vLLM for CPUs.",
        True,
    ),
    (
        r"(?:driver on your system is too old|CUDA driver version is insufficient|no kernel image is available)",
        "The GPU or its driver is too old for this vLLM. Update the driver, or install a vLLM built for it.",
        True,
    ),
    (
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\S*?=(\d+)",
        "The model reads at most {1} tokens, and MOODLINE_CONTEXT_TOKENS asks for {0}. Set it to {1} or less.",
        True,
    ),
    (
        r"max seq len \((\d+)\).*estimated maximum model length is (\d+)",
        "The memory left on the card holds no conversation of {0} tokens, but one of {1}. Set MOODLINE_CONTEXT_TOKENS "
        "to {1}, or take a smaller or quantised model.",
        False,
    ),
    (
        r"To serve at least one request with the model's max seq len \((\d+)\)",
        "The memory left on the card holds no conversation of {0} tokens. " + MEMORY,
        False,
    ),
    (
        r"No available memory for the cache blocks",
        "The weights leave no memory for conversations. " + MEMORY,
        False,
    ),
    (
        r"(Free memory on device \S* ?\([^)]*\).*?is less than desired GPU memory utilization \([^)]*\))",
        "Something else uses the card's memory. {0}. " + MEMORY,
        False,
    ),
    (
        r"OutOfMemoryError|CUDA out of memory|DefaultCPUAllocator: can't allocate",
        "vLLM ran out of memory. " + MEMORY,
        False,
    ),
    (
        r"Model architectures \[.*\] are not supported|Unrecognized model in|does not recognize this architecture",
        "vLLM can't compute the model {model}: its kind is unknown to this version. A newer vLLM may know it.",
        True,
    ),
    (
        r"gated repo|401 Client Error|403 Client Error",
        "The model hub does not hand out {model} without a permission. Accept its terms there and set HF_TOKEN.",
        True,
    ),
    (
        r"Repo id must be in the form|is not a local folder and is not a valid model identifier|RepositoryNotFoundError"
        r"|404 Client Error|does not appear to have a file named|Can't load the configuration of"
        r"|Invalid repository ID or local directory|Cannot find any model weights|config\.json. not found",
        "{model} is neither a folder with a whole checkpoint (config.json, weights, a tokenizer) nor the name of one "
        "on the model hub. A LoRA adapter has to be merged first.",
        True,
    ),
    (
        r"LocalEntryNotFoundError|OfflineModeIsEnabled|Cannot reach https?://|couldn't connect to|MaxRetryError"
        r"|Failed to resolve|ConnectionError",
        "{model} has to be downloaded, and the model hub can't be reached. Name a folder with a checkpoint, or look at "
        "the network, HF_ENDPOINT and HF_HUB_OFFLINE.",
        False,
    ),
    (
        r"((?:SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader|JSONDecodeError)\S*.*"
        r"|Error while deserializing header.*|There is no module or parameter named .*|size mismatch for .*)",
        "The checkpoint {model} is damaged or incomplete ({0}). Copy or download it again.",
        True,
    ),
    (
        r"No space left on device",
        "The disk is full. Make room where models are downloaded to (HF_HOME) and in /tmp.",
        False,
    ),
    (r"ipc path .* is longer than|AF_UNIX path too long", "The folder for sockets is too deep. Set TMPDIR=/tmp.", True),
    (
        r"((?:ImportError|ModuleNotFoundError|AttributeError: module|OSError: \S+\.so|RuntimeError: operator).*)",
        "vLLM's environment does not fit together ({0}). Its torch, transformers and CUDA have to be the versions that "
        "vLLM was built for: install vLLM anew into an environment of its own and name that one's python in "
        "MOODLINE_VLLM_PYTHON.",
        True,
    ),
)
"""Pattern in the log, what it means ({0} is its first group), and whether that is final. The first that fits wins."""

HARMLESS = re.compile(r"(?:DEBUG|INFO|WARNING) \d\d-\d\d ")
"""Many a warning at the start names an import that failed and is not missed."""
VAGUE = re.compile(r"Engine core initialization failed|EngineDeadError|WorkerProc initialization failed|SystemExit")


def plain(line: str) -> str:
    """A line without vLLM's own prefixes."""
    return STAMP.sub("", PREFIX.sub("", line)).strip()


def progress(line: str) -> str | None:
    """What `line` tells about the start; None for most lines."""
    for pattern, told in STAGES:
        if found := re.search(pattern, plain(line)):
            return found.expand(told)
    return None


def fault(lines: Sequence[str], status: int, *, python: str, model: str) -> Fault:
    """Why vLLM ended with `status` after it wrote `lines`."""
    text = "\n".join(plain(line) for line in lines if not HARMLESS.match(PREFIX.sub("", line)))
    for pattern, sentence, final in FAULTS:
        if found := re.search(pattern, text, re.MULTILINE):
            groups = [(group or "").strip().rstrip(".") for group in found.groups()]
            return Fault(sentence.format(*groups, python=python, model=model), final)
    if status == KILLED:
        return Fault("vLLM was killed (SIGKILL): most often the machine ran out of memory, or somebody killed it.")
    return Fault(f"vLLM ended with status {status}{_last_error(lines)}.")


def _last_error(lines: Sequence[str]) -> str:
    """The last line that names an exception, unless it only points at another one."""
    errors = [text for line in lines if re.match(r"[\w.]*(?:Error|Exception)\b", text := plain(line))]
    telling = [text for text in errors if not VAGUE.search(text)] or errors
    return f": {telling[-1].rstrip('.')}" if telling else ""
