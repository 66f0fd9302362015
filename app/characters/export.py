"""A card written: JSON, PNG or CHARX of V2 or V3, strictly as the specifications have them. Pure.

Assets go along: as `data:` URIs in JSON, as chunks of a PNG, as files of a CHARX. Those of other servers
stay addresses.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from app.characters.card import Carrier
from app.characters.carriers import charx, png
from app.characters.carriers.text import unpack
from app.characters.forms.tavern import V2, V3, to_second
from app.characters.reading import FILE_BYTES, JSON_BYTES, CardError, Json, Report

Format = Literal["json", "png", "charx"]
Version = Literal["v2", "v3"]
_EMBEDDED = re.compile(r"(?:embeded|embedded)://|__asset:", re.IGNORECASE)
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
_KINDS = {
    "png": ("images", "image/png"),
    "jpeg": ("images", "image/jpeg"),
    "jpg": ("images", "image/jpeg"),
    "webp": ("images", "image/webp"),
    "gif": ("images", "image/gif"),
    "avif": ("images", "image/avif"),
    "mp3": ("audio", "audio/mpeg"),
    "ogg": ("audio", "audio/ogg"),
    "wav": ("audio", "audio/wav"),
    "mp4": ("video", "video/mp4"),
    "webm": ("video", "video/webm"),
}
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a character came with."""

    content: bytes
    carrier: Carrier


def write(data: Json, outer: Json, origin: Origin | None, file_format: Format, version: Version) -> bytes:
    """The file of a card's `data`, with `outer` beside it and the pictures of `origin`.

    Raises:
        CardError: V2 has no CHARX; or the origin can't be read, which was read when it came.
    """
    files = _files(origin) if origin else {}
    if version == "v3":
        data = {"group_only_greetings": [], **data}
    if file_format == "charx":
        if version == "v2":
            raise CardError("A CHARX holds a card of V3; ask for version=v3, or for format=json or png.")
        return _charx(data, outer, origin, files)
    if file_format == "json":
        return _json(_inlined(data, files), outer, version)
    return _png(data, outer, origin, files, version)


def _json(data: Json, outer: Json, version: Version) -> bytes:
    """The card itself, its fields in one order, so that the same character gives the same bytes on every database."""
    data, outer = _sorted(data), _sorted(outer)
    if version == "v2":
        card = {"spec": V2, "spec_version": "2.0", "data": _sorted(to_second(data)), **outer}
    else:
        card = {"spec": V3, "spec_version": "3.0", "data": data, **outer}
    return json.dumps(card, ensure_ascii=False, indent=1).encode()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(inner) for inner in value] if isinstance(value, list) else value


def _png(data: Json, outer: Json, origin: Origin | None, files: dict[str, bytes], version: Version) -> bytes:
    picture, ending = _picture(data, origin, files) or (png.blank(), "")
    texts: dict[str, bytes] = {}
    if ending not in ("png", ""):
        # Only a PNG can carry the card: another picture goes along as an asset.
        main = f"assets/icon/images/{_MAIN}.{ending}"
        data, files = _with_icon(data, f"__asset:{main}", ending), {**files, main: picture}
        picture = png.blank()
    assets = []
    for asset, path, content in _held(data, files):
        if path is None:
            assets.append(asset)
        elif content == picture:
            assets.append({**asset, "uri": "ccdefault:"})
        else:
            assets.append({**asset, "uri": f"__asset:{path}"})
            texts[f"{png.ASSET}:{path}"] = content
    data = {**data, "assets": assets} if "assets" in data else data
    texts["chara"] = _json(data, outer, "v2")
    if version == "v3":
        texts["ccv3"] = _json(data, outer, "v3")
    return png.write(picture, texts)


def _charx(data: Json, outer: Json, origin: Origin | None, files: dict[str, bytes]) -> bytes:
    others = files if origin and origin.carrier == "charx" else {}
    packed: dict[str, bytes] = {}
    assets = []
    for asset, path, content in _held(data, files):
        if path is None:
            assets.append(asset)
            continue
        place = path if path in others else _path(asset, path)
        packed[place] = content
        assets.append({**asset, "uri": f"embeded://{place}"})
    data = {**data, "assets": assets} if "assets" in data else data
    found = _picture(data, origin, {**files, **packed})
    if found and found[0] not in packed.values():
        main = f"assets/icon/images/{_MAIN}.{found[1]}"
        packed[main] = found[0]
        data = _with_icon(data, f"embeded://{main}", found[1])
    return charx.write(_json(data, outer, "v3"), {**others, **packed})


