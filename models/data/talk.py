"""A foreign row as a value: what every format can say, and the example it becomes.

A row's own system prompt becomes the scene's `rules`, which are said instead of the frame's first words, so that a
model is trained under the words that the data set was made with. A scene that has more than those is rendered by
`models.prompt.render` when it is exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from models.example import Example, Learn
from models.fold import fold
from models.prompt import render
from models.scene import Language, Message, Scene
from models.tools import OFFERED, RESULT, RESULT_ZH

UNBOUNDED = 10**9
"""A prompt budget that cuts nothing."""
_OFFER, _OFFERED = OFFERED.format(functions="\0").split("\0")
_RESULTS = tuple(
    re.compile(re.escape(form).replace(r"\{name\}", "(?P<name>.+)").replace(r"\{text\}", "(?P<text>(?s:.*))"))
    for form in (RESULT, RESULT_ZH)
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation that ends with the user's message, and the reply to it.

    `reply` is empty where only a `rejected` one is known, as in KTO's rows of what is unwanted. Calls of functions and
    their results are told in words, as `models.tools.in_words` has them. `tools` is a JSON list of functions, or empty.
    """

    history: tuple[Message, ...]
    reply: str
    rejected: str = ""
    system: str = ""
    tools: str = ""
    learn: Learn = "talk"

    def to_example(self, character: str = "", persona: str = "", **own: str) -> Example:
        """The example of a talk; `own` are `id`, `group` and `source`. Without a `character` an assistant speaks."""
        language = language_of([*(said.content for said in self.history), self.reply, self.rejected])
        name = character or {"zh": "助手", "en": "Assistant"}[language]
        scene = Scene(name, language, persona, rules=self.rules, history=self.history)
        return Example(scene, self.reply, self.rejected, self.learn, **own)

    @property
    def rules(self) -> str:
        """The system prompt and the functions, told as the server tells them where a template has no place for them."""
        return "\n\n".join(part for part in (self.system, _offer(self.tools)) if part)

    def by_turns(self) -> Talk:
        """The same for formats in which user and assistant take turns and the user begins; see `models.fold`."""
        roles = [said.role for said in self.history]
        if all(role == ("user", "assistant")[place % 2] for place, role in enumerate(roles)):
            return self
        head = [Message("system", self.system)] if self.system else []
        told = fold([*head, *self.history], "first")
        return replace(self, history=tuple(told[len(head) :]))


def talk_of(example: Example) -> Talk:
    """What a foreign format can say of an example: its own system prompt, or the rendered one."""
    scene = example.scene
    bare = replace(scene, character="", language="en", rules="", history=()) == Scene("", "en", "")
    if bare:
        system, tools = _split(scene.rules)
        return Talk(scene.history, example.reply, example.rejected, system, tools, example.learn)
    spoken = replace(scene, begun="")
    prompt = render(spoken, layout="classic", budget=UNBOUNDED, window=len(scene.history), count=len)
    told = prompt.messages
    leading = next(place for place, message in enumerate(told) if message.role != "system")
    system = "\n\n".join(message.content for message in told[:leading])
    reply, rejected = (scene.begun + text if text else "" for text in (example.reply, example.rejected))
    return Talk(told[leading:], reply, rejected, system, "", example.learn)


def language_of(texts: Sequence[str]) -> Language:
    """Chinese where there are at least as many Chinese characters as half the words in Latin letters."""
    whole = "\n".join(texts)
    return "zh" if 2 * len(_HAN.findall(whole)) > len(_WORD.findall(whole)) else "en"


def calls_of(text: str) -> list[dict[str, Any]]:
    """The calls of functions that a message consists of: `{"name", "arguments"}` objects; none where it is words."""
    if not text.lstrip().startswith(("{", "[")):
        return []
    for candidate in (text, "[" + ",".join(text.split("\n")) + "]"):
        try:
            found = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        found = found if isinstance(found, list) else [found]
        if found and all(isinstance(call, dict) and set(call) == {"name", "arguments"} for call in found):
            return found
    return []


def result(text: str, before: Message | None) -> Message:
    """What a function answered, in words; `before` is the message that called it."""
    form = RESULT_ZH if _HAN.search(text) else RESULT
    return Message("user", form.format(name=_called(before), text=text))


def result_of(message: Message, before: Message | None) -> str | None:
    """The text of a function's answer if this is one to the call `before`, else None."""
    if before is None or not calls_of(before.content):
        return None
    for form in _RESULTS:
        found = form.fullmatch(message.content)
        if found and found["name"] == _called(before) and result(found["text"], before) == message:
            return found["text"]
    return None


def tools_of(value: Any) -> str:
    """A list of functions, or the JSON text of one, in the form that `Talk.tools` has. Raises ValueError."""
    try:
        listed = json.loads(value) if isinstance(value, str) and value.strip() else value or []
    except RecursionError:
        raise ValueError("the list is nested too deeply.") from None
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        raise ValueError("tools must be a list of functions.")
    plain = [tool["function"] if tool.get("type") == "function" and "function" in tool else tool for tool in listed]
    return json.dumps(plain, ensure_ascii=False) if plain else ""


def _called(before: Message | None) -> str:
    calls = calls_of(before.content) if before else []
    names = [call["name"] for call in calls if isinstance(call["name"], str) and call["name"].strip()]
    return " ".join(names[0].split()) if names else "function"


def _offer(tools: str) -> str:
    if not tools:
        return ""
    return OFFERED.format(functions="\n".join(json.dumps(tool, ensure_ascii=False) for tool in json.loads(tools)))


def _split(rules: str) -> tuple[str, str]:
    """The system prompt and the tools that `rules` were made of."""
    system, offer, rest = rules.rpartition(_OFFER)
    if not offer or not rest.endswith(_OFFERED) or (system and not system.endswith("\n\n")):
        return rules, ""
    try:
        tools = tools_of("[" + ",".join(rest.removesuffix(_OFFERED).split("\n")) + "]")
    except ValueError:
        return rules, ""
    found = system.removesuffix("\n\n"), tools
    return found if "\n\n".join(part for part in (found[0], _offer(tools)) if part) == rules else (rules, "")
