"""Emotions: what the anchors tell, and the arithmetic of moods."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.corpora.labelled import read_corpus
from retrieval.anchors import ANCHORS, NEUTRAL
from retrieval.emotion import EMOTIONS, AnchorTagger, blend, cosine_distance, dominant

SPOKEN = {
    "joy": ("我今天好开心", "I'm so glad, this is wonderful!"),
    "fear": ("好害怕呜呜", "I'm terrified of that man"),
    "sadness": ("我好想他，心里难受", "I really miss him..."),
    "anger": ("你给我滚，烦死了！", "You liar, I hate you, leave now!"),
    "surprise": ("怎么会这样？！", "What? No way, how did that happen?!"),
    "disgust": ("这东西也太恶心了吧", "Yuck, that is gross"),
    "anticipation": ("希望我们很快再见面", "I hope we can meet again soon"),
    "acceptance": ("我信任你，放心吧", "I believe you, you can count on me"),
}
PLAIN = [
    "桌上有三支铅笔。",
    "The train leaves at nine.",
    "我的办公室在五楼。",
    "The box weighs two kilograms.",
    "嗯",
    "ok",
]


def test_the_dimensions_are_in_the_papers_order():
    assert EMOTIONS == ("joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
    assert set(ANCHORS) == set(EMOTIONS)


def test_both_languages_have_as_many_anchors():
    for sentences in (*ANCHORS.values(), NEUTRAL):
        chinese = [text for text in sentences if any("\u4e00" <= letter <= "\u9fff" for letter in text)]
        assert len(chinese) * 2 == len(sentences) == len(set(sentences))


@pytest.mark.parametrize("kind", ["encode_queries", "encode_passages"])
@pytest.mark.parametrize("emotion", SPOKEN)
def test_what_is_said_feels_like_what_it_is(sentence, tagger, emotion, kind):
    vectors = getattr(sentence, kind)(SPOKEN[emotion])
    felt = tagger.tag(SPOKEN[emotion], vectors)
    assert [dominant(row, 0.3) for row in felt] == [emotion, emotion]


@pytest.mark.parametrize("kind", ["encode_queries", "encode_passages"])
def test_plain_statements_feel_like_nothing(sentence, tagger, kind):
    felt = tagger.tag(PLAIN, getattr(sentence, kind)(PLAIN))
    assert felt.max() < 0.3
    assert felt.mean() < 0.06


def test_intensities_are_eight_numbers_from_0_to_1(sentence, tagger):
    texts = [*PLAIN, "", "!" * 500, *ANCHORS["anger"]]
    felt = tagger.tag(texts, sentence.encode_passages(texts))
    assert felt.shape == (len(texts), 8)
    assert felt.dtype == np.float32
    assert felt.min() >= 0
    assert felt.max() <= 1
    assert tagger.tag([], np.empty((0, 384), np.float32)).shape == (0, 8)


def test_vectors_that_are_not_the_texts_are_refused(tagger):
    with pytest.raises(ValueError, match="shape"):
        tagger.tag(["one", "two"], np.zeros((1, 384), np.float32))
    with pytest.raises(ValueError, match="shape"):
        tagger.tag(["one"], np.zeros((1, 7), np.float32))


class Blank:
    """An encoder that tells no two texts apart."""

    id = "blank"
    dimension = 3

    def encode_queries(self, texts):
        return np.tile(np.array([1, 0, 0], np.float32), (len(texts), 1))

    encode_passages = encode_queries


def test_an_encoder_that_sees_no_difference_gives_finite_numbers():
    felt = AnchorTagger(Blank()).tag(["x"], np.array([[1, 0, 0]], np.float32))
    assert np.isfinite(felt).all()
    assert felt.max() <= 0.1 + 1e-6


def labelled(file, count):
    """Some texts of a public data set, each with whether it was given each emotion."""
    rows = [
        (text, [emotion in felt for emotion in EMOTIONS])
        for document in read_corpus(file).documents
        for text, felt in zip(document.texts, document.felt, strict=True)
    ]
    return random.Random(7).sample(rows, count)


def area(scores, labels):
    """Area under the ROC curve: how often a text with the emotion scores higher than one without, chance 0.5."""
    positive, negative = scores[labels][:, None], scores[~labels][None, :]
    return float(((positive > negative) + 0.5 * (positive == negative)).mean())


@pytest.mark.parametrize(("name", "least"), [("goemotions/dev.tsv", 0.72), ("cped/dialogues_a.csv", 0.55)])
@pytest.mark.parametrize("kind", ["encode_queries", "encode_passages"])
def test_anchors_tell_labelled_emotions_apart(bench_data, sentence, tagger, name, least, kind):
    rows = labelled(bench_data / name, 500)
    texts = [text for text, _ in rows]
    truth = np.array([labels for _, labels in rows])
    felt = tagger.tag(texts, getattr(sentence, kind)(texts))
    areas = [area(scores, labels) for scores, labels in zip(felt.T, truth.T, strict=True) if labels.sum() >= 5]
    assert len(areas) >= 6
    assert np.mean(areas) > least


vectors = st.lists(st.floats(0, 1, width=32), min_size=8, max_size=8).map(lambda xs: np.array(xs, np.float32))


@given(vectors, vectors, st.floats(0, 1))
def test_a_blend_lies_between_the_two(mood, felt, inertia):
    blended = blend(mood, felt, inertia)
    assert blended.dtype == np.float32
    assert (blended <= np.maximum(mood, felt) + 1e-6).all()
    assert (blended >= np.minimum(mood, felt) - 1e-6).all()


def test_a_mood_moves_by_what_inertia_leaves():
    mood, felt = np.zeros(8, np.float32), np.ones(8, np.float32)
    assert blend(mood, felt, 0.75) == pytest.approx(np.full(8, 0.25))
    assert blend(mood, felt, 0) == pytest.approx(felt)
    assert blend(mood, felt, 1) == pytest.approx(mood)


@pytest.mark.parametrize("inertia", [-0.1, 1.1, float("nan")])
def test_inertia_outside_its_range_is_refused(inertia):
    with pytest.raises(ValueError, match="inertia"):
        blend(np.zeros(8, np.float32), np.zeros(8, np.float32), inertia)


def test_cosine_distance_by_hand():
    assert cosine_distance([1, 0], [1, 0]) == pytest.approx(0)
    assert cosine_distance([1, 0], [0, 3]) == pytest.approx(1)
    assert cosine_distance([1, 1], [1, 0]) == pytest.approx(1 - 1 / np.sqrt(2))
    assert cosine_distance([0, 0], [1, 0]) == 1
    assert cosine_distance([0, 0], [0, 0]) == 1


def test_the_strongest_emotion_has_to_reach_the_floor():
    vector = np.zeros(8, np.float32)
    assert dominant(vector, 0.1) is None
    vector[4] = 0.3
    assert dominant(vector, 0.1) == "sadness"
    assert dominant(vector, 0.31) is None
