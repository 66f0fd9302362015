"""The commands of builders: read, build, write whole, tell how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

from app.cli.console import err, settings
from app.data.files import save, save_rows, told, vacant, written
from app.data.persona import persona_of
from models.data import characterglm as glm
from models.data import coser as cosers
from models.data import lccc as chats
from models.data import mirau as miraus
from models.data import multiturn, qa
from models.data import sessions as own
from models.data import stylechat as styles
from models.data.pairs import Cut
from models.data.script import read_script
from models.example import Example


def sessions(export: Path, target: Path, pairs: bool, role: str, persona: str, force: bool) -> None:
    """Rows of our own conversations."""
    read = own.preferred if pairs else own.replies
    _write(target, force, lambda: read(export, lambda slug: persona_of(persona, slug), role))


def turn_pairs(file: Path, target: Path, role: str, persona: str, force: bool) -> None:
    """One pair a turn."""
    _write(target, force, lambda: multiturn.turn_pairs(file, role, persona_of(persona, role)))


def index(script: Path, target: Path, role: str, turns: int, lines: int, persona: str, force: bool) -> None:
    """Pairs with recalled lines."""
    from app.data.index import rows
    from app.services import load_encoder

    vacant(target, force)
    with told():
        read = read_script(script)
        known = persona_of(persona, role)
        chosen = settings()
        with err.status("loading the encoder"):
            encoder, _ = load_encoder(chosen)
        count = save(rows(read, role, Cut(turns), known, encoder, lines or chosen.recall_lines), target)
    written(target, count)


def memory_bank(script: Path, target: Path, role: str, force: bool) -> None:
    """A memory bank with emotions."""
    from app.data.memories import memories
    from app.services import load_encoder

    vacant(target, force)
    with told():
        read = read_script(script)
        if role not in read.speakers():
            most = ", ".join(name for name, _ in read.speakers().most_common(8))
            raise ValueError(f"{role!r} says nothing in {read.name}. Speakers are {most}.")
        with err.status("loading the encoder"):
            encoder, tagger = load_encoder(settings())
        count = save_rows(memories(read, role, encoder, tagger), target)
    written(target, count, f"emotions by {tagger.id}")


def coser(script: Path, target: Path, role: str, force: bool) -> None:
    """Scenes with thoughts."""
    _write(target, force, lambda: cosers.scenes(read_script(script), role))


def mirau(script: Path, target: Path, role: str, persona: str, force: bool) -> None:
    """Stories in the first person."""
    _write(target, force, lambda: miraus.stories(read_script(script), role, persona_of(persona, role)))


def stylechat(
    files: Sequence[Path], target: Path, profiles: Path | None, tasks: Sequence[styles.Task], force: bool
) -> None:
    """Rows in styles."""

    def build() -> Iterable[Example]:
        folder = sorted(profiles.glob("*.json")) if profiles and profiles.is_dir() else [profiles] if profiles else []
        known = {profile.name: profile for profile in map(styles.read_profile, folder)}
        return styles.rows(files, known, tasks)

    _write(target, force, build)


def character100(files: Sequence[Path], target: Path, force: bool) -> None:
    """Questions on paragraphs."""
    _write(target, force, lambda: chain.from_iterable(map(qa.character100, files)))


def rolebench(file: Path, target: Path, role: str, persona: str, force: bool) -> None:
    """Questions to roles."""
    _write(target, force, lambda: qa.rolebench(file, lambda name: persona_of(persona, name), role))


def lccc(file: Path, target: Path, force: bool) -> None:
    """Chats with cards of manners."""
    _write(target, force, lambda: chats.chats(file))


def characterglm(file: Path, target: Path, force: bool) -> None:
    """Cards in several tellings."""
    _write(target, force, lambda: glm.cards(file))


def _write(target: Path, force: bool, build: Callable[[], Iterable[Example]]) -> None:
    vacant(target, force)
    with told():
        count = save(build(), target)
    written(target, count)
