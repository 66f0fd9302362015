"""Run books over a chat as it grows, in SillyTavern's own terms: native JSON, its settings, and a recorded run's form.

Call by call: books may be edited before one, timers go on from one to the next, and each answers with where everything
went. Tokens are those of a rule that needs no tokenizer, a quarter of the bytes, unless others are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

from app.lore.book import Activation, activate
from app.lore.chance import Draws
from app.lore.entry import ROLES, CardField, Entry, Source
from app.lore.fate import Pass
from app.lore.index import Index
from app.lore.judge import Chat
from app.lore.native import read_entries, read_settings
from app.lore.placement import place
from app.lore.quirks import SILLYTAVERN, Quirk
from app.lore.shelf import Book, arrange
from app.lore.timers import NO_TIMERS, Timer, Timers


def quarter_of_bytes(text: str) -> float:
    """Tokens by the rule of recorded runs: UTF-8 bytes divided by four."""
    return len(text.encode("utf-8", "replace")) / 4


@dataclass(frozen=True, slots=True)
class Script:
    """What is run. Fields are those of a recorded run; `names` fills macros."""

    settings: Mapping[str, Any]
    books: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, Any]]
    calls: Sequence[int]
    names: Callable[[str], str]
    max_context: float = 8192
    card: str = ""
    tags: Sequence[str] = ()
    note: str = ""
    note_scan: bool = False
    note_due: bool = True
    injections: Sequence[Mapping[str, Any]] = ()
    external: Sequence[str] = ()
    dry_run: Sequence[bool] = ()
    edits: Sequence[Mapping[str, Any]] = ()
    draws: Sequence[Sequence[float]] = ()
    fields: Mapping[CardField, str] = field(default_factory=dict)
    trigger: str = "normal"
    greeting: int | None = None
    stage: str = ""
    timers: Timers = NO_TIMERS
    quirks: frozenset[Quirk] = SILLYTAVERN
    seed: int = 0


def replay(script: Script) -> list[dict[str, Any]]:
    """One result per call."""
    books = deepcopy(list(script.books))
    timers, results = script.timers, []
    index: Index | None = None
    given: Iterator[float] = iter(())
    for number, length in enumerate(script.calls):
        for edit in script.edits:
            if edit.get("before_call") == number:
                _edit(books, edit)
                index = None
        index = index or _index(script, books)
        # Calls beyond the last list go on with what is left of it.
        given = iter(script.draws[number]) if number < len(script.draws) else given
        draws = Draws(given, seed=script.seed + number)
        dry = number < len(script.dry_run) and bool(script.dry_run[number])
        got = _call(script, index, length, timers, draws, dry_run=dry)
        timers = got.timers
        results.append(_result(script, got, index))
    return results


def _index(script: Script, books: Sequence[Mapping[str, Any]]) -> Index:
    settings, _, strategy = read_settings(script.settings, script.max_context)
    shelf = [Book(_name(book), _source(book), read_entries(book, _name(book))) for book in books]
    return Index(arrange(shelf, strategy), settings, script.quirks)


def _call(script: Script, index: Index, length: int, timers: Timers, draws: Draws, *, dry_run: bool) -> Activation:
    settings, with_names, _ = read_settings(script.settings, script.max_context)
    messages = script.messages[:length]
    note = [script.note] if script.note_scan and script.note_due else []
    prompts = [*note, *(str(one.get("value", "")) for one in script.injections if one.get("scan"))]
    external = frozenset(script.external)
    chat = Chat(
        messages=[(str(m.get("name", "")) if with_names else "", str(m.get("mes", ""))) for m in messages],
        prompts=[script.names(prompt) for prompt in prompts if prompt],
        fields=script.fields,
        card=script.card,
        tags=script.tags,
        triggers=(script.trigger,),
        replies=sum(not m.get("is_user") for m in messages),
        greeting=script.greeting,
        stage=script.stage,
        external=frozenset(entry.id for entry in index.entries if entry.uid in external),
    )
    return activate(
        index, chat, settings, measure=quarter_of_bytes, fill=script.names, timers=timers, draws=draws, dry_run=dry_run
    )


def _name(book: Mapping[str, Any]) -> str:
    return str(book.get("name") or "book")


def _source(book: Mapping[str, Any]) -> Source:
    if book.get("also_global"):
        return "global"
    source = book.get("source")
    return source if source in ("character", "chat") else "global"


def _edit(books: Sequence[Mapping[str, Any]], edit: Mapping[str, Any]) -> None:
    uid = str(edit.get("uid"))
    for book in books:
        entries = book["entries"]
        if isinstance(entries, dict) and uid in entries:
            if edit.get("delete"):
                del entries[uid]
            elif isinstance(change := edit.get("set"), Mapping):
                entries[uid].update(change)


def _result(script: Script, got: Activation, index: Index) -> dict[str, Any]:
    """An activation in the form of a recorded run, with the verdict on every entry."""
    placed = place(got.fired, script.quirks)
    due = script.note_due or ("note_entries_lost" not in script.quirks and (placed.note_top or placed.note_bottom))
    value = script.note if script.note_due else ""
    activated = [number(entry.uid) for entry in got.activated]
    return {
        "activated": activated,
        "activated_sorted": sorted(activated, key=lambda uid: (isinstance(uid, str), uid)),
        "worldInfoBefore": "\n".join(placed.before),
        "worldInfoAfter": "\n".join(placed.after),
        "EMEntries": [{"position": after, "content": content} for after, content in placed.examples],
        "ANTop": list(placed.note_top),
        "ANBottom": list(placed.note_bottom),
        "AN": placed.note(value) if due else None,
        "WIDepthEntries": [
            {"depth": slot.depth, "role": ROLES.index(slot.role), "entries": slot.contents} for slot in placed.depths
        ],
        "outletEntries": {name: list(contents) for name, contents in placed.outlets.items()},
        "budget": read_settings(script.settings, script.max_context)[0].budget,
        "tokens_used": got.tokens,
        "overflow": got.overflow,
        "draws": [
            {"kind": draw.kind, "value": draw.value}
            | {name: value if name == "group" else number(value) for name, value in draw.about.items()}
            for draw in got.draws
        ],
        "timed": write_timers(got.timers),
        "trace": [_traced(one) for one in got.passes],
        "verdicts": [
            asdict(fate) | {"uid": number(fate.uid), "book": entry.book}
            for fate, entry in zip(got.fates, index.entries, strict=True)
        ],
    }


def number(uid: Any) -> Any:
    """A uid as SillyTavern writes it."""
    return int(uid) if isinstance(uid, str) and uid.isdecimal() and len(uid) < 16 else uid


def write_timers(timers: Timers) -> dict[str, Any]:
    """Timers as JSON."""
    both = (("sticky", timers.sticky), ("cooldown", timers.cooldown))
    return {
        effect: {
            name: {
                "start": t.start,
                "end": t.end,
                "protected": t.protected,
                **({"digest": t.digest} if t.digest else {}),
            }
            for name, t in records.items()
        }
        for effect, records in both
    }


def read_timers(raw: Mapping[str, Any]) -> Timers:
    """Timers of `write_timers`."""
    read: dict[str, dict[str, Timer]] = {}
    for effect in ("sticky", "cooldown"):
        read[effect] = {
            str(name): Timer(int(t["start"]), int(t["end"]), bool(t.get("protected")), str(t.get("digest", "")))
            for name, t in (raw.get(effect) or {}).items()
        }
    return Timers(read["sticky"], read["cooldown"])


def _traced(one: Pass) -> dict[str, Any]:
    def pairs(entries: Sequence[tuple[Entry, str]]) -> list[list[Any]]:
        return [[number(entry.uid), why] for entry, why in entries]

    traced: dict[str, Any] = {"state": one.state, "accepted": [number(entry.uid) for entry in one.accepted]}
    traced |= {name: pairs(part) for name in ("found", "skipped", "lost") if (part := getattr(one, name))}
    if one.closed:
        traced["closed_groups"] = one.closed
    if one.failed:
        traced["failed"] = [number(entry.uid) for entry in one.failed]
    if one.over:
        traced["over"] = number(one.over.uid)
    return traced | {"tokens": one.tokens}
