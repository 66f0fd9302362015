"""A labelled document: what is trained on or kept aside as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from retrieval.emotion import EMOTIONS


class WrongForm(ValueError):
    """A file is not in the form it should be; says where and what to do."""


@dataclass(frozen=True, slots=True)
class Document:
    """A row of GoEmotions or a dialogue of CPED.

    For each text who spoke it ("" when unknown), the dimensions it was labelled with, and those about which its label
    says neither yes nor no.
    """

    texts: tuple[str, ...]
    speakers: tuple[str, ...]
    felt: tuple[frozenset[str], ...]
    unknown: tuple[frozenset[str], ...]


def fingerprint(document: Document) -> int:
    """32 bits of what the document says, whatever file it stands in: white space at the ends of texts is nothing."""
    said = "\n".join(text.strip() for text in document.texts)
    return int.from_bytes(sha256(said.encode()).digest()[:4], "big")


def dimensions(labels: frozenset[str], table: dict[str, str]) -> frozenset[str]:
    """The dimensions of a data set's `labels`; `table` names each dimension's labels, separated by spaces."""
    return frozenset(emotion for emotion in EMOTIONS if labels & frozenset(table.get(emotion, "").split()))
