"""Render a scene into the messages a language model reads, within a token budget.

The server, training, evaluation and the golden tests all call `render`, so what a model is trained on and what it is
served are equal by import. Pure: the same scene, layout, budget and counts give the same prompt.

What gives way when tokens are short, first to last:

| section             | gets at most                                  | then                                  |
|---------------------|-----------------------------------------------|---------------------------------------|
| lines               | 20 % of the room                              | the lowest ranked are left out        |
| memories            | 15 % of the room                              | the lowest ranked are left out        |
| lore                | 15 % of the room, constant entries first      | the last to fire are left out         |
| history             | half of the room, more of a room over 4,400   | the oldest go, many at a time         |
| everything else, and the last message | what it needs               | `PromptTooLong`                       |

The room is the budget less the fixed texts: the stable ones (rules, persona, style, scenario, user, client's notes) and
those that say how things stand now (stage, mood, author's note). The share of history depends on the stable ones alone,
so history is cut at the same place turn after turn and the engine's prefix cache survives (`models/window.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from models.engine import PromptTooLong
from models.frame import COMPANY, FRAMES, Frame
from models.placed import among, at_depths, lore_at, opens, with_note
from models.scene import Language, Message, Scene
from models.window import cut, size, window_start

Layout = Literal["late", "classic"]
Count = Callable[[str], int]

SHARES = {"lines": 0.20, "memories": 0.15, "lore": 0.15}
RECALLED = 1536
"""Tokens kept free of history for lines and memories together, at most: a long context is for the talk itself."""
MESSAGE_TOKENS = 8
"""What a chat template adds around one message; ChatML adds 5 and others up to 8."""
SYSTEM_TOKENS = 24
"""The same around a system message, which may become a fenced note (`models/fold.py`)."""
SEPARATOR = "\n--------------------\n"


@dataclass(frozen=True, slots=True)
class Section:
    """One line of the token ledger."""

    name: str
    tokens: int
    kept: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """Messages ready for an engine, and where the tokens went. `history_start` is the first history message kept."""

    messages: tuple[Message, ...]
    ledger: tuple[Section, ...]
    tokens: int
    history_start: int


@dataclass(frozen=True, slots=True)
class _Picked:
    """The items of one section that fit."""

    name: str
    texts: tuple[str, ...]
    tokens: int
    dropped: int


def fixed_texts(scene: Scene) -> tuple[str, ...]:
    """The texts that are in every prompt of this scene, headings included; those that depend on the user come last."""
    frame = FRAMES[scene.language]
    rules = scene.rules.strip() or rules_of(scene.language, scene.character, user_name(scene))
    parts = (
        ("{text}", rules),
        (frame.persona, scene.persona),
        (frame.personality, scene.personality),
        (frame.style, scene.style),
        (frame.examples, scene.examples),
        (frame.scenario, scene.scenario),
        (frame.with_whom, "with_whom"),
        (COMPANY[scene.language], scene.company),
        (frame.user_persona, scene.user_persona),
        (frame.client_system, scene.client_system),
    )
    return tuple(_fill(template, scene, text) for template, text in parts if text.strip())


def rules_of(language: Language, character: str, user: str) -> str:
    """What a prompt begins with when the character has no rules of its own."""
    return FRAMES[language].rules.format(char=character, user=user)


def closing_words(language: Language, character: str, user: str) -> str:
    """What a prompt ends with when the character has no last words of its own."""
    return FRAMES[language].speak.format(char=character, user=user)


def present_texts(scene: Scene) -> tuple[str, ...]:
    """The texts that say how things stand now: what is passing, stage and mood."""
    frame = FRAMES[scene.language]
    parts = ((frame.passing, scene.passing), (frame.stage, scene.stage_persona), (frame.mood, scene.mood))
    return tuple(_fill(template, scene, text) for template, text in parts if text.strip())


def closing_texts(scene: Scene) -> tuple[str, ...]:
    """The texts nearest to the reply: what the client notes about it, and that it is to be given."""
    frame = FRAMES[scene.language]
    late = (_fill(frame.client_late, scene, scene.client_late),) if scene.client_late.strip() else ()
    return (*late, scene.closing.strip() or closing_words(scene.language, scene.character, user_name(scene)))


def note_texts(scene: Scene) -> tuple[str, ...]:
    """The author's note, if there is one."""
    return (_fill(FRAMES[scene.language].note, scene, scene.note),) if scene.note.strip() else ()


