"""A checkpoint's own chat template: messages become the token ids it was trained to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.engine import EngineRefused, EngineUnavailable, continues, said
from models.neutralise import CONTROL_TOKENS, neutralise
from models.scene import Message

OPENING = "…"
"""What the user is taken to have said where a template wants the user to speak first and the character greets."""

END = "\ue000 end of what was said \ue000"
"""Marks where the text of a message to be continued ends in a rendered prompt; private-use characters."""

NOTE = ("[Note to you, not said by the user]", "[End of the note]")
NOTE_ZH = ("【给你的提示，不是用户说的话】", "【提示结束】")


def fold(messages: Sequence[Message], *, keep_first_system: bool) -> list[Message]:
    """`messages` for a template that wants user and assistant to take turns, starting with the user.

    System text after the first message (with `keep_first_system=False`: any system text) becomes part of the user's
    turn where it stands, fenced by `NOTE` so that it isn't taken for the user's words. Neighbours of one role are
    joined by a blank line; `OPENING` goes before an assistant who speaks first.
    """
    folded: list[Message] = []
    for place, message in enumerate(messages):
        if message.role == "system" and not (keep_first_system and place == 0):
            message = Message("user", _note(message.content))  # noqa: PLW2901
        if folded and folded[-1].role == message.role:
            folded[-1] = Message(message.role, f"{folded[-1].content}\n\n{message.content}")
            continue
        if message.role == "assistant" and (not folded or folded[-1].role == "system"):
            folded.append(Message("user", OPENING))
        folded.append(message)
    return folded


def _note(text: str) -> str:
    chinese = any("\u4e00" <= character <= "\u9fff" for character in text)
    before, after = NOTE_ZH if chinese else NOTE
    return f"{before}\n{text}\n{after}"


class ChatTemplate:
    """Applies the template of `tokenizer`, a fast transformers tokenizer.

    At construction it tries a conversation with a greeting and a late system message. A template that refuses it, drops
    a message or reorders them gets `fold`ed messages from then on. Raises `EngineUnavailable` when there is no template
    or when even a folded conversation is refused.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise EngineUnavailable(
                "The checkpoint has no chat template, so it can't take turns. Use an instruction-tuned ('-Instruct', "
                "'-Chat') checkpoint, or put its chat_template.jinja beside its tokenizer."
            )
        self._tokenizer = tokenizer
        self._specials = CONTROL_TOKENS | {str(token) for token in tokenizer.added_tokens_decoder.values()}
        self._fold: bool | None = None
        self._keep_first_system = True
        self._settle()

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, ending where the assistant begins, or, where the last message is the assistant's, with
        that message's text as it is and nothing after it. Control tokens inside messages are neutralised.

        Raises `EngineRefused` when there are no messages or the template will not take them.
        """
        continued = continues(messages)
        messages = said(messages)
        if not messages:
            raise EngineRefused("There are no messages to answer.")
        if self._fold:
            messages = fold(messages, keep_first_system=self._keep_first_system)
        turns = [{"role": message.role, "content": neutralise(message.content, self._specials)} for message in messages]
        if continued:
            turns[-1]["content"] += END
        try:
            text = str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=not continued, tokenize=False))
        except Exception as error:  # a template is a program of the checkpoint's and may raise anything
            raise EngineRefused(f"The checkpoint's chat template refused the messages: {error}") from error
        if not continued:
            return text
        # transformers' own `continue_final_message` strips white space at the end where a template trims messages.
        text, mark, _ = text.rpartition(END)
        if not mark:
            raise EngineRefused("The checkpoint's chat template drops an assistant's last message, so it can't go on.")
        return text

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt as token ids; raises as `text` does."""
        return list(self._tokenizer(self.text(messages), add_special_tokens=False).input_ids)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as it would stand inside a message, without the template's own."""
        plain = [neutralise(text, self._specials) for text in texts]
        return [len(ids) for ids in self._tokenizer(plain, add_special_tokens=False).input_ids]

    def _settle(self) -> None:
        """Find the lightest fold with which the template renders every message of a probe in its place."""
        roles = ("system", "assistant", "user", "assistant", "system", "user")
        probe = [Message(role, f"probe{place}") for place, role in enumerate(roles)]  # type: ignore[arg-type]
        for self._fold, self._keep_first_system in ((False, True), (True, True), (True, False)):
            try:
                text = self.text(probe)
            except EngineRefused as error:
                refusal = str(error)
                continue
            places = [text.find(message.content) for message in probe]
            if -1 not in places and places == sorted(places):
                return
            refusal = "The checkpoint's chat template drops or reorders messages."
        raise EngineUnavailable(f"{refusal} Folding system messages into the user's did not help either.")
