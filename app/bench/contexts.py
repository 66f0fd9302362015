"""CharacterEval's contexts as a test of next-line recall.

A context that another one of the same role continues has a gold reply: the next line of the longer one, where the role
speaks it. Contexts of which one begins like the other are of one family, through others too: one scene, cut at several
places. What is recalled for a context comes from the role's other families.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from retrieval.leak import leaks, shows
from retrieval.units import Turn, Unit, units

Lines = tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A context of `role`, and what the role says next."""

    role: str
    family: int
    context: tuple[Turn, ...]
    gold: str


@dataclass(frozen=True)
class Corpus:
    """The pairs, and what units are cut from: scenes by role and family, and sayings by role."""

    pairs: tuple[Pair, ...]
    scenes: Mapping[str, Mapping[int, tuple[tuple[Turn, ...], ...]]]
    sayings: Mapping[str, tuple[str, ...]]

    def bank(self, role: str, without: int) -> tuple[tuple[Unit, ...], int]:
        """The role's distinct units of all families but one, and how many were left out as they tell that one's scene.

        Sayings are units of one turn. Units are left out where a scene is in the data twice, cut differently.
        """
        families = self.scenes[role]
        other = [scene for family, cut in families.items() if family != without for scene in cut]
        found = units([*other, *((Turn(role, said),) for said in self.sayings.get(role, ()))], role)
        # What is part of a scene is part of its longest cut; what contains a cut with its reply contains the shortest.
        longest = [one for one in families[without] if not any(_continues(other, one) for other in families[without])]
        shortest = min(map(len, families[without])) + 1
        told = [*longest, *(scene[:shortest] for scene in longest)]
        kept = tuple(piece for piece in found if not any(tells(piece, scene) for scene in told))
        return kept, len(found) - len(kept)


def tells(piece: Unit, scene: Sequence[Turn]) -> bool:
    """Whether a unit is of this scene: one is part of the other, or what the unit answers is answered alike in it."""
    said = [turn.text for turn in scene]
    exchange = [turn.text for turn in (*piece.context[-1:], *piece.answer)]
    return leaks([turn.text for turn in piece.dialogue], said) or shows(said, exchange)


def read_contexts(file: Path, profiles: Path | None = None) -> Corpus:
    """The corpus of a file in CharacterEval's form: a JSON array (or a row a line) of {role, context}.

    `profiles` is a JSON object of persona cards by role; a card's `经典台词` and `口头禅` are sayings. Raises
    typer.BadParameter with what to do when a file is missing or of another form, or holds no pair.
    """
    by_role: dict[str, dict[Lines, None]] = defaultdict(dict)
    for number, row in enumerate(read_rows(file, "--data"), 1):
        role, context = (row.get("role"), row.get("context")) if isinstance(row, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(context, str):
            raise typer.BadParameter(
                f"{file}: row {number} has no `role` and `context`, both strings; expected CharacterEval's test data.",
                param_hint="--data",
            )
        by_role[role][tuple(line for line in context.split("\n") if line.strip())] = None
    pairs: list[Pair] = []
    scenes = {}
    for role, contexts in by_role.items():
        families = _families(list(contexts))
        scenes[role] = _scenes(families)
        pairs += _pairs(role, families)
    if not pairs:
        raise typer.BadParameter(
            f"{file}: no context continues another one, so there is no gold reply to recall; give the whole file.",
            param_hint="--data",
        )
    return Corpus(tuple(pairs), scenes, _sayings(profiles) if profiles else {})


def _sayings(file: Path) -> dict[str, tuple[str, ...]]:
    (cards,) = rows if len(rows := read_rows(file, "--profiles")) == 1 else (None,)
    if not isinstance(cards, dict) or not all(isinstance(card, dict) for card in cards.values()):
        raise typer.BadParameter(f"{file}: expected one JSON object of persona cards by role.", param_hint="--profiles")
    sayings = {}
    for role, card in cards.items():
        told = [text for name in _SAYINGS for text in _texts(card.get(name))]
        sayings[role] = tuple(dict.fromkeys(text.strip() for text in told if text.strip()))
    return sayings


def _texts(value: Any) -> list[str]:
    return [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]


def read_rows(file: Path, option: str) -> list[Any]:
    """The rows of a JSON array, or of a file with one JSON value a line; another JSON value is one row."""
    try:
        text = file.read_text(encoding="utf-8-sig").strip()
        try:
            whole = json.loads(text)
        except ValueError:
            whole = [json.loads(row) for row in text.splitlines() if row.strip()]
    except OSError as error:
        raise typer.BadParameter(f"{file} can't be read: {error.strerror}.", param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(f"{file} is not JSON in UTF-8: {error}.", param_hint=option) from None
    return whole if isinstance(whole, list) else [whole]


def _continues(longer: Sequence[Turn], context: Sequence[Turn]) -> bool:
    return len(longer) > len(context) and tuple(longer[: len(context)]) == tuple(context)


def _families(contexts: Sequence[Lines]) -> dict[Lines, int]:
    """The family of each context. Sorted, all contexts of a family follow the one that they all begin with."""
    families: dict[Lines, int] = {}
    family, stem = 0, None
    for context in sorted(contexts):
        if stem is None or context[: len(stem)] != stem:
            family, stem = family + 1, context
        families[context] = family
    return families


def _scenes(families: Mapping[Lines, int]) -> dict[int, tuple[tuple[Turn, ...], ...]]:
    scenes: dict[int, list[tuple[Turn, ...]]] = defaultdict(list)
    for context, family in families.items():
        scenes[family].append(turns_of(context))
    return {family: tuple(cut) for family, cut in scenes.items()}


def _pairs(role: str, families: Mapping[Lines, int]) -> list[Pair]:
    """Each context once per different reply that longer ones give."""
    found: dict[tuple[Lines, str], None] = {}
    for longer in families:
        for length in range(1, len(longer)):
            if longer[:length] in families:
                found[longer[:length], longer[length]] = None
    pairs = []
    for context, line in found:
        said = turns_of((line,))[0]
        if said.speaker == role and said.text.strip():
            pairs.append(Pair(role, families[context], turns_of(context), said.text))
    return pairs


def turns_of(lines: Lines) -> tuple[Turn, ...]:
    """`speaker：text` lines; a line without a speaker continues the turn before it."""
    turns: list[Turn] = []
    for line in lines:
        if spoken := _SPOKEN.fullmatch(line):
            turns.append(Turn(spoken["speaker"].strip() or "?", spoken["text"].strip()))
        elif turns:
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text}\n{line.strip()}")
        else:
            turns.append(Turn("?", line.strip()))
    return tuple(turns)


_SAYINGS = ("经典台词", "口头禅")
_SPOKEN = re.compile(r"(?P<speaker>[^：:]{1,40})[：:](?P<text>.*)")
