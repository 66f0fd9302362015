"""PNG and APNG: the texts that a picture carries, and a picture with other texts. Pixels are never looked at.

Pillow is not used: it keeps one text of each keyword, refuses texts above a megabyte, which cards with assets have,
does not tell what it left out, and finds texts behind the pixels only by unpacking those.
"""

from __future__ import annotations

import base64
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.characters.reading import CHUNKS, JSON_BYTES, PIXELS, SIDE, TEXT_CHUNKS, CardError, Report, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ASSET = "chara-ext-asset_"
PACKED_BYTES = JSON_BYTES * 4 // 3 + 65_536
"""Of a text: base64 of the largest JSON, with line breaks."""
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEYWORD = re.compile(rb"(?:chara|ccv3|chara-ext-asset_.*)\Z", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a PNG: `content[start:end]` is its data."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """A text chunk: its keyword, and its data as it is stored, maybe compressed."""

    keyword: str
    kind: bytes
    stored: bytes
    compressed: bool

    def read(self) -> bytes:
        """The text. Raises `CardError` when it unpacks to more than is read, or not at all."""
        what = f"The {self.kind.decode()} chunk {self.keyword[:40]!r}"
        if not self.compressed:
            check_size(len(self.stored), PACKED_BYTES, what)
            return self.stored
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(self.stored, PACKED_BYTES)
        except zlib.error as error:
            raise CardError(f"{what} can't be unpacked: {error}.") from None
        if unpacker.unconsumed_tail:
            raise CardError(f"{what} unpacks to more than {PACKED_BYTES:,} bytes, the most that is read.")
        return text


def read_texts(content: bytes, report: Report) -> list[Text]:
    """Every text of a PNG, in the file's order, not unpacked yet.

    Raises:
        CardError: it is no PNG, or is over a limit of chunks or of the picture's size.
    """
    texts = []
    for chunk in _chunks(content, report):
        if chunk.kind == b"IHDR":
            _check_picture(content[chunk.start : chunk.end])
        elif chunk.kind in _TEXTS:
            texts.append(_text(chunk.kind, content[chunk.start : chunk.end]))
            if len(texts) > TEXT_CHUNKS:
                raise CardError(f"The PNG has more than {TEXT_CHUNKS:,} text chunks.")
    return texts


def write(content: bytes, texts: Mapping[str, bytes]) -> bytes:
    """The picture with these texts, base64 in tEXt chunks before its end, and without the card it carried before."""
    pieces = [SIGNATURE]
    for chunk in _chunks(content, Report()):
        data = content[chunk.start : chunk.end]
        if chunk.kind == b"IEND" or (chunk.kind in _TEXTS and _KEYWORD.match(data.partition(b"\0")[0])):
            continue
        pieces.append(_packed(chunk.kind, data))
    for keyword, text in texts.items():
        pieces.append(_packed(b"tEXt", keyword.encode("latin-1", "replace") + b"\0" + base64.b64encode(text)))
    return b"".join((*pieces, _packed(b"IEND", b"")))


def blank(width: int = 400, height: int = 600, colour: tuple[int, int, int] = (58, 62, 82)) -> bytes:
    """A plain picture, for a character that has none."""
    row = b"\0" + bytes(colour) * width
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (_packed(b"IHDR", header), _packed(b"IDAT", zlib.compress(row * height, 9)), _packed(b"IEND", b""))
    return b"".join((SIGNATURE, *chunks))


def _chunks(content: bytes, report: Report) -> Iterator[Chunk]:
    """The chunks as far as they can be followed; a cut file and a wrong checksum are noted, not refused."""
    if not content.startswith(SIGNATURE):
        raise CardError("The file is no PNG.")
    at, count = len(SIGNATURE), 0
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        start, end = at + 8, at + 8 + length
        if length > 2**31 - 1:
            raise CardError(f"A PNG chunk says it is {length:,} bytes long; PNG allows 2,147,483,647.")
        if end + 4 > len(content):
            report.repair(f"the PNG is cut short: its chunk at byte {at:,} says {length:,} bytes")
            return
        count += 1
        if count > CHUNKS:
            raise CardError(f"The PNG has more than {CHUNKS:,} chunks.")
        if kind in _TEXTS and struct.unpack_from(">I", content, end)[0] != zlib.crc32(content[at + 4 : end]):
            report.repair(f"the checksum of the PNG's {kind.decode()} chunk at byte {at:,} is wrong")
        yield Chunk(kind, start, end)
        at = end + 4
        if kind == b"IEND":
            if at < len(content):
                report.repair(f"{len(content) - at:,} bytes behind the end of the PNG were not looked at")
            return
    report.repair("the PNG has no end")


def _text(kind: bytes, data: bytes) -> Text:
    keyword, _, rest = data.partition(b"\0")
    compressed = kind == b"zTXt"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        # compression flag and method, language, translated keyword, text
        compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return Text(keyword.decode("latin-1"), kind, rest, compressed)


def _check_picture(header: bytes) -> None:
    if len(header) < 8:
        raise CardError("The PNG's header is too short.")
    width, height = struct.unpack(">II", header[:8])
    if max(width, height) > SIDE or width * height > PIXELS:
        raise CardError(f"The PNG is {width:,} x {height:,}; at most {SIDE:,} a side and {PIXELS:,} pixels are taken.")


def _packed(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
