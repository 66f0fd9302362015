"""CharacterGLM's cards (2311.16832), each told in several ways, with the greeting as the reply.

The paper has its cards rewritten into prose, several times each, so that a model learns persons and not a form. Here
sentences are sorted by the paper's seven classes of attributes and its behaviours, and told in four orders and forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.data.rows import Row, read_rows
from models.data.talk import language_of
from models.example import Example
from models.scene import Language, Message, Scene

CLASSES: Mapping[str, tuple[str, str, str]] = {
    # what it is called in Chinese and English, and which words tell it
    "social": (
        "社会关系",
        "Relations",
        r"朋友|父|母|哥|姐|妹|弟|师|妻|丈夫|家族|friend|father|mother|brother|sister|wife|husband",
    ),
    "interests": ("兴趣", "Interests", r"喜欢|爱好|兴趣|热爱|likes?\b|loves?\b|hobb|enjoy"),
    "viewpoints": ("观点", "Views", r"认为|相信|觉得|主张|believe|think|opinion"),
    "achievements": ("成就", "Achievements", r"擅长|高手|成就|获|武功|本领|第一|skilled|master|won\b|famous"),
    "experiences": ("经历", "Experiences", r"曾|经历|后来|当年|被|once\b|after\b|grew|born"),
    "behaviour": (
        "言行",
        "Behaviour",
        r"说话|语气|性格|平时|总是|寡言|口头|脾气|speaks?\b|manner|temper|always|usually",
    ),
    "identity": ("身份", "Identity", r"岁|性别|身高|身份|职业|出身|year|age\b|is an?\b"),
}
OTHER = ("其他", "Other")
OPENINGS: Mapping[Language, tuple[str, ...]] = {
    "zh": ("你好。", "在吗？", "（走过来）你好啊。", "终于见到你了。"),
    "en": ("Hello.", "Are you there?", "(comes closer) Hello there.", "So this is you."),
}


def cards(path: Path) -> Iterator[Example]:
    """Rows of a JSON of {name: {bot_info, user_info, bot_name, user_name, greeting}}: four of each card that greets.

    Cards without one are passed over. A card is a group. Raises BadRow.
    """
    row = next(read_rows(path), Row(path, 1, {}))
    for key, found in row.fields.items():
        if not isinstance(found, dict):
            raise row.fault(f"{key} must be a card with a bot_info.")
        card = Row(path, row.line, found)
        name, info = card.text("bot_name", empty=True) or key, card.text("bot_info")
        greeting, about = card.text("greeting", empty=True), card.text("user_info", empty=True)
        language = language_of([info])
        user = card.text("user_name", empty=True)
        if not greeting.strip():
            continue
        for number, (persona, opening) in enumerate(zip(paraphrases(name, info), OPENINGS[language], strict=True)):
            history = (Message("user", opening),)
            who = "" if user in ("用户", "user") else user
            scene = Scene(name, language, persona, user=who, user_persona=about, history=history)
            yield Example(scene, greeting.strip(), id=f"{path.stem}-{key}-{number}", group=name, source=path.name)


def paraphrases(name: str, info: str) -> list[str]:
    """A card as it stands, as a list by classes, as prose in another order, as what the character knows of itself."""
    language = language_of([info])
    chinese = language == "zh"
    classes = sort(info)
    titles = {key: words[0 if chinese else 1] for key, words in CLASSES.items()} | {"other": OTHER[0 if chinese else 1]}
    colon, gap = ("：", "") if chinese else (": ", " ")
    listed = "\n".join(f"{titles[key]}{colon}{gap.join(said)}" for key, said in classes.items())
    turned = gap.join(sentence for said in reversed(list(classes.values())) for sentence in said)
    named = f"下面说的是{name}。{turned}" if chinese else f"What follows is about {name}. {turned}"
    known = f"{name}知道自己是怎样的人：\n{listed}" if chinese else f"{name} knows who {name} is:\n{listed}"
    return [info.strip(), listed, named, known]


def sort(info: str) -> dict[str, list[str]]:
    """The sentences of a card by the class that the first word of theirs tells, in the order of the classes."""
    found: dict[str, list[str]] = {}
    for sentence in _sentences(info):
        key = next((name for name, words in CLASSES.items() if re.search(words[2], sentence, re.IGNORECASE)), "other")
        found.setdefault(key, []).append(sentence)
    order = ["identity", *(name for name in CLASSES if name != "identity"), "other"]
    return {key: found[key] for key in order if key in found}


def _sentences(text: str) -> Sequence[str]:
    """Its sentences, or, where a Chinese card is little more than one, the clauses between commas."""
    parts = [part.strip() for part in re.split(r"(?<=[。！？；])|(?<=[.!?;])\s+|\n", text) if part.strip()]
    clauses = [part for part in re.split(r"(?<=[，。！？；])", text) if part.strip()]
    return parts if len(parts) > 3 or len(clauses) <= len(parts) else clauses
