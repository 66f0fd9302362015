"""Whose words these are: a linear classifier over character n-grams, trained on what each speaker really said."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

KS = (1, 3, 5)
"""Character100 reports hit@1, 3 and 5."""


class Discriminator:
    """Names the speaker of a text, as Character100's discriminator does (2403.12368), without a language model.

    TF-IDF of character n-grams (2 to 5 letters, within words) under logistic regression. It hears the manner and also
    the matter, so names of a domain tell a speaker too; leave a speaker's own name out with `hidden`, as words that
    are taken out of every text first.

    Raises ValueError where there are fewer than two speakers or not a speaker for each text.
    """

    def __init__(self, texts: Sequence[str], speakers: Sequence[str], hidden: Collection[str] = ()) -> None:
        if len(texts) != len(speakers) or len(set(speakers)) < 2:
            raise ValueError("A discriminator needs texts of two speakers at least, and a speaker for each.")
        self._hidden = sorted(filter(None, hidden), key=len, reverse=True)
        self._classifier = _classifier()
        self._classifier.fit([self._shown(text) for text in texts], list(speakers))

    @property
    def speakers(self) -> tuple[str, ...]:
        """Everybody it can name, in the order of `scores`' columns."""
        return tuple(map(str, self._classifier.classes_))

    def scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities of each speaker for each text, float64 [n, speakers]."""
        return np.asarray(self._classifier.predict_proba([self._shown(text) for text in texts]), np.float64)

    def ranks(self, texts: Sequence[str], speakers: Sequence[str]) -> list[int]:
        """The place of the right speaker among all, 1 for the first; equal scores count against it.

        Raises ValueError where it was not trained on a speaker.
        """
        names = self.speakers
        if unknown := set(speakers) - set(names):
            raise ValueError(f"The discriminator was not trained on {', '.join(sorted(unknown))}.")
        scores = self.scores(texts)
        right = scores[np.arange(len(texts)), [names.index(speaker) for speaker in speakers]]
        return [int(place) for place in (scores >= right[:, None]).sum(axis=1)]

    def _shown(self, text: str) -> str:
        for word in self._hidden:
            text = text.replace(word, " ")
        return text


def hits(ranks: Sequence[int], k: int) -> list[float]:
    """1 where the right one is among the first `k`, else 0."""
    return [float(rank <= k) for rank in ranks]


def _classifier() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    grams = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2, max_features=50_000)
    return make_pipeline(grams, LogisticRegression(C=10.0, max_iter=1000))
