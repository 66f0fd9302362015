"""The prompt of Index-1.9B-character: one text that a language model completes, without a chat template.

After bilibili/Index-1.9B (Apache-2.0), roleplay/prompt/dataset_character.txt and roleplay/src/prompt_concat.py. For
language models trained on that form; `models.prompt.render` in the layout `classic` puts the same parts, in the same
places, into chat messages.
"""

from __future__ import annotations

from models.engine import PromptTooLong
from models.prompt import SEPARATOR, Count
from models.scene import Scene

INDEX_CHARACTERS = 4_000
"""Index's own budget, in characters: `index_prompt(scene, budget=INDEX_CHARACTERS, count=len)`."""


def index_prompt(scene: Scene, *, budget: int, count: Count) -> str:
    """Index's prompt of a scene, at most `budget` by `count` if `count` of parts adds up to that of the whole.

    Rules, `scene.lines` best first, persona, the whole history, and the character's name as the beginning of its reply,
    with what of that is begun. The user is called `user` where the scene names nobody. Lines that repeat are shown
    once; one that does not fit is passed over, where Index's code stops. Style, lore, memories, mood and the other
    fields have no place in this form. Nothing is substituted into what was said or written, so `${role_name}` in a
    message stays text.

    Raises:
        PromptTooLong: it is over `budget` even without a line.
    """
    bare = _filled(scene, "")
    spent = count(bare)
    if spent > budget:
        raise PromptTooLong(
            f"Index's prompt needs {spent} of a budget of {budget} before a single line of the character is shown. "
            "Cut the history or the persona."
        )
    shown: list[str] = []
    for text in dict.fromkeys(line.strip() for line in scene.lines):
        cost = count(SEPARATOR + text if shown else text)
        if spent + cost <= budget:
            shown.append(text)
            spent += cost
    return _filled(scene, SEPARATOR.join(shown))


def _filled(scene: Scene, lines: str) -> str:
    name, user = scene.character, scene.user or "user"
    speaker = {"user": user, "assistant": name}
    talk = "\n".join(f"{speaker[said.role]}:{said.content}" for said in scene.history if said.role in speaker)
    return (
        f"请你扮演“{name}”与用户“{user}”进行对话。请注意：\n"
        f"1.请永远记住你正在扮演{name}。\n"
        f"2.下文给出了一些{name}与其他人物的对话，请参考给定对话中{name}的语言风格，用一致性的语气与{user}进行对话。\n"
        f"3.如果给出了{name}的人设，请保证{name}的对话语气符合{name}的人设。\n\n"
        f"以下是一些{name}的对话：\n{lines}\n\n"
        f"以下是{name}的人设：\n{scene.persona.strip()}\n\n"
        f"基于以上材料，请你扮演{name}与{user}对话。结果只用返回一轮{name}的回复。\n"
        f"{talk}\n{name}:{scene.begun}"
    )
