"""Writes the corpus: `python tests/cards/make.py`. Nothing here uses Moodline, so that the corpus judges it."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "vectors"
Json = dict[str, Any]

ENTRY: Json = {
    "keys": ["quay", "码头"],
    "content": "The old quay sank in spring. 老码头在春天沉没了。",
    "extensions": {"position": 0, "probability": 80, "useProbability": True, "depth": 4, "acme/colour": "blue"},
    "enabled": True,
    "insertion_order": 10,
    "case_sensitive": False,
    "name": "The quay",
    "priority": 5,
    "id": 7,
    "comment": "where it began",
    "selective": True,
    "secondary_keys": ["storm"],
    "constant": False,
    "position": "before_char",
}
BOOK: Json = {
    "name": "Harbour",
    "description": "What everyone here knows.",
    "scan_depth": 3,
    "token_budget": 400,
    "recursive_scanning": True,
    "extensions": {"acme/lore": 1},
    "entries": [ENTRY, {**ENTRY, "id": "b-2", "keys": ["gull"], "constant": True, "content": "Gulls lie."}],
}
V1: Json = {
    "name": "Mira 米拉",
    "description": "{{char}} mends nets.\n她认识{{user}}。 ",
    "personality": "dry, patient",
    "scenario": "A quay at dusk.",
    "first_mes": "*looks up* Mind the ropes, {{user}}.",
    "mes_example": "<START>\n{{user}}: Late?\n{{char}}: Early.\n<START>\n{{user}}: 冷吗？\n{{char}}: 海风而已。",
}
V2: Json = {
    **V1,
    "creator_notes": "<b>For</b> people who like the sea.",
    "system_prompt": "{{original}} Never hurry.",
    "post_history_instructions": "Answer in two sentences. {{original}}",
    "alternate_greetings": ["You again?", "又是你？"],
    "tags": ["Harbour", "中文"],
    "creator": "Ana",
    "character_version": "1.2",
    "extensions": {
        "depth_prompt": {"prompt": "Her hands are cold.", "depth": 4, "role": "system"},
        "talkativeness": "0.5",
        "fav": False,
        "world": "Harbour",
        "acme": {"deep": [1, 2.5, None, {"x": "é"}]},
    },
    "character_book": BOOK,
}
ENTRY3: Json = {**ENTRY, "use_regex": True, "keys": ["/qua+y/i"], "content": "@@depth 2\n@@role user\nThe quay creaks."}
V3: Json = {
    **V2,
    "character_book": {**BOOK, "entries": [*BOOK["entries"], ENTRY3]},
    "nickname": "Mimi",
    "creator_notes_multilingual": {"en": "For the sea.", "zh": "给爱海的人。"},
    "source": ["https://example.org/mira"],
    "assets": [
        {"type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png"},
        {"type": "emotion", "uri": "https://example.org/happy.png", "name": "happy", "ext": "png"},
        {"type": "x_app", "uri": "data:text/plain;base64,aGk=", "name": "note", "ext": "txt"},
    ],
    "group_only_greetings": ["Hello, all."],
    "creation_date": 1700000000,
    "modification_date": 1710000000,
}
DEFAULTS: Json = {
    "creator_notes": "",
    "system_prompt": "",
    "post_history_instructions": "",
    "alternate_greetings": [],
    "tags": [],
    "creator": "",
    "character_version": "",
    "extensions": {},
}


def card(data: Json, version: int = 2, **outer: Any) -> Json:
    return {"spec": f"chara_card_v{version}", "spec_version": f"{version}.0", "data": data, **outer}


def raw(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def b64(value: Any) -> bytes:
    return base64.b64encode(raw(value))


def chunk(kind: bytes, data: bytes, crc: int | None = None, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)


def header(width: int = 1, height: int = 1) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


PIXEL = chunk(b"IDAT", zlib.compress(b"\0\x40\x60\x80"))
END = chunk(b"IEND", b"")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
FRAME = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 10, 0, 0)


def text(keyword: bytes, data: bytes) -> bytes:
    return chunk(b"tEXt", keyword + b"\0" + data)


def ztxt(keyword: bytes, data: bytes) -> bytes:
    return chunk(b"zTXt", keyword + b"\0\0" + zlib.compress(data, 9))


def itxt(keyword: bytes, data: bytes, compressed: bool = False) -> bytes:
    flag, body = (b"\1", zlib.compress(data, 9)) if compressed else (b"\0", data)
    return chunk(b"iTXt", keyword + b"\0" + flag + b"\0en\0" + keyword + b"\0" + body)


def png(*texts: bytes, after: bool = True) -> bytes:
    body = (PIXEL, *texts) if after else (*texts, PIXEL)
    return b"".join((SIGNATURE, header(), *body, END))


def charx(files: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED, mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, data, method)
    return buffer.getvalue()


def tiff(order: str, tag: int, data: bytes, *, below: bool) -> bytes:
    """A TIFF with one field, in the first directory or in the Exif directory below it."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    field = struct.pack(order + "HHHI", 1, tag, 7, len(data))
    if not below:
        return mark + struct.pack(order + "I", 8) + field + struct.pack(order + "I", 26) + bytes(4) + data
    pointer = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    return mark + struct.pack(order + "I", 8) + pointer + field + struct.pack(order + "I", 44) + bytes(4) + data


