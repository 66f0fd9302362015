"""From labelled files to a head: the parts never share a document, and the head is better than the anchors."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from app.bench.emotion import unseen_documents
from app.cli.main import app
from app.corpora.document import fingerprint
from app.corpora.goemotions import LABELS, read
from app.corpora.labelled import Corpus
from app.emotions.examples import both_ways, divide, rows_of, texts_of
from app.emotions.train import train
from retrieval.head import load

SAYS = {
    "joy": "I love this, hooray",
    "fear": "I am so scared of it",
    "anger": "I hate you, get out",
    "neutral": "It is at",
}


def comments(count, seed=0):
    """Rows whose emotion is plain to see, each another text."""
    drawn = random.Random(seed)
    rows = []
    for n in range(count):
        label = drawn.choice(list(SAYS))
        rows.append(f"{SAYS[label]} {drawn.randrange(10**6)}\t{LABELS.index(label)}\tid{n}")
    return "\n".join(rows)


def test_the_parts_share_no_text_and_depend_on_the_seed():
    documents = read(comments(500) + "\n" + comments(200))
    parts = divide(documents, seed=3)
    prints = [{fingerprint(one) for one in part} for part in (parts.fit, parts.calibrate, parts.report)]
    assert len(set().union(*prints)) == sum(map(len, prints))
    assert sum(map(len, (parts.fit, parts.calibrate, parts.report))) == len(documents)
    assert 0.7 < len(parts.fit) / len(documents) < 0.9
    assert divide(documents, seed=3) == parts
    assert divide(documents, seed=4) != parts


def test_rows_follow_the_texts_and_unknown_labels_weigh_nothing(loaded_encoder):
    encoder, _ = loaded_encoder
    documents = read("one\t17\ta\ntwo\t27\tb\nthree\t14\tc")
    vectors = both_ways(encoder, texts_of(documents))
    assert vectors[0] == pytest.approx(encoder.encode_queries(["one"])[0], abs=0.02)
    assert vectors[1] == pytest.approx(encoder.encode_passages(["two"])[0], abs=0.02)
    rows = rows_of(documents, vectors)
    assert rows.texts == ("one", "two", "three")
    assert rows.felt.sum(axis=1).tolist() == [1, 0, 1]
    assert rows.weight.min() == 1


@pytest.fixture(scope="module")
def trained(loaded_encoder):
    encoder, _ = loaded_encoder
    corpus = Corpus("GoEmotions", tuple(read(comments(400))))
    vectors = both_ways(encoder, texts_of(corpus.documents))
    return corpus, train(encoder, [corpus], [vectors], 0, lambda: None)


def test_a_head_learns_what_is_plain_to_see(trained):
    _, done = trained
    assert done.results["GoEmotions head"]["macro_f1"] > 0.9
    assert done.results["GoEmotions head"]["flat_neutral"] > 0.8


def test_the_manifest_tells_what_a_head_was_made_from(trained, loaded_encoder):
    corpus, done = trained
    manifest = json.loads(json.dumps(done.head.manifest))
    assert manifest["encoders"] == [loaded_encoder[0].id]
    assert sum(manifest["data"][0]["documents"].values()) == len(corpus.documents)
    assert "Apache-2.0" in manifest["data"][0]["licence"]
    assert set(manifest["thresholds"]) == {"head", "anchors"}


def test_only_documents_the_head_has_not_seen_are_measured_on(trained):
    corpus, done = trained
    unseen = unseen_documents(corpus.documents, done.head)
    assert {fingerprint(one) for one in unseen} == {fingerprint(one) for one in divide(corpus.documents, 0).report}
    assert len(unseen_documents(read("never said before\t27\ta"), done.head)) == 1


def test_too_few_documents_are_refused_with_what_to_do(loaded_encoder):
    encoder, _ = loaded_encoder
    corpus = Corpus("GoEmotions", tuple(read("one\t17\ta")))
    with pytest.raises(ValueError, match="give at least a few hundred"):
        train(encoder, [corpus], [both_ways(encoder, ["one"])], 0, lambda: None)


@pytest.fixture
def at_home(weights_home, monkeypatch):
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))


def test_training_and_measuring_on_the_command_line(at_home, tmp_path):
    data, fresh, head = tmp_path / "train.tsv", tmp_path / "fresh.tsv", tmp_path / "out" / "head.npz"
    data.write_text(comments(300), encoding="utf-8")
    fresh.write_text(comments(40, seed=9) + "\n" + comments(300), encoding="utf-8")
    made = CliRunner().invoke(app, ["train", "emotion", "--data", str(data), "--out", str(head), "--also-for", "x@1"])
    assert made.exit_code == 0, made.output
    assert load(head).manifest["encoders"][1] == "x@1"
    assert json.loads(made.stdout.splitlines()[-1])["written"] == str(head)
    told = CliRunner().invoke(app, ["bench", "emotion", "--data", str(fresh)])
    assert told.exit_code == 0, told.output
    line = json.loads(told.stdout.splitlines()[-1])
    assert list(line["results"]) == ["moodline", "anchors", "always-yes"]
    assert line["documents"] + line["left_out"] == 340


def test_a_head_that_can_not_be_written_ends_in_a_sentence(at_home, tmp_path):
    data = tmp_path / "train.tsv"
    data.write_text(comments(300), encoding="utf-8")
    ended = CliRunner().invoke(app, ["train", "emotion", "--data", str(data), "--out", str(data / "head.npz")])
    assert ended.exit_code == 1
    assert "train.tsv" in ended.stderr
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("once upon a time", "line 1 has 1 fields")])
def test_a_wrong_file_ends_in_a_sentence(tmp_path, command, content, told):
    path = tmp_path / "data.tsv"
    if content is not None:
        path.write_text(content)
    ended = CliRunner().invoke(app, [command, "emotion", "--data", str(path)])
    assert ended.exit_code == 1
    assert told in ended.stderr
    assert "Traceback" not in ended.output


def test_the_command_line_starts_without_loading_what_only_training_needs():
    code = "import sys, app.cli.main; print({'scipy', 'sklearn', 'torch', 'retrieval'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_both_ways_leaves_no_row_empty(loaded_encoder):
    vectors = both_ways(loaded_encoder[0], ["one", "two", "three"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-3)
