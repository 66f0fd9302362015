"""Where an upstream's chat template takes system messages: asked of vLLM, or told."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.engine import Sampling
from models.fold import NOTE, Place
from models.scene import Message
from models.upstream import UpstreamEngine
from tests.peer import Peer, reply

TEMPLATES = Path(__file__).parent / "templates"
LATE = [
    Message("system", "You are Mara."),
    Message("user", "Hello."),
    Message("assistant", "Aye?"),
    Message("system", "Mara is angry."),
    Message("user", "Why?"),
]
NOTED = f"{NOTE[0]}\nMara is angry.\n{NOTE[1]}\n\nWhy?"


@pytest.fixture(scope="module")
def tokenizer(unpacked: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(unpacked, local_files_only=True)


async def roles(peer: Peer, *, system: Place | None = None, dialect: str = "vllm") -> list[str]:
    """The roles that the server is sent."""
    peer.chunks = reply("Because.")
    engine = UpstreamEngine(f"{peer.address}/v1", "mira", dialect=dialect, system=system)  # type: ignore[arg-type]
    await engine.start()
    _ = [piece async for piece in engine.stream(LATE, Sampling())]
    await engine.close()
    return [message["role"] for message in peer.asked[-1]["messages"]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("qwen-2.5", ["system", "user", "assistant", "system", "user"]),
        ("gemma-3", ["system", "user", "assistant", "user"]),
        ("mistral-nemo", ["user", "assistant", "user"]),
        ("gemma-2", ["user", "assistant", "user"]),
    ],
)
async def test_vllm_is_asked_what_its_template_takes(
    name: str, expected: list[str], peer: Peer, tokenizer: PreTrainedTokenizerFast
) -> None:
    template = (TEMPLATES / f"{name}.jinja").read_text("utf-8").removesuffix("\n")

    def apply(messages: list[dict[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False))

    peer.template = apply
    assert await roles(peer) == expected
    assert (peer.asked[-1]["messages"][-1]["content"] == NOTED) == (expected.count("system") < 2)


async def test_a_server_that_can_not_be_asked_gets_messages_as_they_are(peer: Peer) -> None:
    assert await roles(peer) == [message.role for message in LATE]
    assert await roles(peer, dialect="openai") == [message.role for message in LATE]


async def test_the_place_can_be_told(peer: Peer) -> None:
    assert await roles(peer, system="first", dialect="openai") == ["system", "user", "assistant", "user"]
    assert await roles(peer, system="nowhere", dialect="openai") == ["user", "assistant", "user"]
    assert peer.asked[-1]["messages"][-1]["content"] == NOTED
