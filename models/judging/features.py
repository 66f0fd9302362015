"""What makes a text sound like a person talking, counted: length, emoji, questions, contractions, hedges, fillers.

The features are those by which Human-Like-DPO's chosen and rejected answers (2501.05032) differ; rates are per word, a
Chinese character counting as one. They describe; more of one is not better by itself.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping

from models.judging.overlap import tokens
from models.scene import Language

FEATURES = (
    *("words", "sentences", "sentence_cv", "emoji", "questions", "exclamations"),
    *("contractions", "hedges", "fillers", "first_person", "lists"),
)

_SENTENCE = re.compile(r"[^.!?。！？…\n]+[.!?。！？…\n]*")
_EMOJI = re.compile("[\u2600-\u27bf\U0001f300-\U0001faff]\ufe0f?|[:;][-']?[)(DPp](?!\\w)")
_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)、]|\*\*[^*]+\*\*[:：])", re.M)
_WORDS: Mapping[Language, Mapping[str, re.Pattern[str]]] = {
    "en": {
        "contractions": re.compile(
            r"\b\w+['’](?:s|t|re|ve|ll|d|m)\b|\b(?:gonna|wanna|gotta|kinda|sorta|dunno)\b", re.I
        ),
        "hedges": re.compile(
            r"\b(?:maybe|perhaps|probably|possibly|i (?:think|guess|suppose|feel like)|(?:kind|sort) of|seems?)\b",
            re.I,
        ),
        "fillers": re.compile(
            r"\b(?:um+|uh+|er+m?|hmm+|oh|ah|well|you know|i mean|like,|so,|honestly|actually|haha\w*|lol|wow|yeah)\b",
            re.I,
        ),
        "first_person": re.compile(r"\b(?:i|i['’]\w+|me|my|mine|myself)\b", re.I),
    },
    "zh": {
        "contractions": re.compile(r"咱|啥|咋|甭|俩|仨|别介|干嘛|不造"),
        "hedges": re.compile(r"也许|大概|可能|或许|好像|似乎|应该是|我觉得|我想|我猜|差不多|恐怕"),
        "fillers": re.compile(r"嗯+|呃+|啊|哦|噢|哎|唉|呀|嘛|呢|吧|啦|哈哈+|那个，|就是说|其实|说真的"),
        "first_person": re.compile(r"我|咱|俺|本宫|朕|臣妾"),
    },
}


def features(text: str, language: Language) -> dict[str, float]:
    """The numbers of `FEATURES`, all 0 for a text without words.

    `words` and `sentences` are counts; `sentence_cv` is the standard deviation of sentence lengths over their mean; the
    others are per word. In Chinese `contractions` are colloquial short forms such as 啥 and 咋.
    """
    total = len(tokens(text))
    if not total:
        return dict.fromkeys(FEATURES, 0.0)
    lengths = [length for part in _SENTENCE.findall(text) if (length := len(tokens(part)))]
    counted = {
        "emoji": len(_EMOJI.findall(text)),
        "questions": len(re.findall(r"[?？]+", text)),
        "exclamations": len(re.findall(r"[!！]+", text)),
        "lists": len(_LIST.findall(text)),
        **{name: len(form.findall(text)) for name, form in _WORDS[language].items()},
    }
    rates = {name: count / total for name, count in counted.items()}
    varied = statistics.pstdev(lengths) / statistics.fmean(lengths) if lengths else 0.0
    return {"words": float(total), "sentences": float(len(lengths)), "sentence_cv": varied} | rates