def jpeg(*segments: bytes, tail: bytes = b"") -> bytes:
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xda\0\2\xff\xd9" + tail


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def webp(exif: bytes) -> bytes:
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\x08" + bytes(9)
    body += b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


Case = tuple[str, bytes, Json]


def good(form: str, data: Json, carrier: str, outer: Json | None = None, repaired: str = "") -> Json:
    """What is expected of a card that is read: `repaired` are words of a sentence of the report."""
    return {"form": form, "carrier": carrier, "data": data, "outer": outer or {}, "repaired": repaired}


def bad(*words: str) -> Json:
    """What is expected of a card that is refused: words of the error."""
    return {"error": list(words)}


FLAT: Json = {**V1, **DEFAULTS}
SMALL: Json = {**FLAT, "name": "Bo", "description": "A cat.", "personality": "", "scenario": "", "mes_example": ""}
SMALL |= {"first_mes": "Mrr."}
TINY: Json = {"name": "Bo", "description": "A cat.", "first_mes": "Mrr."}
MOJIBAKE = b'{"name": "Bo", "description": "A c\xfft.", "first_mes": "Mrr."}'


def fields() -> Iterator[Case]:
    """Every field of every version, as JSON."""
    yield "v1.json", raw(V1), good("V1", FLAT, "json")
    extras = {"creatorcomment": "A note.", "talkativeness": "0.7", "fav": True, "avatar": "none", "chat": "Bo - 2023"}
    told = {**FLAT, "creator_notes": "A note.", "extensions": {"talkativeness": "0.7", "fav": True}}
    yield "v1-tavern.json", raw({**V1, **extras}), good("V1", told, "json", {"avatar": "none", "chat": "Bo - 2023"})
    yield "v2.json", raw(card(V2)), good("V2", V2, "json")
    yield "v3.json", raw(card(V3, 3)), good("V3", V3, "json")
    mirrored = {**card(V2), **V1, "avatar": "none"}
    yield "v2-mirrored.json", raw(mirrored), good("V2", V2, "json", {"avatar": "none"})
    unknown = {**V2, "acme_field": {"kept": True}}
    yield "v2-unknown.json", raw(card(unknown, app=[1])), good("V2", unknown, "json", {"app": [1]})
    for name, value in V3.items():
        one = {"name": "Bo", "description": "A cat."} | {name: value}
        expected = {**SMALL, "first_mes": "", **one}
        version = 2 if name in V2 else 3
        yield f"field-{name}.json", raw(card(one, version)), good(f"V{version}", expected, "json")


