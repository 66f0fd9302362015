"""What an OpenAI-compatible server can tell of the chat template that it serves: vLLM's paths beside /v1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.connection import Connection
from models.engine import EngineError, EngineRefused, ParameterRefused
from models.fold import PLACES, PROBE, Place, fold, keeps_its_place
from models.manifest import ServedOtherwise, check_frame, check_tokens, read_manifest
from models.scene import Message
from models.thoughts import opened_by

TEMPLATE_END = 16
"""Tokens of a prompt's end that hold whatever a template begins a reply with."""


class Served:
    """Asks the server behind `connection` about its `model`, `seconds` for each question."""

    def __init__(self, connection: Connection, model: str, seconds: float) -> None:
        self._connection = connection
        self._model = model
        self._seconds = seconds

    async def prove(self, file: Path) -> None:
        """Raise `ServedOtherwise` unless the server serves as the manifest in `file` says."""
        manifest = read_manifest(file)
        check_frame(manifest)
        if manifest.template.tokens:
            try:
                tokens = await self.tokens_of(manifest.template.turns)
            except EngineRefused as error:
                raise ServedOtherwise(f"The server can't be held against {file}. {error}") from error
            check_tokens(manifest, tokens)

    async def opening(self) -> str:
        """The tag of a thought that the template begins a reply with, or nothing. Raises `EngineError`."""
        read = await self._beside("tokenize", {"messages": [{"role": "user", "content": "…"}]})
        end = list(read.get("tokens") or ())[-TEMPLATE_END:]
        written = await self._beside("detokenize", {"tokens": end})
        return opened_by(str(written.get("prompt", "")))

    async def place(self) -> Place | None:
        """Where the template takes system messages, seen in what is made of a probe; None where nobody can be asked.

        A server that does not know is taken to take them anywhere.
        """
        for place in PLACES:
            try:
                messages = [{"role": message.role, "content": message.content} for message in fold(PROBE, place)]
                read = await self._beside("tokenize", {"messages": messages, "add_generation_prompt": True})
                told = await self._beside("detokenize", {"tokens": read.get("tokens")})
            except ParameterRefused:
                continue
            except EngineRefused:
                break
            except EngineError:
                return None
            if keeps_its_place(str(told.get("prompt"))):
                return place
        return "anywhere"

    async def tokenize(self, text: str) -> dict[str, Any]:
        """What vLLM makes of one text: `tokens`, and their `count`. Raises `EngineError`."""
        answer = await self._beside("tokenize", {"prompt": text, "add_special_tokens": False})
        if not isinstance(answer.get("count"), int):
            raise EngineRefused("The server's /tokenize did not answer with a count. Is it vLLM?")
        return answer

    async def tokens_of(self, turns: Sequence[Message]) -> list[int]:
        """The token ids that the chat template makes of `turns`."""
        rows = [{"role": turn.role, "content": turn.content} for turn in turns]
        answer = await self._beside("tokenize", {"messages": rows, "add_generation_prompt": True})
        if not isinstance(tokens := answer.get("tokens"), list):
            raise EngineRefused("The server's /tokenize did not answer with tokens. Is it vLLM?")
        return tokens

    async def _beside(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """What vLLM answers at one of the paths that lie beside /v1, not below."""
        url = f"{self._connection.url.removesuffix('/v1')}/{name}"
        return await self._connection.json("POST", url, self._seconds, {"model": self._model} | body)
