"""Features of talk are counted right in both languages."""

import pytest

from models.judging.features import FEATURES, features


def test_english_talk_and_an_assistants_list_differ_where_they_should() -> None:
    talk = features("Oh, I dunno... maybe it's the rain? I'm kinda sleepy 😴", "en")
    listed = features("There are two options:\n1. Sleep early.\n2. Drink tea.", "en")
    for name in ("emoji", "questions", "contractions", "hedges", "fillers", "first_person"):
        assert talk[name] > listed[name] == 0, name
    assert listed["lists"] > talk["lists"] == 0


def test_chinese_talk_is_counted_by_characters() -> None:
    found = features("嗯，我觉得吧，也许咱们该走了？", "zh")
    assert found["words"] == 12
    assert found["hedges"] == pytest.approx(2 / 12)  # 我觉得, 也许
    assert found["questions"] == pytest.approx(1 / 12)
    assert found["contractions"] > 0
    assert found["fillers"] > 0


def test_sentences_of_one_length_do_not_vary() -> None:
    assert features("One two three. Four five six!", "en")["sentence_cv"] == 0
    assert features("One. Two three four five six seven!", "en")["sentence_cv"] > 0.5


def test_a_text_without_words_has_no_features() -> None:
    assert features("……", "zh") == dict.fromkeys(FEATURES, 0.0)
    assert features("", "en") == dict.fromkeys(FEATURES, 0.0)
