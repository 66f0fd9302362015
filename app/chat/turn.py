"""The chat turn, the story of this server: resolve, feel, recall, lore, scene, speak, remember.

`prepare` does everything up to the prompt with short read transactions; `speak` streams with no database session
held; `remember` is one write transaction, shielded, so that a client that hangs up loses nothing that was said.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

import anyio

from app.chat.ask import Ask, Known, Turn
from app.chat.feeling import feel
from app.chat.interleave import interleave
from app.chat.knowing import know, pour
from app.chat.piece import Piece
from app.chat.recall import recall
from app.chat.remember import remember
from app.chat.resolve import resolve
from app.chat.room import fitted, without_calls
from app.chat.setting import set_scene
from app.chat.speak import Speech, speak
from app.errors import BadRequest
from app.metrics import observe_reply, observe_turn
from app.services import Services
from app.stopwatch import Stopwatch
from app.tables import new_id
from models.engine import ADAPTER, EngineError
from models.prompt import render


async def prepare(services: Services, ask: Ask, waited: float = 0.0) -> Turn:
    """Everything up to the prompt; `waited` are the seconds in the queue before it, for the trace.

    Raises:
        NotFound: no such character or session.
        PromptTooLong: the character and the last message alone do not fit.
        Unavailable: the encoder or the engine is still loading.
    """
    watch = Stopwatch()
    watch.spans["queue"] = waited * 1000
    await services.engine.check()
    ask = await without_calls(services, ask)
    with watch("resolve"):
        known = await resolve(services, ask)
    ask = _with_voice(services, ask, known)
    with watch("feel"):
        feeling = await feel(services, known)
    with watch("scene"):
        opening = await set_scene(services, ask, known, feeling)
    with watch("recall"):
        recalled = await recall(services, ask, known, feeling, opening)
    with watch("lore"):
        lore = await know(services, ask, known, opening)
    with watch("render"):
        scene = pour(opening.scene, lore.outlets)
        scene = replace(scene, lines=recalled.lines, memories=recalled.memories, lore=lore.told)
        counts = await opening.count_more(services, scene)
        prompt = render(scene, layout=ask.layout, budget=ask.budget, window=ask.window, count=counts)
    return Turn(
        id=new_id(),
        session_id=known.place.session_id or new_id(),
        ask=fitted(ask, prompt),
        known=known,
        feeling=feeling,
        recalled=recalled,
        lore=lore,
        scene=scene,
        prompt=prompt,
        watch=watch,
    )


def _with_voice(services: Services, ask: Ask, known: Known) -> Ask:
    """The ask with the adapter that the character speaks with; nobody else does. Raises `BadRequest`."""
    adapter = known.character.adapter
    if not adapter or ask.as_user:
        return ask
    if ADAPTER not in services.engine.abilities:
        raise BadRequest(
            f"{known.character.name} speaks with the adapter {adapter}, and the engine that serves "
            f"{services.engine.name or 'this model'!r} can't load adapters. Serve with vLLM, or take the field away.",
            code="unsupported_adapter",
            param="adapter",
        )
    return replace(ask, sampling=replace(ask.sampling, adapter=adapter))


async def take_turn(services: Services, turn: Turn, speeches: Sequence[Speech]) -> AsyncGenerator[Piece, None]:
    """Speak, as many replies at once as there are `speeches`, and remember what was said however it ends: to the end,
    hung up on, cancelled, or broken off.

    Nothing is stored when nothing was said; then `EngineError` is what the caller sees. Neither is it when the turn's
    row, which `progress.begin` put there, is gone: `Conflict`.
    """
    choices = [speak(services, turn, speech, choice) for choice, speech in enumerate(speeches)]
    try:
        async with aclosing(interleave(choices)) as pieces:
            async for piece in pieces:
                yield piece
        speeches[0].outcome = "finished"
    except EngineError as error:
        speeches[0].outcome, speeches[0].error = "failed", error
        raise
    finally:
        speeches[0].outcome = outcome = speeches[0].outcome or "hung_up"
        if said := [speech for speech in speeches if speech.said and not speech.called]:
            # A hang-up cancels this task again at its next await; the shield lets the transaction end.
            with anyio.CancelScope(shield=True):
                if speeches[0].begun:
                    await speeches[0].begun
                await remember(services, turn, said, outcome)
                speeches[0].remembered = True
        for speech in speeches:
            observe_reply(speech.resampled, speech.cut, speech.hidden)
        observe_turn(turn.watch.spans, outcome)
