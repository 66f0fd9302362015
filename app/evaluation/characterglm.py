"""`moodline eval characterglm`: CharacterGLM's seven dimensions (2311.16832), its errors per turn, and pairs.

Cards are talked with, in the three manners of the paper's topics. What people gave comes from a file of ratings; judges
grade the same talks, so that their agreement with people can be told.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from app.evaluation.asking import answers
from app.evaluation.engines import Choices, opened
from app.evaluation.grading import VERDICT, Graded, Sheet, agreed, graded, judges_of, lost, read_ratings, results
from app.evaluation.reading import few, language_of
from app.evaluation.report import Result, report
from app.evaluation.talks import BEGINNING, SAID, Talk, converse, repeats, transcript
from models.judging.asking import Asked, Question
from models.judging.intervals import Mean, interval
from models.judging.judge import flagged, flagging, pairing, preferred
from models.judging.rubrics import CHARACTERGLM, ERRORS
from models.scene import Message, Scene


async def run(
    choices: Choices, data: Path, judges: Sequence[str], ratings: Path | None, against: str, turns: int
) -> None:
    """Talk with every card; grade the talks and their turns; with `against`, let judges compare two engines' talks."""
    given = read_ratings(ratings, CHARACTERGLM) if ratings else []
    scenes = few(read_cards(data), choices.limit)
    systems = dict.fromkeys([choices.engine, *([against] if against else [])])
    talks: dict[str, list[Talk]] = {}
    for system in systems:
        async with opened(system, choices) as engine:
            talks[system] = await converse(engine, scenes, [SAID[scene.language][:turns] for scene in scenes])
    told: dict[str, dict[str, Any]] = {system: dict(repetition(held)) for system, held in talks.items()}
    async with judges_of(judges, choices) as ready:
        found = await graded(ready, [sheet for system, held in talks.items() for sheet in _sheets(held, system)])
        for name, judge in ready.items():
            for system, held in talks.items():
                told[system] |= await _errors(judge, name, held)
            if against:
                told[choices.engine] |= await _pairs(judge, name, talks[choices.engine], talks[against])
    told[choices.engine] |= lost(found)
    everything = Graded((*found.ratings, *given), found.unreadable)
    for system, row in results(everything).items():
        told[system] = {**told.get(system, {}), **row}
    rows = [
        {"id": talk.scene.character, "system": system, "talk": transcript(talk.scene)}
        for system, some in talks.items()
        for talk in some
    ]
    agreement = agreed(everything.ratings)
    report("characterglm", told, file=choices.out, rows=rows, characters=len(scenes), agreement=agreement)


def read_cards(file: Path) -> list[Scene]:
    """Characters of CharacterGLM's card file, each after its greeting. Raises typer.BadParameter."""
    try:
        cards = json.loads(file.read_text("utf-8-sig"))
        return [_scene(str(name), card) for name, card in cards.items()]
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}.", param_hint="--data") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise typer.BadParameter(
            f"{file} is no JSON object of cards with a bot_info each: {error}.", param_hint="--data"
        ) from None


def repetition(talks: Sequence[Talk]) -> Result:
    """How many replies say an earlier one again or go round in circles, by the guards of the server."""
    found, groups = list[float](), list[str]()
    for talk in talks:
        for place, reply in enumerate(talk.said):
            found.append(float(repeats(reply, talk.said[:place])))
            groups.append(talk.scene.character)
    return {"repetition": interval(found, groups), "replies that did not come": sum(talk.lost for talk in talks)}


def _scene(name: str, card: Mapping[str, Any]) -> Scene:
    persona, greeting = str(card["bot_info"]), str(card.get("greeting") or "")
    # A conversation begins with the user, so a greeting answers an empty beginning.
    begun = (Message("user", BEGINNING), Message("assistant", greeting)) if greeting else ()
    about = str(card.get("user_info") or "")
    return Scene(str(card.get("bot_name") or name), language_of(persona), persona, user_persona=about, history=begun)


def _sheets(talks: Sequence[Talk], system: str) -> list[Sheet]:
    return [
        Sheet(
            scene.character, rubric, scene.language, scene.character, scene.persona, transcript(scene),
            _ALL[scene.language], system,
        )
        for scene in (talk.scene for talk in talks)
        for rubric in CHARACTERGLM
    ]  # fmt: skip


async def _errors(judge: Asked, name: str, talks: Sequence[Talk]) -> Result:
    """Rates per turn, by judge; an overall rate as the paper's, where all of them could be read."""
    turns = [(talk.scene, place) for talk in talks for place in _replies(talk.scene)]
    found: dict[str, Mean | int] = {}
    unreadable = 0
    for rubric in ERRORS:
        asked = [
            Question(
                flagging(rubric, s.language, s.character, s.persona, transcript(s, at), s.history[at].content), VERDICT
            )
            for s, at in turns
        ]
        heard = [flagged(answer.text) for answer in await answers(judge, asked, rubric.name)]
        read = [
            (float(flag), scene.character) for flag, (scene, _) in zip(heard, turns, strict=True) if flag is not None
        ]
        unreadable += len(heard) - len(read)
        if read:
            found[f"{rubric.name}, {name}"] = interval([flag for flag, _ in read], [who for _, who in read])
    return {**found, f"unreadable verdicts, {name}": unreadable}


async def _pairs(judge: Asked, name: str, ours: Sequence[Talk], theirs: Sequence[Talk]) -> Result:
    """Wins, ties and losses of our talks, each judged in both orders."""
    asked = [
        Question(messages, VERDICT)
        for one, other in zip(ours, theirs, strict=True)
        for messages in pairing(
            one.scene.language,
            one.scene.character,
            one.scene.persona,
            "",
            transcript(one.scene),
            transcript(other.scene),
        )
    ]
    said = [answer.text for answer in await answers(judge, asked, "pairs")]
    counted = Counter(preferred(*both) for both in zip(said[::2], said[1::2], strict=True))
    names = {"first": "win", "tie": "tie", "second": "lose", None: "unreadable pairs"}
    return {f"{told}, {name}": counted[kind] for kind, told in names.items()}  # type: ignore[index]


def _replies(scene: Scene) -> list[int]:
    """Where the character's own replies stand, a greeting left out."""
    history = scene.history
    first = 2 if len(history) > 1 and history[0].content == BEGINNING else 0
    return [place for place in range(first, len(history)) if history[place].role == "assistant"]


_ALL = {"zh": "（以上整段对话中该角色的所有回复）", "en": "(all that the character says in the conversation above)"}
