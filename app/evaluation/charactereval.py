"""`moodline eval charactereval`: the next line of CharacterEval's contexts (2401.01275), judged and compared.

A context that a longer one continues has the role's own next line as its reference. Contexts that begin alike are one
family, and intervals draw whole families.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from app.bench.contexts import Corpus, read_contexts, turns_of
from app.evaluation.asking import replies
from app.evaluation.engines import Choices, opened
from app.evaluation.grading import Graded, Sheet, agreed, graded, judges_of, lost, read_ratings, results
from app.evaluation.reading import few, persona, rows_of
from app.evaluation.report import Result, report
from models.judging.intervals import interval
from models.judging.overlap import corpus_bleu, distinct, rouge_l, sentence_bleu
from models.judging.rubrics import CHARACTEREVAL
from models.scene import Message, Scene
from retrieval.units import Turn

GROUPS: Mapping[str, tuple[str, ...]] = {
    "conversation": tuple(rubric.name for rubric in CHARACTEREVAL[:3]),
    "character": tuple(rubric.name for rubric in CHARACTEREVAL[3:8]),
    "attractiveness": tuple(rubric.name for rubric in CHARACTEREVAL[8:]),
}
"""What the paper's leaderboard averages."""


@dataclass(frozen=True, slots=True)
class Item:
    """A context, what the role says next in a longer one or "", and the family of both."""

    id: str
    role: str
    context: tuple[Turn, ...]
    gold: str
    family: str


async def run(
    choices: Choices, data: Path, profiles: str, judges: Sequence[str], metrics: Path | None, ratings: Path | None
) -> None:
    """Let the engine speak the next line; grade it where there is a judge, compare it where there is a reference."""
    wanted = _wanted(metrics) if metrics else {}
    given = read_ratings(ratings, CHARACTEREVAL) if ratings else []
    items = [item for item in read(data) if item.gold or judges]
    items = few([item for item in items if not wanted or item.id in wanted], choices.limit)
    if not items:
        raise typer.BadParameter("nothing to ask: no context has a reference or a metric.", param_hint="--data")
    async with opened(choices.engine, choices) as engine:
        heard = await replies(engine, [scene(item, persona(profiles, item.role)) for item in items])
    # A role speaks one line; what goes on would be the next speaker's.
    lines = [answer.text.split("\n")[0].strip() for answer in heard]
    async with judges_of(judges, choices) as ready:
        found = await graded(ready, _sheets(items, lines, profiles, wanted, choices.engine))
    everything = Graded((*found.ratings, *given), found.unreadable)
    told: dict[str, Result] = {choices.engine: {**_overlap(items, lines), **lost(found)}}
    for system, row in results(everything).items():
        told[system] = {**told.get(system, {}), **row, **_grouped(row)}
    rows = [{"id": i.id, "role": i.role, "gold": i.gold, "reply": line} for i, line in zip(items, lines, strict=True)]
    report(
        "charactereval", told, file=choices.out, rows=rows, contexts=len(items),
        families=len({item.family for item in items}), refused=sum(bool(answer.refused) for answer in heard),
        agreement=agreed(everything.ratings),
    )  # fmt: skip


def read(data: Path) -> list[Item]:
    """Every context of the file, once. Raises typer.BadParameter as `read_contexts` does."""
    corpus = read_contexts(data)
    gold = {(pair.role, pair.context): pair.gold for pair in corpus.pairs}
    family = _families(corpus)
    items: dict[tuple[str, tuple[Turn, ...]], Item] = {}
    for row in rows_of(data):
        role = row.text("role")
        context = turns_of(tuple(line for line in row.text("context").split("\n") if line.strip()))
        key = role, context
        items.setdefault(key, Item(str(row.fields.get("id", "")), role, context, gold.get(key, ""), family[key]))
    return list(items.values())


def scene(item: Item, who: str) -> Scene:
    """The context as a conversation: what the role said is the assistant's, all others' lines have their names."""
    history: list[Message] = []
    for turn in item.context:
        speaks = turn.speaker == item.role
        text = turn.text if speaks else f"{turn.speaker}：{turn.text}"
        role = "assistant" if speaks else "user"
        if history and history[-1].role == role:
            text = f"{history.pop().content}\n{text}"
        history.append(Message(role, text))  # type: ignore[arg-type]
    if history[-1].role == "assistant":
        history.append(Message("user", "……"))
    return Scene(item.role, "zh", who, history=tuple(history))


def _families(corpus: Corpus) -> dict[tuple[str, tuple[Turn, ...]], str]:
    return {
        (role, context): f"{role} {family}"
        for role, families in corpus.scenes.items()
        for family, cuts in families.items()
        for context in cuts
    }


def _wanted(file: Path) -> dict[str, set[str]]:
    """Which dimensions each id is to be graded in, as `id2metric.jsonl` has it: a JSON object of [English, Chinese]."""
    names = {_plain(rubric.name): rubric.name for rubric in CHARACTEREVAL}
    (row, *_) = rows_of(file, "--metrics")
    wanted: dict[str, set[str]] = {}
    for id_, pairs in row.fields.items():
        try:
            wanted[id_] = {names[_plain(str(pair[0]))] for pair in pairs}
        except (KeyError, TypeError, IndexError):
            raise typer.BadParameter(
                f"{file}: {id_} names no metrics of CharacterEval.", param_hint="--metrics"
            ) from None
    return wanted


def _plain(name: str) -> str:
    letters = "".join(filter(str.isalpha, name.lower()))
    return {
        "coherence": "coherency",
        "diversity": "expressiondiversity",
        "hallucination": "knowledgehallucination",
    }.get(letters, letters)


def _sheets(
    items: Sequence[Item], lines: Sequence[str], profiles: str, wanted: Mapping[str, set[str]], system: str
) -> list[Sheet]:
    everything = {rubric.name for rubric in CHARACTEREVAL}
    return [
        Sheet(item.id, rubric, "zh", item.role, persona(profiles, item.role), _shown(item), line, system)
        for item, line in zip(items, lines, strict=True)
        for rubric in CHARACTEREVAL
        if rubric.name in wanted.get(item.id, everything)
    ]


def _shown(item: Item) -> str:
    return "\n".join(f"{turn.speaker}：{turn.text}" for turn in item.context)


def _overlap(items: Sequence[Item], lines: Sequence[str]) -> dict[str, Any]:
    """Nearness to what was really said, where that is known."""
    known = [(line, item.gold, item.family) for item, line in zip(items, lines, strict=True) if item.gold]
    if not known:
        return {}
    said, gold, families = (list(column) for column in zip(*known, strict=True))
    pairs = list(zip(said, gold, strict=True))
    return {
        "ROUGE-L": interval([rouge_l(line, [right]) for line, right in pairs], families),
        "sentence BLEU": interval([sentence_bleu(line, right, "zh") for line, right in pairs], families),
        "corpus BLEU": corpus_bleu(said, gold, "zh").score,
        "distinct-2": distinct(said, 2),
    }


def _grouped(row: Result) -> dict[str, float]:
    """The leaderboard's three columns: the mean of the dimensions' means, where each has one."""
    found = {}
    for group, names in GROUPS.items():
        scores = [value.mean for name in names if hasattr(value := row.get(name), "mean")]  # type: ignore[union-attr]
        if len(scores) == len(names):
            found[group] = sum(scores) / len(scores)
    return found
