"""A character card: whatever carries it and whatever form it has, one value. Pure; the readers beside it are its parts.

Lenient: what is not as the specifications have it is repaired and reported, what is unknown is kept. Only what can't be
read, or is over a limit of `app.characters.reading`, is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from app.characters.carriers import charx, exif, png
from app.characters.carriers.text import decode, is_plain, read_json, read_packed, read_yaml
from app.characters.forms.book import is_book
from app.characters.forms.characterglm import is_characterglm, read_characterglm, several
from app.characters.forms.haruhi import is_haruhi, is_haruhi_text, read_haruhi
from app.characters.forms.tavern import FIRST, is_tavern, normal_data, read_tavern
from app.characters.forms.webui import is_webui, read_webui
from app.characters.reading import FILE_BYTES, TRIES, CardError, Json, Report, check_size, note

Carrier = Literal["png", "jpeg", "webp", "charx", "json", "yaml", "text"]
MEDIA: dict[Carrier, str] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "charx": "application/zip",
    "json": "application/json",
    "yaml": "application/yaml",
    "text": "text/plain",
}
_KNOWN = (
    *FIRST,
    "nickname",
    "creator_notes",
    "system_prompt",
    "post_history_instructions",
    "creator",
    "character_version",
)


@dataclass(frozen=True, slots=True)
class Card:
    """What a card says.

    `data` are the fields of V2, those of V3 that are there, and unknown ones; `outer` is what stood beside them.
    `form` is `V1`, `V2`, `V3`, `webui`, `characterglm` or `haruhi`.
    """

    carrier: Carrier
    form: str
    data: Json
    outer: Json
    report: Report


def read(content: bytes, filename: str = "", pick: str = "") -> Card:
    """The card of a file; `pick` names one where the file has many.

    Raises:
        CardError: there is no card in it, it is broken beyond repair, or over a limit.
    """
    check_size(len(content), FILE_BYTES, "The file")
    report = Report()
    carrier, value = _open(content, filename, report)
    form, data, outer = _understand(value, pick, report)
    if not data["name"].strip():
        data["name"] = _stem(filename) or data.get("nickname", "").strip() or "Character"
        report.repair(f"the card had no name: it is called {data['name']!r}")
    _tell(data, outer, report)
    return Card(carrier, form, data, outer, report)


def carrier_of(content: bytes) -> Carrier | None:
    """What carries a card, by how it begins; None for a text."""
    if content.startswith(png.SIGNATURE):
        return "png"
    if exif.is_jpeg(content):
        return "jpeg"
    if exif.is_webp(content):
        return "webp"
    return "charx" if charx.is_zip(content) else None


def _open(content: bytes, filename: str, report: Report) -> tuple[Carrier, Any]:
    carrier = carrier_of(content)
    if carrier == "charx":
        return carrier, read_json(charx.read_card(content, report), charx.CARD, report)
    if carrier == "png":
        return carrier, _first(_png_tries(content, report), "PNG", report)
    if carrier is not None:
        if carrier == "jpeg" and charx.ends_as_zip(content):
            return "charx", read_json(charx.read_card(content, report), charx.CARD, report)
        return carrier, _first(_comment_tries(content, report), carrier.upper(), report)
    return _open_text(content, filename, report)


def _open_text(content: bytes, filename: str, report: Report) -> tuple[Carrier, Any]:
    text = decode(content, "The file", Report())
    if not text.strip():
        raise CardError("The file is empty.")
    if text.lstrip()[0] in "{[":
        return "json", read_json(content, "The file", report)
    if is_haruhi_text(text):
        return "text", {"persona": text.strip(), "role_name": _stem(filename)}
    return "yaml", read_yaml(content, "The file", report)


def _png_tries(content: bytes, report: Report) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The texts that may be the card: `ccv3` before `chara`, as V3 has it, each in the file's order."""
    texts = [text for text in png.read_texts(content, report) if text.keyword.lower() in ("ccv3", "chara")]
    for keyword in ("ccv3", "chara"):
        same = [text for text in texts if text.keyword.lower() == keyword]
        if len(same) > 1:
            report.repair(f"the PNG has {len(same)} texts {keyword!r}: the first that can be read counts")
        for text in same:
            what = f"The text {text.keyword!r} of the PNG"
            yield what, partial(_unpacked, text, what, report)


def _unpacked(text: png.Text, what: str, report: Report) -> Any:
    content = text.read()
    if is_plain(content):
        report.repair(f"{what} was plain JSON, not base64")
    return read_packed(content, what, report)


def _comment_tries(content: bytes, report: Report) -> Iterator[tuple[str, Callable[[], Any]]]:
    # Most comments of pictures are no cards: these begin with a brace, or base64 of one.
    comments = [comment for comment in exif.read_comments(content) if comment.startswith((b"{", b"e", b"77u/"))]
    for comment in comments:
        yield "a comment", partial(read_packed, comment, "The picture's comment", report)


def _first(tries: Iterator[tuple[str, Callable[[], Any]]], kind: str, report: Report) -> Any:
    """The first that is an object; raises the first error when none is."""
    first: CardError | None = None
    for number, (what, read_one) in enumerate(tries):
        if number == TRIES:
            break
        try:
            value = read_one()
            if isinstance(value, dict):
                if first:
                    report.repair(str(first).rstrip("."))
                return value
            raise CardError(f"{what} is JSON, but no object.")
        except CardError as error:
            first = first or error
    raise first or CardError(f"There is no character card in this {kind}.")


def _understand(value: Any, pick: str, report: Report) -> tuple[str, Json, Json]:
    if isinstance(value, list) and len(value) == 1:
        report.repair("the card was in a list")
        value = value[0]
    if not isinstance(value, dict):
        raise CardError("The file is no character card: it is no object of named fields.")
    if names := several(value):
        value = _picked(value, names, pick)
    if is_tavern(value):
        return read_tavern(value, report)
    for form, fits, read_form in (
        ("webui", is_webui, read_webui),
        ("characterglm", is_characterglm, read_characterglm),
        ("haruhi", is_haruhi, read_haruhi),
    ):
        if fits(value):
            data, outer = read_form(value, report)
            return form, normal_data(data, report), outer
    if is_book(value):
        raise CardError("The file is a lorebook, not a character: send it to POST /api/lorebooks/import.")
    raise CardError("The file is no character card: none of the forms that are read has fields like these.")


def _picked(value: Json, names: list[str], pick: str) -> Json:
    if not pick and len(names) > 1:
        raise CardError(f"The file has {len(names)} characters; pick one: {', '.join(names)[:2_000]}.")
    if pick and pick not in names:
        raise CardError(f"The file has no character {pick[:100]!r}; it has {', '.join(names)[:2_000]}.")
    name = pick or names[0]
    return {**value[name], "bot_name": value[name].get("bot_name") or name}


def _tell(data: Json, outer: Json, report: Report) -> None:
    """Say which fields mean something here and which are only kept."""
    for name, value in data.items():
        if name == "extensions":
            for inner in value:
                if inner not in ("depth_prompt", "moodline"):
                    report.keep(f"extensions.{inner}")
        elif name in (*_KNOWN, "tags", "alternate_greetings", "character_book"):
            if value not in ("", [], None):
                note(report.understood, name)
        else:
            report.keep(name)
    for name in outer:
        report.keep(f"{name} (beside the data)")


def _stem(filename: str) -> str:
    """A file's name without its folders and its ending."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return (name.rpartition(".")[0] or name).strip()[:100]
