"""Scripts: `角色：台词` lines, or screenplays in which a name stands alone above what is said.

- `角色：台词`, `角色（动作）：台词`, `NAME (action): line`. Headings (`第三场`, `ACT II`, `INT.`, `***`) end a scene;
  lines in brackets and what comes before the first speaker are skipped; any other line continues a turn.
- A screenplay: `MARA`, `MARA (V.O.)` or `晚晴` on a line, the speech on the lines below, up to a blank line; what
  follows a blank line is action and is skipped. A file is read so when at least two names stand like that, and more
  than there are lines of the first form.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Speech:
    """What somebody says without a break, and what stood in brackets behind the name."""

    name: str
    text: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A scene in which somebody speaks. `place` is what stood in brackets before the first speech."""

    heading: str
    place: str
    speeches: tuple[Speech, ...]


def parts(lines: Sequence[str]) -> Iterator[Part]:
    """The scenes of a script in which somebody speaks, in order."""
    rows = [line.strip() for line in lines]
    speeches = _speeches(rows)
    cues = _cues(rows)
    if len(cues) > max(1, sum(speech is not None for speech in speeches)):
        rows, speeches = _without_action(rows, cues), [cues.get(n) for n in range(len(rows))]
    headings: list[str] = []
    places: list[str] = []
    turns: list[tuple[Speech, list[str]]] = []
    for row, speech in (*zip(rows, speeches, strict=True), ("***", None)):
        if _ends_scene(row):
            if said := tuple(replace(first, text="\n".join(text)) for first, text in turns if text):
                yield Part(" ".join(headings), " ".join(places), said)
            headings = headings if not turns and not places else []
            headings, places, turns = [*headings, *([] if _RULE.fullmatch(row) else [row])], [], []
        elif speech:
            turns.append((speech, [speech.text] if speech.text else []))
        elif turns and row and not _DIRECTION.fullmatch(row):
            turns[-1][1].append(row)
        elif not turns and row and _DIRECTION.fullmatch(row):
            places.append(row.strip(_BRACKETS))


def _ends_scene(row: str) -> bool:
    return bool(_RULE.fullmatch(row) or _HEADING.fullmatch(row.strip("【】[]*=# ")))


def _speeches(rows: Sequence[str]) -> list[Speech | None]:
    """Who says what, row by row. A name is trusted more when it is seen again, so all rows are looked at twice."""
    spoken = map(_SPOKEN.match, rows)
    seen = Counter(_name(row) for row in spoken if row and row["mark"] != "；")
    return [_speech(row, seen) for row in rows]


def _speech(line: str, seen: Counter[str]) -> Speech | None:
    """Who speaks on this line and what, or None when it only looks like it (`10:30`, `http://`, `注意：`).

    A semicolon typed for the colon (`皇帝；`) is read as one behind a name that is known.
    """
    if not (spoken := _SPOKEN.match(line)):
        return None
    name, text = _name(spoken), spoken["text"].strip()
    slip = spoken["mark"] == "；" and not seen[name]
    clock = name[-1:].isdigit() and text[:1].isdigit()
    if slip or clock or text.startswith("//") or not _is_name(name, seen[name] > 1):
        return None
    return Speech(name, text, _action(spoken))


def _name(spoken: re.Match[str]) -> str:
    return spoken["name"].strip("*_【】「」 \u3000")


def _action(spoken: re.Match[str]) -> str:
    return "，".join(filter(None, (piece.strip() for piece in _CLOSED.split(spoken["action"]))))


def _is_name(name: str, again: bool) -> bool:
    """Whether this can be a speaker. A long name, or one in lower-case words, has to come `again` in the file."""
    if not any(map(str.isalpha, name)) or _NO_NAME.fullmatch(name) or _SENTENCE.search(_SHORT_FORM.sub("", name)):
        return False
    short = len(name) <= 10 or not _CJK.search(name)
    return again or (short and all(not word[0].islower() or _PARTICLE.fullmatch(word) for word in name.split()[1:]))