def pieces(scene: Scene) -> list[str]:
    """Every text that `render` will count, so that an engine can count them in one call."""
    frame = FRAMES[scene.language]
    headings = [_fill(t, scene, "") for t in (frame.lore, frame.memories, frame.lines, frame.note)]
    return [
        *fixed_texts(scene),
        *present_texts(scene),
        *note_texts(scene),
        *closing_texts(scene),
        *headings,
        *(entry.text for entry in scene.lore),
        *scene.memories,
        *scene.lines,
        *(message.content for message in scene.history),
        scene.begun,
    ]


def history_start(scene: Scene, *, budget: int, window: int, count: Count) -> int:
    """The first history message that `render` will keep; known before anything is retrieved.

    Raises:
        PromptTooLong: the fixed texts and the last message alone are over `budget` tokens.
    """
    room, last = room_of(scene, budget, count)
    if room < last:
        raise PromptTooLong(
            f"The character's fixed texts, the client's own instructions and the last message need "
            f"{budget - room + last} tokens of a prompt of at most {budget}. Shorten what is longest of them, or raise "
            "MOODLINE_CONTEXT_TOKENS."
        )
    share = _history_share(budget - _stable(scene, count))
    first = window_start(len(scene.history) - 1, window)
    sizes = [size(message.content) for message in scene.history]
    tokens = [count(message.content) + MESSAGE_TOKENS for message in scene.history[first:-1]]
    before = scene.before + sum(sizes[:first])
    return first + cut([*tokens, last], sizes[first:], room=min(room, share), share=share, before=before)


def render(scene: Scene, *, layout: Layout, budget: int, window: int, count: Count) -> Prompt:
    """The prompt of a scene: at most `budget` tokens and `window` history messages, counted by `count`.

    `late` puts what changes every turn after the history, so that the long prefix stays the same and an engine's
    prefix cache serves it. `classic` puts everything into the first system message, as Index-1.9B-character and
    Emotional RAG do. A reply that is begun stands last in both, after the user's message, as the assistant's.

    Raises:
        PromptTooLong: see `history_start`.
        ValueError: the history does not end with a user's message.
    """
    if not scene.history or scene.history[-1].role != "user":
        raise ValueError("A scene's history ends with the user's message.")
    start = history_start(scene, budget=budget, window=window, count=count)
    history, last = scene.history[start:-1], scene.history[-1]
    room, last_tokens = room_of(scene, budget, count)
    spoken = sum(count(message.content) + MESSAGE_TOKENS for message in history)
    picked = _retrieved(scene, room, room - last_tokens - spoken, count)
    begun = (Message("assistant", scene.begun),) if scene.begun else ()
    messages = (*_arrange(scene, layout, picked, (*history, last)), *begun)
    stable, now = fixed_texts(scene), (*present_texts(scene), *note_texts(scene), *closing_texts(scene))
    fixed = Section("fixed", _stable(scene, count), len(stable), 0)
    present = Section("present", budget - room - fixed.tokens, len(now), 0)
    sections = [Section(p.name, p.tokens, len(p.texts), p.dropped) for p in picked]
    talk = Section("history", spoken + last_tokens, len(history) + 1, start)
    ledger = (fixed, present, *sections, talk)
    return Prompt(messages, ledger, sum(section.tokens for section in ledger), start)


def room_of(scene: Scene, budget: int, count: Count) -> tuple[int, int]:
    """Tokens that the fixed texts leave of `budget`, and tokens of the last message with the reply that is begun."""
    fixed = _stable(scene, count) + SYSTEM_TOKENS
    fixed += sum(count(text) + 1 for text in (*present_texts(scene), *closing_texts(scene)))
    fixed += sum(count(text) + SYSTEM_TOKENS for text in note_texts(scene))
    begun = count(scene.begun) + MESSAGE_TOKENS if scene.begun else 0
    return budget - fixed, count(scene.history[-1].content) + MESSAGE_TOKENS + begun


def _history_share(room: int) -> int:
    """What of the room that stable texts leave is for history, whatever is retrieved."""
    return room - int(room * SHARES["lore"]) - min(int(room * (SHARES["lines"] + SHARES["memories"])), RECALLED)


def _stable(scene: Scene, count: Count) -> int:
    """Tokens of the texts that are the same turn after turn."""
    return sum(count(text) + 1 for text in fixed_texts(scene)) + SYSTEM_TOKENS


