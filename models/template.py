"""A checkpoint's own chat template: messages become the token ids it was trained to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.engine import EngineRefused, EngineUnavailable, continues, said
from models.fold import PLACES, PROBE, Place, fold, keeps_its_place
from models.neutralise import CONTROL_TOKENS, neutralise
from models.scene import Message
from models.thoughts import opened_by

END = "\ue000 end of what was said \ue000"
"""Marks where the text of a message to be continued ends in a rendered prompt; private-use characters."""


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
        self.place: Place = "anywhere"
        self._settle()

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt as text, ending where the assistant begins, or, where the last message is the assistant's, with
        that message's text as it is and nothing after it. Control tokens inside messages are neutralised.

        Raises `EngineRefused` when there are no messages or the template will not take them.
        """
        continued = continues(messages)
        text = self._rendered(said(messages), open_end=continued)
        if not continued:
            return text
        # transformers' own `continue_final_message` strips white space at the end where a template trims messages.
        text, mark, _ = text.rpartition(END)
        if not mark:
            raise EngineRefused("The checkpoint's chat template drops an assistant's last message, so it can't go on.")
        return text

    def turn(self, messages: Sequence[Message], reply: str) -> tuple[str, str]:
        """What stands after `text(messages)` once the assistant has said `reply`: its words, and the end of its turn.

        This is what a language model learns to write after that prompt. Raises as `text` does, and where the template
        puts other words before a reply than it ends a prompt with, as those do that open a thought.
        """
        prompt = self.text(messages)
        if continues(messages):
            messages, reply = messages[:-1], messages[-1].content + reply
        words, mark, tail = self._rendered([*messages, Message("assistant", reply)], open_end=True).rpartition(END)
        if not mark or not words.startswith(prompt):
            raise EngineRefused(
                "The checkpoint's chat template writes a reply otherwise than it asks for one, so it can't be trained. "
                "Where it opens a thought by itself, use a template that does not."
            )
        return words.removeprefix(prompt), tail

    def _rendered(self, messages: Sequence[Message], *, open_end: bool) -> str:
        """The template's text for `messages`; with an `open_end` the last one's is followed by `END`."""
        if not messages:
            raise EngineRefused("There are no messages to answer.")
        messages = fold(messages, self.place)
        turns = [{"role": message.role, "content": neutralise(message.content, self._specials)} for message in messages]
        if open_end:
            turns[-1]["content"] += END
        try:
            return str(self._tokenizer.apply_chat_template(turns, add_generation_prompt=not open_end, tokenize=False))
        except Exception as error:  # a template is a program of the checkpoint's and may raise anything
            raise EngineRefused(f"The checkpoint's chat template refused the messages: {error}") from error

    @property
    def opened(self) -> str:
        """The tag of a thought that the template begins every reply with; empty where it does not."""
        return opened_by(self.text([Message("user", "…")]))

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt as token ids; raises as `text` does."""
        return list(self._tokenizer(self.text(messages), add_special_tokens=False).input_ids)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as it would stand inside a message, without the template's own."""
        plain = [neutralise(text, self._specials) for text in texts]
        return [len(ids) for ids in self._tokenizer(plain, add_special_tokens=False).input_ids]

    def _settle(self) -> None:
        """Find the lightest fold with which the template renders every message of a probe in its place."""
        for self.place in PLACES:
            try:
                if keeps_its_place(self.text(PROBE)):
                    return
                refusal = "The checkpoint's chat template drops or reorders messages."
            except EngineRefused as error:
                refusal = str(error)
        raise EngineUnavailable(f"{refusal} Folding system messages into the user's did not help either.")
