"""GoEmotions (Demszky et al. 2020, arXiv 2005.00547): Reddit comments with 28 labels, `text⇥label ids⇥id`."""

from __future__ import annotations

from app.corpora.document import Document, WrongForm, dimensions

LABELS = (
    "admiration",
    "amusement",
    "anger",
    "annoyance",
    "approval",
    "caring",
    "confusion",
    "curiosity",
    "desire",
    "disappointment",
    "disapproval",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "gratitude",
    "grief",
    "joy",
    "love",
    "nervousness",
    "optimism",
    "pride",
    "realization",
    "relief",
    "remorse",
    "sadness",
    "surprise",
    "neutral",
)
"""Label ids in the published order."""

DIMENSIONS = {
    "joy": "amusement excitement joy love pride relief gratitude",
    "acceptance": "admiration approval caring",
    "fear": "fear nervousness",
    "surprise": "surprise realization confusion",
    "sadness": "sadness disappointment embarrassment grief remorse",
    "disgust": "disgust",
    "anger": "anger annoyance disapproval",
    "anticipation": "optimism desire curiosity",
}


def read(content: str) -> list[Document]:
    """One document a row. Raises `WrongForm` with the line's number."""
    # Only "\n" ends a row: comments hold other characters that str.splitlines takes for line ends.
    rows = [(number, line.rstrip("\r")) for number, line in enumerate(content.split("\n"), 1)]
    documents = [_row(number, line) for number, line in rows if line.strip()]
    if not documents:
        raise WrongForm("it holds no rows; expected text⇥label ids⇥id")
    return documents


def _row(number: int, line: str) -> Document:
    fields = line.split("\t")
    if len(fields) not in (2, 3):
        raise WrongForm(f"line {number} has {len(fields)} fields; expected text⇥label ids⇥id")
    ids = fields[1].split(",")
    if not all(one.isdecimal() and int(one) < len(LABELS) for one in ids):
        raise WrongForm(f"line {number}: {fields[1]!r} are not label ids from 0 to {len(LABELS) - 1}")
    felt = dimensions(frozenset(LABELS[int(one)] for one in ids), DIMENSIONS)
    return Document((fields[0],), ("",), (felt,), (frozenset(),))
