"""Labelled documents as rows of numbers, and their division into parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from app.corpora.document import Document, fingerprint
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors
from retrieval.fit_head import Rows

PIECE = 256
"""Texts embedded between two steps of a progress bar."""
FIT, CALIBRATE = 80, 90
"""Of 100 documents the first 80 fit the weights, the next 10 the curves, the floor and the thresholds; the last 10
only the report."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """Documents by what they are for."""

    fit: tuple[Document, ...]
    calibrate: tuple[Document, ...]
    report: tuple[Document, ...]


def divide(documents: Sequence[Document], seed: int) -> Parts:
    """Each document's part, by a hash of what it says and the seed: the same text is never in two parts."""
    drawn = [_draw(document, seed) for document in documents]
    part = [0 if place < FIT else 1 if place < CALIBRATE else 2 for place in drawn]
    chosen = [tuple(d for d, p in zip(documents, part, strict=True) if p == wanted) for wanted in range(3)]
    return Parts(*chosen)


def _draw(document: Document, seed: int) -> int:
    return int.from_bytes(sha256(f"{seed} {fingerprint(document)}".encode()).digest()[:4], "big") % 100


def rows_of(documents: Sequence[Document], vectors: Vectors) -> Rows:
    """Every text of the documents, in order; `vectors` are theirs."""
    felt = np.array([_mask(one) for document in documents for one in document.felt])
    unknown = np.array([_mask(one) for document in documents for one in document.unknown])
    return Rows(texts_of(documents), vectors, felt, (~unknown).astype(np.float32))


def texts_of(documents: Sequence[Document]) -> tuple[str, ...]:
    """Every text of the documents, in order."""
    return tuple(text for document in documents for text in document.texts)


def _mask(names: frozenset[str]) -> NDArray[np.bool_]:
    return np.array([emotion in names for emotion in EMOTIONS])


def both_ways(encoder: Encoder, texts: Sequence[str], progress: Progress = lambda _more: None) -> Vectors:
    """Vectors of the texts, by turns as a query and as a passage, so that a head learns both at the price of one."""
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    for first, encode in ((0, encoder.encode_queries), (1, encoder.encode_passages)):
        places = np.arange(first, len(texts), 2)
        for piece in _pieces(places):
            vectors[piece] = encode([texts[place] for place in piece])
            progress(len(piece))
    return vectors


def _pieces(places: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(places), PIECE):
        yield places[start : start + PIECE]
