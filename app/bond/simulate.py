"""What steps would do to a bond, without taking them."""

from __future__ import annotations

import numpy as np

from app.bond.affinity import Felt, Moved, Put, Standing, Step, replayed, strangers
from app.bond.happen import check_numbers, event_changes
from app.bond.rules import rules_of
from app.bond.schemas import Simulated, SimulatedStep, Simulation, show
from app.characters.schemas import CharacterFields
from app.services import Services
from app.tables import Floats
from retrieval.emotion import EMOTIONS


async def simulate(services: Services, character: CharacterFields, now: Standing, simulation: Simulation) -> Simulated:
    """How the two would stand after each step, by the character's rules; what is said is heard as in a turn.

    Raises:
        Unprocessable: the character knows no such event, or no such number.
        Unavailable: something is said and the encoder is still loading.
    """
    rules = rules_of(character)
    heard = iter(await _heard(services, [step.said for step in simulation.steps if step.said is not None]))
    steps = [Felt(next(heard)) if step.said is not None else _step(character, step) for step in simulation.steps]
    before, *after = replayed(now if simulation.begin == "now" else strangers(rules), steps, rules)
    return Simulated(before=show(before), after=[show(standing) for standing in after])


async def _heard(services: Services, texts: list[str]) -> Floats:
    if not texts:
        return np.zeros((0, len(EMOTIONS)), np.float32)
    return await services.embedding.feel(texts, await services.embedding.queries(texts))


def _step(character: CharacterFields, step: SimulatedStep) -> Step:
    if step.feeling is not None:
        feeling = {str(name): value for name, value in step.feeling.items()}
        return Felt(np.array([feeling.get(name, 0.0) for name in EMOTIONS], np.float32))
    if step.put is not None:
        check_numbers(character, step.put)
        return Put(step.put)
    return Moved(event_changes(character, step.event or "", step.changes))
