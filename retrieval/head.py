"""A trained emotion head: a linear layer on the embedding that was computed anyway, and on hashed n-grams beside it."""

from __future__ import annotations

import json
import logging
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.emotion import EMOTIONS, AnchorTagger, EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.grams import buckets, is_chinese

log = logging.getLogger("moodline")
FORMAT = 1
"""Raised when a file of the older form would be read wrongly."""
FLOOR = 0.1
"""An intensity below this is no emotion; a text that nowhere reaches it is flat."""
# This much above what neutral texts reach, intensities are probabilities.
_CLEAR = 1.25

_HEARING = ("directions", "grams", "scales", "bias", "curves", "faint")
_ARRAYS = (*_HEARING, "seen")


@dataclass(frozen=True, eq=False)
class Head:
    """The numbers of a head and where they come from.

    A text's logits are `vector @ directions + scales x (sum of its buckets' grams) / sqrt(buckets) + bias`, all [8] in
    the order of `EMOTIONS`. `curves` [2, 2, 8] turns them into probabilities: slope and offset, for texts without and
    with Chinese characters. `faint` [2, 8] are the probabilities that neutral texts reach by chance. `seen` are the
    ascending fingerprints (uint32) of the documents it was trained on.
    """

    directions: Vectors
    grams: NDArray[np.int8]
    scales: Vectors
    bias: Vectors
    curves: Vectors
    faint: Vectors
    seen: NDArray[np.uint32]
    manifest: Mapping[str, Any]

    def fits(self, encoder_id: str) -> bool:
        """Whether vectors of this encoder are those it was trained on.

        An unpacked encoder's id is its folder's name and, behind the last @, what makes its vectors; a folder may be
        called anything.
        """
        return _recipe(encoder_id) in {_recipe(one) for one in self.manifest["encoders"]}


def _recipe(encoder_id: str) -> str:
    name, _, revision = encoder_id.rpartition("@")
    return revision if len(revision) == 12 and "/" not in name else encoder_id


class HeadTagger:
    """Hears emotions with a trained `Head`; vectors of queries and of passages are heard alike."""

    def __init__(self, head: Head) -> None:
        self._head = head
        digest = sha256()
        for name in _HEARING:
            digest.update(np.ascontiguousarray(getattr(head, name)).tobytes())
        self.id = f"head {digest.hexdigest()[:12]}"

    def tag(self, texts: Sequence[str], vectors: Vectors) -> Vectors:
        """Intensities float32 [n, 8]. Raises ValueError when the vectors' shape does not fit.

        An intensity is the probability that a reader would name the emotion, but what neutral texts reach as well
        is drawn down below `FLOOR` (`drawn_down`), so that they are flat.
        """
        head = self._head
        chinese = np.array([is_chinese(text) for text in texts], dtype=np.int64)
        slope, offset = head.curves[chinese, 0], head.curves[chinese, 1]
        probability = 1.0 / (1.0 + np.exp(-np.clip(slope * logits(head, texts, vectors) + offset, -30.0, 30.0)))
        return drawn_down(probability.astype(np.float32), head.faint[chinese])


def logits(head: Head, texts: Sequence[str], vectors: Vectors) -> Vectors:
    """What the linear layer says before calibration: float32 [n, 8]. Raises ValueError when shapes do not fit."""
    expected = (len(texts), len(head.directions))
    if vectors.shape != expected:
        raise ValueError(f"vectors of {len(texts)} texts must have shape {expected}, not {vectors.shape}")
    words = np.zeros((len(texts), len(EMOTIONS)), dtype=np.float32)
    for n, text in enumerate(texts):
        found = buckets(text, len(head.grams))
        words[n] = head.grams[found].sum(axis=0, dtype=np.int32) / np.sqrt(len(found))
    heard: Vectors = vectors @ head.directions + words * head.scales + head.bias
    return heard


def drawn_down(probability: Vectors, faint: Vectors) -> Vectors:
    """Intensities of probabilities, both [n, 8]: `faint` becomes `FLOOR`, from `_CLEAR` times `faint` they are equal.

    Straight lines in between and below, so that the order of texts stays.
    """
    clear = _CLEAR * faint
    below = probability * (FLOOR / faint)
    between = FLOOR + (probability - faint) * ((clear - FLOOR) / (clear - faint))
    shaped = np.where(probability < faint, below, np.where(probability < clear, between, probability))
    return np.asarray(np.clip(shaped, 0.0, 1.0), dtype=np.float32)


def save(head: Head, path: Path) -> None:
    """Write one `.npz`: complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = BytesIO()
    arrays: dict[str, Any] = {name: getattr(head, name) for name in _ARRAYS}
    manifest = np.frombuffer(json.dumps(head.manifest, ensure_ascii=False).encode(), dtype=np.uint8)
    np.savez_compressed(stream, manifest=manifest, **arrays)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(stream.getvalue())
    os.replace(fresh, path)


def load(path: Path) -> Head:
    """Read what `save` wrote. Raises OSError, and ValueError with the path when it is damaged or something else."""
    try:
        # From memory: numpy leaves a file open when what is in it is no archive.
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            manifest = json.loads(file["manifest"].tobytes())
            if manifest.get("format") != FORMAT:
                raise ValueError(f"its format is {manifest.get('format')!r}, not {FORMAT}")
            head = Head(**{name: file[name] for name in _ARRAYS}, manifest=manifest)
        _check(head)
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a whole emotion head: {error}. Train it anew.") from error
    return head


def _check(head: Head) -> None:
    if tuple(head.manifest["emotions"]) != EMOTIONS or not isinstance(head.manifest["encoders"], list):
        raise ValueError("it is for other dimensions")
    dimensions = len(EMOTIONS)
    for name, shape in {
        "directions": (len(head.directions), dimensions),
        "grams": (len(head.grams), dimensions),
        "scales": (dimensions,),
        "bias": (dimensions,),
        "curves": (2, 2, dimensions),
        "faint": (2, dimensions),
        "seen": (len(head.seen),),
    }.items():
        array = getattr(head, name)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(f"{name} has shape {array.shape} or holds what is no number")
    if (
        not head.grams.size
        or head.grams.dtype != np.int8
        or head.seen.dtype != np.uint32
        or not ((head.faint > 0) & (head.faint < 1)).all()
    ):
        raise ValueError("its numbers are out of range")


SHIPPED = Path(__file__).parent / "heads"
"""Heads that come with the package."""


def file_name(encoder_id: str) -> str:
    """What a head for this encoder is called in a folder of heads."""
    return "".join(letter if letter.isalnum() or letter in "-.@" else "_" for letter in encoder_id) + ".npz"


def head_for(encoder_id: str, folder: Path) -> Head | None:
    """The head trained for this encoder: one in `folder` first, then a shipped one. Raises ValueError as `load`."""
    own = folder / file_name(encoder_id)
    for path in [own] * own.is_file() + sorted(SHIPPED.glob("*.npz")):
        head = load(path)
        if head.fits(encoder_id):
            return head
    return None


def tagger_for(encoder: Encoder, folder: Path) -> EmotionTagger:
    """What hears emotions in this encoder's vectors: its head (see `head_for`), or anchors where there is none."""
    head = head_for(encoder.id, folder)
    log.info("emotions of %s are heard by %s", encoder.id, "anchor sentences" if head is None else "a trained head")
    return AnchorTagger(encoder) if head is None else HeadTagger(head)
