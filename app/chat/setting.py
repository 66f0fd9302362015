"""The scene before anything is recalled: who speaks with whom, how much of the history fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.characters.macros import Moment, fill
from app.characters.volatile import apart
from app.chat.ask import Ask, Feeling, Known
from app.chat.card import card_fields, examples, rules_apart
from app.chat.feeling import worded
from app.chat.moment import moment_of
from app.services import Services
from app.sessions.told import without_name
from models.prompt import Count, history_start, pieces
from models.scene import Language, Scene
from models.window import size, window_start


@dataclass(frozen=True, slots=True)
class Opening:
    """The scene without recalls. `seen_ids` are the stored messages that the prompt shows anyway."""

    scene: Scene
    moment: Moment
    counts: dict[str, int]
    seen_ids: frozenset[str]
    budget: int

    async def count_more(self, services: Services, scene: Scene) -> Count:
        """Counts of everything in a scene."""
        return await self.count_texts(services, pieces(scene))

    async def count_texts(self, services: Services, texts: Iterable[str]) -> Count:
        """Counts that cover `texts`, asking the engine only for those it has not counted yet."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.counts]
        self.counts.update(zip(fresh, await services.engine.count(fresh), strict=True))
        return self.counts.__getitem__


async def set_scene(services: Services, ask: Ask, known: Known, feeling: Feeling) -> Opening:
    """The scene with as much history as will be in the prompt; raises `PromptTooLong` when nothing can be cut."""
    first = window_start(len(known.heard.history) - 1, ask.window)
    moment = moment_of(ask, known)
    scene = _scene(ask, known, feeling, first, moment)
    scene = replace(scene, examples=await examples(services, known.character, moment, ask.budget))
    opening = Opening(scene, moment, {}, frozenset(), ask.budget)
    counts = await opening.count_more(services, scene)
    start = first + history_start(scene, budget=ask.budget, window=ask.window, count=counts)
    seen = frozenset(message_id for message_id in known.heard.ids[start:] if message_id)
    return Opening(scene, moment, opening.counts, seen, ask.budget)


def _scene(ask: Ask, known: Known, feeling: Feeling, first: int, moment: Moment) -> Scene:
    """The scene without recalls, with the history from message `first` on."""
    character, stage = known.character, known.stage
    held = moment.held()
    who = known.who.text if known.who else ""
    written = (character.persona, character.personality, character.style, character.scenario, who)
    texts = [apart(text) for text in written]
    filled = [fill(stable, held, str(place)) for place, (stable, _) in enumerate(texts)]
    persona, personality, style, scenario, user_persona = filled
    late = [rules_apart(character)[1], apart(character.mes_example)[1], *(passing for _, passing in texts)]
    # In this order, because one may set variables that the next one tells.
    passing = fill("\n".join(filter(None, late)), moment, "passing")
    at_stage = fill("\n".join(filter(None, (stage.persona, stage.style))), moment, "stage") if stage else ""
    return Scene(
        **card_fields(character, moment, known.note, known.note_depth),
        language=character.language,
        persona=persona,
        personality=personality,
        style=style,
        scenario=scenario,
        passing=passing,
        stage=stage.name if stage else "",
        stage_persona=at_stage,
        user=moment.user,
        company=_company(ask, character.language),
        user_persona=user_persona,
        client_system=ask.client_system,
        client_late=ask.client_late,
        mood=worded(feeling.mood, character.language),
        history=known.heard.history[first:],
        before=sum(size(message.content) for message in known.heard.history[:first]),
        begun=without_name(ask.begun, character.called),
    )


def _company(ask: Ask, language: Language) -> str:
    return (", " if language == "en" else "、").join(ask.cast.others) if ask.cast else ""
