"""CHARX: a zip with `card.json` and the files that it refers to. Read in memory; nothing is ever unpacked to a disk."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO

from app.characters.reading import (
    FILE_BYTES,
    JSON_BYTES,
    ZIP_BYTES,
    ZIP_FILES,
    ZIP_INDEX_BYTES,
    CardError,
    Report,
)

CARD = "card.json"
_END = b"PK\x05\x06"
_LOCATOR_64 = b"PK\x06\x07"


def is_zip(content: bytes) -> bool:
    """Whether it begins as a zip does."""
    return content.startswith((b"PK\x03\x04", _END))


def ends_as_zip(content: bytes) -> bool:
    """Whether a zip is hung on to it, as RisuAI does with a JPEG."""
    return content.rfind(_END, max(0, len(content) - 65_557)) >= 0


def read_card(content: bytes, report: Report) -> bytes:
    """The bytes of `card.json`.

    Raises:
        CardError: the zip is broken, over a limit, encrypted, names a place outside itself, or has not one card.
    """
    with _opened(content) as archive:
        names = _names(archive)
        cards = [name for name in names if name.rpartition("/")[2].lower() == CARD]
        if CARD in cards:
            cards = [CARD]
        if len(cards) != 1:
            raise CardError(
                f"The zip has {'no' if not cards else len(cards)} {CARD} at its root, where a CHARX has one."
            )
        if cards[0] != CARD:
            report.repair(f"the card was {cards[0][:100]!r}, not {CARD!r} at the root of the CHARX")
        return _unpack(archive, names[cards[0]], JSON_BYTES)


def read_files(content: bytes) -> dict[str, bytes]:
    """Every file but the card that can be unpacked, by its path, as far as they come to no more than a card may."""
    files: dict[str, bytes] = {}
    left = FILE_BYTES
    with _opened(content) as archive:
        for name, info in _names(archive).items():
            if name == CARD or info.is_dir() or info.file_size > left:
                continue
            try:
                files[name] = _unpack(archive, info, left)
            except CardError:
                continue  # it stays in the original
            left -= len(files[name])
    return files


def write(card: bytes, files: Mapping[str, bytes]) -> bytes:
    """A CHARX of these; the same content gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {CARD: card, **files}.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _opened(content: bytes) -> zipfile.ZipFile:
    """The archive, once its directory, which zipfile reads whole, is known to be small."""
    end = content.rfind(_END, max(0, len(content) - 65_557))
    if end < 0 or end + 22 > len(content):
        raise CardError("The zip is cut short: it has no directory.")
    count, size = struct.unpack_from("<HI", content, end + 10)
    if content[max(0, end - 20) :].startswith(_LOCATOR_64) or count > ZIP_FILES or size > ZIP_INDEX_BYTES:
        raise CardError(
            f"The zip says it has {count:,} files in a directory of {size:,} bytes; at most {ZIP_FILES:,} and "
            f"{ZIP_INDEX_BYTES:,} are read, and no ZIP64."
        )
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, struct.error) as error:
        raise CardError(f"The zip is broken: {error}.") from None


def _names(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by their names; refuses those that are not what they seem."""
    infos = archive.infolist()
    if len(infos) > ZIP_FILES:
        raise CardError(f"The zip has {len(infos):,} files; at most {ZIP_FILES:,} are read.")
    if (size := sum(info.file_size for info in infos)) > ZIP_BYTES:
        raise CardError(f"The zip unpacks to {size:,} bytes; at most {ZIP_BYTES:,} are taken.")
    if sum(info.compress_size for info in infos) > archive.start_dir:
        raise CardError("The zip's files lie on top of one another.")
    names: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        # zipfile cuts a name at a NUL; the one that was written is what other readers see.
        name = info.orig_filename.replace("\\", "/")
        if "\0" in name or name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            raise CardError(f"The zip names a place outside itself: {name[:100]!r}.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise CardError(f"The zip holds a symbolic link: {name[:100]!r}.")
        if name in names:
            raise CardError(f"The zip holds {name[:100]!r} twice.")
        names[name] = info
    return names


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    what = f"{info.filename[:100]!r} in the zip"
    if info.flag_bits & 1:
        raise CardError(f"{what} is encrypted.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CardError(f"{what} is packed by method {info.compress_type}; only stored and deflated ones are read.")
    if info.file_size > limit:
        raise CardError(f"{what} unpacks to {info.file_size:,} bytes; at most {limit:,} are read.")
    try:
        with archive.open(info) as file:
            return _read(file, limit, what)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, struct.error) as error:
        if isinstance(error, CardError):
            raise
        raise CardError(f"{what} can't be unpacked: {error}.") from None


def _read(file: IO[bytes], limit: int, what: str) -> bytes:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise CardError(f"{what} unpacks to more than {limit:,} bytes, the most that is read.")
    return data
