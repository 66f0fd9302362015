"""Hostile files, made when they are asked for: what a card can carry to harm whoever reads it."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
from collections.abc import Callable

from tests.cards.make import (
    END,
    PIXEL,
    SIGNATURE,
    V1,
    b64,
    charx,
    chunk,
    header,
    itxt,
    jpeg,
    png,
    raw,
    segment,
    text,
    tiff,
    webp,
    ztxt,
)

MANY = 32 * 2**20 - 100_000
"""Bytes that a file may just have."""


def nested(opening: str, closing: str, levels: int) -> bytes:
    inner = opening * levels + closing * levels
    return b'{"name":"Bo","description":"x","extensions":{"a":' + inner.encode() + b"}}"


def wide(value: bytes, size: int) -> bytes:
    """JSON of one list with as many of a value as fit into `size` bytes."""
    return b'{"name":"Bo","description":"x","a":[' + b",".join([value] * (size // (len(value) + 1))) + b"]}"


def bomb(kind: Callable[[bytes, bytes], bytes], megabytes: int = 64) -> bytes:
    """A PNG whose text unpacks a thousand times."""
    return png(kind(b"chara", b"A" * (megabytes * 2**20)))


def zip_bomb() -> bytes:
    return charx([("card.json", b" " * (64 * 2**20))])


def lying_zip() -> bytes:
    """A card that says it is small and unpacks to 64 MB."""
    content = bytearray(charx([("card.json", b" " * (64 * 2**20))]))
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = content.find(mark)
        struct.pack_into("<I", content, at + offset, 100)
    return bytes(content)


def large_zip() -> bytes:
    """Files that are told to be larger together than a card's may be."""
    content = bytearray(charx([("card.json", raw(V1)), ("a", b"x")]))
    struct.pack_into("<I", content, content.rfind(b"PK\1\2") + 24, 300 * 2**20)
    return bytes(content)


def overlapping_zip() -> bytes:
    """Many names for one packed megabyte, as in Fifield's bomb."""
    content = charx([("card.json", raw(V1)), ("a", b"\0" * 2**20)])
    at = content.rfind(b"PK\1\2")
    end = content.rfind(b"PK\5\6")
    entry = content[at:end]
    names = [entry.replace(b"a", b"%c" % letter) for letter in range(98, 123)]
    directory = content[content.find(b"PK\1\2") : end] + b"".join(names)
    start = content.find(b"PK\1\2")
    total = 2 + len(names)
    return (
        content[:start] + directory + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, total, total, len(directory), start, 0)
    )


