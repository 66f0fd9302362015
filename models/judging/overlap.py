"""How near a reply comes to reference replies, word by word; Chinese character by character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from models.scene import Language

_CHINESE = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_TOKEN = re.compile(rf"[{_CHINESE}]|(?:(?![{_CHINESE}])[^\W_])+")


class Bleu(NamedTuple):
    """A corpus' BLEU, 0 to 100, and the signature that says how sacreBLEU made it."""

    score: float
    signature: str


def tokens(text: str) -> list[str]:
    """Words in lower case without punctuation; every Chinese character is one, as sacreBLEU's `zh` has it.

    English words are those of rouge-score without stemming, except that accented letters count as letters.
    """
    return _TOKEN.findall(text.casefold())


def rouge_l(reply: str, references: Sequence[str]) -> float:
    """ROUGE-L's F1 against the best of `references`, 0 to 1 (Lin 2004), by rouge-score over `tokens`.

    Raises ValueError without a reference.
    """
    if not references:
        raise ValueError("ROUGE-L needs at least one reference.")
    return float(_scorer().score_multi(references, reply)["rougeL"].fmeasure)


def corpus_bleu(replies: Sequence[str], references: Sequence[str], language: Language) -> Bleu:
    """BLEU-4 of a whole set, one reference each (Papineni 2002), by sacreBLEU: `zh` for Chinese, else `13a`.

    Raises ValueError where the numbers of replies and references differ, or there are none.
    """
    if not replies or len(replies) != len(references):
        raise ValueError(f"BLEU needs a reference for each reply: {len(replies)} and {len(references)}.")
    bleu = _bleu(language, effective=False)
    score = bleu.corpus_score(replies, [references]).score
    return Bleu(float(score), str(bleu.get_signature()))


def sentence_bleu(reply: str, reference: str, language: Language) -> float:
    """BLEU-4 of one reply, 0 to 100, with sacreBLEU's effective order and exponential smoothing."""
    return float(_bleu(language, effective=True).sentence_score(reply, [reference]).score)


def distinct(replies: Sequence[str], n: int) -> float:
    """Distinct-n: different n-grams of `tokens` over all of them, in the whole set (Li et al. 2016).

    0 where there are none. Sets of different sizes can't be compared: longer ones repeat more.
    """
    grams = [gram for reply in replies for gram in ngrams(tokens(reply), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of `n` words."""
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]


class _Tokens:
    """`tokens` as rouge-score wants it."""

    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Tokens())


@cache
def _bleu(language: Language, *, effective: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="zh" if language == "zh" else "13a", effective_order=effective)
