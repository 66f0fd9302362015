"""Emotions: eight intensities of a text, and the arithmetic of moods.

The dimensions and their order are those of Emotional RAG (arXiv 2410.23041), after Plutchik. An emotion vector is
float32 [8] with intensities from 0 (absent) to 1 (as strong as it gets); all near 0 is a neutral text, called flat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from retrieval.anchors import ANCHORS, NEUTRAL
from retrieval.encoder import Encoder, Vectors

EMOTIONS = ("joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")

# The logistic curve is 0.1 at minus this and 0.9 at plus this.
_LOGIT = math.log(9.0)


class EmotionTagger(Protocol):
    """Says how texts feel. `id` changes whenever it would hear texts differently."""

    @property
    def id(self) -> str:
        """What hears; at most 100 characters."""
        ...

    def tag(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        """Intensities of `texts`, whose embeddings are `vectors` [n, dimension]: float32 [n, 8], each 0 to 1."""
        ...


class AnchorTagger:
    """Reads emotions off the embedding by comparison with anchor sentences, so that it needs no training and no model.

    A dimension's direction points from the mean of all anchors to the mean of its own. A logistic curve turns the score
    along it into an intensity: 0.1 two standard deviations above what neutral sentences score, 0.9 at the mean of its
    own anchors. So a neutral text stays near zero, where a scale per text (min to max over the dimensions) would make
    something of every text. Anchors are embedded both as queries and as passages, so vectors of either kind can be
    tagged. Making a tagger embeds 320 sentences.
    """

    def __init__(self, encoder: Encoder) -> None:
        groups = [_embed(encoder, ANCHORS[name]) for name in EMOTIONS]
        neutral = _embed(encoder, NEUTRAL)
        centre = np.concatenate([*groups, neutral]).mean(axis=0)
        self._directions = np.stack([group.mean(axis=0) - centre for group in groups], axis=1)
        floor = neutral @ self._directions
        self._faint = floor.mean(axis=0) + 2 * floor.std(axis=0)
        top = np.array([(group @ self._directions[:, d]).mean() for d, group in enumerate(groups)])
        # An encoder that can't tell a dimension from neutral text must not divide by nothing.
        self._span = np.maximum(top - self._faint, 1e-3)
        sentences = "\n".join([*(one for name in EMOTIONS for one in ANCHORS[name]), *NEUTRAL])
        self.id = f"anchors {sha256(sentences.encode()).hexdigest()[:12]}"

    def tag(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        """Intensities float32 [n, 8]. Reads `vectors` only. Raises ValueError when their shape does not fit."""
        expected = (len(texts), len(self._directions))
        if vectors.shape != expected:
            raise ValueError(f"vectors of {len(texts)} texts must have shape {expected}, not {vectors.shape}")
        scores = (vectors @ self._directions - self._faint) / self._span
        intensities: Vectors = 1.0 / (1.0 + np.exp(_LOGIT * (1.0 - 2.0 * np.clip(scores, -5.0, 6.0))))
        return intensities.astype(np.float32)


def _embed(encoder: Encoder, sentences: Sequence[str]) -> Vectors:
    both: Vectors = np.concatenate([encoder.encode_queries(sentences), encoder.encode_passages(sentences)])
    return both


def blend(mood: Vectors, felt: Vectors, inertia: float) -> Vectors:
    """The mood after feeling something: inertia x mood + (1 - inertia) x felt, float32 [8].

    Inertia 0 forgets the old mood at once, 1 never changes it. Raises ValueError outside 0..1.
    """
    if not 0.0 <= inertia <= 1.0:
        raise ValueError(f"inertia must be from 0 to 1, not {inertia}")
    return np.asarray(inertia * mood + (1.0 - inertia) * felt, dtype=np.float32)


def cosine_distance(one: ArrayLike, other: ArrayLike) -> float:
    """1 - cosine of two vectors: 0 same direction, 1 nothing in common. A zero vector is at distance 1 from all."""
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return 1.0 - float(np.dot(one, other)) / lengths if lengths > 0 else 1.0


def dominant(vector: Vectors, floor: float) -> str | None:
    """The name of the strongest emotion, or None when none reaches `floor`. The first of equals."""
    strongest = int(np.argmax(vector))
    return EMOTIONS[strongest] if vector[strongest] >= floor else None
