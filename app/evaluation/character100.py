"""`moodline eval character100`: answers about a public figure's life against the reference (Character100, 2403.12368).

The figure answers with its paragraph before it. Nearness by BLEU, ROUGE-L and the encoder; manner by a discriminator
that is trained on the other rows' answers and names the speaker among those of the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from app.cli.console import err, settings
from app.evaluation.asking import replies
from app.evaluation.engines import Choices, opened
from app.evaluation.reading import few
from app.evaluation.report import Result, report
from app.services import build_encoder
from models.data.qa import character100
from models.example import BadRow
from models.judging.intervals import interval
from models.judging.overlap import corpus_bleu, distinct, rouge_l
from models.judging.style import KS, Discriminator, hits
from models.scene import Message, Scene

TEST = 4
"""Every so manieth paragraph, with all its questions, is asked about; the discriminator learns from the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """A question about a paragraph, and the figure's answer."""

    who: str
    paragraph: str
    question: str
    answer: str


async def run(choices: Choices, data: Path) -> None:
    """Ask about paragraphs that the discriminator has not seen, and compare with the answers."""
    rows = read(data)
    learnt, test = divided(rows)
    test = few(test, choices.limit)
    async with opened(choices.engine, choices) as engine:
        heard = await replies(engine, [_scene(row) for row in test])
    said = [answer.text for answer in heard]
    with err.status("training the discriminator"):
        names = {part for row in rows for part in row.who.split()}
        judge = Discriminator([row.answer for row in learnt], [row.who for row in learnt], hidden=names)
    gold = [row.answer for row in test]
    results = {
        choices.engine: _measured(test, said, judge),
        "reference": {**_style(test, gold, judge), "distinct-2": distinct(gold, 2)},
    }
    kept = [
        {"who": row.who, "question": row.question, "gold": row.answer, "reply": text}
        for row, text in zip(test, said, strict=True)
    ]
    report(
        "character100", results, file=choices.out, rows=kept, questions=len(test), figures=len(judge.speakers),
        refused=sum(bool(answer.refused) for answer in heard),
    )  # fmt: skip


def read(folder: Path) -> list[Row]:
    """The rows of all `NAME.txt` of a folder. Raises typer.BadParameter with file and line."""
    files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
    if len(files) < 2:
        raise typer.BadParameter(f"{folder} holds no two NAME.txt files of Character100.", param_hint="--data")
    try:
        examples = [example for file in files for example in character100(file)]
    except BadRow as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None
    return [
        Row(one.scene.character, one.scene.lore[0].text, one.scene.history[-1].content, one.reply) for one in examples
    ]


def divided(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Rows to learn the manner from, and rows to ask; a paragraph's rows are all on one side."""
    places: dict[tuple[str, str], int] = {}
    for row in rows:
        places.setdefault((row.who, row.paragraph), len(places))
    sides: tuple[list[Row], list[Row]] = [], []
    for row in rows:
        sides[places[row.who, row.paragraph] % TEST == 0].append(row)
    return sides


def similarities(said: Sequence[str], gold: Sequence[str]) -> list[float]:
    """Cosine of the server's own encoder between each reply and its reference; 0 for an empty reply."""
    encoder = build_encoder(settings())
    with err.status("embedding"):
        one, other = (encoder.encode_passages([text or " " for text in texts]) for texts in (said, gold))
    return [
        float(value) if text.strip() else 0.0 for value, text in zip(np.sum(one * other, axis=1), said, strict=True)
    ]


def _measured(test: Sequence[Row], said: Sequence[str], judge: Discriminator) -> Result:
    who = [row.who for row in test]
    gold = [row.answer for row in test]
    return {
        "ROUGE-L": interval([rouge_l(text, [right]) for text, right in zip(said, gold, strict=True)], who),
        "similarity": interval(similarities(said, gold), who),
        "corpus BLEU": corpus_bleu(said, gold, "en").score,
        "distinct-2": distinct(said, 2),
        **_style(test, said, judge),
    }


def _style(test: Sequence[Row], said: Sequence[str], judge: Discriminator) -> Result:
    who = [row.who for row in test]
    ranks = judge.ranks(said, who)
    return {f"hit@{k}": interval(hits(ranks, k), who) for k in KS}


def _scene(row: Row) -> Scene:
    return Scene(row.who, "en", row.paragraph, history=(Message("user", row.question),))
