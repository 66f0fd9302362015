"""Decorators: lines `@@name value` at the head of an entry's content (Character Card V3), and their fallbacks.

A line of three `@@@` counts only when the decorator before it is not known. SillyTavern 1.12 knows two of them, by
their exact lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.lore.entry import FOREVER, ROLES, Entry, Position

FEW = ("@@activate", "@@dont_activate")


@dataclass(frozen=True, slots=True)
class Rules:
    """What decorators ask of a turn that an entry's own fields can't say.

    `also` and `never`: keys of which each group's one must, or none may, be found. `after` and `every` count replies;
    `greeting` is the number of the first message. `unless_full` leaves the entry out when the budget is full.
    `impossible`: asks for what does not exist here, so it never speaks.
    """

    force: str = ""
    also: tuple[tuple[str, ...], ...] = ()
    never: tuple[str, ...] = ()
    after: int = 0
    every: int = 0
    greeting: int | None = None
    from_start: int | None = None
    impossible: str = ""


@dataclass(slots=True)
class _Draft:
    entry: Entry
    rules: Rules = field(default_factory=Rules)


NO_RULES = Rules()


def read_few(entry: Entry, *, empty_is_text: bool) -> tuple[Entry, Rules]:
    """An entry without its decorator lines, and what SillyTavern 1.12 understands of them."""
    lines = entry.content.split("\n")
    if not entry.content.startswith("@@"):
        return entry, NO_RULES
    known: list[str] = []
    fallen = False
    end = 0
    for line in lines:
        if not line.startswith("@@"):
            break
        end += 1
        if line.startswith("@@@") and not fallen:
            continue
        plain = line[1:] if line.startswith("@@@") else line
        fallen = not plain.startswith(FEW)
        if not fallen:
            known.append(plain)
    force = next((name[2:] for name in FEW if name in known), "")
    only_lines = end == len(lines)
    content = entry.content if only_lines and empty_is_text else "\n".join(lines[end:])
    return replace(entry, content=content), Rules(force=force)


def read_decorators(entry: Entry) -> tuple[Entry, Rules]:
    """An entry as its decorators change it, without their lines, and what they ask beyond its fields.

    The first of several lines of a decorator counts, but for `additional_keys`. One whose value can't be read counts as
    unknown, so that its fallback is tried.
    """
    if not entry.content.startswith("@@"):
        return entry, NO_RULES
    lines = entry.content.split("\n")
    draft, seen, fallen, end = _Draft(entry), set[str](), False, 0
    for line in lines:
        if not line.startswith("@@"):
            break
        end += 1
        if line.startswith("@@@") and not fallen:
            continue
        name, _, value = line.lstrip("@").strip().partition(" ")
        if name in seen and name != "additional_keys":
            continue
        fallen = not _apply(draft, name, value.strip())
        if not fallen:
            seen.add(name)
    content = "\n".join(lines[end:])
    rules = replace(draft.rules, force="activate") if "activate" in seen else draft.rules
    return replace(draft.entry, content=content), rules


def _apply(draft: _Draft, name: str, value: str) -> bool:
    """Whether the decorator is known and its value can be read."""
    change = _FIELDS.get(name)
    if change is not None:
        try:
            draft.entry = change(draft.entry, value)
        except ValueError:
            return False
        return True
    rule = _RULES.get(name)
    if rule is None:
        return False
    try:
        draft.rules = rule(draft.rules, value)
    except ValueError:
        return False
    return True


def _whole(value: str) -> int:
    number = int(value)
    if not 0 <= number <= FOREVER:
        raise ValueError(value)
    return number


def _role(entry: Entry, value: str) -> Entry:
    for role in ROLES:
        if value == role:
            return replace(entry, role=role)
    raise ValueError(value)


_PLACES: dict[str, Position] = {
    "before_desc": "before",
    "after_desc": "after",
    "personality": "after",
    "scenario": "after",
}


def _place(entry: Entry, value: str) -> Entry:
    if value not in _PLACES:
        raise ValueError(value)
    return replace(entry, position=_PLACES[value])


def _depth(entry: Entry, value: str) -> Entry:
    return replace(entry, position="depth", depth=_whole(value))


def _words(value: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in value.split(",") if word.strip())
    if not words:
        raise ValueError(value)
    return words


_FIELDS: dict[str, Callable[[Entry, str], Entry]] = {
    "depth": _depth,
    "instruct_depth": _depth,
    "role": _role,
    "position": _place,
    "scan_depth": lambda entry, value: replace(entry, scan_depth=_whole(value)),
    "instruct_scan_depth": lambda entry, value: replace(entry, scan_depth=_whole(value)),
    "keep_activate_after_match": lambda entry, _: replace(entry, sticky=FOREVER),
    "dont_activate_after_match": lambda entry, _: replace(entry, cooldown=FOREVER),
    # Not to be told once the budget is full is what every entry does that does not ignore it.
    "ignore_on_max_context": lambda entry, _: replace(entry, ignore_budget=False),
}
_RULES: dict[str, Callable[[Rules, str], Rules]] = {
    "activate": lambda rules, _: replace(rules, force="activate"),
    "dont_activate": lambda rules, _: replace(rules, force=rules.force or "dont_activate"),
    "additional_keys": lambda rules, value: replace(rules, also=(*rules.also, _words(value))),
    "exclude_keys": lambda rules, value: replace(rules, never=_words(value)),
    "activate_only_after": lambda rules, value: replace(rules, after=_whole(value)),
    "activate_only_every": lambda rules, value: replace(rules, every=_whole(value)),
    "is_greeting": lambda rules, value: replace(rules, greeting=_whole(value)),
    "reverse_depth": lambda rules, value: replace(rules, from_start=_whole(value)),
    "reverse_instruct_depth": lambda rules, value: replace(rules, from_start=_whole(value)),
    "is_user_icon": lambda rules, _: replace(rules, impossible="is_user_icon: users have no icons here"),
}
