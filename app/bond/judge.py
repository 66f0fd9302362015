"""Asks the language model what an exchange did to a bond; in the background, never within a turn."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import anyio
from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.bond.affinity import AFFINITY
from app.bond.rounds import answered_by
from app.bond.rules import rules_of
from app.bond.store import WAITING, hold_bond, replay_bond
from app.characters.macros import fill_names
from app.characters.schemas import CharacterFields
from app.personas.store import user_name, who
from app.services import Services
from app.sessions.store import Scope
from app.tables import BondEvent, Character, Message, now
from models.engine import Engine, EngineError, EngineRefused, ParameterRefused, Sampling
from models.scene import Language
from models.scene import Message as Said
from models.thoughts import without_thoughts

log = logging.getLogger("moodline")
JUDGED = "judged"
BATCH = 8
"""Exchanges judged at once."""
POLL_SECONDS = 60.0
CLAIM = timedelta(minutes=10)
"""After which another process takes over what one took and never judged."""
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
    """What was said and answered, and whose bond it may move; `user` is what the user is called."""

    event_id: int
    scope: Scope
    character: CharacterFields
    user: str
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
    """Judge some exchanges that wait; returns how many. Safe to stop and to run in several processes at once.

    An answer that can't be read, or a language model that turns the question down, changes nothing. Raises EngineError
    when there is no answer for some: those go on waiting.
    """
    moment = now()
    async with services.db.write() as db:
        count, exchanges = await _claim(db, moment)
    try:
        ended = await asyncio.gather(*(_settle(services, one) for one in exchanges), return_exceptions=True)
    finally:
        with anyio.CancelScope(shield=True):
            await _release(services, exchanges, moment)
    for error in ended:
        if error is not None:
            raise error
    return count


async def judge(engine: Engine, exchange: Exchange) -> dict[str, Any]:
    """What an exchange changes, by number, and a `reason`; raises EngineError."""
    fields = exchange.character
    most = fields.bond.judged or 0
    numbers = [AFFINITY, *fields.bond.variables]
    persona = fill_names(fields.persona, fields.called, exchange.user)[:LONGEST]
    system = _ASKED[fields.language].format(
        char=fields.called, user=exchange.user, persona=persona, numbers=", ".join(numbers), most=most
    )
    told = f"{exchange.user}: {exchange.said[:LONGEST]}\n{fields.called}: {exchange.answer[:LONGEST]}"
    sampling = Sampling(max_tokens=200 + 20 * len(numbers), temperature=0.0)
    guided = {"type": "json_schema", "json_schema": {"name": "judgement", "schema": _schema(numbers, most)}}
    messages = [Said("system", system), Said("user", told)]
    answer: str | None = None
    if "response_format" in engine.abilities:
        try:
            answer = await _ask(engine, messages, replace(sampling, response_format=guided), exchange.scope.owner)
        except ParameterRefused as error:
            log.warning("the language model judges a bond without a schema: %s", error)
    if answer is None:
        answer = await _ask(engine, messages, sampling, exchange.scope.owner)
    return read_judgement(answer, numbers, most)


async def _ask(engine: Engine, messages: list[Said], sampling: Sampling, owner: str) -> str:
    async with aclosing(engine.stream(messages, sampling, owner=owner)) as stream:
        return "".join([piece async for piece in stream if isinstance(piece, str)])


def read_judgement(answer: str, numbers: list[str], most: float) -> dict[str, Any]:
    """The changes of a JSON object, each at most `most`, with its `reason`; empty when it is anything else."""
    answer = without_thoughts(answer)
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


async def _claim(db: AsyncSession, moment: datetime) -> tuple[int, list[Exchange]]:
    """Take exchanges that wait and that no other process is judging: how many marks were looked at, and what of them.

    Where the messages or the wish to judge them is gone, the mark goes too.
    """
    free = or_(BondEvent.claimed_at.is_(None), BondEvent.claimed_at < moment - CLAIM)
    query = select(BondEvent).where(BondEvent.kind == WAITING, free).order_by(BondEvent.id).limit(BATCH)
    rows = list(await db.scalars(query.with_for_update(skip_locked=True)))
    exchanges = []
    for row in rows:
        if exchange := await _exchange(db, row):
            row.claimed_at = moment
            exchanges.append(exchange)
        else:
            await db.delete(row)
    return len(rows), exchanges


async def _exchange(db: AsyncSession, row: BondEvent) -> Exchange | None:
    reply = await db.get(Message, row.message_id)
    said = await answered_by(db, reply) if reply is not None else None
    fields = CharacterFields.model_validate((await db.get_one(Character, row.character_id)).document)
    if reply is None or said is None or not fields.bond.judged:
        return None
    scope = Scope(row.owner, row.user, row.character_id)
    user = user_name(await who(db, scope, None), scope.user, fields.language)
    return Exchange(row.id, scope, fields, user, said.text, reply.text)


async def _settle(services: Services, exchange: Exchange) -> None:
    """Judge an exchange and let that count; raises EngineError when there is no answer now."""
    try:
        judgement = await judge(services.engine, exchange)
    except EngineRefused as error:
        # It would be refused again, and must not stand in the way of others.
        judgement = {"reason": f"the language model refused to judge: {error}"[:500]}
    async with services.db.write() as db:
        await _count(db, exchange, judgement)


async def _release(services: Services, exchanges: Sequence[Exchange], moment: datetime) -> None:
    """Let any process judge what was taken at this moment and still waits; what another took over since is its own."""
    if not exchanges:
        return
    ids = [one.event_id for one in exchanges]
    mine = (BondEvent.id.in_(ids), BondEvent.kind == WAITING, BondEvent.claimed_at == moment)
    async with services.db.write() as db:
        await db.execute(update(BondEvent).where(*mine).values(claimed_at=None))


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