def _cues(rows: Sequence[str]) -> dict[int, Speech]:
    """The rows on which a speaker's name stands alone above a speech, by number.

    A cue begins a paragraph, comes after a finished sentence, or has a name that stands alone more than once; and it is
    not itself the speech below another cue.
    """
    alone = {n: name for n, row in enumerate(rows[:-1]) if (name := _name_alone(row)) and _is_text(rows[n + 1])}
    again = Counter(alone.values())
    cues: dict[int, Speech] = {}
    for n, name in alone.items():
        above = next((m for m in range(n - 1, -1, -1) if not rows[m] or not _DIRECTION.fullmatch(rows[m])), -1)
        begins = above < 0 or not rows[above] or _ends_scene(rows[above]) or rows[above][-1] in _FINAL
        if above not in cues and (begins or again[name] > 1):
            cue = _CUE.fullmatch(rows[n])
            cues[n] = Speech(name, "", _action(cue) if cue else "")
    return cues


def _name_alone(row: str) -> str:
    """The speaker a row names, or nothing. Names in letters that have a case stand in capitals."""
    if not (cue := _CUE.fullmatch(row)) or _ends_scene(row) or _DIRECTION.fullmatch(row):
        return ""
    name = _name(cue)
    return name if name == name.upper() and _is_name(name, again=False) else ""


def _is_text(row: str) -> bool:
    return bool(row) and not _ends_scene(row)


def _without_action(rows: Sequence[str], cues: dict[int, Speech]) -> list[str]:
    """The rows with those blank that belong to no speech; headings stay."""
    kept, speaking = [], False
    for n, row in enumerate(rows):
        speaking = n in cues or (speaking and bool(row))
        kept.append(row if speaking or _ends_scene(row) else "")
    return kept


_NO_NAME = re.compile(r"(?i:注意|提示|备注|注|说明|note|nb|ps|warning|tip|https?)")
_PARTICLE = re.compile(r"of|the|and|de|la|le|van|von|der|den|du|da|di|y|al|bin")
_SENTENCE = re.compile(r"[，。！？…—,.!?“”\"《》<>=|\\@#~]")
_SHORT_FORM = re.compile(r"\b[A-Z][A-Za-z]{0,3}\.")  # Mr. Dr. J.
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_SPEAKER = r"(?P<name>[^：:；;（(）)\[\]]{1,24}+)(?P<action>(?:[（(\[][^（）()\[\]]*+[）)\]]\s*+)*+)"
_SPOKEN = re.compile(_SPEAKER + r"(?P<mark>[：:；])(?P<text>.*)")
_CUE = re.compile(_SPEAKER)
_BRACKETS = " （）()[]【】。."
_CLOSED = re.compile(r"[（()）\[\]]")
_FINAL = "。！？…!?.”’）)」』"
_DIRECTION = re.compile(r"(?:（[^（）]*+）|\([^()]*+\)|\[[^\[\]]*+\]|【[^【】]*+】|\s)++[。.]?")
_RULE = re.compile(r"(?:[*\-#=_~＊—–•·◇◆☆★]\s*+){3,}+|#{1,6}\s.*")
_HEADING = re.compile(
    r"第\s?[0-9０-９零〇一二两三四五六七八九十百千]{1,8}\s?[集幕场回章节话折季](?:[\s：:（(·、.—-].{0,60})?"
    r"|(?:序幕|楔子|尾声|终章)(?:[\s：:].{0,60})?"
    r"|(?:场景|场次|时间|地点|人物|登场人物|出场人物)\s?\w{0,3}\s?[：:].{0,200}"
    r"|(?i:(?:scene|act|chapter|episode|part)\s+(?:\d{1,4}(?:[\s.:,;—–-].{0,80})?|"
    r"(?:[ivxlc]{1,7}|one|two|three|four|five|six|seven|eight|nine|ten)(?:[.:,;—–-].{0,80}|\s+scene\s.{1,20})?))"
    r"|(?i:prologue|epilogue|interlude|setting|scene|location)(?:\s?[:：.].{0,200})?"
    r"|(?:INT|EXT|INT\.?/EXT|I/E)\..{1,200}|(?:FADE (?:IN|OUT)|CUT TO|DISSOLVE TO)\b.{0,40}"
)
