"""`moodline bench mood`: does what is recalled share the mood, and what does that cost in meaning.

Half of a file's documents are the bank, the other half ask: every second row of GoEmotions, every second dialogue of
CPED. What the emotion head was trained on is left out. A recalled text matches when people gave it a dimension that
they gave the asking one; texts without one do not ask. The systems only know what the tagger hears; the oracle knows
the labels. In a dialogue the mood blends the turns up to the asking one, as the server does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from app.bench.emotion import unseen_documents
from app.bench.measure import embedded, means
from app.bench.report import report
from app.bond.affinity import INERTIA
from app.cli.console import err, settings
from app.corpora.document import Document, WrongForm
from app.corpora.labelled import read_corpus
from app.services import build_encoder
from retrieval.bank import Bank, Query, Records
from retrieval.emotion import EMOTIONS, blend
from retrieval.encoder import Encoder, Vectors
from retrieval.head import head_for, tagger_for
from retrieval.paper import emotional_distances
from retrieval.rank import Strategy, rank
from retrieval.terms import terms

DEPTH = 10
STRATEGIES: dict[str, Strategy] = {
    "moodline": "calibrated",
    "ordinary": "ordinary",
    "c-a": "c-a",
    "c-m": "c-m",
    "s-s": "s-s",
    "s-e": "s-e",
}
METRICS = {
    "match@10": "share of the ten recalled that people gave an emotion of the asking text",
    "distance": "1 - cosine of the intensities that are heard, on the paper's scale of 1 to 10, mean over the ten",
    "similarity": "cosine of the embeddings, mean over the ten",
}

Encode = Callable[[Sequence[str]], Vectors]
Tag = Callable[[Sequence[str], Vectors], Vectors]


@dataclass(frozen=True)
class Side:
    """Half of the documents, text by text: labels bool [n, 8], what is felt at each and its mood float32 [n, 8]."""

    texts: tuple[str, ...]
    labels: NDArray[np.bool_]
    vectors: Vectors
    felt: Vectors
    mood: Vectors


def run(data: Path) -> None:
    """Measure every system on the same bank and queries, and print the report."""
    chosen = settings()
    try:
        corpus = read_corpus(data)
    except (WrongForm, OSError) as error:
        raise typer.BadParameter(str(error), param_hint="--data") from None
    with err.status("loading the encoder"):
        encoder = build_encoder(chosen)
        head = head_for(encoder.id, chosen.home / "heads")
    unseen = unseen_documents(corpus.documents, head) if head else list(corpus.documents)
    if len(unseen) < 2:
        raise typer.BadParameter("the emotion head was trained on all of it; nothing is left.", param_hint="--data")
    tagger = tagger_for(encoder, chosen.home / "heads")
    asking = _side(unseen[0::2], encoder.encode_queries, tagger.tag, "embedding what asks")
    bank = _side(unseen[1::2], encoder.encode_passages, tagger.tag, "embedding the bank")
    places = [n for n in range(len(asking.texts)) if asking.labels[n].any()]
    report(
        "mood",
        _measured(asking, bank, places, encoder),
        data=str(data),
        bank=len(bank.texts),
        queries=len(places),
        left_out=len(corpus.documents) - len(unseen),
        metrics=METRICS,
        encoder=encoder.id,
    )


def _measured(asking: Side, bank: Side, places: Sequence[int], encoder: Encoder) -> dict[str, dict[str, float]]:
    found = Bank(encoder.dimension)
    found.add(
        Records(
            ids=range(1, len(bank.texts) + 1),
            vectors=bank.vectors,
            emotions=bank.felt,
            terms=[terms(text) for text in bank.texts],
        )
    )
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in (*STRATEGIES, "random", "oracle")}
    for n in track(places, "recalling", console=err):
        for name, recalled in _recalled(asking, bank, found, n):
            rows[name].append(_numbers(asking, bank, n, recalled))
    results = {name: means(measured) for name, measured in rows.items()}
    plain = results["ordinary"]
    for numbers in results.values():
        numbers |= {f"{metric} change": numbers[metric] / max(plain[metric], 1e-9) - 1 for metric in METRICS}
    return results


def _recalled(asking: Side, bank: Side, found: Bank, n: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """For each system the places of the ten it recalls."""
    mood = asking.mood[n]
    query = Query(asking.vectors[n], terms(asking.texts[n]), mood)
    for name, strategy in STRATEGIES.items():
        ranked = rank(found.find(query, strategy, limit=DEPTH), mood, strategy, limit=DEPTH)
        yield name, np.array([one.id - 1 for one in ranked if one.kept], np.int64)
    yield "random", np.random.default_rng(n).choice(len(bank.texts), min(DEPTH, len(bank.texts)), replace=False)
    shares = (bank.labels & asking.labels[n]).any(axis=1)
    yield "oracle", np.lexsort((-(bank.vectors @ asking.vectors[n]), ~shares))[:DEPTH]


def _numbers(asking: Side, bank: Side, n: int, recalled: NDArray[np.int64]) -> dict[str, float]:
    return {
        "match@10": float((bank.labels[recalled] & asking.labels[n]).any(axis=1).mean()),
        "distance": float(emotional_distances(bank.felt[recalled], asking.mood[n]).mean()),
        "similarity": float((bank.vectors[recalled] @ asking.vectors[n]).mean()),
    }


def _side(documents: Sequence[Document], encode: Encode, tag: Tag, doing: str) -> Side:
    texts = tuple(text for document in documents for text in document.texts)
    vectors = embedded(encode, texts, doing)
    felt = tag(texts, vectors)
    labels = [[name in labelled for name in EMOTIONS] for document in documents for labelled in document.felt]
    starts = np.cumsum([0, *(len(document.texts) for document in documents)])
    moods = [_moods(felt[start:end]) for start, end in pairwise(starts)]
    return Side(texts, np.array(labels, np.bool_), vectors, felt, np.concatenate(moods))


def _moods(felt: Vectors) -> Vectors:
    """The mood at each turn of a dialogue, which begins with what is felt first."""
    moods = [felt[0]]
    for now in felt[1:]:
        moods.append(blend(moods[-1], now, INERTIA))
    return np.stack(moods)