def carriers() -> Iterator[Case]:
    """Every carrier, with a card of each version."""
    yield "chara.png", png(text(b"chara", b64(card(V2)))), good("V2", V2, "png")
    yield "chara-before-pixels.png", png(text(b"chara", b64(card(V2))), after=False), good("V2", V2, "png")
    yield "chara-v1.png", png(text(b"Chara", b64(V1))), good("V1", FLAT, "png")
    yield "ccv3.png", png(text(b"ccv3", b64(card(V3, 3)))), good("V3", V3, "png")
    both = png(text(b"chara", b64(card(TINY))), text(b"ccv3", b64(card(V3, 3))))
    yield "both.png", both, good("V3", V3, "png")
    yield "ztxt.png", png(ztxt(b"chara", b64(card(V2)))), good("V2", V2, "png")
    yield "itxt.png", png(itxt(b"chara", b64(card(V2)))), good("V2", V2, "png")
    yield "itxt-packed.png", png(itxt(b"ccv3", b64(card(V3, 3)), True)), good("V3", V3, "png")
    animated = b"".join((SIGNATURE, header(), chunk(b"acTL", struct.pack(">II", 1, 0)), chunk(b"fcTL", FRAME), PIXEL))
    yield "animated.png", animated + text(b"chara", b64(card(V2))) + END, good("V2", V2, "png")
    assets = {**V3, "assets": [{"type": "icon", "uri": "__asset:0", "name": "main", "ext": "png"}]}
    for name, key in (("colon", b"chara-ext-asset_:0"), ("bare", b"chara-ext-asset_0")):
        content = png(text(key, base64.b64encode(png())), text(b"ccv3", b64(card(assets, 3))))
        yield f"asset-{name}.png", content, good("V3", assets, "png")
    inside = {
        **V3,
        "assets": [{"type": "icon", "uri": "embeded://assets/icon/images/m.png", "name": "main", "ext": "png"}],
    }
    files = [("card.json", raw(card(inside, 3))), ("assets/icon/images/m.png", png()), ("app.json", b"{}")]
    yield "card.charx", charx(files), good("V3", inside, "charx")
    yield "stored.charx", charx(files, zipfile.ZIP_STORED), good("V3", inside, "charx")
    yield "appended.jpg", jpeg(tail=charx(files)), good("V3", inside, "charx")
    exif = b"Exif\0\0"
    comment = b"ASCII\0\0\0" + b64(card(V2))
    for order, name in (("<", "little"), (">", "big")):
        held = tiff(order, 0x9286, comment, below=True)
        yield f"comment-{name}.jpg", jpeg(segment(0xE1, exif + held)), good("V2", V2, "jpeg")
        yield f"comment-{name}.webp", webp(held), good("V2", V2, "webp")
    plain = tiff("<", 0x9286, b"ASCII\0\0\0" + raw(V1), below=True)
    yield "comment-plain.webp", webp(exif + plain), good("V1", FLAT, "webp")
    wide = tiff("<", 0x9286, b"UNICODE\0" + raw(TINY).decode().encode("utf-16-le"), below=True)
    yield "comment-utf16.webp", webp(wide), good("V1", SMALL, "webp")
    numbers = ",".join(str(byte) for byte in raw(TINY)).encode()
    yield "comment-numbers.webp", webp(tiff("<", 0x9286, numbers, below=True)), good("V1", SMALL, "webp")
    described = tiff(">", 0x010E, b64(card(V2)), below=False)
    yield "description.jpg", jpeg(segment(0xE1, exif + described)), good("V2", V2, "jpeg")
    yield "comment-segment.jpg", jpeg(segment(0xFE, b"chara:" + b64(card(V2)))), good("V2", V2, "jpeg")


