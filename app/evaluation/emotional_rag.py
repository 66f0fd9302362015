"""`moodline eval emotional-rag`: the paper's table (2410.23041): six strategies of recall by questionnaires.

A role's memories are its lines with the line before each, every one once. For each item the server's own ranking
recalls ten by each strategy; the engine, with these in its prompt, fills in the questionnaire, as in `personality`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from app.bench.contexts import read_contexts
from app.bench.measure import embedded
from app.bench.mood import STRATEGIES
from app.cli.console import err, settings
from app.evaluation.engines import Choices, opened
from app.evaluation.personality import Filled, Labels, fill, items_of, labels_of, measured
from app.evaluation.questionnaires import Item, read_questionnaire
from app.evaluation.report import report
from app.services import build_encoder
from models.judging.asking import Asked
from models.judging.intervals import difference, interval
from models.judging.personality import Questionnaire, likeness
from retrieval.bank import Bank, Query, Records
from retrieval.emotion import EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.head import tagger_for
from retrieval.paper import emotional_distances
from retrieval.rank import Strategy, rank
from retrieval.terms import terms

DEPTH = 10
"""The paper's number of memories."""


Asking = tuple[str, str]
"""A role and what it is asked."""


@dataclass(frozen=True)
class Memories:
    """A role's memories and their vectors, as the server keeps them; ids are places from 1 on."""

    texts: tuple[str, ...]
    felt: Vectors
    bank: Bank


@dataclass(frozen=True)
class Banks:
    """The memories of roles, and by what they were embedded and felt."""

    roles: Mapping[str, Memories]
    encoder: Encoder
    tagger: EmotionTagger


@dataclass(frozen=True)
class Recalled:
    """What a strategy recalled for an item, and how far its feelings and meanings lie from the question's."""

    texts: tuple[str, ...]
    distance: float
    similarity: float


async def run(
    choices: Choices, data: Sequence[Path], labels: Path, lines: Path, profiles: str, judge: str, role: str
) -> None:
    """Fill in every questionnaire by every strategy."""
    forms = [read_questionnaire(file) for file in data]
    wanted = [labels_of(labels, form, role) for form in forms]
    texts = texts_of(lines, {name for one in wanted for name in one})
    with err.status("loading the encoder"):
        encoder = build_encoder(settings())
    banks = banks_of(texts, encoder)
    told: dict[str, dict[str, Any]] = {name: {} for name in STRATEGIES}
    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(opened(choices.engine, choices))
        reader = await stack.enter_async_context(opened(judge, choices)) if judge else None
        if engine.plays:
            raise typer.BadParameter("a character of a server recalls by itself; give a language model.")
        for form, known in zip(forms, wanted, strict=True):
            items = items_of(form, known, choices.limit)
            filled = await table(engine, reader, form, items, known, banks, profiles, told)
            rows += [{"strategy": name, **row} for name, one in filled.items() for row in one.rows()]
    sizes = {name: len(said) for name, said in texts.items()}
    report(
        "emotional-rag", told, file=choices.out, rows=rows, engine=choices.engine, judge=judge or None, memories=sizes
    )


async def table(
    engine: Asked,
    judge: Asked | None,
    form: Questionnaire,
    items: Sequence[Item],
    known: Labels,
    banks: Banks,
    profiles: str,
    told: dict[str, dict[str, Any]],
) -> dict[str, Filled]:
    """Let the questionnaire be filled in by each strategy, and put what is measured into `told`."""
    found = recall(items, banks)
    filled: dict[str, Filled] = {}
    for name, here in found.items():

        def remembered(item: Item, here: Mapping[Asking, Recalled] = here) -> Sequence[str]:
            return here[_key(item)].texts

        filled[name] = await fill(engine, judge, form, items, profiles, remembered)
        numbers = measured(form, filled[name], known)
        told[name] |= {f"{form.name} {metric}": value for metric, value in numbers.items()}
        told[name] |= _nearness(form, items, here)
    _compare(form, filled, known, told)
    return filled


def _compare(form: Questionnaire, filled: Mapping[str, Filled], known: Labels, told: dict[str, dict[str, Any]]) -> None:
    """Each strategy's accuracy against the ordinary one's, dimension by dimension."""
    plain = likeness(form, filled["ordinary"].scores(form), known)
    for name, one in filled.items():
        ours = likeness(form, one.scores(form), known)
        told[name][f"{form.name} Acc(Dim) over ordinary"] = difference(ours.right, plain.right, ours.roles)


def _nearness(form: Questionnaire, items: Sequence[Item], found: Mapping[Asking, Recalled]) -> dict[str, Any]:
    here, roles = [found[_key(item)] for item in items], [item.role for item in items]
    return {
        f"{form.name} emotional distance": interval([one.distance for one in here], roles),
        f"{form.name} similarity": interval([one.similarity for one in here], roles),
    }


def texts_of(lines: Path, roles: set[str]) -> dict[str, list[str]]:
    """What each labelled role was told and said. Raises typer.BadParameter where one has no line in the file."""
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for role, families in read_contexts(lines).scenes.items():
        for cut in (cut for family in families.values() for cut in family):
            for before, turn in pairwise(cut):
                if role in roles and turn.speaker == role:
                    texts[role][f"{before.speaker}：{before.text}\n{turn.speaker}：{turn.text}"] = None
    if missing := roles - set(texts):
        raise typer.BadParameter(
            f"{lines} has no lines of {', '.join(sorted(missing))}; --role takes one.", param_hint="--lines"
        )
    return {role: list(said) for role, said in texts.items()}


def banks_of(texts: Mapping[str, Sequence[str]], encoder: Encoder) -> Banks:
    """The memories of every role."""
    tagger = tagger_for(encoder, settings().home / "heads")
    found = {}
    for role, said in texts.items():
        vectors = embedded(encoder.encode_passages, list(said), f"embedding {role}")
        felt = tagger.tag(list(said), vectors)
        bank = Bank(encoder.dimension)
        bank.add(Records(ids=range(1, len(said) + 1), vectors=vectors, emotions=felt, terms=list(map(terms, said))))
        found[role] = Memories(tuple(said), felt, bank)
    return Banks(found, encoder, tagger)


def recall(items: Sequence[Item], banks: Banks) -> dict[str, dict[Asking, Recalled]]:
    """What every strategy recalls for every item, by role and question."""
    asked = list(dict.fromkeys(item.asked for item in items))
    with err.status("embedding questions"):
        vectors = banks.encoder.encode_queries(asked)
    felt = dict(zip(asked, banks.tagger.tag(asked, vectors), strict=True))
    near = dict(zip(asked, vectors, strict=True))
    found: dict[str, dict[Asking, Recalled]] = {name: {} for name in STRATEGIES}
    for item in items:
        for name, strategy in STRATEGIES.items():
            query = Query(near[item.asked], terms(item.asked), felt[item.asked])
            found[name][_key(item)] = _recalled(query, banks.roles[item.role], strategy)
    return found


def _recalled(query: Query, memories: Memories, strategy: Strategy) -> Recalled:
    found = memories.bank.find(query, strategy, limit=DEPTH)
    kept = [one.id for one in rank(found, query.felt, strategy, limit=DEPTH) if one.kept]
    semantic = {one.id: one.semantic for one in found}
    away = emotional_distances(memories.felt[[name - 1 for name in kept]], query.felt)
    near = sum(semantic[name] for name in kept) / len(kept)
    return Recalled(tuple(memories.texts[name - 1] for name in kept), float(away.mean()), float(near))


def _key(item: Item) -> Asking:
    return item.role, item.asked
