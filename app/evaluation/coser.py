"""`moodline eval coser`: a book's conversations played again by one engine for all characters (CoSER, 2502.09082).

The engine plays every character in the original's order of speakers, after the first messages as they were. N-gram
overlap with the original costs no judge, and agreed with people better than GPT-4o did in the paper; judges list flaws,
in one call for each of four dimensions. Thoughts are taken out of both before anything is compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from app.evaluation.asking import answers, replies
from app.evaluation.engines import Choices, opened
from app.evaluation.grading import judges_of
from app.evaluation.reading import few, rows_of
from app.evaluation.report import report
from app.evaluation.talks import SILENCE
from models.engine import Sampling
from models.judging.asking import Asked, Question
from models.judging.intervals import interval
from models.judging.judge import finding_flaws, penalised, severities
from models.judging.overlap import rouge_l, sentence_bleu
from models.judging.rubrics import COSER
from models.scene import Message, Scene

TURNS = 20
"""The paper's most rounds."""
SPEECH = Sampling(max_tokens=96, temperature=0.0)
FLAWS = Sampling(max_tokens=768, temperature=0.0)
_THOUGHT = re.compile(r"\[[^\[\]]*\]\s*")


@dataclass(frozen=True, slots=True)
class Play:
    """One conversation of a book: who says what, and what is known of the speakers."""

    scenario: str
    profiles: Mapping[str, str]
    motives: Mapping[str, str]
    said: tuple[tuple[str, str], ...]


async def run(choices: Choices, data: Path, judges: Sequence[str], first: int) -> None:
    """Play the conversations, and compare them with the book."""
    plays = few([play for play in read(data) if len(play.said) > first], choices.limit)
    if not plays:
        raise typer.BadParameter(f"no conversation has more than {first} messages.", param_hint="--first")
    async with opened(choices.engine, choices) as engine:
        if engine.plays:
            raise typer.BadParameter("one engine plays all characters; give a language model.", param_hint="--engine")
        played = await simulate(engine, plays, first)
    names = range(len(plays))
    pairs = [(shown(one[first:]), shown(play.said[first : len(one)])) for one, play in zip(played, plays, strict=True)]
    found: dict[str, Any] = {
        "ROUGE-L": interval([rouge_l(ours, [theirs]) for ours, theirs in pairs], names),
        "BLEU": interval([sentence_bleu(ours, theirs, "en") for ours, theirs in pairs], names),
        "silent turns": sum(text == SILENCE for one in played for _, text in one),
    }
    async with judges_of(judges, choices) as ready:
        for name, judge in ready.items():
            found |= await _judged(judge, name, plays, played, first)
    rows = [{"original": ours, "simulated": theirs} for theirs, ours in pairs]
    report("coser", {choices.engine: found}, file=choices.out, rows=rows, conversations=len(plays), first=first)


def read(file: Path) -> list[Play]:
    """The conversations of a book of CoSER's. Raises typer.BadParameter."""
    book = rows_of(file)[0].fields
    try:
        people = {name: str(found.get("profile") or "") for name, found in book["character_datasets"].items()}
        return [_play(talk, people) for plot in book["plots"] for talk in plot["conversation"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise typer.BadParameter(
            f"{file} is no book of CoSER's: plots, each with conversations, and character_datasets ({error}).",
            param_hint="--data",
        ) from None


def without_asides(text: str) -> str:
    """A message without `[thoughts]`; actions in round brackets stay."""
    return _THOUGHT.sub("", text).strip()


async def simulate(engine: Asked, plays: Sequence[Play], first: int) -> list[list[tuple[str, str]]]:
    """Every play from its message number `first` on, at most `TURNS` messages in all; all plays go on at once."""
    played = [list(play.said[:first]) for play in plays]
    for turn in range(first, min(TURNS, max(len(play.said) for play in plays))):
        at = [place for place, play in enumerate(plays) if turn < len(play.said)]
        scenes = [scene(plays[place], plays[place].said[turn][0], played[place]) for place in at]
        for place, answer in zip(at, await replies(engine, scenes, f"message {turn + 1}", SPEECH), strict=True):
            played[place].append((plays[place].said[turn][0], without_asides(answer.text) or SILENCE))
    return played


def scene(play: Play, who: str, said: Sequence[tuple[str, str]]) -> Scene:
    """What a character knows when it is to speak: its own profile and motive, and what all have said."""
    history: list[Message] = []
    for name, text in said:
        role, line = ("assistant", text) if name == who else ("user", f"{name}: {text}")
        if history and history[-1].role == role:
            line = f"{history.pop().content}\n{line}"
        history.append(Message(role, line))  # type: ignore[arg-type]
    if not history or history[-1].role == "assistant":
        history.append(Message("user", SILENCE))
    others = [name for name in dict.fromkeys(name for name, _ in play.said) if name != who]
    scenario = f"{play.scenario}\nPresent: {', '.join(others)}."
    profile, motive = play.profiles.get(who, ""), play.motives.get(who, "")
    return Scene(who, "en", profile, scenario=scenario, passing=motive, history=tuple(history))


def shown(said: Sequence[tuple[str, str]]) -> str:
    """A line for each message, with who says it."""
    return "\n".join(f"{name}: {text}" for name, text in said)


def _play(talk: Mapping[str, Any], people: Mapping[str, str]) -> Play:
    said = [(str(one["character"]), without_asides(str(one["message"]))) for one in talk["dialogues"]]
    motives = {str(one["name"]): str(one.get("motivation") or "") for one in talk.get("key_characters", ())}
    spoken = tuple((name, text) for name, text in said if text)
    return Play(str(talk["scenario"]), people, motives, spoken)


async def _judged(
    judge: Asked, name: str, plays: Sequence[Play], played: Sequence[Sequence[tuple[str, str]]], first: int
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    unreadable = 0
    for rubric in COSER:
        asked = [
            Question(
                finding_flaws(rubric, play.scenario, _people(play), shown(play.said[: len(one)]), shown(one)), FLAWS
            )
            for play, one in zip(plays, played, strict=True)
        ]
        flaws = [severities(answer.text) for answer in await answers(judge, asked, rubric.name)]
        read_ = zip(flaws, played, strict=True)
        scores = [penalised(given, len(one) - first) for given, one in read_ if given is not None]
        unreadable += len(flaws) - len(scores)
        if scores:
            found[f"{rubric.name}, {name}"] = interval(scores)
    return {**found, f"unreadable, {name}": unreadable}


def _people(play: Play) -> str:
    names = dict.fromkeys(name for name, _ in play.said)
    return "\n\n".join(play.profiles[name] for name in names if play.profiles.get(name))
