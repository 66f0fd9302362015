"""JPEG and WEBP: the texts of their metadata that may be a card. Pixels are never looked at."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from app.characters.reading import CHUNKS, CardError

_TAGS = (0x9286, 0x010E, 0x9C9C)
"""UserComment, where cards are; ImageDescription; XPComment."""
_EXIF = 0x8769
_FIELDS = 512
_PREFIX = re.compile(rb"\s*chara\s*[:=]\s*", re.IGNORECASE)
_NUMBERS = re.compile(rb"\s*\d{1,3}(?:\s*,\s*\d{1,3})+\s*\Z")


def is_jpeg(content: bytes) -> bool:
    """Whether it begins as JPEG does."""
    return content.startswith(b"\xff\xd8\xff")


def is_webp(content: bytes) -> bool:
    """Whether it begins as WEBP does."""
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def read_comments(content: bytes) -> list[bytes]:
    """Every comment of a JPEG or WEBP, as bytes that a card's text may be; raises `CardError` for too many pieces."""
    pieces = _jpeg(content) if is_jpeg(content) else _webp(content)
    comments = []
    for piece in pieces:
        for comment in _tiff(piece[6:]) if piece.startswith(b"Exif\0\0") else [piece]:
            text = _plain(comment)
            if text:
                comments.append(text)
    return comments


def _jpeg(content: bytes) -> Iterator[bytes]:
    """The Exif and comment segments before the pixels."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xDA:
            return
        length = struct.unpack_from(">H", content, at + 2)[0]
        data = content[at + 4 : at + 2 + length]
        if marker == 0xFE or (marker == 0xE1 and data.startswith(b"Exif\0\0")):
            yield data
        at += 2 + max(length, 2)


def _webp(content: bytes) -> Iterator[bytes]:
    at, count = 12, 0
    while at + 8 <= len(content):
        kind, length = struct.unpack_from("<4sI", content, at)
        count += 1
        if count > CHUNKS:
            raise CardError(f"The WEBP has more than {CHUNKS:,} chunks.")
        if kind == b"EXIF":
            data = content[at + 8 : at + 8 + length]
            yield data if data.startswith(b"Exif\0\0") else b"Exif\0\0" + data
        at += 8 + length + length % 2


def _tiff(data: bytes) -> list[bytes]:
    """The values of `_TAGS` in the first directory and the Exif directory below it."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return []
    found: dict[int, bytes] = {}
    places = [struct.unpack_from(order + "I", data, 4)[0]]
    for place in places:
        if place + 2 > len(data):
            continue
        count = min(struct.unpack_from(order + "H", data, place)[0], _FIELDS, (len(data) - place - 2) // 12)
        for number in range(count):
            at = place + 2 + 12 * number
            tag, kind, length = struct.unpack_from(order + "HHI", data, at)
            if tag == _EXIF and len(places) == 1:
                places.append(struct.unpack_from(order + "I", data, at + 8)[0])
            # BYTE, ASCII and UNDEFINED take one byte each; up to four stand in the field itself.
            elif tag in _TAGS and kind in (1, 2, 7):
                start = at + 8 if length <= 4 else struct.unpack_from(order + "I", data, at + 8)[0]
                found.setdefault(tag, data[start : start + length])
    return [found[tag] for tag in _TAGS if tag in found]


def _plain(comment: bytes) -> bytes:
    """A comment without its character code, in one byte order, and unpacked from a list of numbers."""
    code, text = comment[:8], comment[8:]
    if code not in (b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8)):
        text = comment
    if text[1:2] == b"\0" or text[:1] == b"\0":
        order = "utf-16-le" if text[1:2] == b"\0" else "utf-16-be"
        text = text.decode(order, "replace").encode("utf-8", "replace")
    text = text.strip(b"\0 \t\r\n")
    text = text[prefix.end() :] if (prefix := _PREFIX.match(text)) else text
    if len(text) < 2**22 and _NUMBERS.match(text):
        numbers = [int(number) for number in text.split(b",")]
        return bytes(numbers) if max(numbers) < 256 else b""
    return text
