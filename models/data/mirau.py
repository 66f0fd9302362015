"""mirau's story flow: system prompt and talk read as one story that the character tells in the first person.

The system prompt is a monologue of who I am and where I am now; what the user writes in round brackets directs the
plot; the reply is what I think, which stays hidden, and then what I do and say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from models.data.coser import WHOLE_SCENE
from models.data.pairs import Cut, pairs
from models.data.script import Script, split
from models.example import Example
from models.scene import Language, Scene


@dataclass(frozen=True, slots=True)
class Monologue:
    """The parts of a monologue in one language, and what it ends with."""

    name: str
    known: str
    place: str
    mind: str
    people: str
    closing: str


MONOLOGUE: Mapping[Language, Monologue] = {
    "zh": Monologue(
        "我是{text}。",
        "人们这样说我：{text}",
        "我现在在这里：{text}",
        "{text}",
        "我知道：{text}",
        "我心里先想一想，再回应{user}。",
    ),
    "en": Monologue(
        "I am {text}.",
        "This is what is said of me: {text}",
        "This is where I am now: {text}",
        "{text}",
        "This I know: {text}",
        "I think for myself first, and then I answer {user}.",
    ),
}


def stories(script: Script, role: str, persona: str = "") -> Iterator[Example]:
    """Rows of a character's replies that have a thought before them.

    Raises ValueError as `pairs` does, and where the script tells no thoughts of the role.
    """
    found = False
    for example in pairs(script, role, Cut(WHOLE_SCENE, actions=True, thoughts=True), persona):
        thought, action, text = split(example.reply)
        if thought:
            found = True
            acted = {"zh": f"（{action}）", "en": f"({action}) "}[example.scene.language] if action else ""
            reply = f"<think>\n{thought}\n</think>\n\n{acted}{text}".strip()
            yield replace(example, scene=told(example.scene), reply=reply)
    if not found:
        raise ValueError(f"{script.name} tells nothing of what {role} thinks; a teacher can write it.")


def told(scene: Scene) -> Scene:
    """A scene whose rules are the monologue, which holds what stood in persona, scenario and the rest."""
    form = MONOLOGUE[scene.language]
    mind = scene.passing.partition("：" if scene.language == "zh" else ": ")[2]
    parts = [
        (form.name, scene.character),
        (form.known, scene.persona),
        (form.people, "；".join(lore.text for lore in scene.lore)),
        (form.place, scene.scenario),
        (form.mind, mind),
    ]
    rules = "\n".join(template.format(text=text) for template, text in parts if text)
    user = scene.user or {"zh": "对方", "en": "the other"}[scene.language]
    closing = form.closing.format(user=user)
    return replace(scene, rules=rules, persona="", scenario="", passing="", lore=(), closing=closing)
