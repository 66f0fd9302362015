"""`moodline eval rolebench`: ROUGE-L against RoleBench's references (RoleLLM, 2310.00746).

RAW is against plain answers to general instructions, CUS against answers in the role's style, SPE about what only the
role knows. A row says by its `type` which it is: `general` rows are CUS, `script_based` and `script_agnostic` ones SPE.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from app.evaluation.asking import replies
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import few, persona, rows_of
from app.evaluation.report import Result, report
from models.data.rows import Row
from models.data.talk import language_of
from models.example import BadRow
from models.judging.intervals import difference, interval
from models.judging.overlap import rouge_l
from models.scene import Message, Scene


@dataclass(frozen=True, slots=True)
class Item:
    """A question to a role and its reference answers; `kind` is RAW, CUS or SPE."""

    role: str
    question: str
    references: tuple[str, ...]
    kind: str


async def run(choices: Choices, data: Path, answers: Path | None, raw: Path | None, profiles: str) -> None:
    """Ask the engine, or read the `answers` of a system, or both and compare them on the same questions."""
    items = [*read(data), *(read(raw, "RAW") if raw else ())]
    given = said(answers) if answers else {}
    if answers and not (items := [item for item in items if _key(item.role, item.question) in given]):
        raise typer.BadParameter(
            f"{answers} answers none of the questions of {data}; give the file of references that belongs to it.",
            param_hint="--answers",
        )
    items = few(items, choices.limit)
    texts: dict[str, list[str]] = {}
    refused = 0
    if choices.engine:
        async with opened(choices.engine, choices) as engine:
            heard = await replies(engine, [scene(item, profiles) for item in items])
        texts[choices.engine] = [answer.text for answer in heard]
        refused = sum(bool(answer.refused) for answer in heard)
    if answers:
        texts[answers.name] = [given[_key(item.role, item.question)] for item in items]
    scores = {name: _scores(items, told) for name, told in texts.items()}
    results = {name: _by_kind(items, values) for name, values in scores.items()}
    if len(scores) == 2:
        ours, theirs = scores.values()
        results["difference"] = {"ROUGE-L": difference(ours, theirs, _groups(items))}
    rows = [asdict(item) | {name: told[at] for name, told in texts.items()} for at, item in enumerate(items)]
    report("rolebench", results, file=choices.out, rows=rows, questions=len(items), refused=refused)


def read(file: Path, kind: str = "") -> list[Item]:
    """The questions of a RoleBench file. Raises typer.BadParameter with the damaged line."""
    try:
        return [_item(row, kind) for row in rows_of(file)]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None


def said(file: Path) -> Mapping[str, str]:
    """A system's answers by role and question, as RoleBench ships RoleGPT's."""
    try:
        items = [_item(row, "") for row in rows_of(file, "--answers")]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--answers") from None
    return {_key(item.role, item.question): item.references[0] for item in items}


def scene(item: Item, profiles: str) -> Scene:
    """The question as somebody asks the role."""
    who = persona(profiles, item.role)
    return Scene(item.role, language_of([item.question]), who, history=(Message("user", item.question),))


def _item(row: Row, kind: str) -> Item:
    references = row.items("generated")
    if not references:
        raise row.fault("generated must hold at least one answer.")
    texts = tuple(row.checked(text, "generated", empty=True) for text in references)
    types = row.fields.get("type")
    told = types[0] if isinstance(types, list) and types else types
    return Item(row.text("role"), row.text("question").strip(), texts, kind or ("CUS" if told == "general" else "SPE"))


def _key(role: str, question: str) -> str:
    return "".join(f"{role}\n{question}".split())


def _scores(items: Sequence[Item], texts: Sequence[str]) -> list[float]:
    return [rouge_l(text, item.references) for text, item in zip(texts, items, strict=True)]


def _groups(items: Sequence[Item]) -> list[str]:
    """Roles, unless there are too few to draw from; then every question stands for itself."""
    roles = [item.role for item in items]
    return roles if len(set(roles)) >= 10 else list(map(str, range(len(items))))


def _by_kind(items: Sequence[Item], scores: Sequence[float]) -> Result:
    groups = _groups(items)
    kinds: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        kinds[item.kind].append(place)
    found = {kind: interval([scores[n] for n in at], [groups[n] for n in at]) for kind, at in sorted(kinds.items())}
    return found | {"ROUGE-L": interval(scores, groups)}
