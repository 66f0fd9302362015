"""Whatever a file holds, it is a card or a `CardError`; and a card that was read can be written and read again.

`MOODLINE_CARD_EXAMPLES` says how many files each test tries; ten minutes are some 200,000.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.characters.card import Card, read
from app.characters.export import Format, Origin, Version, write
from app.characters.fields import body_of, data_of
from app.characters.reading import CardError, Report
from app.characters.schemas import CharacterFields
from tests.cards.make import END, PIXEL, SIGNATURE, V3, b64, charx, header, raw
from tests.cards.test_vectors import EXPECTED, vector

long = settings(
    max_examples=int(os.environ.get("MOODLINE_CARD_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEEDS = sorted(EXPECTED)
WAYS: list[tuple[Format, Version]] = [("json", "v2"), ("json", "v3"), ("png", "v2"), ("png", "v3"), ("charx", "v3")]
texts = st.text(max_size=20) | st.sampled_from(
    ["@@depth 1\nx", "{{char}}", "/x/", "data:;base64,eA==", "embeded://a", "moodline"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
names = texts | st.sampled_from(
    [*V3, *V3["character_book"], *V3["character_book"]["entries"][2], "v3", "moodline", "haruhi"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6), max_leaves=25
)
fields = st.fixed_dictionaries({}, optional={name: values | st.just(value) for name, value in V3.items()})


def judge(content: bytes, name: str) -> Card | None:
    """The card, held to everything that must follow from its having been read."""
    try:
        card = read(content, name)
    except CardError:
        return None
    json.dumps(card.data, allow_nan=False).encode()
    try:
        body = body_of(card.data, "x", Report())
    except CardError:
        return card
    fields = CharacterFields.model_validate(body.model_dump(exclude={"slug", "shared", "lore"}))
    assert data_of(fields, [entry.model_dump() for entry in body.lore], card.data) == card.data
    return card


def mutate(data: st.DataObject, content: bytes) -> bytes:
    """The content with bytes changed, taken out, doubled, or a length that lies."""
    mutated = bytearray(content)
    for _ in range(data.draw(st.integers(1, 6))):
        if not mutated:
            break
        at = data.draw(st.integers(0, len(mutated) - 1))
        kind = data.draw(st.integers(0, 4))
        if kind == 0:
            mutated[at] = data.draw(st.integers(0, 255))
        elif kind == 1:
            del mutated[at : at + data.draw(st.integers(1, 64))]
        elif kind == 2:
            mutated[at:at] = mutated[at : at + data.draw(st.integers(1, 64))]
        elif kind == 3:
            mutated[at:at] = data.draw(st.binary(max_size=16))
        elif at + 4 <= len(mutated):
            struct.pack_into(">I", mutated, at, data.draw(st.sampled_from([0, 1, 2**31 - 1, 2**31, 2**32 - 1])))
    return bytes(mutated)


@long
@given(st.data(), st.sampled_from(SEEDS))
def test_a_damaged_vector_is_a_card_or_refused(data: st.DataObject, name: str) -> None:
    judge(mutate(data, vector(name)), name)


@long
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", SIGNATURE, b"\xff\xd8\xff\xe1", b"PK\3\4", b"RIFF\0\0\0\0WEBP", b"{", b"- "]),
)
def test_any_bytes_are_a_card_or_refused(content: bytes, begins: bytes) -> None:
    judge(begins + content, "x")


@long
@given(values | fields, st.sampled_from(["chara_card_v2", "chara_card_v3", ""]), st.booleans(), st.sampled_from(WAYS))
def test_any_json_is_a_card_or_refused_and_what_was_read_is_written_as_it_is_read(
    data: Any, spec: str, flat: bool, way: tuple[Format, Version]
) -> None:
    value = {**data, "spec": spec} if flat and isinstance(data, dict) else {"spec": spec, "data": data}
    content = json.dumps(value).encode()
    card = judge(content, "x")
    if card is None:
        return
    written = write(card.data, card.outer, Origin(content, card.carrier), *way)
    again = read(written, "x")
    assert again.report.repaired == []
    assert write(again.data, again.outer, Origin(written, again.carrier), *way) == written


@long
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"IHDR", b"IDAT", b"IEND"]),
            st.sampled_from([b"chara", b"ccv3", b"CHARA", b"chara-ext-asset_:0", b"chara-ext-asset_0", b""]),
            st.binary(max_size=40) | st.sampled_from([b64(V3), b"\0" + zlib.compress(b64(V3)), b"\1\0\0\0" + raw(V3)]),
        ),
        max_size=6,
    )
)
def test_a_png_of_any_chunks_is_a_card_or_refused(pieces: list[tuple[bytes, bytes, bytes]]) -> None:
    body = [
        struct.pack(">I", len(key + b"\0" + data)) + kind + key + b"\0" + data + bytes(4) for kind, key, data in pieces
    ]
    content = b"".join((SIGNATURE, header(), PIXEL, *body, END))
    card = judge(content, "x")
    if card:
        written = write(card.data, card.outer, Origin(content, card.carrier), "png", "v3")
        assert read(written).data["name"] == card.data["name"]


@long
@given(
    st.dictionaries(st.text(max_size=12) | st.just("card.json"), st.binary(max_size=40) | st.just(raw(V3)), max_size=5),
    st.data(),
)
def test_a_zip_of_any_files_is_a_card_or_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    names = {name.encode("utf-8", "replace").decode(): content for name, content in files.items() if "\0" not in name}
    content = charx(list(names.items()))
    judge(content, "x")
    judge(mutate(data, content), "x")
