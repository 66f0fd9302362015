"""What a teacher costs, and how much it may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

MILLION = 1_000_000


class LimitReached(Exception):
    """The next question could cost more than is left; what was answered is kept."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Requests, and the tokens that they read and wrote."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: Cost) -> Cost:
        return self + Cost(-other.requests, -other.prompt_tokens, -other.completion_tokens)

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens read, and a million written, in whatever currency."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, cost: Cost) -> float:
        """The money."""
        return (cost.prompt_tokens * self.prompt + cost.completion_tokens * self.completion) / MILLION


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one run may cost; None is no limit. Money needs prices."""

    requests: int | None = None
    tokens: int | None = None
    money: float | None = None


class Purse:
    """Counts what a run costs and stops before it costs more than `limits`.

    What a question may cost at most is set aside before it is asked, by an estimate of its prompt's tokens, so several
    at once overrun a limit together by no more than the estimates err.
    """

    def __init__(self, limits: Limits | None = None, prices: Prices | None = None) -> None:
        self.limits, self.prices = limits or Limits(), prices or Prices()
        self.spent = Cost()
        self._aside = Cost()
        self._settled = asyncio.Event()

    async def set_aside(self, most: Cost) -> None:
        """Wait until `most` is sure to be there. Raises LimitReached where it won't be."""
        while over := self._over(self.spent + self._aside + most):
            if self._aside == Cost():
                raise LimitReached(f"The limit of {over} is reached: {self.told()} so far.")
            self._settled.clear()
            await self._settled.wait()
        self._aside += most

    def settle(self, most: Cost, cost: Cost) -> None:
        """Give back what was set aside and note what it cost in truth."""
        self._aside -= most
        self.spent += cost
        self._settled.set()

    def told(self) -> str:
        """What was spent, in words."""
        cost = self.spent
        money = f", {self.prices.of(cost):.2f} in money" if self.prices != Prices() else ""
        return f"{cost.requests:,} requests, {cost.tokens:,} tokens{money}"

    def _over(self, cost: Cost) -> str:
        limits = self.limits
        if limits.requests is not None and cost.requests > limits.requests:
            return f"{limits.requests:,} requests"
        if limits.tokens is not None and cost.tokens > limits.tokens:
            return f"{limits.tokens:,} tokens"
        if limits.money is not None and self.prices.of(cost) > limits.money:
            return f"{limits.money:g} in money"
        return ""
