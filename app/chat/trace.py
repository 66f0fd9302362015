"""Explain a turn: everything that was considered, kept or dropped, and the exact prompt. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.chat.ask import Outcome, Turn
from app.chat.speak import Speech
from app.tables import Floats
from retrieval.emotion import EMOTIONS


def explain(turn: Turn, speech: Speech, outcome: Outcome, affinity: float, stage: str, engine: str) -> dict[str, Any]:
    """The trace document of a turn; `affinity` and `stage` are those after it. `scene` can be rendered again."""
    known, ask = turn.known, turn.ask
    finish = speech.finish
    return {
        "outcome": outcome,
        "character": {"slug": ask.slug, "revision": known.revision},
        "session_id": turn.session_id,
        "user": ask.user,
        "engine": {
            "name": engine,
            "sampling": asdict(ask.sampling),
            "finish": asdict(finish) if finish else None,
            "attempts": speech.attempts,
        },
        "layout": ask.layout,
        "strategy": turn.recalled.strategy,
        "emotion": named(turn.feeling.emotion),
        "mood": named(turn.feeling.mood),
        "bond": {
            "before": {"affinity": known.bond.affinity, "stage": known.stage.name if known.stage else ""},
            "after": {"affinity": affinity, "stage": stage},
        },
        "lines": list(turn.recalled.considered_lines),
        "memories": list(turn.recalled.considered_memories),
        "lore": [asdict(fate) for fate in turn.lore.fates],
        "ledger": [asdict(section) for section in turn.prompt.ledger],
        "budget": {"prompt": ask.budget, "window": ask.window, "used": turn.prompt.tokens},
        "prompt": [asdict(message) for message in turn.prompt.messages],
        "scene": asdict(turn.scene),
        "reply": speech.said,
        "hidden": speech.hidden,
        "taken_back": list(speech.echoes),
        "timings_ms": turn.watch.rounded(),
    }


def named(emotion: Floats) -> dict[str, float]:
    """An emotion vector with the names of its dimensions."""
    return {name: round(float(value), 4) for name, value in zip(EMOTIONS, emotion, strict=True)}
