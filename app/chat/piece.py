"""What one choice of an answer says next."""

from __future__ import annotations

from dataclasses import dataclass

from models.engine import CallPart, Token


@dataclass(frozen=True, slots=True)
class Piece:
    """Visible text, the tokens it is made of where log-probabilities are asked for, and parts of calls."""

    text: str = ""
    tokens: tuple[Token, ...] = ()
    calls: tuple[CallPart, ...] = ()
    choice: int = 0

    def __bool__(self) -> bool:
        return bool(self.text or self.tokens or self.calls)
