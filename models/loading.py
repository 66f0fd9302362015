"""What the embedded engine loads of a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.engine import EngineUnavailable
from models.manifest import check_served
from models.neutralise import CONTROL_TOKENS
from models.packed import PackedModel
from models.taste import Taste, taste_of
from models.template import ChatTemplate
from models.vocabulary import Vocabulary
from models.weights import checkpoint

log = logging.getLogger("moodline")

BY_BYTES = frozenset({"logprobs", "response_format", "tools"})
"""What needs to know the tokens as bytes, which llguidance can't tell of every kind of tokenizer."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint ready to speak. `ends` are the tokens that end a reply, `opened` begins one in the template."""

    model: PackedModel
    tokenizer: Any
    template: ChatTemplate
    ends: frozenset[int]
    vocabulary: Vocabulary | None
    opened: str
    taste: Taste


def load(folder: Path | None, home: Path) -> Loaded:
    """The checkpoint in `folder`, or for None the packaged one, unpacked below `home` where needed.

    Raises `EngineUnavailable`, and whatever the libraries below raise for what is broken.
    """
    from transformers import AutoTokenizer

    place = checkpoint(folder, home)
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
    if not tokenizer.is_fast:
        raise EngineUnavailable(f"The tokenizer in {place} has no tokenizer.json, which streaming needs.")
    check_served(place, tokenizer)
    template = ChatTemplate(tokenizer)
    model = PackedModel(place)
    # A model that begins another turn has ended its own, whichever control token it does that with.
    control = {number for number, token in tokenizer.added_tokens_decoder.items() if str(token) in CONTROL_TOKENS}
    named = {tokenizer.eos_token_id} - {None}
    ends = model.ends | named
    vocabulary = _vocabulary(tokenizer, ends or control)
    return Loaded(model, tokenizer, template, frozenset(ends | control), vocabulary, template.opened, taste_of(place))


def _vocabulary(tokenizer: Any, ends: Collection[int]) -> Vocabulary | None:
    """The tokens as bytes; None for a kind of tokenizer of which they can't be told, which still can speak."""
    try:
        return Vocabulary(tokenizer, ends)
    except Exception as error:  # a library below fails in its own ways
        log.warning("no %s with this checkpoint: %s: %s", ", ".join(sorted(BY_BYTES)), type(error).__name__, error)
        return None
