"""Control tokens in text: made harmless before a chat template can read them as turns of somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

BREAK = "\u200b"
"""ZERO WIDTH SPACE: splits a control token for every tokenizer and changes nothing a person sees."""

CONTROL_TOKENS: frozenset[str] = frozenset(
    {
        # ChatML: Qwen, SmolLM2, Yi, Hermes
        *("<|im_start|>", "<|im_end|>", "<|im_sep|>", "<|endoftext|>", "<|endofprompt|>"),
        # Llama 2, Mistral
        *("<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
        # Llama 3, Llama 4
        *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        *("<|eom_id|>", "<|python_tag|>", "<|header_start|>", "<|header_end|>", "<|eot|>", "<|eom|>"),
        # Gemma
        *("<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        # Phi, GLM, Zephyr, Granite, EXAONE
        *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|observation|>", "[gMASK]", "<sop>", "<eop>"),
        *("<|start_of_role|>", "<|end_of_role|>", "[|system|]", "[|user|]", "[|assistant|]", "[|endofturn|]"),
        # gpt-oss
        *("<|start|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>"),
        # DeepSeek
        *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        # Baichuan, InternLM, Command R
        *("<reserved_106>", "<reserved_107>", "<|action_start|>", "<|action_end|>", "<eoh>", "<eoa>"),
        *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|USER_TOKEN|>"),
        *("<|CHATBOT_TOKEN|>", "<BOS_TOKEN>", "<EOS_TOKEN>"),
        # MiniCPM
        *("<用户>", "<AI>"),
        # Vicuna, Alpaca and their kin, which mark turns with words
        *("USER:", "ASSISTANT:", "SYSTEM:", "### Instruction:", "### Input:", "### Response:"),
        *("### Human:", "### Assistant:", "### User:", "### System:"),
    }
)
"""What delimits turns and texts in the popular chat templates, as their published tokenizer files spell it."""
_BRACKETED = r"<[|｜][\w▁.-]{1,40}[|｜]>"
"""How nearly every family spells such tokens, those that are not listed here included."""


def neutralise(text: str, specials: Iterable[str] = CONTROL_TOKENS) -> str:
    """`text` in which neither a string of `specials` nor `<|…|>` occurs: each is broken by `BREAK` after a character.

    Overlapping occurrences are all broken, and a second pass changes nothing. Strings of one character cannot be broken
    and are left alone. Lone surrogates, which neither a tokenizer nor UTF-8 takes, become "?".
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    pattern = _pattern(frozenset(specials))
    return pattern.sub(rf"\1{BREAK}", text) if pattern else text


@lru_cache(maxsize=32)
def _pattern(specials: frozenset[str]) -> re.Pattern[str] | None:
    """The character at which a special string begins; None when there is none to look for."""
    breakable = [re.escape(special) for special in sorted(specials) if len(special) > 1]
    if not breakable:
        return None
    # A look-ahead matches at every position, so two specials that overlap are both found.
    return re.compile(rf"(?=(?:{'|'.join((*breakable, _BRACKETED))}))(.)", re.DOTALL)
