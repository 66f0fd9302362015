"""Fits an emotion head: logistic regression by L-BFGS, probability curves, the neutral floor, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.anchors import ANCHORS, NEUTRAL
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors
from retrieval.grams import buckets, is_chinese
from retrieval.head import FLOOR, FORMAT, Head, logits

Mask = NDArray[np.bool_]
Reals = NDArray[np.float64]

BUCKETS = 2**16
ROUNDS = 60
"""Most steps of L-BFGS: under a minute for 55,000 texts."""
# Strength of the quadratic penalty on the embedding's part (scaled to length 1) and on the n-grams'.
_PENALTIES = (1e-5, 1e-5)
# What an anchor sentence counts against a labelled text. Anchors are all that the head learns about Chinese
# anticipation, which no Chinese label covers.
_ANCHOR_WEIGHT = 5.0
# Of each script's neutral texts, the share that shall be flat. Many texts labelled neutral are not: the share at which
# flat tells neutral from emotional best is 0.75 for English; for Chinese it hardly matters.
_FLAT = 0.7
# A script's own curve needs this many texts with the emotion.
_ENOUGH = 30


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled texts: `vectors` float32 [n, d], `felt` bool [n, 8], `weight` float32 [n, 8].

    Weight 0 where the label says neither yes nor no.
    """

    texts: tuple[str, ...]
    vectors: Vectors
    felt: Mask
    weight: Vectors

    def take(self, chosen: Mask) -> Rows:
        """The rows where `chosen` [n] is true."""
        texts = tuple(text for text, taken in zip(self.texts, chosen, strict=True) if taken)
        return Rows(texts, self.vectors[chosen], self.felt[chosen], self.weight[chosen])

    def __add__(self, other: Rows) -> Rows:
        return Rows(
            self.texts + other.texts,
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.felt, other.felt]),
            np.concatenate([self.weight, other.weight]),
        )


def anchor_rows(encoder: Encoder) -> Rows:
    """The anchor sentences, as queries and as passages."""
    labelled = [(text, name) for name in EMOTIONS for text in ANCHORS[name]] + [(text, "") for text in NEUTRAL]
    texts = tuple(text for text, _ in labelled)
    felt = np.array([[name == emotion for emotion in EMOTIONS] for _, name in labelled])
    vectors = np.concatenate([encoder.encode_queries(texts), encoder.encode_passages(texts)])
    weight = np.full((2 * len(texts), len(EMOTIONS)), _ANCHOR_WEIGHT, dtype=np.float32)
    return Rows(texts * 2, vectors, np.tile(felt, (2, 1)), weight)


def fit(rows: Rows, aside: Rows, step: Callable[[], None] = lambda: None) -> Head:
    """A head fitted on `rows`, its curves and floor on `aside`; `step` is called once a round, at most `ROUNDS` times.

    The manifest holds the format only and `seen` is empty: `signed` completes both.
    """
    centre = rows.vectors.mean(axis=0)
    scale = float(np.linalg.norm(rows.vectors - centre, axis=1).mean())
    directions, grams, bias = _regress((rows.vectors - centre) / scale, rows, step)
    directions = directions / scale
    scales = np.maximum(np.abs(grams).max(axis=0), 1e-6) / 127.0
    head = Head(
        directions=directions,
        grams=np.round(grams / scales).astype(np.int8),
        scales=scales.astype(np.float32),
        bias=(bias - centre @ directions).astype(np.float32),
        curves=np.stack([np.ones((2, len(EMOTIONS))), np.zeros((2, len(EMOTIONS)))], axis=1).astype(np.float32),
        faint=np.full((2, len(EMOTIONS)), FLOOR, dtype=np.float32),
        seen=np.empty(0, dtype=np.uint32),
        manifest={"format": FORMAT},
    )
    return _calibrated(head, aside)


def signed(head: Head, manifest: Mapping[str, Any], seen: set[int]) -> Head:
    """The head with what it was made from: names for people, `encoders`, and fingerprints of its documents."""
    full = {"format": FORMAT, "emotions": EMOTIONS, **manifest}
    return replace(head, manifest=full, seen=np.array(sorted(seen), dtype=np.uint32))


