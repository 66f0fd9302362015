"""What one choice of an answer says next."""

from __future__ import annotations

from dataclasses import dataclass

from models.engine import CallPart, Token


@dataclass(frozen=True, slots=True)
class Piece:
    """Visible text, the tokens it is made of where log-probabilities are asked for, and parts of calls.

    A `thought` is one that the server tells apart and that is handed on.
    """

    text: str = ""
    tokens: tuple[Token, ...] = ()
    calls: tuple[CallPart, ...] = ()
    choice: int = 0
    thought: str = ""

    def __bool__(self) -> bool:
        return bool(self.text or self.tokens or self.calls or self.thought)
