"""Adapters on a vLLM server, loaded and forgotten while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from models.completion import ModelMissing, ServerFailed
from models.engine import EngineRefused, ParameterRefused

Post = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Sends a body to a path below /v1; raises `EngineError`."""


async def load(post: Post, name: str, folder: PurePath) -> None:
    """Let vLLM load the stored adapter in `folder`. Raises `EngineRefused` where it can't."""
    try:
        await post("load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
    except ModelMissing as error:
        raise EngineRefused(
            f"The language model's server can't load the adapter {name}. Is it vLLM with --enable-lora and "
            f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=true, and does it see {folder}? ({error})"
        ) from error
    except (ParameterRefused, ServerFailed) as error:
        if "already been loaded" not in str(error):  # by another request, or another process
            raise EngineRefused(f"The adapter {name} can't be loaded: {error}") from error


async def unload(post: Post, name: str) -> None:
    """Let vLLM forget an adapter, if it has it."""
    with suppress(ModelMissing):
        await post("unload_lora_adapter", {"lora_name": name})
