"""`moodline train emotion`: read, embed, fit, report, write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer
from rich.progress import Progress

from app.bench.emotion import show
from app.cli.console import err, settings
from app.corpora.document import WrongForm
from app.corpora.labelled import Corpus, read_corpus
from app.emotions.examples import both_ways, texts_of
from app.emotions.train import Trained, train
from app.services import build_encoder
from retrieval.encoder import Encoder
from retrieval.fit_head import ROUNDS
from retrieval.head import file_name, save


def run(data: Sequence[Path], encoder_name: str, out: Path | None, also_for: Sequence[str], seed: int) -> None:
    """Train and write a head; a fault of a file ends the command with a sentence."""
    chosen = settings()
    if encoder_name:
        chosen = chosen.model_copy(update={"encoder": encoder_name})
    try:
        corpora = [read_corpus(path) for path in data]
        with err.status("loading the encoder"):
            encoder = build_encoder(chosen)
        trained = _train(encoder, corpora, seed)
        target = out or chosen.home / "heads" / file_name(encoder.id)
        ids = [*trained.head.manifest["encoders"], *also_for]
        save(replace(trained.head, manifest={**trained.head.manifest, "encoders": ids}), target)
    except (WrongForm, OSError, ValueError) as error:
        err.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    show("train emotion", trained.results, encoder=encoder.id, written=str(target))


def _train(encoder: Encoder, corpora: Sequence[Corpus], seed: int) -> Trained:
    with Progress(console=err) as progress:
        texts = [texts_of(corpus.documents) for corpus in corpora]
        bar = progress.add_task("embedding", total=sum(map(len, texts)))
        vectors = [both_ways(encoder, each, lambda more: progress.advance(bar, more)) for each in texts]
        rounds = progress.add_task("fitting", total=ROUNDS)
        return train(encoder, corpora, vectors, seed, lambda: progress.advance(rounds))
