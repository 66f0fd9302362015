"""Keys and values of prompt prefixes that were computed before: a least-recently-used store bounded in bytes."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

BLOCK = 256
"""Tokens per block, and the step in which prompts are computed. Because every prompt is computed in these same steps,
a block read back is bit for bit what computing it again would give, so the cache can't change a seeded reply."""


def block_keys(owner: str, tokens: Sequence[int]) -> list[bytes]:
    """One key per whole block of `tokens`. A key stands for the block, all before it, and their `owner`."""
    chain = hashlib.blake2b(owner.encode("utf-8", "surrogatepass"), digest_size=16)
    keys = []
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        chain.update(array("q", tokens[start : start + BLOCK]).tobytes())
        keys.append(chain.digest())
    return keys


class PrefixCache:
    """Blocks of keys and values, each a tensor [layers, 2, heads, BLOCK, size], shared by whoever begins alike."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._blocks: OrderedDict[bytes, Any] = OrderedDict()

    def __contains__(self, key: bytes) -> bool:
        return key in self._blocks

    def run(self, keys: Sequence[bytes]) -> list[Any]:
        """The longest run of stored blocks from the first key on."""
        found = []
        for key in keys:
            if key not in self._blocks:
                break
            found.append(self._blocks[key])
        for key in reversed(keys[: len(found)]):  # the root is wanted most, so it is the last to go
            self._blocks.move_to_end(key)
        return found

    def put(self, key: bytes, block: Any) -> None:
        """Store `block`, dropping what was not used for longest."""
        if key in self._blocks or block.nbytes > self.limit:
            return
        self._blocks[key] = block
        self.bytes += block.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._blocks.popitem(last=False)[1].nbytes

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
        self.bytes = 0
