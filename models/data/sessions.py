"""A user's export becomes examples: replies under the prompts they were given, and pairs of what was preferred.

A turn's trace holds its scene, as it was rendered; so a row is trained on as it was served. Without one (traces are
taken away after some days) the scene is the talk alone, with the persona that is given.

A reply that was regenerated, or edited by hand, has siblings. The one on the current branch is chosen, the others are
rejected: what was said before is the same, because it is the talk above both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.data.rows import Row, read_rows
from models.data.talk import language_of
from models.example import BadRow, Example
from models.scene import Message, Role, Scene

ROLES: Mapping[Any, Role] = {"user": "user", "assistant": "assistant", "system": "system"}


@dataclass(slots=True)
class Conversation:
    """A session of an export: its messages by id, in their order, and the scenes of its turns."""

    row: Row
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    scenes: dict[str, Scene] = field(default_factory=dict)

    def above(self, name: str | None) -> list[dict[str, Any]]:
        """A message and those above it, from the first on."""
        path: list[dict[str, Any]] = []
        while name is not None and name in self.messages and len(path) <= len(self.messages):
            path.append(self.messages[name])
            name = self.messages[name].get("parent_id")
        return path[::-1]


def read_export(path: Path) -> list[Conversation]:
    """The conversations of a file that `moodline users export` wrote. Raises BadRow where it is damaged or cut off."""
    found: dict[str, Conversation] = {}
    whole, line = False, 1
    for row in read_rows(path):
        kind, line = row.fields.get("kind"), row.line
        whole = kind == "end"
        if kind == "session":
            found[row.text("id")] = Conversation(row)
        elif kind in ("message", "trace"):
            session = found.get(row.text("session_id"))
            if session is None:
                raise row.fault("its session does not stand before it.")
            if kind == "message":
                session.messages[row.text("id")] = _message(row)
            elif scene := _scene(row):
                session.scenes[row.text("id")] = scene
    if not whole:
        raise BadRow(path, line, "the export has no end; it is cut off, or none of `moodline users export`.")
    return list(found.values())


def replies(path: Path, persona: Callable[[str], str], role: str = "") -> Iterator[Example]:
    """A row for each finished reply on a current branch. `role` is a character's slug. Raises BadRow, ValueError."""
    for session in _of(path, role):
        for message in session.messages.values():
            stands = message["role"] == "assistant" and message.get("active") and _said(message)
            if stands and (example := _example(path, session, message, persona)):
                yield example


def preferred(path: Path, persona: Callable[[str], str], role: str = "") -> Iterator[Example]:
    """A pair for each reply beside the one on the current branch. Raises BadRow, ValueError."""
    for session in _of(path, role):
        siblings: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for message in session.messages.values():
            if message["role"] == "assistant" and message.get("parent_id"):
                siblings[message["parent_id"]].append(message)
        for tries in siblings.values():
            chosen = next((one for one in tries if one.get("active") and _said(one)), None)
            example = _example(path, session, chosen, persona) if chosen else None
            if chosen is None or example is None:
                continue
            known = {chosen["text"]}
            for other in tries:
                alike = other["outcome"] == "finished" and other.get("speaker_id") == chosen.get("speaker_id")
                if alike and other["text"].strip() and other["text"] not in known:
                    known.add(other["text"])
                    yield replace(example, rejected=other["text"], id=f"{example.id}-{other['id']}")


def _of(path: Path, role: str) -> list[Conversation]:
    sessions = read_export(path)
    slugs = sorted({str(session.row.fields.get("character")) for session in sessions})
    if role and role not in slugs:
        raise ValueError(f"{path} has no talk with {role!r}; it has talks with {', '.join(slugs) or 'nobody'}.")
    return [session for session in sessions if role in ("", session.row.fields.get("character"))]


def _said(message: dict[str, Any]) -> bool:
    """Whether a message stands: it was finished, nobody deleted it, and it says something."""
    return message["outcome"] == "finished" and not message.get("deleted_at") and bool(message["text"].strip())


def _example(
    path: Path, session: Conversation, message: dict[str, Any], persona: Callable[[str], str]
) -> Example | None:
    """The row of a reply; None where no user's message stands before it, as with a greeting."""
    above = session.above(message.get("parent_id"))
    slug = str(session.row.fields.get("character") or "")
    scene = _served(session, message)
    if scene is None:
        # In a group the talk alone does not say which of its replies are the speaker's own.
        if not above or above[-1]["role"] != "user" or message.get("speaker_id"):
            return None
        history = tuple(Message(ROLES[one["role"]], one["text"]) for one in above)
        language = language_of([message["text"], *(said.content for said in history)])
        scene = Scene(slug, language, persona(slug), history=history)
    first = above[0].get("origin_id") or above[0]["id"] if above else message["id"]
    return Example(scene, message["text"], learn="reply", id=message["id"], group=first, source=path.name)


def _served(session: Conversation, message: dict[str, Any]) -> Scene | None:
    """The scene of the turn that said this, or of a sibling's, since an edited reply answers the same."""
    above = session.messages.get(message.get("parent_id") or "")
    if above is None:
        return None
    place = message["parent_id"], message.get("speaker_id")
    beside = [one for one in session.messages.values() if (one.get("parent_id"), one.get("speaker_id")) == place]
    for one in (message, *beside):
        scene = session.scenes.get(one.get("turn_id") or "")
        # A copy below an edited message names a turn that answered other words. In a group names stand before them.
        same = scene and scene.history and scene.history[-1].role == "user"
        if scene and same and (message.get("speaker_id") or scene.history[-1].content == above["text"]):
            return replace(scene, begun="")
    return None


def _message(row: Row) -> dict[str, Any]:
    if row.fields.get("role") not in ROLES:
        raise row.fault(f"role is {row.fields.get('role')!r}; expected one of {', '.join(ROLES)}.")
    row.text("text", empty=True)
    return {"outcome": "finished"} | row.fields


def _scene(row: Row) -> Scene | None:
    document = row.fields.get("document")
    found = document.get("scene") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        return None
    try:
        return Scene.from_dict(found)
    except (TypeError, KeyError) as error:
        raise row.fault(f"its scene is of another version ({error}).") from None
