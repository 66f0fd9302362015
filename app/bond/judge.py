"""Asks the language model what an exchange did to a bond; in the background, never within a turn."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.affinity import AFFINITY
from app.bond.rules import rules_of
from app.bond.store import WAITING, hold_bond, replay_bond
from app.characters.schemas import CharacterFields
from app.services import Services
from app.sessions.store import Scope
from app.tables import BondEvent, Character, Message
from models.engine import Engine, EngineError, ParameterRefused, Sampling
from models.frame import FRAMES
from models.scene import Language
from models.scene import Message as Said

log = logging.getLogger("moodline")
JUDGED = "judged"
BATCH = 8
"""Exchanges judged at once."""
POLL_SECONDS = 60.0
LONGEST = 2000
"""Characters of a message that are shown."""
_ASKED: dict[Language, str] = {
    "en": (
        "You judge how one exchange changes what {char} feels for {user}. {char}: {persona}\n"
        "Answer with one JSON object and nothing else: a short `reason`, and for each of {numbers} a whole number from "
        "-{most} (much worse) over 0 (no change, the most usual) to {most} (much better)."
    ),
    "zh": (
        "你来判断一轮对话怎样改变{char}对{user}的感情。{char}：{persona}\n"
        "只用一个JSON对象回答：简短的`reason`，以及{numbers}各一个整数，从-{most}（差得多）经0（没有变化，最常见）"
        "到{most}（好得多）。"
    ),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was said and answered, and whose bond it may move."""

    event_id: int
    scope: Scope
    character: CharacterFields
    said: str
    answer: str


def expect_judgement(db: AsyncSession, scope: Scope, reply_id: str) -> None:
    """Leave a mark, in the transaction of a turn, that its exchange waits to be judged."""
    whose = {"owner": scope.owner, "user": scope.user, "character_id": scope.character_id}
    db.add(BondEvent(**whose, message_id=reply_id, kind=WAITING, numbers={}))


async def keep_judged(services: Services) -> None:
    """Judge whenever exchanges wait, for as long as the server runs."""
    while True:
        services.unjudged.clear()
        try:
            while await judge_waiting(services):
                pass
        except EngineError as error:
            log.debug("the language model can't judge now; exchanges wait: %s", error)
        except Exception:
            log.exception("judging in the background failed; it is tried again in %d s", POLL_SECONDS)
        with anyio.move_on_after(POLL_SECONDS):
            await services.unjudged.wait()


async def judge_waiting(services: Services) -> int:
    """Judge some exchanges that wait; returns how many. Safe to stop and to run twice at once.

    An answer that can't be read changes nothing. Raises EngineError, and leaves them waiting, when there is none.
    """
    async with services.db.read() as db:
        waiting = await _waiting(db)
    exchanges = [one for one in waiting.values() if one is not None]
    judgements = await asyncio.gather(*(judge(services.engine, one) for one in exchanges))
    for exchange, judgement in zip(exchanges, judgements, strict=True):
        async with services.db.write() as db:
            await _count(db, exchange, judgement)
    if gone := [event_id for event_id, one in waiting.items() if one is None]:
        async with services.db.write() as db:
            await db.execute(delete(BondEvent).where(BondEvent.id.in_(gone), BondEvent.kind == WAITING))
    return len(waiting)


async def judge(engine: Engine, exchange: Exchange) -> dict[str, Any]:
    """What an exchange changes, by number, and a `reason`; raises EngineError."""
    fields = exchange.character
    most = fields.bond.judged or 0
    numbers = [AFFINITY, *fields.bond.variables]
    user = exchange.scope.user or FRAMES[fields.language].user
    system = _ASKED[fields.language].format(
        char=fields.name, user=user, persona=fields.persona[:LONGEST], numbers=", ".join(numbers), most=most
    )
    told = f"{user}: {exchange.said[:LONGEST]}\n{fields.name}: {exchange.answer[:LONGEST]}"
    guided = {"type": "json_schema", "json_schema": {"name": "judgement", "schema": _schema(numbers, most)}}
    sampling = Sampling(
        max_tokens=200 + 20 * len(numbers),
        temperature=0.0,
        response_format=guided if "response_format" in engine.abilities else None,
    )
    messages = [Said("system", system), Said("user", told)]
    try:
        async with aclosing(engine.stream(messages, sampling, owner=exchange.scope.owner)) as stream:
            answer = "".join([piece async for piece in stream if isinstance(piece, str)])
    except ParameterRefused as error:
        log.warning("the engine can't judge bonds: %s", error)
        return {}
    return read_judgement(answer, numbers, most)


def read_judgement(answer: str, numbers: list[str], most: float) -> dict[str, Any]:
    """The changes of a JSON object, each at most `most`, with its `reason`; empty when it is anything else."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        told = json.loads(answer[start : end + 1])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    changes: dict[str, Any] = {}
    for name in numbers:
        value = told.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            changes[name] = max(-most, min(most, float(value)))
    reason = told.get("reason")
    return changes | {"reason": reason[:500] if isinstance(reason, str) else ""}


def _schema(numbers: list[str], most: float) -> dict[str, Any]:
    whole = {"type": "integer", "minimum": -int(most), "maximum": int(most)}
    properties: dict[str, Any] = {"reason": {"type": "string", "maxLength": 200}} | dict.fromkeys(numbers, whole)
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


async def _waiting(db: AsyncSession) -> dict[int, Exchange | None]:
    """Exchanges that wait, by the id of their mark; None where the messages or the wish to judge them is gone."""
    rows = list(
        await db.scalars(select(BondEvent).where(BondEvent.kind == WAITING).order_by(BondEvent.id).limit(BATCH))
    )
    found: dict[int, Exchange | None] = {}
    for row in rows:
        reply = await db.get(Message, row.message_id)
        said = await db.get(Message, reply.parent_id) if reply is not None else None
        character = await db.get_one(Character, row.character_id)
        fields = CharacterFields.model_validate(character.document)
        scope = Scope(row.owner, row.user, row.character_id)
        wanted = reply is not None and said is not None and fields.bond.judged
        found[row.id] = Exchange(row.id, scope, fields, said.text, reply.text) if wanted and said and reply else None
    return found


async def _count(db: AsyncSession, exchange: Exchange, judgement: Mapping[str, Any]) -> None:
    """Store a judgement and what it does to the bond, unless its mark is gone."""
    numbers = {name: value for name, value in judgement.items() if name != "reason"}
    note = judgement.get("reason", "the answer of the language model could not be read")
    bond = await hold_bond(db, exchange.scope)
    if bond is None:
        return  # the user was erased meanwhile
    mine = (BondEvent.id == exchange.event_id, BondEvent.kind == WAITING)
    changed = await db.execute(update(BondEvent).where(*mine).values(kind=JUDGED, numbers=numbers, note=note))
    if changed.rowcount:  # type: ignore[attr-defined]
        await replay_bond(db, bond, rules_of(exchange.character))
