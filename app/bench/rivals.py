"""What `moodline bench index` compares with: other indexes of vectors, those that are installed."""

from __future__ import annotations

import importlib
import sqlite3
import tempfile
from typing import Any, Protocol

import numpy as np

from retrieval import Index
from retrieval.encoder import Vectors
from retrieval.index import Ids

BATCH = 5000
"""Rows handed to a database at once."""


class Store(Protocol):
    """An index of cosines, filled row by row or at once."""

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add unit rows [n, d]."""
        ...

    def search(self, query: Vectors, k: int) -> Ids:
        """The ids of about the `k` nearest rows to the unit `query` [d]."""
        ...

    def settle(self) -> None:
        """Finish what goes on in the background."""
        ...


class Moodline:
    """Ours, as the server uses it."""

    def __init__(self, dimension: int, exact: bool = False) -> None:
        self._index, self._exact = Index(dimension), exact

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows."""
        self._index.add(ids, rows)

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        return np.array([hit.id for hit in self._index.search(query[None], k, exact=self._exact)[0]], np.int64)

    def settle(self) -> None:
        """Wait for the cells."""
        self._index.settle()


class Numpy:
    """Brute force: one product, one partition. What is added is copied together with the rest."""

    def __init__(self, dimension: int) -> None:
        self._ids, self._rows = np.empty(0, np.int64), np.empty((0, dimension), np.float32)

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows."""
        self._ids, self._rows = np.concatenate([self._ids, ids]), np.concatenate([self._rows, rows])

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        cosines = self._rows @ query
        best = np.argpartition(-cosines, min(k, len(cosines)) - 1)[:k]
        return self._ids[best[np.argsort(-cosines[best])]]

    def settle(self) -> None:
        """Nothing goes on."""


class Hnswlib:
    """A graph, M 16, efConstruction 200 (its default), ef 128."""

    def __init__(self, dimension: int) -> None:
        self._index = importlib.import_module("hnswlib").Index(space="ip", dim=dimension)
        self._index.init_index(max_elements=1000, M=16, ef_construction=200)
        self._index.set_ef(128)

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows, and room for as many again when there is none."""
        needed = self._index.get_current_count() + len(ids)
        if needed > self._index.get_max_elements():
            self._index.resize_index(needed * 2)
        self._index.add_items(rows, ids)

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        found: Ids = self._index.knn_query(query, min(k, self._index.get_current_count()))[0][0]
        return found

    def settle(self) -> None:
        """Nothing goes on."""


class Usearch:
    """A graph with its own defaults, at float32."""

    def __init__(self, dimension: int) -> None:
        self._index = importlib.import_module("usearch.index").Index(ndim=dimension, metric="ip", dtype="f32")

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows."""
        self._index.add(ids, rows)

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        found: Ids = self._index.search(query, k).keys
        return found

    def settle(self) -> None:
        """Nothing goes on."""


class SqliteVec:
    """A virtual table of SQLite in memory, searched by brute force."""

    def __init__(self, dimension: int) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.enable_load_extension(True)
        importlib.import_module("sqlite_vec").load(self._db)
        self._db.execute(f"CREATE VIRTUAL TABLE rows USING vec0(v float[{int(dimension)}] distance_metric=cosine)")

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows in one transaction."""
        self._db.execute("BEGIN")
        values = ((int(name), row.tobytes()) for name, row in zip(ids, rows, strict=True))
        self._db.executemany("INSERT INTO rows(rowid, v) VALUES (?, ?)", values)
        self._db.execute("COMMIT")

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        found = self._db.execute("SELECT rowid FROM rows WHERE v MATCH ? AND k = ?", (query.tobytes(), k))
        return np.array([name for (name,) in found], np.int64)

    def settle(self) -> None:
        """Nothing goes on."""


class Lancedb:
    """A table of files, without an index: brute force over them, as it is used out of the box."""

    def __init__(self, dimension: int) -> None:
        self._arrow: Any = importlib.import_module("pyarrow")
        self._folder = tempfile.TemporaryDirectory(prefix="moodline-bench-")
        kind = [("id", self._arrow.int64()), ("v", self._arrow.list_(self._arrow.float32(), dimension))]
        database = importlib.import_module("lancedb").connect(self._folder.name)
        self._table = database.create_table("rows", schema=self._arrow.schema(kind))
        self._dimension = dimension

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows."""
        for begin in range(0, len(ids), BATCH * 10):
            part = slice(begin, begin + BATCH * 10)
            vectors = self._arrow.FixedSizeListArray.from_arrays(rows[part].ravel(), self._dimension)
            self._table.add(self._arrow.table({"id": ids[part], "v": vectors}))

    def search(self, query: Vectors, k: int) -> Ids:
        """Search."""
        found: Ids = self._table.search(query).distance_type("dot").limit(k).to_arrow()["id"].to_numpy()
        return found

    def settle(self) -> None:
        """Nothing goes on."""