def _files(origin: Origin) -> dict[str, bytes]:
    """What is in the file beside the card, by the path that a uri names."""
    if origin.carrier == "charx":
        return charx.read_files(origin.content)
    if origin.carrier != "png":
        return {}
    files: dict[str, bytes] = {}
    left = FILE_BYTES
    for text in png.read_texts(origin.content, Report()):
        if text.keyword.lower().startswith(png.ASSET) and left > 0:
            path = text.keyword[len(png.ASSET) :].removeprefix(":")
            try:
                content = unpack(text.read(), f"The asset {path[:40]!r}", FILE_BYTES)
            except CardError:
                continue  # it stays in the original
            files.setdefault(path, content)
            left -= len(content)
    return files


def _held(data: Json, files: dict[str, bytes]) -> Iterator[tuple[Json, str | None, bytes]]:
    """Each asset, with the path and the content of those that are in the file."""
    for asset in data.get("assets", []):
        path = _inside(asset["uri"])
        content = files.get(path) if path is not None else None
        yield asset, path if content is not None else None, content or b""


def _inside(uri: str) -> str | None:
    found = _EMBEDDED.match(uri)
    return uri[found.end() :] if found else None


def _inlined(data: Json, files: dict[str, bytes]) -> Json:
    """Assets as `data:` URIs, as many as a card's JSON may hold."""
    if "assets" not in data:
        return data
    left = JSON_BYTES // 2
    assets = []
    for asset, path, content in _held(data, files):
        if path is not None and len(content) * 4 // 3 < left:
            left -= len(content) * 4 // 3
            media = _KINDS.get(asset["ext"].lower(), ("", "application/octet-stream"))[1]
            assets.append({**asset, "uri": f"data:{media};base64,{base64.b64encode(content).decode()}"})
        else:
            assets.append(asset)
    return {**data, "assets": assets}


def _picture(data: Json, origin: Origin | None, files: dict[str, bytes]) -> tuple[bytes, str] | None:
    """The character's picture and its ending: the file itself where it is one, else the icon among the assets."""
    if origin and origin.carrier == "png":
        return png.write(origin.content, {}), "png"
    if origin and origin.carrier in ("jpeg", "webp"):
        return origin.content, origin.carrier
    icons = [asset for asset in data.get("assets", []) if asset["type"] == "icon"]
    for icon in sorted(icons, key=lambda asset: asset["name"] != _MAIN):
        content = _content(icon["uri"], files)
        if content:
            return content, "png" if content.startswith(png.SIGNATURE) else _ending(icon)
    return None


def _content(uri: str, files: dict[str, bytes]) -> bytes | None:
    if (path := _inside(uri)) is not None:
        return files.get(path)
    if found := _DATA.match(uri):
        try:
            return unpack(uri[found.end() :].encode("utf-8", "replace"), "An asset", FILE_BYTES)
        except CardError:
            return None
    return None


def _with_icon(data: Json, uri: str, ending: str) -> Json:
    """The data whose main icon is at `uri`, in place of one that only says that the card has a picture."""
    icon = {"type": "icon", "uri": uri, "name": _MAIN, "ext": ending}
    others = [asset for asset in data.get("assets", []) if not (asset["type"] == "icon" and asset["name"] == _MAIN)]
    return {**data, "assets": [icon, *others]}


def _path(asset: Json, path: str) -> str:
    """Where a CHARX keeps an asset, as V3 suggests."""
    if re.fullmatch(r"assets(?:/[\w.-]*\w)+", path, re.ASCII):
        return path
    kind = _KINDS.get(asset["ext"].lower(), ("other", ""))[0]
    name = re.sub(r"[^\w-]+", "_", path, flags=re.ASCII).strip("_") or "asset"
    return f"assets/{_plain(asset['type'])}/{kind}/{name}.{_ending(asset)}"


def _ending(asset: Json) -> str:
    return _plain(asset["ext"].lower()) if asset["ext"] else "bin"


def _plain(text: str) -> str:
    return re.sub(r"[^\w]+", "_", text, flags=re.ASCII)[:20] or "other"
