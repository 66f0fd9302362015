"""What is shown to a teacher: pieces of texts, and of the scenes a role speaks in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from models.data.near import bare
from models.data.script import Script, Staged
from models.scene import Language
from models.token_count import estimate_tokens

TELLING = 8
"""Letters from which on a repeated text is no accident."""
_SENTENCE = re.compile(r"[^。！？!?.…\n]+(?:[。！？!?.…]+[”’」』\"]?|\n|$)\s*")


def chunks(text: str, tokens: int) -> list[str]:
    """Pieces of at most `tokens` (by `estimate_tokens`) that end with a paragraph, a sentence, or anywhere."""
    found: list[str] = []
    now = ""
    for piece in _pieces(text, tokens):
        if now and estimate_tokens(now + piece) > tokens:
            found.append(now.strip())
            now = ""
        now += piece
    return [chunk for chunk in (*found, now.strip()) if chunk]


def paragraphs(text: str, least: int = 40) -> list[str]:
    """Paragraphs of a text with at least `least` letters; headings, which have no sentence, are left out."""
    found = (" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=#)", text))
    return [part for part in found if not part.startswith("#") and len(bare(part)) >= least]


def spoken(staged: Staged, language: Language) -> str:
    """A scene in words, a line each."""
    colon, before, after = ("：", "（", "）") if language == "zh" else (": ", "(", ") ")
    told = []
    for line in staged.lines:
        action = f"{before}{line.action}{after}" if line.action else ""
        told.append(f"{line.speaker}{colon}{action}{line.text}" if line.speaker else f"{before}{line.text}{after}")
    head = [f"{before}{staged.place}{after}".strip()] if staged.place else []
    return "\n".join([*head, *told])


def excerpt(script: Script, role: str, language: Language, tokens: int) -> str:
    """Scenes in which `role` speaks, spread evenly over the script, of at most `tokens`; long ones are cut."""
    scenes = [scene for scene in script.scenes if any(line.speaker == role for line in scene.lines)]
    told: list[str] = []
    room = tokens
    for scene in _spread(scenes):
        text = chunks(spoken(scene, language), max(tokens // 3, 50))[0]
        if (size := estimate_tokens(text)) <= room:
            told.append(text)
            room -= size
        if room < 50:
            break
    return "\n\n".join(told)


def gives_away(text: str, reply: str) -> bool:
    """Whether a text already holds a reply that is long enough to tell."""
    letters = bare(reply)
    return len(letters) >= TELLING and letters in bare(text)


def _pieces(text: str, tokens: int) -> Iterator[str]:
    for paragraph in re.split(r"(?<=\n)", text):
        if estimate_tokens(paragraph) <= tokens:
            yield paragraph
            continue
        for sentence in _SENTENCE.findall(paragraph) or [paragraph]:
            step = len(sentence)
            while step > 1 and estimate_tokens(sentence[:step]) > tokens:
                step //= 2
            yield from (sentence[at : at + step] for at in range(0, len(sentence), step))


def _spread(scenes: Sequence[Staged]) -> list[Staged]:
    """The scenes in an order in which every beginning of it is spread over all of them."""
    order: dict[int, None] = {}
    step = 1 << len(scenes).bit_length()
    while step:
        order |= dict.fromkeys(range(0, len(scenes), step))
        step //= 2
    return [scenes[place] for place in order]
