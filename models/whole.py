"""A folder that appears whole or not at all, whoever is killed meanwhile."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderTaken(ValueError):
    """Something is there already, or somebody else is writing it."""


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that takes its name at the end, or is gone. Raises `FolderTaken`.

    It is locked while it is written: one that somebody who was killed has left is emptied and used again, one that is
    being written is left alone.
    """
    check_free(out)
    out = out.absolute()
    folder = out.parent / f".{out.name}.unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        _take(folder, lock, out)
        try:
            yield folder
            os.fsync(lock)
            check_free(out)
            folder.replace(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def check_free(out: Path) -> None:
    """Raise `FolderTaken` unless `out` is nothing, or an empty folder."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise FolderTaken(f"{out} exists and is not an empty folder. Choose another.")


def _take(folder: Path, lock: int, out: Path) -> None:
    """Lock the folder and empty it. Between opening and locking it, its writer may have given it its name."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), folder.stat()):
            raise BlockingIOError
    except (BlockingIOError, FileNotFoundError):
        raise FolderTaken(f"Somebody else is writing {out} just now.") from None
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
