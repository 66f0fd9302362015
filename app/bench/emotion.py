"""`moodline bench emotion`: how well intensities agree with people's labels.

Documents that the head was trained on are left out by their fingerprints, whatever file they stand in. The thresholds
of head and anchors alike were chosen on the same rows of the head's training data, kept aside from its weights; a text
with Chinese characters has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import typer
from rich.progress import track
from rich.table import Table

from app.bench.report import report
from app.cli.console import err, out, settings
from app.corpora.document import Document, WrongForm, fingerprint
from app.corpora.labelled import Corpus, read_corpus
from app.emotions.examples import PIECE, rows_of, texts_of
from app.emotions.measure import by_script, scores
from app.services import build_encoder
from retrieval.emotion import EMOTIONS, AnchorTagger, EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.fit_head import Rows
from retrieval.head import Head, HeadTagger, head_for


def run(data: Sequence[Path], passages: bool) -> None:
    """Measure each file in turn; a fault of a file ends the command with a sentence."""
    chosen = settings()
    try:
        corpora = {str(path): read_corpus(path) for path in data}
        with err.status("loading the encoder"):
            encoder = build_encoder(chosen)
            head = head_for(encoder.id, chosen.home / "heads")
    except (WrongForm, OSError, ValueError) as error:
        _stop(str(error))
    if head is None:
        _stop(f"No head hears {encoder.id}; fit one with `moodline train emotion`.")
    for path, corpus in corpora.items():
        _measure(encoder, head, path, corpus, passages)


def _stop(sentence: str) -> NoReturn:
    err.print(f"[red]{sentence}[/]", highlight=False)
    raise typer.Exit(1)


def _measure(encoder: Encoder, head: Head, path: str, corpus: Corpus, passages: bool) -> None:
    unseen = unseen_documents(corpus.documents, head)
    left_out = len(corpus.documents) - len(unseen)
    out.print(f"{path}: {len(unseen)} documents; {left_out} left out, the head was trained on them.")
    if not unseen:
        _stop("Nothing is left to measure on.")
    texts = texts_of(unseen)
    rows = rows_of(unseen, _embed(encoder, texts, passages))
    show(
        "emotion",
        results(rows, head, AnchorTagger(encoder)),
        data=path,
        kind=corpus.kind,
        texts=len(texts),
        documents=len(unseen),
        left_out=left_out,
        vectors="passages" if passages else "queries",
        encoder=encoder.id,
    )


def show(bench: str, measured: Mapping[str, Mapping[str, Any]], **more: Any) -> None:
    """A table of each dimension's F1 by system, then `report` of the other measures; the JSON holds F1 as `f1`."""
    f1 = {
        system: {name: round(numbers[name], 4) for name in EMOTIONS if name in numbers}
        for system, numbers in measured.items()
    }
    table = Table("F1", *f1)
    for name in EMOTIONS:
        table.add_row(name, *(f"{numbers[name]:.3f}" if name in numbers else "" for numbers in f1.values()))
    out.print(table)
    totals = {
        system: {name: value for name, value in numbers.items() if name not in EMOTIONS}
        for system, numbers in measured.items()
    }
    report(bench, totals, f1=f1, **more)


def unseen_documents(documents: Sequence[Document], head: Head) -> list[Document]:
    """The documents that the head was not trained on."""
    seen = set(head.seen.tolist())
    return [document for document in documents if fingerprint(document) not in seen]


def results(rows: Rows, head: Head, anchors: EmotionTagger) -> dict[str, dict[str, Any]]:
    """The measures of each system on the same rows."""
    limits = {name: by_script(rows.texts, table) for name, table in head.manifest["thresholds"].items()}
    yes = np.ones((len(rows.texts), len(EMOTIONS)), dtype=np.float32)
    return {
        "moodline": scores(HeadTagger(head).tag(rows.texts, rows.vectors), rows.felt, limits["head"]),
        "anchors": scores(anchors.tag(rows.texts, rows.vectors), rows.felt, limits["anchors"]),
        "always-yes": scores(yes, rows.felt, yes),
    }


def _embed(encoder: Encoder, texts: Sequence[str], passages: bool) -> Vectors:
    encode = encoder.encode_passages if passages else encoder.encode_queries
    starts = range(0, len(texts), PIECE)
    pieces = track(starts, description="embedding", console=err)
    return np.concatenate([encode(texts[start : start + PIECE]) for start in pieces])
