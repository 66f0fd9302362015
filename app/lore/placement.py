"""Where what speaks goes: around the character, the author's note and the examples, at a depth, in outlets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.lore.entry import DEPTH, Entry, Position, Role
from app.lore.quirks import Quirk


@dataclass(slots=True)
class Slot:
    """Contents told together, `depth` messages before the end, as `role`."""

    depth: int | None
    role: Role
    contents: list[str]


@dataclass(frozen=True, slots=True)
class Placed:
    """Contents by place, each in the order of the prompt. `examples` holds (1 for after them else 0, content)."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    note_top: tuple[str, ...] = ()
    note_bottom: tuple[str, ...] = ()
    examples: tuple[tuple[int, str], ...] = ()
    depths: tuple[Slot, ...] = ()
    outlets: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def note(self, value: str) -> str:
        """The author's note with what speaks above and below it."""
        whole = "\n".join((chr(10).join(self.note_top), value, chr(10).join(self.note_bottom)))
        return whole.removeprefix("\n").removesuffix("\n")


def place(fired: Sequence[Entry], quirks: frozenset[Quirk]) -> Placed:
    """Sort entries, in the order of the prompt, to their places; empty contents are placed nowhere."""
    told = [entry for entry in fired if entry.content]

    def at(position: Position) -> tuple[str, ...]:
        return tuple(entry.content for entry in told if entry.position == position)

    outlets: dict[str, list[str]] = {}
    for entry in told:
        if entry.position == "outlet":
            outlets.setdefault(entry.outlet, []).append(entry.content)
    return Placed(
        before=at("before"),
        after=at("after"),
        note_top=at("note_top"),
        note_bottom=at("note_bottom"),
        examples=tuple(
            (int(entry.position == "examples_bottom"), entry.content)
            for entry in told
            if entry.position.startswith("examples")
        ),
        depths=tuple(_slots([entry for entry in told if entry.position == "depth"], quirks)),
        outlets={name: tuple(contents) for name, contents in outlets.items()},
    )


def _slots(told: Iterable[Entry], quirks: frozenset[Quirk]) -> list[Slot]:
    """Contents by depth and role, from the last of the prompt to the first, as slots are opened."""
    slots: list[Slot] = []
    lost = "null_depth_slot" in quirks
    for entry in reversed(list(told)):
        depth = DEPTH if entry.depth is None else entry.depth
        for slot in slots:
            if slot.depth == depth and slot.role == entry.role:
                slot.contents.insert(0, entry.content)
                break
        else:
            slots.append(Slot(entry.depth if lost else depth, entry.role, [entry.content]))
    return slots
