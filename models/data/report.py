"""What a data set is, in numbers a person reads before spending hours of a GPU on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.data.leaks import shown
from models.data.near import repeats
from models.data.talk import UNBOUNDED
from models.example import Example
from models.prompt import MESSAGE_TOKENS, render

SHARES = (50, 90, 99, 100)
LIMITS = (512, 1024, 2048, 4096)
EXAMPLES = 5
"""How many rows of each kind of fault are named."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens at the median, the 90th and 99th percentile and the most; how many rows are `over` each of `LIMITS`."""

    at: tuple[int, ...]
    mean: float
    over: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """What one role has: rows, the groups they are of, and the tokens of its replies."""

    rows: int
    groups: int
    reply: Lengths


@dataclass(frozen=True, slots=True)
class Fault:
    """How many rows have it, and the first of them."""

    count: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Counts are rows unless they say otherwise; `tokens` are counted by `tokenizer`, prompts as they are rendered."""

    rows: int
    pairs: int
    unwanted: int
    learn_talk: int
    languages: dict[str, int]
    roles: dict[str, Role]
    groups: int
    sources: dict[str, int]
    turns: Lengths
    tokenizer: str
    prompt: Lengths
    reply: Lengths
    whole: Lengths
    with_lines: int
    with_memories: int
    with_lore: int
    exact: Fault
    near: Fault
    shown: Fault
    equal_pairs: Fault
    same_id: Fault


def report(examples: Sequence[Example], count: Callable[[str], int], tokenizer: str) -> Report:
    """The numbers of a data set, none of which may be empty. Raises ValueError."""
    if not examples:
        raise ValueError("The file has no rows.")
    prompts, replies = _tokens(examples, count)
    again = list(repeats(examples))
    names = [example.id or f"row {row + 1}" for row, example in enumerate(examples)]
    own = Counter(example.id for example in examples if example.id)
    return Report(
        rows=len(examples),
        pairs=sum(bool(one.reply and one.rejected) for one in examples),
        unwanted=sum(not one.reply for one in examples),
        learn_talk=sum(one.learn == "talk" for one in examples),
        languages=_counted(one.scene.language for one in examples),
        roles=_roles(examples, replies),
        groups=len({one.group for one in examples if one.group}) + sum(not one.group for one in examples),
        sources=_counted(one.source or "?" for one in examples),
        turns=lengths([len(one.scene.history) + 1 for one in examples]),
        tokenizer=tokenizer,
        prompt=lengths(prompts),
        reply=lengths(replies),
        whole=lengths([one + other for one, other in zip(prompts, replies, strict=True)]),
        with_lines=sum(bool(one.scene.lines) for one in examples),
        with_memories=sum(bool(one.scene.memories) for one in examples),
        with_lore=sum(bool(one.scene.lore) for one in examples),
        exact=_fault([f"{names[one.row]} = {names[one.of]}" for one in again if one.exact]),
        near=_fault([f"{names[one.row]} ≈ {names[one.of]}" for one in again if not one.exact]),
        shown=_fault([f"{names[one.row]} in {one.field}" for one in shown(examples)]),
        equal_pairs=_fault([names[n] for n, one in enumerate(examples) if one.reply and one.reply == one.rejected]),
        same_id=_fault([name for name, times in own.items() if times > 1]),
    )


def lengths(values: Sequence[int]) -> Lengths:
    """Percentiles by the nearest rank."""
    ordered = sorted(values)
    at = tuple(ordered[max(0, -(-len(ordered) * share // 100) - 1)] for share in SHARES)
    return Lengths(at, sum(ordered) / len(ordered), tuple(sum(value > limit for value in ordered) for limit in LIMITS))


def _tokens(examples: Sequence[Example], count: Callable[[str], int]) -> tuple[list[int], list[int]]:
    """Tokens of the rendered prompts and of the longer replies. What recurs, such as personas, is counted once."""
    known: dict[str, int] = {}

    def counted(text: str) -> int:
        if text not in known:
            known[text] = count(text)
        return known[text]

    prompts, replies = [], []
    for example in examples:
        scene = example.scene
        prompt = render(scene, layout="late", budget=UNBOUNDED, window=len(scene.history), count=counted)
        prompts.append(prompt.tokens)
        replies.append(MESSAGE_TOKENS + max(count(example.reply), count(example.rejected)))
    return prompts, replies


def _roles(examples: Sequence[Example], replies: Sequence[int]) -> dict[str, Role]:
    """Each role's numbers, those with the most rows first."""
    own: dict[str, list[int]] = {}
    groups: dict[str, set[str]] = {}
    for row, (example, tokens) in enumerate(zip(examples, replies, strict=True)):
        name = example.scene.character
        own.setdefault(name, []).append(tokens)
        groups.setdefault(name, set()).add(example.group or f"row {row}")
    most = sorted(own, key=lambda name: -len(own[name]))
    return {name: Role(len(own[name]), len(groups[name]), lengths(own[name])) for name in most}


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _fault(rows: Sequence[str]) -> Fault:
    return Fault(len(rows), tuple(rows[:EXAMPLES]))
