"""Lore at its place in a prompt: which texts stand where, and the messages that stand within the history."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from models.scene import Lore, Message, Place, Role, Scene


def lore_at(scene: Scene, kept: Collection[str], *places: Place, constant: bool | None = None) -> list[str]:
    """The texts of kept lore at one of `places`, in their order; with `constant`, only of lore that is so."""
    return [
        entry.text
        for entry in scene.lore
        if entry.text in kept and entry.place in places and constant in (None, entry.constant)
    ]


def with_note(scene: Scene, kept: Collection[str]) -> str:
    """The author's note with the lore above and below it."""
    note = [scene.note] if scene.note.strip() else []
    return "\n".join((*lore_at(scene, kept, "note_top"), *note, *lore_at(scene, kept, "note_bottom")))


def at_depths(scene: Scene, kept: Collection[str]) -> list[tuple[int, Message]]:
    """Messages of lore and how many messages of the history come after each; those alike are one message.

    What the assistant says stands before the last message at the latest: behind it, it would be its reply.
    """
    slots: dict[tuple[int, Role], list[str]] = {}
    for entry in scene.lore:
        if entry.place == "depth" and entry.text in kept:
            depth = max(entry.depth, 1) if entry.role == "assistant" else entry.depth
            slots.setdefault((depth, entry.role), []).append(entry.text)
    return [(depth, Message(role, "\n".join(texts))) for (depth, role), texts in slots.items()]


def opens(entry: Lore) -> tuple[object, ...]:
    """What an entry shares with those that it stands together with; the first of them brings the heading."""
    if entry.place == "depth":
        return (entry.place, entry.depth, entry.role)
    if entry.place in ("before", "after"):
        return (entry.place, entry.constant)
    return (entry.place.partition("_")[0],)


def among(history: Sequence[Message], placed: Sequence[tuple[int, Message]], late: Sequence[Message]) -> list[Message]:
    """The history with messages at their depths, and before its last message what is told late."""
    end = len(history)
    told: list[Message] = []
    for place in range(end + 1):
        told += [message for depth, message in placed if max(0, end - depth) == place]
        if place == end - 1:
            told += late
        told += history[place : place + 1]
    return told
