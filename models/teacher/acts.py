"""CoSER (2502.09082): a chapter becomes scenes of thought, action and speech, with what moves each who is there.

`models.data.coser` makes rows of them. A speaker who is not named in the text, and a speech that does not stand in it,
are the teacher's invention.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from models.data.near import bare
from models.data.script import Line, Staged, split
from models.scene import Language, Message
from models.teacher.form import Form
from models.teacher.parts import Desk, Lost, Made, Part

ASKED: Mapping[Language, str] = {
    "zh": """下面是《{book}》中的一段。请找出其中的对话场景，按原文顺序写成剧本：台词照抄原文，
并根据原文补上说话人的内心想法和动作。
message 的格式：[内心想法] (动作) 台词。想法只写说话人自己知道的事。没有对话就给空列表。只输出JSON：
{{"scenes": [{{"scenario": "此刻的情景，不透露后面发生的事", "characters": [{{"name": "名字", "motivation":
"此刻的动机"}}],
"dialogues": [{{"character": "名字", "message": "[……] (……) ……"}}]}}]}}

{text}""",
    "en": """Below is a piece of {book}. Find the scenes in which people talk and write each as a script in the order
of the text: copy what is said word
for word, and add the speaker's inner thoughts and actions as the text has them. A message is: [inner thought]
(action) speech. Thoughts hold
only what the speaker knows. An empty list where nobody talks. Answer with JSON alone:
{{"scenes": [{{"scenario": "how things stand, without what comes later", "characters": [{{"name": "…", "motivation":
"what moves them now"}}],
"dialogues": [{{"character": "…", "message": "[…] (…) …"}}]}}]}}

{text}""",
}
TOKENS = 2000


class Person(Form):
    """Who is there."""

    name: str
    motivation: str = ""


class Uttered(Form):
    """What one says, in CoSER's form."""

    character: str
    message: str


class Played(Form):
    """A scene."""

    scenario: str
    characters: tuple[Person, ...] = ()
    dialogues: list[Uttered]


class Scenes(Form):
    """Those of a piece."""

    scenes: list[Played]


async def scenes_of(desk: Desk, book: str, language: Language, pieces: Sequence[str]) -> Made[Staged]:
    """The scenes of a chapter's pieces. A line whose speech does not stand in the text is lost, and named."""

    async def work(name: str, piece: str) -> list[Staged | Lost]:
        asked = [Message("user", ASKED[language].format(book=book, text=piece))]
        told = await desk.teacher.form(Scenes, asked, TOKENS, language=language)
        found: list[Staged | Lost] = []
        for number, played in enumerate(told.scenes):
            found += _staged(f"{name}, scene {number}", played, bare(piece))
        return found

    return await desk.through(
        "pieces", [Part[Staged](f"piece {n}", partial(work, f"piece {n}", text)) for n, text in enumerate(pieces)]
    )


def _staged(name: str, played: Played, letters: str) -> list[Staged | Lost]:
    lines: list[Line] = []
    lost: list[Staged | Lost] = []
    for said in played.dialogues:
        thought, action, text = split(said.message)
        if bare(said.character) not in letters:
            lost.append(Lost(name, "role absent from the text", said.character))
        elif text and bare(text) not in letters:
            lost.append(Lost(name, "not in the text", f"{said.character}: {text[:60]}"))
        elif text or action or thought:
            lines.append(Line(said.character, text, action, thought))
    minds = {person.name: person.motivation for person in played.characters if person.motivation}
    return [*lost, Staged(name, tuple(lines), played.scenario, minds)] if lines else lost
