"""Lore of a turn: which entries of the books speak now, within lore's share of the prompt."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from app.characters.macros import Moment, Values, fill, fill_names
from app.characters.volatile import VOLATILE
from app.chat.ask import Ask, Known, Told
from app.chat.card import deep_lore
from app.chat.setting import Opening
from app.lore.book import Activation, activate
from app.lore.books import make_index
from app.lore.chance import Draws
from app.lore.decorators import NO_RULES
from app.lore.entry import DEPTH, CardField, Entry, Settings
from app.lore.index import Index, Keyed
from app.lore.judge import Chat
from app.lore.placement import place
from app.lore.timers import NO_TIMERS
from app.services import Services
from models.prompt import SHARES, room_of
from models.scene import Lore, Scene

_OUTLET = re.compile(r"\{\{\s*outlet\s*::(.*?)\}\}", re.IGNORECASE)
_ROUNDS = 3
"""How often contents that came up are counted and the books read again; most turns need one."""


async def know(services: Services, ask: Ask, known: Known, opening: Opening) -> Told:
    """The lore that the last messages call for."""
    index = await _index(services, known)
    deep = deep_lore(known.character, opening.moment, known.note)
    if not index.items:
        return Told(deep, (), (), NO_TIMERS, {})
    scene = opening.scene
    budget = int(room_of(scene, opening.budget, opening.counts.__getitem__)[0] * SHARES["lore"])
    settings = replace(known.lorebooks.settings, budget=budget)
    got = await _activate(services, index, known, _chat(ask, known, scene), settings, opening)
    always = {index.items[number].entry.id for number in index.special if is_always_told(index.items[number])}
    length = len(known.heard.history)
    told = tuple(
        _lore(_from_end(entry, index.from_start.get(entry.id), length), entry.id in always)
        for entry in got.fired
        if entry.content and entry.position != "outlet"
    )
    return Told((*deep, *told), got.fates, got.draws, got.timers, place(got.fired, index.quirks).outlets)


def is_always_told(item: Keyed) -> bool:
    """Whether an entry stands in every prompt word for word, so that the stable prefix may hold it.

    One that is constant may still be drawn, rest, wait, or read differently from turn to turn.
    """
    entry = item.entry
    seldom = (
        entry.group or entry.stages or entry.cooldown or entry.delay or entry.delay_until_recursion or entry.triggers
    )
    certain = entry.constant and entry.probability >= 100 and not seldom and item.rules == NO_RULES
    return bool(certain) and not VOLATILE.search(entry.content)


def _from_end(entry: Entry, from_start: int | None, length: int) -> Entry:
    """An entry that is told so many messages after the beginning, at that depth from the end of `length` messages."""
    return entry if from_start is None else replace(entry, position="depth", depth=max(0, length - from_start))


def _lore(entry: Entry, always: bool) -> Lore:
    """An entry as the scene holds it."""
    depth = DEPTH if entry.depth is None else entry.depth
    position = "after" if entry.position == "outlet" else entry.position
    return Lore(entry.content, always, position, depth, entry.role)


def pour(scene: Scene, outlets: Mapping[str, Sequence[str]]) -> Scene:
    """A scene whose texts have lore where they name an outlet, `{{outlet::name}}`, or nothing where none speaks."""

    def filled(text: str) -> str:
        return _OUTLET.sub(lambda found: "\n".join(outlets.get(found[1].strip(), ())), text)

    return replace(
        scene,
        persona=filled(scene.persona),
        style=filled(scene.style),
        scenario=filled(scene.scenario),
        passing=filled(scene.passing),
        stage_persona=filled(scene.stage_persona),
        note=filled(scene.note),
    )


async def _index(services: Services, known: Known) -> Index:
    books = known.lorebooks
    if books.index is not None:
        return books.index
    return await asyncio.to_thread(services.lore.add, books.key, lambda: make_index(books.shelf))


def _chat(ask: Ask, known: Known, scene: Scene) -> Chat:
    fields: dict[CardField, str] = {
        "persona": scene.persona,
        "scenario": scene.scenario,
        "user_persona": scene.user_persona,
        "creator_notes": known.character.creator_notes,
    }
    return Chat(
        messages=[(scene.character if m.role == "assistant" else scene.user, m.content) for m in scene.history],
        fields=fields,
        card=ask.slug,
        tags=known.character.tags,
        triggers=_triggers(ask, known),
        replies=sum(message.role == "assistant" for message in known.heard.history),
        greeting=_greeting(known, scene.user),
        stage=known.stage.name if known.stage else "",
    )


def _triggers(ask: Ask, known: Known) -> tuple[str, ...]:
    """What kind of turn it is, in SillyTavern's terms; a reply tried again is both a swipe and a regeneration."""
    if ask.as_user:
        return ("impersonate",)
    if ask.begun:
        return ("continue",)
    again = known.elsewhere if ask.cast else known.place.stored == len(known.place.history)
    return ("swipe", "regenerate") if again else ("normal",)


def _greeting(known: Known, user: str) -> int | None:
    """The number of the greeting that the talk began with: 0 the first, then the alternate ones."""
    first, character = known.heard.history[0], known.character
    greetings = (character.greeting, *character.alternate_greetings)
    texts = [fill_names(text, character.name, user).strip() for text in greetings]
    said = first.content.strip()
    return texts.index(said) if first.role == "assistant" and said in texts else None


def _filling(moment: Moment) -> Callable[[str], str]:
    """Fills in the macros of keys and contents; variables that they set are gone after a reading of the books."""
    once = replace(moment, values=Values(dict(moment.values.held)))
    return lambda text: fill(text, once, f"lore {text}")


async def _activate(
    services: Services, index: Index, known: Known, chat: Chat, settings: Settings, opening: Opening
) -> Activation:
    """Only what comes to the budget is worth counting, so the books are read again once that is counted."""
    seed = secrets.randbits(32)
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
            fill=_filling(opening.moment),
            timers=known.lore_timers,
            draws=Draws(seed=seed),
            length=len(known.heard.history),
        )
        if not unknown:
            break
        await opening.count_texts(services, unknown)
    return got
