"""Trains an emotion head from files of labelled texts and says how well it hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.corpora.document import Document, fingerprint
from app.corpora.labelled import Corpus
from app.emotions.examples import Parts, divide, rows_of
from app.emotions.measure import by_script, scores, thresholds_by_script
from retrieval.emotion import AnchorTagger, EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.fit_head import Rows, anchor_rows, fit, signed
from retrieval.head import Head, HeadTagger

RECIPE = 1
"""Raised when the same data would give another head."""
LICENCES = {
    "GoEmotions": "Apache-2.0, Google Research, arXiv 2005.00547",
    "CPED": "Apache-2.0, South China University of Technology, arXiv 2205.14727",
}


@dataclass(frozen=True, slots=True)
class Trained:
    """A head and, by data set and system, what it reached on documents that neither weights nor thresholds saw."""

    head: Head
    results: Mapping[str, Mapping[str, Any]]


def train(
    encoder: Encoder, corpora: Sequence[Corpus], vectors: Sequence[Vectors], seed: int, step: Callable[[], None]
) -> Trained:
    """Fit a head; `vectors` are of each corpus's texts in order, `step` is called once a round of fitting.

    Raises ValueError when a part is left without documents.
    """
    parts = [divide(corpus.documents, seed) for corpus in corpora]
    if not all(part.fit and part.calibrate and part.report for part in parts):
        raise ValueError("a file has too few documents to keep some aside; give at least a few hundred")
    rows = [_split(part, corpus, table) for part, corpus, table in zip(parts, corpora, vectors, strict=True)]
    aside = _sum([one[1] for one in rows])
    anchors = AnchorTagger(encoder)
    head = fit(_sum([one[0] for one in rows]) + anchor_rows(encoder), aside, step)
    tables = {name: _limits(tagger, aside) for name, tagger in (("head", HeadTagger(head)), ("anchors", anchors))}
    results = {
        f"{corpus.kind} {name}": _measured(tagger, one[2], tables[name])
        for corpus, one in zip(corpora, rows, strict=True)
        for name, tagger in (("head", HeadTagger(head)), ("anchors", anchors))
    }
    return Trained(signed(head, _manifest(encoder, corpora, parts, tables, results, seed), _seen(parts)), results)


def _split(parts: Parts, corpus: Corpus, vectors: Vectors) -> tuple[Rows, Rows, Rows]:
    """The rows of each part, out of the corpus's rows."""
    rows = rows_of(corpus.documents, vectors)
    lengths = [len(document.texts) for document in corpus.documents]
    kinds = [{id(one) for one in part} for part in (parts.fit, parts.calibrate, parts.report)]
    masks = [np.repeat([id(one) in kind for one in corpus.documents], lengths) for kind in kinds]
    return rows.take(masks[0]), rows.take(masks[1]), rows.take(masks[2])


def _sum(rows: Sequence[Rows]) -> Rows:
    total = rows[0]
    for more in rows[1:]:
        total = total + more
    return total


def _limits(tagger: EmotionTagger, aside: Rows) -> dict[str, list[float]]:
    return thresholds_by_script(aside.texts, tagger.tag(aside.texts, aside.vectors), aside.felt)


def _measured(tagger: EmotionTagger, rows: Rows, table: dict[str, list[float]]) -> dict[str, Any]:
    return scores(tagger.tag(rows.texts, rows.vectors), rows.felt, by_script(rows.texts, table))


def _seen(parts: Sequence[Parts]) -> set[int]:
    return {fingerprint(document) for part in parts for document in (*part.fit, *part.calibrate)}


def _manifest(
    encoder: Encoder,
    corpora: Sequence[Corpus],
    parts: Sequence[Parts],
    tables: Mapping[str, Any],
    results: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    data = [
        {
            "name": corpus.kind,
            "licence": LICENCES[corpus.kind],
            "documents": {"fit": len(one.fit), "calibrate": len(one.calibrate), "report": len(one.report)},
            "texts": _count(one.fit) + _count(one.calibrate),
        }
        for corpus, one in zip(corpora, parts, strict=True)
    ]
    return {
        "encoders": [encoder.id],
        "recipe": RECIPE,
        "seed": seed,
        "data": data,
        "thresholds": dict(tables),
        "results": dict(results),
    }


def _count(documents: Sequence[Document]) -> int:
    return sum(len(document.texts) for document in documents)
