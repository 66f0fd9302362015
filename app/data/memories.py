"""Emotional RAG's memory bank (2410.23041) by the server's own tagger: what a role was told and said, and how it felt.

The paper asks a language model for eight scores, and stores None where that fails; the head hears them in the vectors
that are made anyway. Its contexts repeat one another: here a memory is kept once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from app.chat.recall import line_text
from models.data.script import Script, without_actions
from models.data.talk import language_of
from retrieval.emotion import EMOTIONS, EmotionTagger
from retrieval.encoder import Encoder
from retrieval.leak import folded

BATCH = 64


def memories(script: Script, role: str, encoder: Encoder, tagger: EmotionTagger) -> Iterator[dict[str, Any]]:
    """Memories as {role, text, emotion, scene, tagger}: its line and the one before it; feelings go from 0 to 1."""
    found = [*units(script, role)]
    for begin in range(0, len(found), BATCH):
        batch = found[begin : begin + BATCH]
        spoken = [own for _, own, _ in batch]
        felt = tagger.tag(spoken, encoder.encode_passages(spoken))
        for (text, _, number), emotion in zip(batch, felt, strict=True):
            named = {name: round(float(value), 4) for name, value in zip(EMOTIONS, emotion, strict=True)}
            yield {"role": role, "text": text, "emotion": named, "scene": number, "tagger": tagger.id}


def units(script: Script, role: str) -> Iterator[tuple[str, str, int]]:
    """What a role said with what it was told before, each once; what it said alone; and the scene's number."""
    language = language_of([line.text for scene in script.scenes for line in scene.lines])
    seen: set[str] = set()
    for number, scene in enumerate(script.scenes):
        said = [line for line in scene.lines if line.speaker and line.text]
        for before, line in pairwise(said):
            if line.speaker == role:
                text = line_text([(before.speaker, before.text), (role, line.text)], language)
                if (key := folded(text)) not in seen:
                    seen.add(key)
                    yield text, without_actions(line.text) or line.text, number
