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
from app.evaluation.reading import few
from app.evaluation.report import Result, report
from app.evaluation.talks import BEGINNING, SAID, Talk, converse, repeated, repetition, transcript
from models.data.talk import language_of
from models.judging.asking import Asked, Question
from models.judging.intervals import Mean, interval
from models.judging.judge import flagged, flagging, pairing, preferred
from models.judging.rubrics import CHARACTERGLM, ERRORS, MERIT, Rubric
from models.scene import Message, Scene


async def run(
    choices: Choices, data: Path, judges: Sequence[str], ratings: Path | None, against: str, turns: int
) -> None:
    """Talk with every card; grade the talks and their turns; with `against`, let judges compare two engines' talks."""
    given = read_ratings(ratings, CHARACTERGLM) if ratings else []
    scenes = few(read_cards(data), choices.limit)
    if not scenes:
        raise typer.BadParameter(f"{data} has no card.", param_hint="--data")
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


def _scene(name: str, card: Mapping[str, Any]) -> Scene:
    persona, greeting = str(card["bot_info"]), str(card.get("greeting") or "")
    # A conversation begins with the user, so a greeting answers an empty beginning.
    begun = (Message("user", BEGINNING), Message("assistant", greeting)) if greeting else ()
    about = str(card.get("user_info") or "")
    return Scene(str(card.get("bot_name") or name), language_of([persona]), persona, user_persona=about, history=begun)


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
    """Rates per turn, by judge, and their sum as the paper's: errors and repetition, less proactivity.

    The sum is over the turns whose verdicts could all be read.
    """
    turns = [(talk.scene, place) for talk in talks for place in talk.places]
    given = {rubric.name: await _verdicts(judge, rubric, turns) for rubric in (*ERRORS, MERIT)}
    who = [scene.character for scene, _ in turns]
    found = {rate: _rate(flags, who) for rate, flags in given.items()}
    again = [flag for talk in talks for flag in repeated(talk)]
    found["errors, overall"] = _rate(
        [
            None if None in verdicts else repeat + sum(verdicts[:-1]) - verdicts[-1]
            for repeat, verdicts in zip(again, zip(*given.values(), strict=True), strict=True)
        ],
        who,
    )
    unreadable = sum(flags.count(None) for flags in given.values())
    told = {f"{rate}, {name}": value for rate, value in found.items() if value}
    return {**told, f"unreadable verdicts, {name}": unreadable}


async def _verdicts(judge: Asked, rubric: Rubric, turns: Sequence[tuple[Scene, int]]) -> list[float | None]:
    """Whether the rubric is true of each turn; None where the judge can't be read."""
    asked = [
        Question(
            flagging(rubric, s.language, s.character, s.persona, transcript(s, at), s.history[at].content), VERDICT
        )
        for s, at in turns
    ]
    heard = [flagged(answer.text) for answer in await answers(judge, asked, rubric.name)]
    return [None if flag is None else float(flag) for flag in heard]


def _rate(flags: Sequence[float | None], groups: Sequence[str]) -> Mean | None:
    """The mean of what could be read, None of nothing."""
    read = [(flag, group) for flag, group in zip(flags, groups, strict=True) if flag is not None]
    return interval([flag for flag, _ in read], [group for _, group in read]) if read else None


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


_ALL = {"zh": "（以上整段对话中该角色的所有回复）", "en": "(all that the character says in the conversation above)"}