def forms() -> Iterator[Case]:
    """Forms of other programs."""
    yaml = "name: No\ncontext: |\n  A cat.\n  It sleeps.\ngreeting: '猫：喵。'\nturn_template: kept\n"
    expected = {**SMALL, "name": "No", "description": "A cat.\nIt sleeps.\n", "first_mes": "猫：喵。"}
    yield "webui.yaml", yaml.encode(), good("webui", expected, "yaml", {"turn_template": "kept"})
    pygmalion = {"char_name": "Bo", "char_persona": "A cat.", "char_greeting": "Mrr.", "world_scenario": "A roof."}
    told = {**SMALL, "scenario": "A roof.", "mes_example": "{{char}}: Mrr."}
    yield "pygmalion.json", raw({**pygmalion, "example_dialogue": "{{char}}: Mrr."}), good("webui", told, "json")
    glm = {"bot_name": "张三", "bot_info": "渔夫。", "user_name": "用户", "user_info": "城里人", "greeting": "你好。"}
    told = {**SMALL, "name": "张三", "description": "渔夫。", "first_mes": "你好。", "scenario": "{{user}}：城里人"}
    yield "characterglm.json", raw(glm), good("characterglm", told, "json", {"user_name": "用户"})
    yield "characterglm-one.json", raw({"张三": glm}), good("characterglm", told, "json", {"user_name": "用户"})
    yield "characterglm-many.json", raw({"张三": glm, "李四": glm}), bad("2 characters", "张三, 李四")
    persona = "你是李云龙。\n{{RAG对话}}\n{{RAG多对话|token<=1500|n<=4}}\n{{RAG对话|高兴的对话}}\n直爽。"
    ours = {"persona": persona, "lines": 6, "tokens": 1500, "queries": ["高兴的对话"]}
    told = {**SMALL, "name": "李云龙", "description": "你是李云龙。\n\n直爽。", "first_mes": ""}
    told["extensions"] = {"moodline": {"haruhi": ours}}
    haruhi = {"role_name": "李云龙", "persona": persona, "stories": ["一"]}
    yield "haruhi.json", raw(haruhi), good("haruhi", told, "json", {"stories": ["一"]})
    tagged = b"name: Bo\ncontext: !!python/object/apply:os.system ['A cat.']\ngreeting: Mrr.\n"
    yield "tag.yaml", tagged, good("webui", SMALL, "yaml", repaired="context was a list")
    yield "李云龙.txt", persona.encode(), good("haruhi", told, "text")


def ladder(label: str, ranges: list[str], names: list[str]) -> Json:
    """A card whose author wrote stages as lore: a status line calls one entry of a group."""
    entries = [
        {
            "keys": [f"/{label}[:：]\\s*({numbers})\\b/i"],
            "content": f"Now: {name}.",
            "extensions": {"group": "bond", "position": 4, "depth": 2},
            "enabled": True,
            "insertion_order": 100,
            "comment": name,
        }
        for numbers, name in zip(ranges, names, strict=True)
    ]
    return {**SMALL, "character_book": {"extensions": {}, "entries": entries}}


def ours() -> Iterator[Case]:
    """What only Moodline has: stages, the bond's rules, how it recalls, and lore by stage."""
    stages = [
        {"name": "stranger", "affinity": 0, "persona": "Keeps away.", "style": "", "greeting": "", "strategy": None},
        {"name": "朋友", "affinity": 40, "persona": "", "style": "Jokes.", "greeting": "You!", "strategy": "c-m"},
    ]
    bond = {"start": 5, "variables": {"trust": {"start": 10}}, "events": {"gift": {"affinity": 8, "trust": 1}}}
    told = {
        "stages": stages,
        "bond": {**bond, "feelings": {"anger": {"trust": -5}}, "judged": 3},
        "strategy": "calibrated",
    }
    entry = {**ENTRY, "extensions": {**ENTRY["extensions"], "moodline": {"stages": ["朋友"]}}}
    always = {**ENTRY3, "extensions": {"moodline": {"stages": []}}}
    book = {"extensions": {}, "entries": [entry, always]}
    whole = {**V3, "character_book": book, "extensions": {**V3["extensions"], "moodline": told}}
    yield "moodline.json", raw(card(whole, 3)), good("V3", whole, "json")
    yield "moodline.png", png(text(b"ccv3", b64(card(whole, 3)))), good("V3", whole, "png")
    chinese = ladder("好感度", ["[0-9]|[1-3][0-9]", "[4-6][0-9]", "[7-9][0-9]|100"], ["陌生", "熟悉", "恋人"])
    yield "ladder-zh.json", raw(card(chinese)), good("V2", chinese, "json")
    english = ladder("affection", [r"\d|[12]\d", r"[3-9]\d|100"], ["Cold", "Warm"])
    yield "ladder-en.json", raw(card(english)), good("V2", english, "json")


