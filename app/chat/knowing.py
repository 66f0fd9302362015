"""Lore of a turn: which entries of the books speak now, within lore's share of the prompt."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from app.characters.macros import fill_names
from app.chat.ask import Ask, Known, Told
from app.chat.setting import Opening
from app.lore.book import Activation, activate
from app.lore.chance import Draws
from app.lore.entry import DEFAULTS, Entry, Settings
from app.lore.index import Index
from app.lore.judge import Chat
from app.lore.quirks import OURS
from app.services import Services
from models.prompt import SHARES, room_of
from models.scene import Lore, Scene

_ROUNDS = 3
"""How often contents that came up are counted and the books read again; most turns need one."""


async def know(services: Services, ask: Ask, known: Known, opening: Opening) -> Told:
    """The lore that the last messages call for."""
    index = await _index(services, known)
    if not index.items:
        return Told((), ())
    scene = opening.scene
    budget = int(room_of(scene, opening.budget, opening.counts.__getitem__)[0] * SHARES["lore"])
    settings = Settings(scan_depth=DEFAULTS.scan_depth, budget=budget)
    got = await _activate(services, index, _chat(ask, known, scene), settings, opening)
    return Told(tuple(Lore(entry.content, entry.constant) for entry in got.fired), got.fates)


async def _index(services: Services, known: Known) -> Index:
    book = known.lorebook
    if book.index is not None:
        return book.index
    return await asyncio.to_thread(services.lore.add, book.key, book.entries, _make)


def _make(entries: Sequence[Entry]) -> Index:
    ordered = sorted(entries, key=lambda entry: -entry.order)
    return Index(ordered, DEFAULTS, OURS)


def _chat(ask: Ask, known: Known, scene: Scene) -> Chat:
    replies = sum(message.role == "assistant" for message in known.place.history)
    return Chat(
        messages=[(scene.character if m.role == "assistant" else scene.user, m.content) for m in scene.history],
        card=ask.slug,
        tags=known.character.tags,
        replies=replies,
    )


async def _activate(services: Services, index: Index, chat: Chat, settings: Settings, opening: Opening) -> Activation:
    """Only what comes to the budget is worth counting, so the books are read again once that is counted."""
    scene, seed = opening.scene, secrets.randbits(32)
    for _ in range(_ROUNDS):
        unknown: dict[str, None] = {}

        def measure(text: str, unknown: dict[str, None] = unknown) -> float:
            if text == "\n":
                return 0
            if text not in opening.counts:
                unknown[text] = None
            return opening.counts.get(text, len(text) / 4)

        got = activate(
            index,
            chat,
            settings,
            measure=measure,
            fill=lambda text: fill_names(text, scene.character, scene.user),
            draws=Draws(seed=seed),
        )
        if not unknown:
            break
        await opening.count_texts(services, unknown)
    return got
