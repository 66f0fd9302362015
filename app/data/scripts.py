"""`moodline data pairs`: a role's lines out of a script."""

from __future__ import annotations

from pathlib import Path

from app.cli.console import out
from app.data.files import save, told, vacant, written
from app.data.persona import persona_of
from models.data.pairs import Cut, pairs, unanswered
from models.data.script import read_script


def cut(file: Path, target: Path, role: str, how: Cut, persona: str, force: bool) -> None:
    """Write a role's replies with what was said before them, and tell what a script has."""
    vacant(target, force)
    with told():
        script = read_script(file)
        count = save(pairs(script, role, how, persona_of(persona, role)), target)
    written(target, count)
    lines = script.speakers()
    out.print(
        f"{script.name}: {len(script.scenes):,} scenes, {sum(lines.values()):,} lines, {lines[role]:,} by {role}; "
        f"{unanswered(script, role):,} scenes begin with {role}, whose first words there answer nothing.",
        highlight=False,
        markup=False,
    )
