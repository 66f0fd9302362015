"""A posted run of world info, read into a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.characters.macros import fill_names
from app.errors import Unprocessable
from app.lore.native import read_entries
from app.lore.quirks import OURS, SILLYTAVERN
from app.lore.replay import Script, read_timers
from app.lore.schemas import Run
from app.lore.timers import NO_TIMERS


def read_script(body: Run, books: Sequence[Mapping[str, Any]]) -> Script:
    """What is to be run.

    Raises:
        Unprocessable: a book, the draws or the timers can't be read.
    """
    try:
        for book in books:
            read_entries(book)
        timers = NO_TIMERS if body.timed is None else read_timers(body.timed)
        draws = _draws(body)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Unprocessable(f"This run can't be read: {error}", code="unreadable_run") from None
    return Script(
        settings=body.settings,
        books=books,
        messages=[message.model_dump() for message in body.messages],
        calls=[len(body.messages)] if body.calls is None else body.calls,
        names=lambda text: fill_names(text, body.char, body.user),
        max_context=body.max_context,
        card=body.char if body.char_file is None else body.char_file,
        tags=body.char_tags,
        note=body.author_note.value,
        note_scan=body.author_note.scan,
        note_due=body.author_note.insert,
        injections=body.injections,
        external=[str(uid) for uid in body.external],
        dry_run=body.dry_run,
        edits=body.edits,
        draws=draws,
        fields=body.fields,
        trigger=body.trigger,
        greeting=body.greeting,
        stage=body.stage,
        timers=timers,
        quirks=SILLYTAVERN if body.compatible else OURS,
        seed=body.seed,
    )


def _draws(body: Run) -> list[list[float]]:
    """The numbers of each call; numbers alone go from one call to the next."""
    given: Sequence[Any] = [call.get("draws") or [] for call in body.expected] if body.draws is None else body.draws
    if all(isinstance(one, list) for one in given):
        return [[_value(draw) for draw in call] for call in given]
    return [[_value(draw) for draw in given]]


def _value(draw: Any) -> float:
    value = draw["value"] if isinstance(draw, Mapping) else draw
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"a draw is a number from 0 to below 1, not {str(value)[:40]}")
    return float(value)