def malformed() -> Iterator[Case]:
    """What is found in the wild, and read all the same."""

    def small(name: str, value: Any, expected: Json, words: str = "", form: str = "V2") -> Case:
        return f"messy-{name}.json", raw(value), good(form, {**SMALL, **expected}, "json", repaired=words)

    yield small("null-book", card({**TINY, "character_book": None}), {}, "character_book was no lorebook")
    yield small(
        "greetings-text", card({**TINY, "alternate_greetings": "Hi."}), {"alternate_greetings": ["Hi."]}, "not a list"
    )
    yield small("greetings-null", card({**TINY, "alternate_greetings": None}), {}, "alternate_greetings was null")
    greetings = {"alternate_greetings": ["a", "3"]}
    yield small("greetings-mixed", card({**TINY, "alternate_greetings": ["a", None, 3]}), greetings, "no text")
    yield small("tags-text", card({**TINY, "tags": "cat, 猫"}), {"tags": ["cat", "猫"]}, "tags was a text")
    yield small("null-text", card({**TINY, "scenario": None}), {}, "scenario was null")
    yield small("number-text", card({**TINY, "character_version": 2}), {"character_version": "2"}, "character_version")
    yield small("lines-text", card({**TINY, "description": ["A", "cat."]}), {"description": "A\ncat."}, "description")
    yield small("extensions-null", card({**TINY, "extensions": None}), {}, "extensions was null")
    yield small("extensions-list", card({**TINY, "extensions": []}), {}, "extensions was a list")
    yield small("beside-data", {**card({"name": "Bo"}), **TINY}, {}, "stood beside the data")
    yield small("flat", {"spec": "chara_card_v2", "spec_version": "2.0", **TINY}, {}, "beside the data")
    yield small("no-spec", {"data": TINY}, {}, "spec was 'None'")
    yield small("version-number", {**card(TINY), "spec_version": 2}, {})
    yield small("version-odd", {**card(TINY), "spec_version": "two"}, {}, "spec_version was 'two'")
    yield small("newer", card(TINY, 3) | {"spec_version": "4.1"}, {}, "newer than what is known", form="V3")
    yield small("nickname-null", card({**TINY, "nickname": None}, 3), {}, form="V3")
    yield small("in-a-list", [card(TINY)], {}, "in a list")
    entry = {"keys": "a, b", "content": None, "enabled": "yes", "insertion_order": "7", "id": "x", "constant": 1}
    mended = {"keys": ["a", "b"], "content": "", "enabled": True, "insertion_order": 7, "id": "x", "constant": True}
    book = {"extensions": {}, "entries": [{**mended, "extensions": {}}]}
    messy_book = {"entries": [entry, None]}
    yield small(
        "book", card({**TINY, "character_book": messy_book}), {"character_book": book}, "entry's keys was a text"
    )
    by_number = {"entries": {"0": {**mended, "extensions": {}}}}
    yield small("book-by-number", card({**TINY, "character_book": by_number}), {"character_book": book})
    yield small("book-list", card({**TINY, "character_book": [{**mended, "extensions": {}}]}), {"character_book": book})
    native = {"uid": 4, "key": ["a"], "keysecondary": ["b"], "comment": "c", "content": "d", "constant": False}
    native |= {"selective": True, "order": 9, "position": 1, "disable": True, "excludeRecursion": True, "sticky": 3}
    told = {"id": 4, "keys": ["a"], "secondary_keys": ["b"], "comment": "c", "content": "d", "constant": False}
    told |= {"selective": True, "insertion_order": 9, "enabled": False, "position": "after_char"}
    told["extensions"] = {"position": 1, "exclude_recursion": True, "sticky": 3}
    native_book = {"character_book": {"entries": {"4": native}}}
    yield small("book-native", card({**TINY, **native_book}), {"character_book": {"extensions": {}, "entries": [told]}})
    date = card({**TINY, "creation_date": "1700000000"}, 3)
    yield small("date-text", date, {"creation_date": 1700000000}, "creation_date was a text", form="V3")
    date = card({**TINY, "creation_date": "2023-5-12 @21h 32m 29s 228ms"}, 3)
    yield small("date-tavern", date, {"creation_date": 1683927149}, "creation_date was a text", form="V3")
    assets = {
        **TINY,
        "assets": [{"type": "icon"}, 3, {"uri": "ccdefault:", "type": None, "name": "main", "ext": "png"}],
    }
    kept = {"assets": [{"uri": "ccdefault:", "type": "", "name": "main", "ext": "png"}]}
    yield small("assets", card(assets, 3), kept, "asset without a uri", form="V3")
    surrogate = b'{"name": "Bo", "description": "A \\ud83d cat.\\u0000", "first_mes": "Mrr."}'
    lone = {**SMALL, "description": "A \ufffd cat.\ufffd"}
    yield "messy-surrogate.json", surrogate, good("V1", lone, "json", repaired="lone surrogates")
    broken = {**SMALL, "description": "A c\ufffdt."}
    yield "messy-utf8.json", MOJIBAKE, good("V1", broken, "json", repaired="no UTF-8 at byte")
    yield "messy-bom.json", b"\xef\xbb\xbf" + raw(TINY) + b"\n\0\0", good("V1", SMALL, "json")
    yield "messy-utf16.json", raw(TINY).decode().encode("utf-16"), good("V1", SMALL, "json", repaired="UTF-16")
    nameless = {**TINY, "name": " "}
    yield (
        "messy-nameless.json",
        raw(nameless),
        good("V1", {**SMALL, "name": "messy-nameless"}, "json", repaired="no name"),
    )


