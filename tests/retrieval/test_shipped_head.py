"""The head that comes with the package: for both of the packaged encoders, in both languages."""

import numpy as np
import pytest

from retrieval.emotion import dominant
from retrieval.head import FLOOR, SHIPPED, HeadTagger, head_for, load, tagger_for
from tests.retrieval.test_emotion import SPOKEN

PLAIN = [
    "桌上有三支铅笔。",
    "The train leaves at nine.",
    "我的办公室在五楼。",
    "The box weighs two kilograms.",
    "我们三点开会。",
    "ok",
]


@pytest.fixture(scope="module")
def shipped(sentence, tmp_path_factory):
    return tagger_for(sentence, tmp_path_factory.mktemp("heads"))


def test_a_head_is_shipped_for_both_packaged_encoders(sentence, nano, tmp_path):
    assert head_for(sentence.id, tmp_path) is not None
    assert head_for(nano.id, tmp_path) is not None
    assert head_for("BAAI/bge-m3@5617a9f61b02", tmp_path) is None


def test_what_is_shipped_is_small_and_says_where_it_comes_from():
    files = list(SHIPPED.glob("*.npz"))
    assert files
    for file in files:
        assert file.stat().st_size < 2 * 2**20
        manifest = load(file).manifest
        assert all("Apache-2.0" in data["licence"] for data in manifest["data"])
        assert {data["name"] for data in manifest["data"]} == {"GoEmotions", "CPED"}


@pytest.mark.parametrize("kind", ["encode_queries", "encode_passages"])
@pytest.mark.parametrize(("language", "least"), [(0, 5), (1, 7)])
def test_the_head_hears_most_of_what_is_said(sentence, shipped, language, least, kind):
    texts = [pair[language] for pair in SPOKEN.values()]
    felt = shipped.tag(texts, getattr(sentence, kind)(texts))
    assert sum(dominant(row, FLOOR) == emotion for row, emotion in zip(felt, SPOKEN, strict=True)) >= least


@pytest.mark.parametrize("kind", ["encode_queries", "encode_passages"])
def test_plain_statements_are_flat_to_the_head(sentence, shipped, kind):
    felt = shipped.tag(PLAIN, getattr(sentence, kind)(PLAIN))
    assert felt.max() < FLOOR


def test_both_packaged_encoders_let_the_head_hear_the_same(sentence, nano, shipped, tmp_path):
    texts = [text for pair in SPOKEN.values() for text in pair] + PLAIN
    one = shipped.tag(texts, sentence.encode_queries(texts))
    other = tagger_for(nano, tmp_path).tag(texts, nano.encode_queries(texts))
    assert np.abs(one - other).max() < 0.1


def test_the_shipped_head_is_used_without_being_asked_for(shipped):
    assert isinstance(shipped, HeadTagger)
