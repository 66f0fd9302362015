"""Examples as tokens: the prompt exactly as an engine reads it, and which tokens are learnt.

The prompt comes from `models.prompt.render` and `models.template.ChatTemplate.encode`, the functions that serve. What
is learnt is what the character says, in the reply and, where the example says so, in the talk before it, each with the
token that ends the turn, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.engine import PromptTooLong
from models.example import Example
from models.prompt import render
from models.scene import Message
from models.template import ChatTemplate
from models.training.recipe import Data

UNLEARNT = -100
"""The label of a token that is read and not learnt, as PyTorch's cross entropy has it."""
FROM, TO = "\ue001", "\ue002"
"""Marks around what the character says; private-use characters."""
SLACK = 16
"""Tokens that a template may add to the ledger's own count."""
NEAR = 4
"""Tokens after an assistant's words within which the template ends its turn."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example as tokens: `prompt` as served, `reply` to the end of the turn, and where `rejected` would differ.

    `learnt` are the positions in `prompt` that are learnt too.
    """

    prompt: tuple[int, ...]
    reply: tuple[int, ...]
    rejected: tuple[int, ...] = ()
    learnt: frozenset[int] = frozenset()

    @property
    def ids(self) -> list[int]:
        """Prompt and reply."""
        return [*self.prompt, *self.reply]

    @property
    def labels(self) -> list[int]:
        """The ids that are learnt, `UNLEARNT` elsewhere."""
        before = (token if place in self.learnt else UNLEARNT for place, token in enumerate(self.prompt))
        return [*before, *self.reply]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows ready to learn from. `too_long` is how many examples were left out because nothing could be cut."""

    rows: tuple[Row, ...]
    too_long: int

    @property
    def tokens(self) -> int:
        """Tokens read, of prompts and replies."""
        return sum(len(row.prompt) + len(row.reply) for row in self.rows)

    @property
    def learnt(self) -> int:
        """Tokens learnt."""
        return sum(len(row.learnt) + len(row.reply) for row in self.rows)

    @property
    def longest(self) -> int:
        """The most tokens of a row."""
        return max((len(row.prompt) + max(len(row.reply), len(row.rejected)) for row in self.rows), default=0)


def rows_of(examples: Iterable[Example], tokenizer: Any, data: Data, told: Callable[[], None] = lambda: None) -> Rows:
    """The rows of `examples` for a fast transformers tokenizer; `told` is called after each.

    What does not fit loses history as in serving, never the reply. Raises `EngineError` where the template refuses.
    """
    template = ChatTemplate(tokenizer)
    rows, too_long = [], 0
    for example in examples:
        row = _row(example, template, tokenizer, data)
        told()
        if row is None:
            too_long += 1
        else:
            rows.append(row)
    return Rows(tuple(rows), too_long)


def _row(example: Example, template: ChatTemplate, tokenizer: Any, data: Data) -> Row | None:
    """One row; None where its fixed texts, last message and reply alone are too long."""

    def count(text: str) -> int:
        return template.count([text])[0]

    said = max(count(example.reply), count(example.rejected)) + SLACK
    try:
        prompt = render(example.scene, layout=data.layout, budget=data.context - said, window=data.window, count=count)
    except PromptTooLong:
        return None
    messages = prompt.messages
    ids = template.encode(messages)
    learnt = _learnt(messages, ids, template, tokenizer) if example.learn == "talk" else frozenset()
    reply = _turn(example.reply, messages, template, tokenizer)
    rejected = _turn(example.rejected, messages, template, tokenizer) if example.rejected else ()
    row = Row(tuple(ids), reply, rejected, learnt)
    return row if len(ids) + max(len(reply), len(row.rejected)) <= data.context else None


def _turn(said: str, messages: Sequence[Message], template: ChatTemplate, tokenizer: Any) -> tuple[int, ...]:
    """The tokens of the assistant's turn after the prompt, to the one that ends it."""
    words, tail = template.turn(messages, said)
    specials = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    ends = [tail.index(special) + len(special) for special in specials if special in tail]
    ids = tokenizer(words + tail[: min(ends, default=0)], add_special_tokens=False).input_ids
    return tuple(ids) if ends else (*ids, tokenizer.eos_token_id)


def _learnt(messages: Sequence[Message], ids: Sequence[int], template: ChatTemplate, tokenizer: Any) -> frozenset[int]:
    """The places of tokens that the character said in the prompt, each turn with the token that ends it.

    Nothing of the talk is learnt where the template changes what it is given, so that its words can't be found.
    """
    if not any(message.role == "assistant" for message in messages):
        return frozenset()
    plain = template.text(messages)
    marked = template.text([_marked(m) if m.role == "assistant" else m for m in messages])
    if marked.replace(FROM, "").replace(TO, "") != plain:
        return frozenset()
    offsets = tokenizer(plain, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
    specials = set(tokenizer.added_tokens_decoder)
    places: set[int] = set()
    for start, end in _spans(marked):
        within = [place for place, (a, b) in enumerate(offsets) if a < end and b > start]
        if not within:
            continue
        after = range(within[-1] + 1, min(within[-1] + 1 + NEAR, len(ids)))
        ending = next((place for place in after if ids[place] in specials), within[-1])
        places.update(range(within[0], ending + 1))
    return frozenset(places)


def _marked(message: Message) -> Message:
    """The message with marks around its words, white space outside: many templates trim."""
    words = message.content.strip()
    return Message(message.role, message.content.replace(words, f"{FROM}{words}{TO}", 1)) if words else message


def _spans(marked: str) -> Iterable[tuple[int, int]]:
    """Where the marks stood, in the text without them."""
    shift = start = 0
    for place, character in enumerate(marked):
        if character == FROM:
            start, shift = place - shift, shift + 1
        elif character == TO:
            yield start, place - shift
            shift += 1
