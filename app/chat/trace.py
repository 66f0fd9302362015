"""Explain a turn: everything that was considered, kept or dropped, and the exact prompt. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.chat.ask import Outcome, Turn
from app.chat.speak import Speech
from app.lore.fate import Fate
from app.tables import Floats
from retrieval.emotion import EMOTIONS

MAX_FATES = 500
"""Of lore entries in a trace."""


def explain(
    turn: Turn, speeches: Sequence[Speech], outcome: Outcome, after: dict[str, Any], engine: str
) -> dict[str, Any]:
    """The trace document of a turn; `after` is the bond then. `scene` can be rendered again."""
    known, ask = turn.known, turn.ask
    speech, *others = speeches
    finish = speech.finish
    return {
        "outcome": outcome,
        "character": {"slug": ask.slug, "revision": known.revision},
        **({"group": {"slug": ask.cast.slug, "present": list(ask.cast.slugs.values())}} if ask.cast else {}),
        "session_id": turn.session_id,
        "user": ask.user,
        "persona": known.who.name if known.who else None,
        "engine": {
            "name": engine,
            "sampling": {name: value for name, value in asdict(ask.sampling).items() if name != "enough"},
            "finish": asdict(finish) if finish else None,
            "attempts": speech.attempts,
            "resampled": speech.resampled,
            "cut": speech.cut,
        },
        "layout": ask.layout,
        "strategy": turn.recalled.strategy,
        "emotion": named(turn.feeling.emotion),
        "mood": named(turn.feeling.mood),
        "bond": {
            "before": {
                "affinity": known.bond.standing.affinity,
                "stage": known.stage.name if known.stage else "",
                "variables": dict(known.bond.standing.variables),
            },
            "after": after,
        },
        "lines": list(turn.recalled.considered_lines),
        "memories": list(turn.recalled.considered_memories),
        "lore": [asdict(fate) for fate in _told(turn.lore.fates)],
        "lore_entries": len(turn.lore.fates),
        "lore_draws": [asdict(draw) for draw in turn.lore.draws],
        "ledger": [asdict(section) for section in turn.prompt.ledger],
        "budget": {"prompt": ask.budget, "window": ask.window, "used": turn.prompt.tokens},
        "prompt": [asdict(message) for message in turn.prompt.messages],
        "scene": asdict(turn.scene),
        "reply": speech.said,
        "other_replies": [other.said for other in others],
        "hidden": speech.hidden,
        "taken_back": list(speech.echoes),
        "timings_ms": turn.watch.rounded(),
    }


def _told(fates: Sequence[Fate]) -> Sequence[Fate]:
    """All fates of an ordinary book; of a very large one those that are more than a key that nobody said."""
    return fates if len(fates) <= MAX_FATES else [fate for fate in fates if fate.reason != "no match"][:MAX_FATES]


def named(emotion: Floats) -> dict[str, float]:
    """An emotion vector with the names of its dimensions."""
    return {name: round(float(value), 4) for name, value in zip(EMOTIONS, emotion, strict=True)}


def summary(turn: Turn, speeches: Sequence[Speech]) -> dict[str, Any]:
    """A trace in short, for the answer itself: what was recalled and told, how it felt, what it cost."""
    finish = speeches[0].finish
    return {
        "turn_id": turn.id if turn.ask.store else None,
        "session_id": turn.session_id if turn.ask.store else None,
        "strategy": turn.recalled.strategy,
        "layout": turn.ask.layout,
        "stage": turn.known.stage.name if turn.known.stage else "",
        "affinity": round(turn.known.bond.standing.affinity, 4),
        "emotion": named(turn.feeling.emotion),
        "mood": named(turn.feeling.mood),
        "lines": list(turn.recalled.lines),
        "memories": list(turn.recalled.memories),
        "lore": [lore.text for lore in turn.lore.told],
        "prompt_tokens": {section.name: section.tokens for section in turn.prompt.ledger},
        "cached_tokens": finish.cached_tokens if finish else 0,
        "attempts": [speech.attempts for speech in speeches],
        "timings_ms": turn.watch.rounded(),
    }
