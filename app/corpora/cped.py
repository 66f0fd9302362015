"""CPED (Chen et al. 2022, arXiv 2205.14727): Chinese TV dialogues, each utterance with one of 13 emotions, as CSV.

The labels were given with picture and sound, so that a text alone tells less than its label.
"""

from __future__ import annotations

import csv
import io
from itertools import groupby

from app.corpora.document import Document, WrongForm, dimensions

DIMENSIONS = {
    "joy": "happy relaxed positive-other",
    "acceptance": "grateful",
    "fear": "fear worried",
    "surprise": "astonished",
    "sadness": "sadness depress",
    "disgust": "disgust negative-other",
    "anger": "anger",
}
LABELS = frozenset(" ".join([*DIMENSIONS.values(), "neutral"]).split())
COLUMNS = ("Dialogue_ID", "Speaker", "Emotion", "Utterance")


def fits(content: str) -> bool:
    """Whether the first line names this data set's columns."""
    return set(COLUMNS) <= set(next(csv.reader([content.split("\n", 1)[0]]), []))


def read(content: str) -> list[Document]:
    """One document a dialogue, in the file's order. Raises `WrongForm` with the line's number."""
    reader = csv.DictReader(io.StringIO(content, newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise WrongForm(f"the first line lacks the columns {', '.join(missing)}")
    rows = [_checked(row, reader.line_num) for row in reader]
    if not rows:
        raise WrongForm("it holds no rows below the first line")
    return [_dialogue(list(group)) for _, group in groupby(rows, key=lambda row: row["Dialogue_ID"])]


def _checked(row: dict[str, str], line: int) -> dict[str, str]:
    for name in COLUMNS:
        if row.get(name) is None:
            raise WrongForm(f"line {line} has no {name}")
    if row["Emotion"] not in LABELS:
        raise WrongForm(f"line {line}: {row['Emotion']!r} is not one of {', '.join(sorted(LABELS))}")
    return row


def _dialogue(rows: list[dict[str, str]]) -> Document:
    return Document(
        tuple(row["Utterance"] for row in rows),
        tuple(row["Speaker"] for row in rows),
        tuple(dimensions(frozenset([row["Emotion"]]), DIMENSIONS) for row in rows),
        tuple(_unknown(row["Emotion"]) for row in rows),
    )


def _unknown(label: str) -> frozenset[str]:
    """No label of CPED is near anticipation, and what is near acceptance may have been called happy or positive."""
    warm = label in DIMENSIONS["joy"].split()
    return frozenset(["anticipation", "acceptance"] if warm else ["anticipation"])
