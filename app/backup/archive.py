"""The file of a backup: a zip with one JSON-lines member per table, and a manifest that is written last.

    tables/messages.jsonl   one row a line, see `values`
    manifest.json           format, versions, schema revision, and rows, columns and SHA-256 of every table

A file without its manifest is no backup. The sums find damage; they are no seal against somebody who changes the file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from app.backup.values import Kinds
from app.errors import Unprocessable

FORMAT, VERSION = "moodline-backup", 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Member:
    """What the manifest says of a table: how many rows, its columns and how they are written, and the sum."""

    rows: int
    sha256: str
    columns: Kinds


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `revision` is the schema's, `made_by` the version of Moodline, `database` where it was."""

    revision: str
    made_by: str
    database: str
    created_at: str
    tables: dict[str, Member]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(member.rows for member in self.tables.values())


class Archive:
    """A backup that is being written. Table by table; `finish` with the manifest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self.tables: dict[str, Member] = {}

    @contextmanager
    def table(self, name: str, columns: Kinds) -> Iterator[_Rows]:
        """Where the lines of a table go."""
        # Nobody knows its size before it is written.
        with self._zip.open(_member(name), "w", force_zip64=True) as file:
            rows = _Rows(file)
            yield rows
        self.tables[name] = Member(rows.count, rows.sum.hexdigest(), columns)

    def finish(self, **about: Any) -> Manifest:
        """Write the manifest of what was written."""
        manifest = Manifest(tables=self.tables, **about)
        told = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
        self._zip.writestr(MANIFEST, json.dumps(told, indent=1))
        return manifest

    def close(self) -> None:
        """Write the zip's end."""
        self._zip.close()


class _Rows:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sum = hashlib.sha256()
        self.count = 0

    def add(self, line: bytes) -> None:
        """Write a row."""
        self._file.write(line)
        self.sum.update(line)
        self.count += 1


@contextmanager
def writing(path: Path) -> Iterator[Archive]:
    """A new backup at `path`, see `set_aside`."""
    with set_aside(path) as file:
        archive = Archive(file)
        try:
            yield archive
        finally:
            archive.close()


@contextmanager
def set_aside(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` whole and safe on the disk, or not at all.

    It is written beside under another name, and only its owner can read it: it holds what people have said in private.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", suffix=".partial", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(file.name).unlink()
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Reader:
    """A backup that is read.

    Raises:
        Unprocessable: it is none, it is damaged, or a newer Moodline made it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            told = json.loads(self._zip.read(MANIFEST))
        except (zipfile.BadZipFile, KeyError, ValueError) as error:
            raise Unprocessable(f"{path} is no backup of Moodline, or its end is missing: {error}") from None
        self.manifest = _manifest(path, told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._zip.close()

    def lines(self, table: str) -> Iterator[bytes]:
        """The rows of a table as they were written."""
        with self._zip.open(_member(table)) as file:
            yield from file

    def verify(self) -> Iterator[int]:
        """Read everything and compare it with the manifest; yields how many rows each table has."""
        for name, member in self.manifest.tables.items():
            found, count = hashlib.sha256(), 0
            try:
                for line in self.lines(name):
                    found.update(line)
                    count += 1
            except (zipfile.BadZipFile, KeyError, EOFError, OSError, zlib.error) as error:
                raise Unprocessable(f"{self.path} is damaged in table {name!r}: {error}") from None
            if (count, found.hexdigest()) != (member.rows, member.sha256):
                raise Unprocessable(f"{self.path} is damaged: table {name!r} is not what the manifest says.")
            yield count


def _member(table: str) -> str:
    return f"tables/{table}.jsonl"


def _manifest(path: Path, told: Any) -> Manifest:
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise Unprocessable(f"{path} is a zip, but no backup of Moodline.")
    if told.get("version") != VERSION:
        raise Unprocessable(
            f"{path} has form {told.get('version')}; this Moodline reads form {VERSION}. Use a newer one."
        )
    try:
        tables = {name: Member(**member) for name, member in told.pop("tables").items()}
        del told["format"], told["version"]
        return Manifest(tables=tables, **told)
    except (TypeError, KeyError, AttributeError) as error:
        raise Unprocessable(f"The manifest of {path} can't be read: {error}") from None