def _regress(scaled: Vectors, rows: Rows, step: Callable[[], None]) -> tuple[Vectors, Vectors, Vectors]:
    """Eight logistic regressions at once: weights [d, 8] and [BUCKETS, 8], bias [8]."""
    from scipy.optimize import minimize

    hashed = _hashed(rows.texts)
    transposed = hashed.T.tocsr()
    split, shape = scaled.shape[1], (scaled.shape[1] + BUCKETS + 1, len(EMOTIONS))
    penalty = np.repeat([*_PENALTIES, 0.0], [split, BUCKETS, 1]).astype(np.float32)[:, None]
    felt, weight = rows.felt.astype(np.float32), rows.weight / len(rows.texts)

    def loss(flat: Reals) -> tuple[float, Reals]:
        w = flat.astype(np.float32).reshape(shape)
        z = scaled @ w[:split] + hashed @ w[split:-1] + w[-1]
        error = weight * (1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0))) - felt)
        slope = 2.0 * penalty * w
        slope[:split] += scaled.T @ error
        slope[split:-1] += transposed @ error
        slope[-1] += error.sum(axis=0)
        total = (weight * (np.logaddexp(0.0, z) - felt * z)).sum(dtype=np.float64) + (penalty * w * w).sum()
        return float(total), slope.ravel().astype(np.float64)

    found = minimize(
        loss,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda _: step(),
        options={"maxiter": ROUNDS},
    )
    best: Vectors = found.x.reshape(shape).astype(np.float32)
    return best[:split], best[split:-1], best[-1]


def _hashed(texts: tuple[str, ...]) -> Any:
    """Buckets as a sparse matrix [n, BUCKETS], each row of length 1."""
    from scipy.sparse import csr_matrix

    found = [buckets(text, BUCKETS) for text in texts]
    counts = np.array([len(row) for row in found])
    values = np.repeat(1.0 / np.sqrt(counts), counts).astype(np.float32)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return csr_matrix((values, np.concatenate(found), ends), shape=(len(texts), BUCKETS))


def _calibrated(head: Head, aside: Rows) -> Head:
    """Curves (Platt 1999) of each script and the neutral floor, from rows that the weights have not seen."""
    heard = logits(head, aside.texts, aside.vectors)
    chinese = np.array([is_chinese(text) for text in aside.texts])
    curves, faint = head.curves.copy(), head.faint.copy()
    for script in (False, True):
        for d in range(len(EMOTIONS)):
            rows = (chinese == script) & (aside.weight[:, d] > 0)
            if (aside.felt[rows, d]).sum() < _ENOUGH:
                rows = aside.weight[:, d] > 0
            curves[int(script), :, d] = _platt(heard[rows, d], aside.felt[rows, d])
        of_script = chinese == script
        slope, offset = curves[int(script)]
        probability = 1.0 / (1.0 + np.exp(-(slope * heard[of_script] + offset)))
        faint[int(script)] = _faint(probability, aside.felt[of_script].any(axis=1))
    return replace(head, curves=curves, faint=faint)


def _platt(heard: Vectors, felt: Mask) -> tuple[float, float]:
    """Slope and offset of the logistic curve that fits best, drawn slightly towards 1 and 0."""
    from scipy.optimize import minimize

    def loss(curve: Reals) -> float:
        z = curve[0] * heard + curve[1]
        return float((np.logaddexp(0.0, z) - felt * z).sum() + np.square(curve - (1.0, 0.0)).sum())

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return max(float(slope), 0.05), float(offset)


def _faint(probability: Vectors, emotional: Mask) -> Vectors:
    """What neutral texts reach in each dimension, at least `FLOOR`: one quantile of theirs for all dimensions.

    The lowest at which the share `_FLAT` of the neutral texts reaches it in no dimension. Without any it is `FLOOR`.
    """
    neutral = probability[~emotional]
    faint = np.full(len(EMOTIONS), FLOOR, dtype=np.float32)
    if not len(neutral):
        return faint
    for share in np.linspace(_FLAT, 1.0, 100):
        faint = np.maximum(np.quantile(neutral, share, axis=0), FLOOR).astype(np.float32)
        if (neutral < faint).all(axis=1).mean() >= _FLAT:
            break
    return faint
