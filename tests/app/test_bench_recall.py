"""The benchmarks of recall: how gold replies and banks are made, the numbers, and both commands on small data."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.bench.baselines import Bm25, fused, ordered, words
from app.bench.biographies import read_biographies
from app.bench.contexts import read_contexts, tells
from app.bench.measure import gain, means
from app.bench.overlap import rouge_l
from app.cli.main import app
from retrieval.units import Turn

Rows = list[dict[str, str]]


def scene(name: str, *lines: str) -> Rows:
    return [{"role": name, "context": "\n".join(lines[:length])} for length in range(1, len(lines) + 1, 2)]


STORM = scene(
    "晚晴", "水手：风大吗？", "晚晴：比昨天的还要大。", "水手：灯亮着吗？", "晚晴：一直亮着的。", "水手：那就好。"
)
LATE = scene("晚晴", "水手：灯亮着吗？", "晚晴：一直亮着的。", "水手：那就好。")
FISH = scene("晚晴", "孩子：我饿了。", "晚晴：锅里有鱼，自己盛吧。", "孩子：谢谢！")
DOCTOR = scene("晚晴", "病人：疼。", "晚晴博士：忍一忍。", "病人：好。")


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    file = tmp_path / "contexts.json"
    rows = [*STORM, *LATE, *FISH, *DOCTOR, {"role": "大副", "context": "船长：走。"}]
    file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return file


def test_a_context_that_another_continues_has_the_next_line_of_the_role_as_its_gold(contexts: Path) -> None:
    corpus = read_contexts(contexts)
    assert [(len(pair.context), pair.gold) for pair in corpus.pairs] == [
        (1, "锅里有鱼，自己盛吧。"),
        (1, "一直亮着的。"),
        (1, "比昨天的还要大。"),
        (3, "一直亮着的。"),
    ]
    assert {pair.role for pair in corpus.pairs} == {"晚晴"}, "晚晴博士 is somebody else"


def test_rows_one_a_line_read_like_an_array(contexts: Path, tmp_path: Path) -> None:
    rows = json.loads(contexts.read_text(encoding="utf-8"))
    other = tmp_path / "rows.jsonl"
    other.write_text("\n".join(json.dumps(row) for row in [*rows, rows[0]]), encoding="utf-8")
    assert read_contexts(other) == read_contexts(contexts)


def test_a_bank_holds_no_unit_of_the_scene_that_is_asked_for(contexts: Path) -> None:
    corpus = read_contexts(contexts)
    assert len(corpus.scenes["晚晴"]) == 4
    for pair in corpus.pairs:
        found, left_out = corpus.bank(pair.role, pair.family)
        answers = {turn.text for piece in found for turn in piece.answer}
        assert pair.gold not in answers
        assert left_out == (pair.gold == "一直亮着的。" or "比昨天" in pair.gold), "two scenes are one, cut differently"
        assert answers


def test_a_unit_that_holds_a_context_and_its_reply_among_other_lines_is_of_the_scene(tmp_path: Path) -> None:
    other = scene(
        "晚晴",
        "水手：喂！",
        "晚晴：谁在下面？",
        "水手：风大吗？",
        "晚晴：比昨天的还要大。",
        "水手：哦。",
        "晚晴：上来吧。",
        "水手：好。",
    )
    file = tmp_path / "contexts.json"
    file.write_text(json.dumps([*STORM, *other]), encoding="utf-8")
    corpus = read_contexts(file)
    for pair in corpus.pairs:
        found, _ = corpus.bank(pair.role, pair.family)
        target = (*pair.context, Turn(pair.role, pair.gold))
        assert not any(tells(piece, target) for piece in found)


def test_the_sayings_of_a_card_join_the_bank_of_its_role(contexts: Path, tmp_path: Path) -> None:
    cards = tmp_path / "cards.json"
    sayings = {"经典台词": ["海不等人，灯也不等人。", "一直亮着的。"], "口头禅": "慢慢来，不着急。", "年龄": "40"}
    cards.write_text(json.dumps({"晚晴": sayings, "大副": {}}), encoding="utf-8")
    corpus = read_contexts(contexts, cards)
    for pair in corpus.pairs:
        found, _ = corpus.bank(pair.role, pair.family)
        said = {turn.text for piece in found for turn in piece.answer}
        assert {"海不等人，灯也不等人。", "慢慢来，不着急。"} <= said
        assert pair.gold not in said, "a saying of the scene that is asked for is left out"


@pytest.mark.parametrize("content", ["[]", "[1, 2]", '{"晚晴": "x"}', "3"])
def test_cards_of_another_form_end_in_one_sentence(contexts: Path, tmp_path: Path, content: str) -> None:
    cards = tmp_path / "cards.json"
    cards.write_text(content, encoding="utf-8")
    with pytest.raises(typer.BadParameter, match="expected one JSON object of persona cards"):
        read_contexts(contexts, cards)


def test_a_line_without_a_speaker_continues_the_turn(tmp_path: Path) -> None:
    file = tmp_path / "contexts.json"
    rows = scene("R", "A: one\nstill one", "R: two: three", "A: four")
    file.write_text(json.dumps(rows), encoding="utf-8")
    (pair,) = read_contexts(file).pairs
    assert pair.context == (Turn("A", "one\nstill one"),)
    assert pair.gold == "two: three"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "can't be read"),
        ("{", "not JSON"),
        ('[{"role": "a"}]', "row 1 has no `role` and `context`"),
        ("[1]", "row 1 has no"),
        ('[{"role": "a", "context": "a：x"}]', "no context continues another one"),
        ("\udcff", "not JSON"),
    ],
)
def test_contexts_that_can_not_be_used_end_in_one_sentence(tmp_path: Path, content: str | None, why: str) -> None:
    file = tmp_path / "contexts.json"
    if content is not None:
        file.write_bytes(content.encode("utf-8", "surrogateescape"))
    refused("lines", file, why)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "has no NAME.txt file"),
        (b"one\ttwo\n", "line 1: 2 cells"),
        (b"a\tb\tc\n\n\tb\tc\n", "line 3: 3 cells"),
        (b"\n", "is empty"),
        (b"\xff", "can't be read as UTF-8"),
    ],
)
def test_biographies_that_can_not_be_used_end_in_one_sentence(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "Ada.txt").write_bytes(content)
    refused("characters", tmp_path, why)


@pytest.mark.parametrize(("content", "why"), [(None, "can't be read"), (b"\xff", "can't be read"), (b"\n", "is empty")])
def test_texts_that_can_not_be_used_end_in_one_sentence(tmp_path: Path, content: bytes | None, why: str) -> None:
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    refused("recall", file, why)


def test_roles_of_one_scene_end_in_one_sentence(
    tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    file = tmp_path / "contexts.json"
    file.write_text(json.dumps(FISH), encoding="utf-8")
    refused("lines", file, "there is nothing to recall")


def refused(command: str, data: Path, why: str) -> None:
    result = CliRunner().invoke(app, ["bench", command, "--data", str(data)], terminal_width=1000)
    assert result.exit_code == 2
    assert why.replace(" ", "") in "".join(result.stderr.replace("│", "").split())


def longest_common(one: str, other: str) -> int:
    parts = {part for n in range(len(one) + 1) for part in combinations(one, n)}
    return max(len(part) for n in range(len(other) + 1) for part in combinations(other, n) if part in parts)


@given(st.text("ab好", max_size=7), st.text("ab好", max_size=7))
def test_rouge_l_is_twice_the_longest_common_subsequence_over_both_lengths(one: str, other: str) -> None:
    assert rouge_l(one, other) == pytest.approx(2 * longest_common(one, other) / max(1, len(one) + len(other)))


def test_rouge_l_of_equal_texts_is_1_and_of_strangers_0() -> None:
    assert rouge_l("一直亮着的", "一直亮着的") == 1
    assert rouge_l("abc", "xyz") == rouge_l("", "") == rouge_l("a", "") == 0


def test_bm25_finds_words_of_both_languages_and_nothing_in_nothing() -> None:
    texts = ["我今天去图书馆看书", "The lamp was lit.", "图书馆关门了，看不了书。看不了！", ""]
    search = Bm25([words(text) for text in texts])
    assert ordered(search.scores(words("LAMP?")))[0] == 1
    assert {*ordered(search.scores(words("图书馆")))[:2]} == {0, 2}
    for scores in (search.scores([]), search.scores(["xyzzy"]), Bm25([[], []]).scores(["a"])):
        assert not scores.any()


def test_equal_scores_keep_their_order() -> None:
    assert ordered(np.asarray([0.0, 2.0, 0.0, 2.0], np.float32)) == [1, 3, 0, 2]


def test_fused_ranks_favour_what_both_rankings_have_high() -> None:
    assert fused([[0, 1, 2], [1, 2, 0]]) == [1, 0, 2]
    assert fused([[3, 1], [1, 3]]) == [1, 3]
    assert fused([]) == []


def test_numbers_are_averaged_and_counts_are_added() -> None:
    assert means([{"a": 1.0, "b": 1}, {"a": 0.0, "b": 2}], totals={"b"}) == {"a": 0.5, "b": 3}
    assert means([]) == {}


def test_a_gain_is_the_mean_difference_of_pairs_with_its_interval() -> None:
    more, width = gain([1.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.0, 0.0])
    assert more == 0.5
    assert width == pytest.approx(1.96 * (1 / 6) ** 0.5 / 2)
    assert gain([1.0], [0.5]) == (0.5, 0.0)


@pytest.fixture
def biographies(tmp_path: Path) -> Path:
    for name, rows in {
        "Ada": [
            ("Ada was born in London.", "Where were you born?"),
            ("Ada wrote notes on an engine.", "What engine?"),
            ("Ada was born in London.", "Which city do you come from?"),
        ],
        "Bo": [("Bo was born in Oslo.", "Where were you born?"), ("Bo sails boats.", "What do you sail?")],
    }.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{p}\t{q}\tan answer\n" for p, q in rows), encoding="utf-8")
    return tmp_path


def test_paragraphs_are_counted_once_and_questions_come_in_turns(biographies: Path) -> None:
    found = read_biographies(biographies)
    assert found.roles == {"Ada": (0, 1), "Bo": (2, 3)}
    assert found.role_of == {0: "Ada", 1: "Ada", 2: "Bo", 3: "Bo"}
    assert [(question.role, question.gold) for question in found.questions] == [
        ("Ada", 0),
        ("Bo", 2),
        ("Ada", 1),
        ("Bo", 3),
        ("Ada", 0),
    ]


def measured(command: str, data: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    result = CliRunner().invoke(app, ["bench", command, "--data", str(data)], catch_exceptions=False)
    assert result.exit_code == 0
    return json.loads(result.stdout.splitlines()[-1])


def test_lines_are_measured_with_every_system_on_the_same_pairs(
    contexts: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = measured("lines", contexts, weights_home, monkeypatch)
    assert (report["bench"], report["pairs"], report["scenes"]) == ("lines", 4, 5)
    oracle = report["results"]["oracle"]
    for numbers in report["results"].values():
        assert numbers["leaks"] == 0
        assert 0 <= numbers["best@1"] <= numbers["best@5"] <= oracle["best@5"]
        assert numbers["recall@10"] == 1, "the whole bank is recalled"
    assert oracle["recall@1"] == 1


def test_a_question_finds_its_paragraph_and_nobody_elses(
    biographies: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = measured("characters", biographies, weights_home, monkeypatch)
    assert (report["characters"], report["questions"], report["paragraphs"]) == (2, 5, 4)
    for name, numbers in report["results"].items():
        assert numbers["recall@5"] == 1
        assert numbers["foreign"] == (5 * 2 if name == "unscoped" else 0)
    assert report["results"]["dense"]["mrr"] > 0.8


def test_a_question_about_a_long_talk_finds_the_turn_that_answers_it(
    tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["I keep bees behind the church.", "How lovely!", "The ferry was late again.", "It always is."]
    turns = [{"dia_id": f"D1:{n}", "speaker": "AB"[n % 2], "text": text} for n, text in enumerate(said)]
    talk = {"session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023"}
    asked = [
        {"question": "Where are the bees kept?", "category": 4, "evidence": ["D1:0"]},
        {"question": "What was never said?", "category": 5, "evidence": ["D1:1"]},
    ]
    file = tmp_path / "talks.json"
    # A conversation without a turn is asked nothing.
    file.write_text(json.dumps([{"conversation": talk, "qa": asked}, {"conversation": {}, "qa": asked}]), "utf-8")
    report = measured("memory", file, weights_home, monkeypatch)
    assert (report["conversations"], report["turns"]) == (1, 4)
    assert report["questions"] == {"1": 0, "2": 0, "3": 0, "4": 1}
    for numbers in report["results"].values():
        assert numbers["recall@5"] == numbers["mrr"] == numbers["c4 mrr"] == 1