def messy_carriers() -> Iterator[Case]:
    """Carriers that are not as they should be, and read all the same."""

    def small(name: str, content: bytes, words: str, carrier: str = "png") -> Case:
        return f"messy-{name}", content, good("V2", SMALL, carrier, repaired=words)

    packed = b64(card(TINY))
    yield small("crc.png", png(chunk(b"tEXt", b"chara\0" + packed, crc=1)), "checksum")
    yield small("plain.png", png(text(b"chara", raw(card(TINY)))), "plain JSON")
    lines = b"\n".join(packed[i : i + 76] for i in range(0, len(packed), 76)).rstrip(b"=")
    yield small("base64.png", png(text(b"chara", lines.translate(bytes.maketrans(b"+/", b"-_")))), "")
    yield small("twice.png", png(text(b"chara", packed), text(b"chara", b64(V1))), "2 texts")
    yield small("broken-v3.png", png(text(b"ccv3", b"!!!"), text(b"chara", packed)), "neither JSON nor base64")
    yield small("cut.png", png(text(b"chara", packed))[:-12] + b"\0\0\1\0IDAT cut", "cut short")
    yield small("no-end.png", SIGNATURE + header() + PIXEL + text(b"chara", packed), "no end")
    yield small("zip-behind.png", png(text(b"chara", packed)) + charx([("card.json", raw(V1))]), "behind the end")
    yield small("folder.charx", charx([("bo/card.json", raw(card(TINY)))]), "at the root", "charx")
    twice = png(text(b"chara", b"e30="), text(b"chara", b64([])))
    yield "messy-empty.png", twice, bad("none of the forms")


