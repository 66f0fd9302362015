"""A bank: all that may be recalled of one character or one friendship, searched by meaning, by words and by feeling.

Rows know what was said before them. So a row can be found by what was said around it, though it is returned alone: a
turn such as "Yes, last summer!" means nothing by itself. Both neighbours count, and yet adding a row changes no other:
its context vector looks back, and what looks back at a row is known when a query comes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from retrieval.candidate import Candidate
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Vectors
from retrieval.growing import Growing
from retrieval.index import Hit, Ids, Index
from retrieval.lexical import LexicalIndex, lexical_scores
from retrieval.neighbours import Neighbours, smoothed
from retrieval.paper import STRATEGIES, nearest_by_paper
from retrieval.terms import Terms

Places = NDArray[np.int64]

BREADTH = 50
"""Rows that meaning, context and words propose each; the ranking judges what they propose together."""


@dataclass(frozen=True)
class Records:
    """Rows in columns: ids int64 [n], vectors and contexts float32 [n, dimension], emotions float32 [n, 8].

    `contexts` embed a row with what was said before it; None where rows stand alone. `previous` is the id of the row
    that was said before, 0 for none. `speakers` is the term of the one who spoke, 0 where more than one did.
    """

    ids: Sequence[int] | Ids
    vectors: Vectors
    emotions: Vectors
    terms: Sequence[Terms]
    contexts: Vectors | None = None
    previous: Sequence[int] | Ids | None = None
    speakers: Sequence[int] | Terms | None = None

    def take(self, places: Sequence[int]) -> Records:
        """Only the rows at these places."""
        return Records(
            ids=[int(self.ids[n]) for n in places],
            vectors=self.vectors[places],
            emotions=self.emotions[places],
            terms=[self.terms[n] for n in places],
            contexts=None if self.contexts is None else self.contexts[places],
            previous=None if self.previous is None else [int(self.previous[n]) for n in places],
            speakers=None if self.speakers is None else [int(self.speakers[n]) for n in places],
        )


@dataclass(frozen=True)
class Query:
    """What is looked for: its vector float32 [dimension], its terms, and the emotion float32 [8] if it is known."""

    vector: Vectors
    terms: Terms = field(default_factory=lambda: np.empty(0, np.uint32))
    felt: Vectors | None = None


class Bank:
    """Rows of one encoder under integer ids, which only grow. Safe to use from several threads.

    All of a bank's records have contexts, or none has.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._index = Index(dimension)
        self._contexts = Index(dimension)
        self._words = LexicalIndex()
        self._neighbours = Neighbours()
        self._emotions = Growing((len(EMOTIONS),), np.float32)
        self._speakers = Growing((), np.uint32)
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._neighbours)

    def __contains__(self, name: int) -> bool:
        return name in self._neighbours

    @property
    def newest(self) -> int:
        """The highest id, 0 when there are no rows."""
        return self._neighbours.newest

    @property
    def ids(self) -> frozenset[int]:
        """All ids."""
        return self._index.ids

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        parts = (self._index, self._contexts, self._words, self._neighbours, self._emotions, self._speakers)
        return sum(part.nbytes for part in parts)

    def add(self, records: Records) -> None:
        """Add rows, all or none. Raises ValueError for what does not fit, as `Index.add` does."""
        size = len(records.ids)
        emotions = np.asarray(records.emotions, np.float32)
        if emotions.shape != (size, len(EMOTIONS)) or not np.isfinite(emotions).all():
            raise ValueError(f"emotions must be finite and have shape [{size}, {len(EMOTIONS)}]")
        if len(records.terms) != size:
            raise ValueError(f"{len(records.terms)} rows of terms were given for {size} ids: give one for each")
        with self._lock:
            if len(self) and size and (records.contexts is not None) != bool(len(self._contexts)):
                raise ValueError("either all rows of a bank have a context vector or none has")
            self._index.add(records.ids, records.vectors)
            if records.contexts is not None:
                self._add_contexts(records.ids, records.contexts)
            self._words.add(records.terms)
            self._neighbours.add(records.ids, records.previous)
            self._emotions.add(emotions)
            self._speakers.add(np.zeros(size) if records.speakers is None else np.asarray(records.speakers))

    def find(
        self,
        query: Query,
        strategy: str = "calibrated",
        *,
        limit: int = 10,
        without: Collection[int] = (),
        pinned: Collection[int] = (),
        breadth: int = BREADTH,
    ) -> tuple[Candidate, ...]:
        """What the ranking by `strategy` has to choose `limit` rows from, ids `without` never among them.

        For the paper's strategies exactly the rows that they can keep, found by looking at all; else the `breadth` best
        by meaning, by context and by words, and those `pinned`. What only the caller knows of a row (its age, its uses,
        whether it is pinned) is left at its default. Raises ValueError as `Index.search` does.
        """
        with self._lock:
            if not len(self):
                return ()
            out = np.fromiter(self._neighbours.places(without), np.int64)
            if strategy in STRATEGIES:
                ids, cosines = self._index.scores(query.vector)
                near = nearest_by_paper(
                    cosines, self._emotions.rows, query.felt, strategy, ids=ids, limit=limit, without=out
                )
                return self._paper_candidates(near, cosines)
            return self._candidates(query, out, pinned, breadth)

    def nearest(self, query: Query, within: Collection[int], k: int) -> list[Hit]:
        """The `k` rows of these ids that are nearest by meaning, nearest first; ids that are not here are ignored."""
        return self._index.search(query.vector[None, :], k, within)[0] if within else []

    def _add_contexts(self, ids: Sequence[int] | Ids, contexts: Vectors) -> None:
        try:
            self._contexts.add(ids, contexts)
        except ValueError:
            self._index.remove(ids)
            raise

    def _paper_candidates(self, near: Places, cosines: Vectors) -> tuple[Candidate, ...]:
        ids = self._neighbours.ids[near]
        return tuple(
            Candidate(int(name), float(cosines[place]), self._emotions.rows[place])
            for name, place in zip(ids, near, strict=True)
        )

    def _candidates(self, query: Query, out: Places, pinned: Collection[int], breadth: int) -> tuple[Candidate, ...]:
        wanted = breadth + len(out)
        words = lexical_scores(self._words.counts(query.terms), self._neighbours)
        proposed = [
            *self._nearest(self._index, query.vector, wanted),
            *self._nearest(self._contexts, query.vector, wanted),
        ]
        spelled = np.flatnonzero(words > 0)
        spelled = spelled[np.argsort(-words[spelled], kind="stable")[:wanted]]
        places = np.unique(np.concatenate([self._places(proposed), spelled, self._places(pinned)]))
        places = np.setdiff1d(places, out, assume_unique=True)
        ids = self._neighbours.ids[places]
        vectors = self._index.vectors(ids)
        semantic = vectors @ _unit(query.vector)
        contexts = self._context_cosines(places, query.vector)
        spoken = self._spoken(query.terms)[places]
        return tuple(
            Candidate(
                id=int(ids[n]),
                semantic=float(semantic[n]),
                emotion=self._emotions.rows[place],
                vector=vectors[n],
                lexical=float(words[place]),
                context=None if contexts is None else float(contexts[n]),
                spoken=float(spoken[n]),
            )
            for n, place in enumerate(places)
        )

    def _nearest(self, index: Index, vector: Vectors, k: int) -> list[int]:
        return [hit.id for hit in index.search(vector[None, :], k)[0]] if len(index) else []

    def _places(self, ids: Collection[int]) -> Places:
        return np.fromiter(self._neighbours.places(ids), np.int64)

    def _context_cosines(self, places: Places, vector: Vectors) -> Vectors | None:
        """How near each row's surroundings are: its own context and, at half the weight, those beside it."""
        if not len(self._contexts):
            return None
        before, after = self._neighbours.before[places], self._neighbours.after[places]
        involved = np.unique(np.concatenate([places, before, after]))
        involved = involved[involved >= 0]
        cosines = np.full(len(self) + 1, np.nan, np.float32)
        cosines[involved] = self._contexts.vectors(self._neighbours.ids[involved]) @ _unit(vector)
        return smoothed(cosines[places], cosines[before], cosines[after])

    def _spoken(self, words: Terms) -> Vectors:
        """1 where the query names the one who spoke, and nobody else who speaks here; else 0."""
        speakers = self._speakers.rows
        named = np.intersect1d(words, speakers)
        named = named[named > 0]
        return (speakers == named[0]).astype(np.float32) if len(named) == 1 else np.zeros(len(speakers), np.float32)


def _unit(vector: Vectors) -> Vectors:
    unit: Vectors = np.asarray(vector / np.linalg.norm(vector), np.float32)
    return unit
