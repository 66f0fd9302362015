"""The scene before anything is recalled: who speaks with whom, how much of the history fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.characters.macros import fill_names
from app.characters.volatile import apart
from app.chat.ask import Ask, Feeling, Known
from app.chat.card import card_fields, examples
from app.chat.feeling import worded
from app.services import Services
from app.sessions.told import without_name
from models.frame import FRAMES
from models.prompt import Count, history_start, pieces
from models.scene import Scene
from models.window import size, window_start


@dataclass(frozen=True, slots=True)
class Opening:
    """The scene without recalls. `seen_ids` are the stored messages that the prompt shows anyway."""

    scene: Scene
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
    first = window_start(len(known.place.history) - 1, ask.window)
    scene = _scene(ask, known, feeling, first)
    scene = replace(scene, examples=await examples(services, known.character, scene.user, ask.budget))
    opening = Opening(scene, {}, frozenset(), ask.budget)
    counts = await opening.count_more(services, scene)
    start = first + history_start(scene, budget=ask.budget, window=ask.window, count=counts)
    seen = frozenset(message_id for message_id in known.place.ids[start:] if message_id)
    return Opening(scene, opening.counts, seen, ask.budget)


def _scene(ask: Ask, known: Known, feeling: Feeling, first: int) -> Scene:
    """The scene without recalls, with the history from message `first` on."""
    character, stage = known.character, known.stage
    user = known.who.name if known.who else ask.user or FRAMES[character.language].user

    def named(text: str) -> str:
        return fill_names(text, character.called, user)

    who = known.who.text if known.who else ""
    written = (character.persona, character.personality, character.style, character.scenario, who)
    texts = [apart(text) for text in written]
    persona, personality, style, scenario, user_persona = (named(stable) for stable, _ in texts)
    return Scene(
        **card_fields(character, user, known.note, known.note_depth),
        language=character.language,
        persona=persona,
        personality=personality,
        style=style,
        scenario=scenario,
        passing=named("\n".join(passing for _, passing in texts if passing)),
        stage=stage.name if stage else "",
        stage_persona=named("\n".join(filter(None, (stage.persona, stage.style)))) if stage else "",
        user=user,
        user_persona=user_persona,
        client_system=ask.client_system,
        client_late=ask.client_late,
        mood=worded(feeling.mood, character.language),
        history=known.place.history[first:],
        before=sum(size(message.content) for message in known.place.history[:first]),
        begun=without_name(ask.begun, character.called),
    )
