"""Labelled data sets: read as they are downloaded, refused with the line that is wrong."""

import pytest

from app.corpora import cped, goemotions
from app.corpora.document import WrongForm, fingerprint
from app.corpora.labelled import read_corpus
from retrieval.emotion import EMOTIONS

HEADER = "TV_ID,Dialogue_ID,Utterance_ID,Speaker,Sentiment,Emotion,DA,Utterance"


def test_a_comment_feels_what_its_labels_map_to():
    rows = goemotions.read("Thanks, I was scared!\t15,14\ted1\nIt is at nine.\t27\ted2\n")
    assert [row.texts for row in rows] == [("Thanks, I was scared!",), ("It is at nine.",)]
    assert rows[0].felt == (frozenset(["joy", "fear"]),)
    assert rows[1].felt == (frozenset(),)
    assert rows[0].unknown == (frozenset(),)


def test_a_line_separator_inside_a_comment_does_not_end_its_row():
    (row,) = goemotions.read("one\u2028two\x85three\t27\ted1")
    assert row.texts == ("one\u2028two\x85three",)


def test_every_mapped_label_exists_and_none_is_mapped_twice():
    for table, labels in ((goemotions.DIMENSIONS, goemotions.LABELS), (cped.DIMENSIONS, cped.LABELS)):
        mapped = " ".join(table.values()).split()
        assert sorted({*mapped, "neutral"}) == sorted(labels)
        assert len(mapped) == len(set(mapped))
        assert set(table) <= set(EMOTIONS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no rows"),
        ("\n \n", "no rows"),
        ("fine\t27\ta\nonly text", "line 2 has 1 fields"),
        ("fine\t28\ta", "line 1: '28' are not label ids"),
        ("fine\tjoy\ta", "line 1: 'joy' are not label ids"),
        ("fine\t\ta", "line 1: '' are not label ids"),
    ],
)
def test_a_wrong_comment_file_is_refused_with_its_line(content, told):
    with pytest.raises(WrongForm, match=told):
        goemotions.read(content)


def test_utterances_of_one_dialogue_stay_together():
    content = f"{HEADER}\n1,d1,u1,甲,n,happy,q,真好\n1,d1,u2,乙,n,neutral,q,嗯\n1,d2,u1,甲,n,fear,q,别过来\n"
    one, two = cped.read(content)
    assert one.texts == ("真好", "嗯")
    assert one.speakers == ("甲", "乙")
    assert one.felt == (frozenset(["joy"]), frozenset())
    assert two.felt == (frozenset(["fear"]),)


def test_what_cped_has_no_label_for_is_unknown_and_not_absent():
    content = f"{HEADER}\n1,d1,u1,甲,n,happy,q,真好\n1,d1,u2,乙,n,anger,q,滚\n"
    (dialogue,) = cped.read(content)
    assert dialogue.unknown == (frozenset(["acceptance", "anticipation"]), frozenset(["anticipation"]))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEADER, "no rows"),
        ("Dialogue_ID,Speaker,Utterance\nd,甲,好", "lacks the columns Emotion"),
        (f"{HEADER}\n1,d1,u1,甲,n,glad,q,真好", "line 2: 'glad' is not one of"),
        (f"{HEADER}\n1,d1,u1,甲,n,happy,q,真好\n1,d1,u2,甲", "line 3 has no Emotion"),
    ],
)
def test_a_wrong_dialogue_file_is_refused_with_its_line(content, told):
    with pytest.raises(WrongForm, match=told):
        cped.read(content)


def test_a_fingerprint_is_of_what_is_said_only():
    one, other = goemotions.read("Thanks!\t15\ta\n  Thanks! \t27\tb")
    (third,) = goemotions.read("Thanks\t15\ta")
    assert fingerprint(one) == fingerprint(other) != fingerprint(third)
    assert 0 <= fingerprint(one) < 2**32


def test_a_file_is_recognised_by_its_content(tmp_path):
    comments, dialogues = tmp_path / "a.csv", tmp_path / "b.tsv"
    comments.write_text("Thanks!\t15\ta\n", encoding="utf-8")
    dialogues.write_text(f"{HEADER}\n1,d1,u1,甲,n,happy,q,真好\n", encoding="utf-8-sig")
    assert read_corpus(comments).kind == "GoEmotions"
    assert read_corpus(dialogues).kind == "CPED"


def test_a_file_of_neither_form_says_so_with_its_name(tmp_path):
    prose, binary = tmp_path / "prose.txt", tmp_path / "x.bin"
    prose.write_text("Once upon a time", encoding="utf-8")
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WrongForm, match=r"prose\.txt read as GoEmotions: line 1 has 1 fields"):
        read_corpus(prose)
    with pytest.raises(WrongForm, match="not UTF-8"):
        read_corpus(binary)


def test_the_real_files_are_read_whole(bench_data):
    comments = read_corpus(bench_data / "goemotions" / "dev.tsv")
    assert len(comments.documents) == len((bench_data / "goemotions" / "dev.tsv").read_bytes().splitlines())
    dialogues = read_corpus(next((bench_data / "cped").glob("*.csv")))
    assert dialogues.kind == "CPED"
    assert len({fingerprint(one) for one in dialogues.documents}) > 0.99 * len(dialogues.documents)
    speakers = {len(one.speakers) == len(one.texts) == len(one.felt) for one in dialogues.documents}
    assert speakers == {True}