def many_files(count: int = 10_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("card.json", raw(V1))
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    return buffer.getvalue()


def zip64() -> bytes:
    """A directory that says, in its ZIP64 part, that it is enormous."""
    content = charx([("card.json", raw(V1))])
    end = content.rfind(b"PK\5\6")
    far = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2**40, 2**40, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    return content[:end] + far + locator + content[end:]


def laughs() -> bytes:
    lines = ["a0: &a0 lol"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return ("\n".join(lines) + "\nname: Bo\ncontext: x\n").encode()


def loop_of_directories() -> bytes:
    """An Exif directory that names itself as the one below."""
    fields = struct.pack("<H", 500) + struct.pack("<HHII", 0x8769, 4, 1, 8) * 500
    return jpeg(segment(0xE1, b"Exif\0\0II*\0" + struct.pack("<I", 8) + fields))


def chunks(count: int, piece: bytes) -> bytes:
    return SIGNATURE + header() + piece * count + PIXEL + text(b"chara", b64(V1)) + END


def spaced(size: int) -> bytes:
    """A text chunk of white space where base64 should be."""
    return png(text(b"chara", b" " * size))


def tries() -> bytes:
    """Hundreds of texts that each unpack to the most that is read and are no card."""
    packed = base64.b64encode(b"[" + b" " * (5 * 2**20) + b"]")
    return png(*[ztxt(b"chara", packed)] * 300)


def emoji(size: int) -> bytes:
    """Letters, and one emoji, which makes a text take four bytes a letter."""
    return json.dumps({"name": "Bo", "description": "x", "a": "x" * size + "🐈"}, ensure_ascii=False).encode()


def book(entries: int) -> bytes:
    entry = {"keys": ["a"], "content": "b", "extensions": {}, "enabled": True, "insertion_order": 1}
    return raw({"name": "Bo", "description": "x", "character_book": {"entries": [entry] * entries}})


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "ztxt bomb": (lambda: bomb(ztxt), "unpacks to more than 8,454,144 bytes"),
    "itxt bomb": (lambda: bomb(lambda key, data: itxt(key, data, True)), "unpacks to more than 8,454,144 bytes"),
    "many bombs": (tries, "no object"),
    "text chunks": (lambda: chunks(200_000, text(b"a", b"b")), "more than 1,000 text chunks"),
    "chunks": (lambda: chunks(400_000, chunk(b"abCd", b"")), "more than 20,000 chunks"),
    "large text": (lambda: spaced(20 * 2**20), "at most 8,454,144 are read"),
    "large picture": (lambda: SIGNATURE + header(100_000, 100_000) + PIXEL + text(b"chara", b64(V1)), "16,384 a side"),
    "many pixels": (lambda: SIGNATURE + header(16_000, 16_000) + PIXEL + text(b"chara", b64(V1)), "100,000,000 pixels"),
    "large file": (lambda: png(text(b"chara", b64(V1))) + b"\0" * 2**25, "at most 33,554,432 are read"),
    "deep lists": (lambda: nested("[", "]", 100_000), "nested deeper than 48 levels"),
    "deep objects": (lambda: nested('{"a":', "}", 90).replace(b"}" * 91, b"1" + b"}" * 91), "nested deeper than 48"),
    "unclosed lists": (lambda: b"[" * 150_000, "nested deeper than 48 levels"),
    "empty lists": (lambda: wide(b"[]", 5 * 2**20), "at most 200,000 are read"),
    "empty objects": (lambda: wide(b"{}", 5 * 2**20), "at most 200,000 are read"),
    "numbers": (lambda: wide(b"1", 5 * 2**20), "at most 200,000 are read"),
    "large number": (lambda: b'{"name":"Bo","description":"x","a":' + b"9" * 3_000_000 + b"}", "no JSON"),
    "large json": (lambda: emoji(7 * 2**20), "at most 6,291,456 are read"),
    "zip bomb": (zip_bomb, "67,108,864 bytes; at most 6,291,456"),
    "lying zip": (lying_zip, "can't be unpacked"),
    "zip of files": (many_files, "at most 2,000"),
    "zip64": (zip64, "no ZIP64"),
    "zip of bombs": (large_zip, "at most 268,435,456"),
    "overlapping zip": (overlapping_zip, "on top of one another"),
    "yaml laughs": (laughs, "alias"),
    "yaml levels": (lambda: b"name: Bo\ncontext: " + b"[" * 20_000, "48 levels"),
    "yaml values": (lambda: b"name: Bo\ncontext: [" + b"a," * 100_000 + b"]", "5,000 values"),
    "large yaml": (lambda: b"name: Bo\ncontext: " + b"x" * 2**20, "at most 262,144 are read"),
    "exif loop": (loop_of_directories, "no character card"),
    "webp chunks": (lambda: b"RIFF\0\0\0\0WEBP" + b"abcd\0\0\0\0" * 200_000, "more than 20,000 chunks"),
    "exif lengths": (
        lambda: webp(tiff("<", 0x9286, b"x" * 30, below=True).replace(b"\x1e\0\0\0", b"\xff" * 4)),
        "no character",
    ),
    "jpeg segments": (lambda: jpeg(*[segment(0xFE, b"ey" + b"J" * 1_000)] * 20_000), "no"),
}
"""Refused, each with words of its error: the limit where there is one."""

READ: dict[str, Callable[[], bytes]] = {
    "one emoji": lambda: emoji(5 * 2**20),
    "polyglot of two cards": lambda: png(text(b"chara", b64(V1))) + charx([("card.json", raw({"name": "Eve"}))]),
    "script behind a picture": lambda: png(text(b"chara", b64(V1))) + b"<script>alert(1)</script>",
    "bomb that nobody reads": lambda: png(ztxt(b"Comment", b"A" * 2**26), text(b"chara", b64(V1))),
    "addresses": lambda: raw(
        {
            "spec": "chara_card_v3",
            "spec_version": "3.0",
            "data": V1
            | {
                "assets": [
                    {"type": "icon", "uri": uri, "name": "main", "ext": "../../x"}
                    for uri in (
                        "http://169.254.169.254/latest/meta-data",
                        "file:///etc/passwd",
                        "embeded://../../etc/passwd",
                        "__asset:../../../etc/passwd",
                        "\\\\host\\share",
                    )
                ]
            },
        }
    ),
    "decorators": lambda: raw(
        {**V1, "character_book": {"entries": [{"keys": ["a"], "content": "@@@depth 4\n" * 1_800}]}}
    ),
    "large book": lambda: book(5_000),
    "most text chunks": lambda: chunks(999, text(b"a", b"b" * 30_000)),
    "white space": lambda: png(text(b"chara", b64(V1) + b" " * (2 * 2**20))),
    "much behind the end": lambda: png(text(b"chara", b64(V1))) + b"\0" * MANY,
}
"""Harmless when read as they are meant to be."""
