"""ROUGE and BLEU equal the published implementations; distinct-n equals hand-counted values."""

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu as published_bleu

from models.judging.overlap import corpus_bleu, distinct, rouge_l, sentence_bleu, tokens

PAIRS = [
    ("The cat sat on the mat.", "A cat was sitting on the mat, quietly."),
    ("I was born on May 5, 1988.", "I was born in London on May 5th 1988."),
    ("Entirely other words here", "nothing shared at all"),
]
CHINESE = ["本宫乏了，退下吧。", "臣妾做不到啊！", "今日天气甚好"]
SAID = ["本宫今日乏了，你退下。", "臣妾实在做不到。", "下雨了"]


@pytest.mark.parametrize(("reply", "reference"), PAIRS)
def test_rouge_l_of_english_is_that_of_the_published_scorer(reply: str, reference: str) -> None:
    published = RougeScorer(["rougeL"]).score(reference, reply)["rougeL"].fmeasure
    assert rouge_l(reply, [reference]) == pytest.approx(published)


def test_rouge_l_of_chinese_is_the_common_subsequence_of_characters() -> None:
    # 本宫乏了退下吧 (7) and 本宫今日乏了你退下 (9) share 本宫乏了退下 (6).
    assert rouge_l(CHINESE[0], [SAID[0]]) == pytest.approx(2 * 6 / (7 + 9))


def test_the_best_reference_counts() -> None:
    assert rouge_l("yes indeed", ["no", "yes indeed"]) == 1.0
    with pytest.raises(ValueError, match="at least one reference"):
        rouge_l("yes", [])


def test_an_empty_reply_has_nothing_in_common() -> None:
    assert rouge_l("", ["words"]) == rouge_l("……！", ["words"]) == 0.0


def test_words_and_characters_that_touch_are_told_apart() -> None:
    assert tokens("我用iPhone15拍照, it's naïve_x") == [*"我用", "iphone15", *"拍照", "it", "s", "naïve", "x"]


def test_bleu_is_that_of_sacrebleu_in_both_languages() -> None:
    replies, references = zip(*PAIRS, strict=True)
    assert corpus_bleu(replies, references, "en").score == published_bleu(replies, [references]).score
    found = corpus_bleu(CHINESE, SAID, "zh")
    assert found.score == published_bleu(CHINESE, [SAID], tokenize="zh").score > 0
    assert "tok:zh" in found.signature


def test_a_reply_that_is_its_reference_has_bleu_100() -> None:
    assert sentence_bleu(CHINESE[0], CHINESE[0], "zh") == pytest.approx(100)
    assert sentence_bleu("Yes.", "Yes.", "en") == pytest.approx(100)


def test_bleu_refuses_replies_without_references() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        corpus_bleu(["a", "b"], ["a"], "en")


def test_distinct_counts_different_ngrams_over_the_whole_set() -> None:
    assert distinct(["a b a b", "a b"], 1) == pytest.approx(2 / 6)
    assert distinct(["a b a b", "a b"], 2) == pytest.approx(2 / 4)  # ab ba ab, ab
    assert distinct(["哈哈哈"], 2) == pytest.approx(1 / 2)
    assert distinct(["one"], 2) == 0.0