def refused() -> Iterator[Case]:
    """What no reader can take."""
    yield "no-card.png", png(text(b"Software", b"paint")), bad("no character card")
    yield "no-card.jpg", jpeg(segment(0xFE, b"a photo")), bad("no character card")
    yield "no-card.webp", webp(tiff("<", 0x0110, b"Camera 1", below=False)), bad("no character card")
    yield "no-card.charx", charx([("readme.txt", b"hi")]), bad("no card.json")
    yield "empty.json", b"", bad("empty")
    yield "cut.json", raw(V1)[:-9], bad("no JSON")
    yield "empty-card.json", raw(card({})), bad("empty")
    yield "number.json", b"[3]", bad("no object")
    yield "foreign.json", raw({"title": "x", "author": "y"}), bad("none of the forms")
    yield "nan.json", b'{"name": "Bo", "description": "x", "extensions": {"a": NaN}}', bad("NaN")
    yield "infinite.json", b'{"name": "Bo", "description": "x", "extensions": {"a": 1e999}}', bad("Infinity")
    world = {"entries": {"0": {"uid": 0, "key": ["a"], "content": "b"}}}
    yield "world-info.json", raw(world), bad("lorebook", "POST /api/lorebooks/import")
    yield (
        "lorebook-named.json",
        raw({"spec": "lorebook_v3", "data": BOOK}),
        bad("lorebook", "POST /api/lorebooks/import"),
    )
    yield "lorebook-bare.json", raw(BOOK), bad("lorebook", "POST /api/lorebooks/import")
    yield "lorebook.json", raw({"spec": "lorebook_v3", "data": {"entries": [], "extensions": {}}}), bad("lorebook")
    yield "alias.yaml", b"a: &a [x, x]\nname: Bo\ncontext: *a\n", bad("alias")
    yield (
        "deep.json",
        b'{"name":"Bo","description":"x","extensions":' + b'{"a":' * 60 + b"1" + b"}" * 61,
        bad("48 levels"),
    )
    yield (
        "long-chunk.png",
        SIGNATURE + header() + struct.pack(">I", 2**32 - 1) + b"tEXtchara\0e30=",
        bad("4,294,967,295"),
    )
    yield "huge.png", SIGNATURE + header(2**30, 2**30) + PIXEL + text(b"chara", b64(V1)) + END, bad("16,384", "pixels")
    for name, path in (("up", "../card.json"), ("absolute", "/etc/x"), ("drive", "C:/x"), ("backslash", "..\\x")):
        yield f"slip-{name}.charx", charx([("card.json", raw(V1)), (path, b"x")]), bad("outside itself")
    nul = charx([("card.json", raw(V1)), ("assets/aXb", b"x")]).replace(b"assets/aXb", b"assets/a\0b")
    yield "slip-nul.charx", nul, bad("outside itself")
    yield "link.charx", charx([("card.json", b"/etc/passwd")], mode=0o120777), bad("symbolic link")
    double = charx([("card.json", raw(V1)), ("card.jsoX", raw(V1))]).replace(b"card.jsoX", b"card.json")
    yield "twice.charx", double, bad("twice")
    yield "lzma.charx", charx([("card.json", raw(V1))], zipfile.ZIP_LZMA), bad("method 14")
    locked = charx([("card.json", raw(V1))])
    at = locked.rfind(b"PK\1\2")
    yield "locked.charx", locked[: at + 8] + b"\1" + locked[at + 9 :], bad("encrypted")
    yield "locked-strongly.charx", locked[: at + 8] + b"\x40" + locked[at + 9 :], bad("can't be unpacked", "strong")
    yield "patched.charx", locked[: at + 8] + b"\x20" + locked[at + 9 :], bad("can't be unpacked", "patched")
    yield "newer.charx", locked[: at + 6] + b"\xff" + locked[at + 7 :], bad("The zip is broken", "version")
    yield "cut.charx", charx([("card.json", raw(V1))])[:-30], bad("no directory")


def main() -> None:
    """Write every vector and `expected.json`."""
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    expected = {}
    for group in (fields, carriers, forms, ours, malformed, messy_carriers, refused):
        for name, content, told in group():
            assert name not in expected, name
            (HERE / name).write_bytes(content)
            expected[name] = {"group": group.__name__, **told}
    (HERE.parent / "expected.json").write_text(
        json.dumps(expected, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