def _retrieved(scene: Scene, room: int, left: int, count: Count) -> tuple[_Picked, ...]:
    """What fits of lore, memories and lines, in the order in which they may claim what is left."""
    frame = FRAMES[scene.language]
    lore = _pick_lore(scene, min(left, int(room * SHARES["lore"])), count)
    picked = [lore]
    left -= lore.tokens
    for name, texts, template in (("memories", scene.memories, frame.memories), ("lines", scene.lines, frame.lines)):
        heading = count(_fill(template, scene, "")) + 1
        choice = _pick(name, texts, heading, min(left, int(room * SHARES[name])), count)
        picked.append(choice)
        left -= choice.tokens
    return tuple(picked)


def _pick_lore(scene: Scene, allowed: int, count: Count) -> _Picked:
    """Take lore, constant entries first; the first at a place costs what opens it, a heading or a message."""
    frame = FRAMES[scene.language]
    heading = count(_fill(frame.lore, scene, "")) + 1
    note = 0 if scene.note.strip() else count(_fill(frame.note, scene, "")) + MESSAGE_TOKENS
    costs = {"before": heading, "after": heading, "depth": MESSAGE_TOKENS, "note": note}
    kept: list[str] = []
    opened: set[tuple[object, ...]] = set()
    tokens = 0
    for entry in sorted(scene.lore, key=lambda entry: not entry.constant):
        place = opens(entry)
        cost = count(entry.text) + 2 + (0 if place in opened else costs.get(str(place[0]), 0))
        if tokens + cost <= allowed:
            kept.append(entry.text)
            opened.add(place)
            tokens += cost
    return _Picked("lore", tuple(kept), tokens, len(scene.lore) - len(kept))


def _pick(name: str, texts: Iterable[str], heading: int, allowed: int, count: Count) -> _Picked:
    """Take texts in order, skipping what does not fit instead of stopping at it."""
    kept: list[str] = []
    tokens = dropped = 0
    for text in texts:
        cost = count(text) + 2 + (0 if kept else heading)
        if tokens + cost <= allowed:
            kept.append(text)
            tokens += cost
        else:
            dropped += 1
    return _Picked(name, tuple(kept), tokens, dropped)


def _arrange(
    scene: Scene, layout: Layout, picked: tuple[_Picked, ...], history: tuple[Message, ...]
) -> tuple[Message, ...]:
    frame = FRAMES[scene.language]
    kept, memories, lines = (section.texts for section in picked)

    def lore(place: Literal["before", "after"], *, constant: bool) -> list[str]:
        return _block(frame.lore, scene, lore_at(scene, kept, place, constant=constant), "\n")

    recalled = [
        *_block(frame.memories, scene, memories, "\n"),
        *lore_at(scene, kept, "examples_top"),
        *_block(frame.lines, scene, lines, SEPARATOR),
        *lore_at(scene, kept, "examples_bottom"),
    ]
    rules, *others = fixed_texts(scene)
    stable = [rules, *lore("before", constant=True), *others, *lore("after", constant=True)]
    fired = lore("after", constant=False)
    now = [*lore("before", constant=False), *present_texts(scene), *fired, *recalled, *closing_texts(scene)]
    note = _block(frame.note, scene, [with_note(scene, kept)] if with_note(scene, kept) else [], "")
    placed = [(scene.note_depth, Message("system", text)) for text in note]
    placed += at_depths(scene, kept)
    if layout == "classic":
        return (Message("system", "\n\n".join((*stable, *now))), *among(history, placed, ()))
    late = Message("system", "\n\n".join(now))
    return (Message("system", "\n\n".join(stable)), *among(history, placed, (late,)))


def _block(template: str, scene: Scene, texts: Iterable[str], separator: str) -> list[str]:
    body = separator.join(texts)
    return [_fill(template, scene, body)] if body else []


def _fill(template: str, scene: Scene, text: str) -> str:
    """Fill a heading. Only our own templates are formatted; a character's text is put in as it is."""
    heading, _, _ = template.partition("{text}")
    filled = heading.format(char=scene.character, user=user_name(scene), stage=scene.stage)
    return filled + (text if "{text}" in template else "")


def user_name(scene: Scene) -> str:
    """What the user is called in the prompt."""
    frame: Frame = FRAMES[scene.language]
    return scene.user or frame.user
