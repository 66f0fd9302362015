"""How much a key may ask for: requests and tokens a minute, and replies at once. In memory, so per process.

The rates are leaky buckets in the form of GCRA (the generic cell rate algorithm, ITU-T I.371): one number a bucket, no
windows whose edges let twice the rate through, and an exact time to wait. The package `limits` has windows only, keeps
an entry for every token, and can't book what was spent already: how many tokens a reply takes is known when it ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.errors import TooManyRequests
from app.metrics import REFUSED
from app.settings import Settings
from app.tables import ApiKey

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What one key may use; 0 is no limit. Tokens are those of prompts and replies together."""

    key: str
    requests: int = 0
    tokens: int = 0
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Of `limit` a minute, what is left: the rest comes back evenly until `full_at`, in seconds of one clock."""

    limit: int
    full_at: float = 0.0

    def resets_in(self, now: float) -> float:
        """Seconds until all of it is there."""
        return max(0.0, self.full_at - now)

    def left(self, now: float) -> int:
        """How many can be spent at once."""
        # The small part makes 5.9999999, a rounded 6, six.
        return max(0, math.floor((MINUTE - self.resets_in(now)) * self.limit / MINUTE + 1e-6))

    def wait(self, now: float) -> float:
        """Seconds until one can be spent; 0.0 when one can be now."""
        return max(0.0, self.resets_in(now) + MINUTE / self.limit - MINUTE) if self.left(now) < 1 else 0.0

    def spend(self, now: float, amount: int = 1) -> Bucket:
        """The bucket afterwards. It may go into debt, which is paid off at the same pace."""
        return replace(self, full_at=max(self.full_at, now) + amount * MINUTE / self.limit)


@dataclass(slots=True)
class Used:
    """What a key has used: when its buckets are full again, its replies under way, and who follows turns."""

    requests: float = 0.0
    tokens: float = 0.0
    streams: int = 0
    followers: int = 0


class Limits:
    """What every key has used in this process. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._used: dict[str, Used] = {}

    def count_request(self, key: KeyLimits) -> None:
        """Raise `TooManyRequests` unless this key may ask now; a request that is refused costs nothing."""
        used, now = self._of(key), self._clock()
        tokens = Bucket(key.tokens, used.tokens)
        if key.tokens and (wait := tokens.wait(now)):
            raise _over("tokens", f"{key.tokens:,} tokens a minute", wait)
        if not key.requests:
            return
        requests = Bucket(key.requests, used.requests)
        if wait := requests.wait(now):
            raise _over("requests", f"{key.requests:,} requests a minute", wait)
        used.requests = requests.spend(now).full_at

    def count_tokens(self, key: KeyLimits, tokens: int) -> None:
        """Book what a reply and its prompt took, however much it is."""
        if key.tokens:
            used = self._of(key)
            used.tokens = Bucket(key.tokens, used.tokens).spend(self._clock(), tokens).full_at

    def open_stream(self, key: KeyLimits) -> None:
        """Count a reply under way; raises `TooManyRequests` when the key has as many as it may."""
        used = self._of(key)
        if key.streams and used.streams >= key.streams:
            raise _over("streams", f"{key.streams:,} replies at once", 1.0)
        used.streams += 1

    def close_stream(self, key: KeyLimits) -> None:
        """The reply has ended."""
        self._of(key).streams -= 1

    def open_follower(self, key: KeyLimits) -> None:
        """Count a follower of a turn; raises `TooManyRequests` when the key has as many as it may have replies.

        Apart from the replies: who has as many as it may must still be able to come back to each.
        """
        used = self._of(key)
        if key.streams and used.followers >= key.streams:
            raise _over("followers", f"{key.streams:,} followers of turns at once", 1.0)
        used.followers += 1

    def close_follower(self, key: KeyLimits) -> None:
        """The follower is gone, or has been told the end."""
        self._of(key).followers -= 1

    def streams(self) -> int:
        """Replies under way, of all keys."""
        return sum(used.streams for used in self._used.values())

    def headers(self, key: KeyLimits) -> dict[str, str]:
        """The x-ratelimit-* headers as OpenAI sends them; none for what is not limited."""
        used, now = self._of(key), self._clock()
        named: dict[str, str] = {}
        for kind, limit, full_at in (("requests", key.requests, used.requests), ("tokens", key.tokens, used.tokens)):
            if limit:
                bucket = Bucket(limit, full_at)
                named[f"x-ratelimit-limit-{kind}"] = str(limit)
                named[f"x-ratelimit-remaining-{kind}"] = str(bucket.left(now))
                named[f"x-ratelimit-reset-{kind}"] = duration(bucket.resets_in(now))
        return named

    def _of(self, key: KeyLimits) -> Used:
        # Only keys that exist get here, so there are never many.
        return self._used.setdefault(key.key, Used())


def limits_of(row: ApiKey, settings: Settings) -> KeyLimits:
    """A key's own limits, and the server's where it has none."""
    return KeyLimits(
        key=row.id,
        requests=settings.requests_per_minute if row.requests_per_minute is None else row.requests_per_minute,
        tokens=settings.tokens_per_minute if row.tokens_per_minute is None else row.tokens_per_minute,
        streams=settings.streams if row.streams is None else row.streams,
    )


def duration(seconds: float) -> str:
    """Seconds in the form of OpenAI's reset headers: `20ms`, `8.64s`, `6m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds * 100) / 100, 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.2f}".rstrip("0").rstrip(".") + "s"


def _over(kind: str, limit: str, wait: float) -> TooManyRequests:
    REFUSED.labels(kind).inc()
    seconds = math.ceil(wait)
    return TooManyRequests(
        f"This key may have {limit}, which are used up; try again in {seconds} second{'s' * (seconds != 1)}.",
        retry_after=wait,
    )
