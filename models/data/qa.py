"""Questions to a role with answers in its voice: Character100 (2403.12368) and RoleBench (2310.00746)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from models.data.rows import read_rows, read_text
from models.data.talk import language_of
from models.example import BadRow, Example
from models.scene import Lore, Message, Scene


def character100(path: Path, role: str = "") -> Iterator[Example]:
    """Rows of a `context⇥question⇥answer` file: the paragraph is lore that fired. The file is called as the role is.

    Questions on one paragraph are a group. Raises BadRow.
    """
    name = role or path.stem.replace("_", " ")
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        cells = [cell.strip() for cell in text.split("\t")]
        if len(cells) != 3 or not all(cells):
            raise BadRow(
                path, line, f"expected context, question and answer with tabs between; found {len(cells)} cells."
            )
        context, question, answer = cells
        scene = Scene(name, language_of([answer]), "", lore=(Lore(context),), history=(Message("user", question),))
        group = hashlib.sha256(context.encode()).hexdigest()[:16]
        yield Example(scene, answer, id=f"{path.stem}-{line}", group=group, source=path.name)


def rolebench(path: Path, persona: Callable[[str], str], role: str = "") -> Iterator[Example]:
    """RoCIT rows of {role, question, generated}: description and catchphrases in the prompt, nothing retrieved.

    `persona` tells who a role is. Only rows of `role` where one is named. Raises BadRow, and ValueError where the role
    is in no row.
    """
    roles: set[str] = set()
    for number, row in enumerate(read_rows(path), 1):
        name, question = row.text("role").strip(), row.text("question").strip()
        answers = row.fields.get("generated")
        first = answers[0] if isinstance(answers, list) and answers else answers
        answer = row.checked(first, "generated").strip()
        roles.add(name)
        if role in ("", name):
            scene = Scene(name, language_of([question, answer]), persona(name), history=(Message("user", question),))
            group = hashlib.sha256(f"{name}\n{question}".encode()).hexdigest()[:16]
            yield Example(scene, answer, id=f"{path.stem}-{number}", group=group, source=path.name)
    if role and role not in roles:
        raise ValueError(f"{path} has no row of {role!r}; it has {', '.join(sorted(roles)[:20])}.")
