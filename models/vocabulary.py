"""A checkpoint's tokens as bytes, and what may follow what: constrained decoding by llguidance."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engine import ParameterRefused, Token
from models.unsaid import Spellings

COMPACT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON on one line, as `json.dumps` writes it: small models fill free white space without end."""


class Constraint:
    """A grammar and how far a reply has come in it. Belongs to the thread that computes.

    One that is `free` lets a reply be any text, among other things.
    """

    def __init__(self, matcher: Any, param: str, *, free: bool = False) -> None:
        self._matcher = matcher
        self._param = param
        self.free = free

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Forbid, in place, every token of `logits` [vocabulary] that can't come next."""
        allowed = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        known = min(len(allowed), len(logits))
        logits[:known][allowed[:known] == 0] = -np.inf
        logits[known:] = -np.inf

    def take(self, token: int) -> None:
        """`token` was said."""
        self._matcher.consume_token(token)

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def error(self) -> ParameterRefused | None:
        """What went wrong, if anything: a grammar can turn out to be too complex only while it is followed."""
        said = self._matcher.get_error().partition("<state>")[0]
        return (
            ParameterRefused(f"The schema can't be followed: {' '.join(said.split())}", self._param) if said else None
        )


class Vocabulary:
    """The tokens of `tokenizer`, a fast transformers tokenizer; `ends` are those that end a reply.

    Raises whatever llguidance does when it does not know the tokenizer's kind.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        from llguidance.hf import from_tokenizer

        self._tokens = from_tokenizer(tokenizer, eos_token=sorted(ends))
        self._special = {place: str(token) for place, token in tokenizer.added_tokens_decoder.items()}
        self.size = len(tokenizer)

    def data(self, token: int) -> bytes | None:
        """The bytes of a token; None for a control token."""
        return None if token in self._special else bytes(self._tokens.decode_bytes([token]))

    @cached_property
    def spellings(self) -> Spellings:
        """All its tokens by their bytes; takes a tenth of a second the first time."""
        return Spellings([self.data(token) for token in range(self.size)])

    def alternative(self, token: int, logprob: float) -> Token:
        """A token that might have been chosen. One that is no whole characters is spelled as OpenAI does: `\\xe4`."""
        data = self.data(token)
        if data is None:
            return Token(self._special[token], logprob, None)
        try:
            return Token(data.decode(), logprob, data)
        except UnicodeDecodeError:
            return Token("".join(f"\\x{byte:02x}" for byte in data), logprob, data)

    def json(self, schema: dict[str, Any], param: str) -> Constraint:
        """Values of a JSON schema. Raises `ParameterRefused`, naming `param`, for one that can't be followed."""
        from llguidance import LLMatcher

        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, overrides=COMPACT)
        except ValueError as error:
            raise ParameterRefused(f"The schema can't be followed: {error}", param) from error
        return self._constraint(grammar, param)

    def lark(self, grammar: str, param: str, *, free: bool = False) -> Constraint:
        """Texts of a grammar in llguidance's variant of Lark; raises as `json` does."""
        from llguidance import LLMatcher

        return self._constraint(LLMatcher.grammar_from_lark(grammar), param, free=free)

    def _constraint(self, grammar: str, param: str, *, free: bool = False) -> Constraint:
        from llguidance import LLMatcher

        constraint = Constraint(LLMatcher(self._tokens, grammar, log_level=0), param, free=free)
        if constraint.error:
            raise constraint.error
        return constraint
