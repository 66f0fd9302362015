"""Files of texts that people labelled with emotions: which data set they are of, and their documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.corpora import cped, goemotions
from app.corpora.document import Document, WrongForm

Kind = Literal["GoEmotions", "CPED"]
_READERS: dict[Kind, Callable[[str], list[Document]]] = {"GoEmotions": goemotions.read, "CPED": cped.read}


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file's documents and which data set they are of."""

    kind: Kind
    documents: tuple[Document, ...]


def read_corpus(path: Path) -> Corpus:
    """A file of either data set, told apart by its first line. Raises `WrongForm` and OSError."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongForm(f"{path} is not UTF-8 text") from error
    kind: Kind = "CPED" if cped.fits(content) else "GoEmotions"
    try:
        return Corpus(kind, tuple(_READERS[kind](content)))
    except WrongForm as error:
        raise WrongForm(f"{path} read as {kind}: {error}") from error
