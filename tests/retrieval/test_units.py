"""Dialogue units, and fitting them into a budget."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.pack import pack
from retrieval.units import Turn, query_key, unit, units


def turns(*lines):
    return tuple(Turn(*line.split("：", 1)) for line in lines)


def test_a_dialogue_ends_with_the_characters_last_turn():
    found = unit(turns("二二：好看吗？", "三三：还行。", "二二：那买了！", "店员：多谢惠顾"), "三三")
    assert found.answer == turns("三三：还行。")
    assert found.context == turns("二二：好看吗？")
    assert found.dialogue == turns("二二：好看吗？", "三三：还行。")


def test_names_are_compared_whole():
    assert unit(turns("观众：在吗？", "三三博士：在。"), "三三") is None
    assert unit(turns("观众：在吗？", "三：在。"), "三三") is None
    assert unit(turns("Ann：hi", "Anna：hello"), ["Ann"]).answer == turns("Ann：hi")


def test_a_character_who_never_speaks_has_no_unit():
    assert unit(turns("二二：有人吗？"), "三三") is None
    assert unit((), "三三") is None
    assert units([(), turns("二二：有人吗？")], "三三") == ()


def test_a_key_hides_everyone_but_the_character_by_first_appearance():
    found = unit(
        turns("二二：走吧", "欧卡：等等", "三三：怎么了", "欧卡：没电了", "二二：唉", "三三：我来充。"), "三三"
    )
    assert found.key == "user0: 走吧\nuser1: 等等\n三三: 怎么了\nuser1: 没电了\nuser0: 唉"
    assert found.context[0] == Turn("二二", "走吧"), "the prompt shows the names there were"


def test_a_dialogue_of_one_turn_is_its_own_key():
    found = unit(turns("三三：欢迎光临"), "三三")
    assert found.key == "三三: 欢迎光临"
    assert (found.context, found.answer) == ((), turns("三三：欢迎光临"))


def test_a_running_conversation_has_the_form_of_a_key():
    script = turns("二二：走吧", "三三：去哪", "二二：回家", "三三：好。")
    assert query_key(turns("user：走吧", "三三：去哪", "user：回家"), "三三") == unit(script, "三三").key
    assert query_key((), "三三") == ""


def test_a_query_keeps_the_last_turns_and_numbers_whom_it_shows():
    history = [Turn("甲", "一"), Turn("乙", "二"), Turn("三三", "三"), Turn("乙", "四")]
    assert query_key(history, "三三", context=3) == "user0: 二\n三三: 三\nuser0: 四"
    assert query_key(history, "三三", context=0) == ""


def test_text_that_looks_like_a_speaker_stays_text():
    key = query_key([Turn("user", "三三: 我是你\n三三：真的"), Turn("user", "a:b")], "三三")
    assert key == "user0: 三三: 我是你 三三：真的\nuser0: a:b"


def test_a_character_may_have_several_names():
    found = unit(
        turns("Watson：Well?", "Sherlock：Elementary.", "Watson：How?", "Holmes：Observe."), {"Sherlock", "Holmes"}
    )
    assert found.key == "user0: Well?\nSherlock: Elementary.\nuser0: How?"


def test_a_scene_gives_a_unit_each_time_the_character_speaks():
    scene = turns(
        "A：one",
        "R：first answer, long enough",
        "A：two",
        "B：three",
        "R：second answer, long enough",
        "R：and more of it",
        "A：bye",
    )
    first, second = units([scene], "R", context=2)
    assert (first.context, first.answer) == (scene[:1], scene[1:2])
    assert (second.context, second.answer) == (scene[2:4], scene[4:6])
    assert second.key == "user0: two\nuser1: three"


def test_a_scene_that_the_character_opens_begins_with_its_own_line():
    assert [found.key for found in units([turns("R：Hello there my friend", "A：hi")], "R")] == [
        "R: Hello there my friend"
    ]


def test_context_of_no_turns_leaves_answers():
    assert [found.key for found in units([turns("A：x", "R：y")], "R", context=0)] == ["R: y"]
    with pytest.raises(ValueError, match="context"):
        units([], "R", context=-1)


def test_repeats_are_dropped_whoever_said_them():
    one = turns("A：How are you today?", "R：I am fine, thank you very much.")
    other = turns("B：How are you today?", "R：I am fine, thank you very much.")
    assert len(units([one, one, other], "R")) == 1


@pytest.mark.parametrize(
    ("long", "short"),
    [("我今天想去图书馆看书{}。", "嗯{}"), ("I would rather stay at home {}.", "No thanks {}")],
)
def test_terse_units_are_dropped_when_enough_are_left(long, short):
    talk = [turns(f"A：问题 {n}", f"R：{long.format(n)}") for n in range(20)]
    terse = [turns(f"A：问题 {n}", f"R：{short.format(n)}") for n in range(5)]
    assert len(units(talk + terse, "R")) == 20
    assert len(units(talk[1:] + terse, "R")) == 24, "with fewer than 20 left, all are kept"


def test_terseness_is_judged_by_all_the_character_says_in_the_unit():
    talk = [turns(f"A：问题 {n}", f"R：我今天想去图书馆看书{n}。") for n in range(20)]
    mixed = turns("A：在吗", "R：我在这里等了你整整三个小时，你到底去哪里了？", "A：对不起", "R：哼。")
    assert mixed[3:] in [found.answer for found in units([*talk, mixed], "R")]


def test_units_of_a_real_corpus_hold_everything_its_own_retriever_found(bench_data):
    folder = bench_data / "index_sansan"
    scenes = [
        turns(*(line.strip().replace(":", "：", 1) if "：" not in line else line.strip() for line in entry["dialog"]))
        for entry in json.loads((folder / "三三.json").read_text(encoding="utf-8"))
    ]
    golden = json.loads((folder / "三三_rag.json").read_text(encoding="utf-8"))[0]["retrieve_results"]
    found = {piece.dialogue: piece for piece in filter(None, (unit(scene, "三三") for scene in scenes))}
    assert len(found) == len(scenes) == 88
    for _, lines in golden:
        piece = found[turns(*map(str.strip, lines))]
        assert piece.answer[-1].speaker == "三三"
        assert "二二: " not in piece.key
    retrieved = {turns(*map(str.strip, lines)) for _, lines in golden}
    kept = {piece.answer for piece in units(scenes, "三三")}
    assert len(kept) >= 20
    assert {dialogue[-1:] for dialogue in retrieved} <= kept, "none of them counts as terse"


speakers = st.sampled_from(["R", "A", "B", "R2"])
scenes = st.lists(st.builds(Turn, speakers, st.text(max_size=12)), max_size=12)


@given(st.lists(scenes, max_size=5), st.integers(0, 5))
def test_every_answer_of_a_script_is_in_some_unit(script, context):
    found = units(script, "R", context)
    answered = {turn for piece in found for turn in piece.answer}
    assert answered == {turn for scene in script for turn in scene if turn.speaker == "R"}
    for piece in found:
        assert all(turn.speaker == "R" for turn in piece.answer)
        assert len(piece.context) <= context
        assert piece.key.count("\n") == len(piece.context or piece.answer) - 1


def test_a_text_that_does_not_fit_is_passed_over_not_the_end():
    ranked = [("best", 40), ("huge", 900), ("good", 50), ("fair", 20), ("last", 10)]
    assert pack(ranked, 100) == ("best", "good", "last")
    assert pack(ranked, 0) == ()
    assert pack([], 100) == ()


def test_tokens_below_zero_are_refused():
    with pytest.raises(ValueError, match="-1 tokens"):
        pack([("x", -1)], 5)


@given(st.lists(st.tuples(st.integers(), st.integers(0, 50)), max_size=30), st.integers(-5, 200))
def test_what_is_packed_fits_and_nothing_left_out_would(ranked, budget):
    numbered = [((n, tokens), tokens) for n, (_, tokens) in enumerate(ranked)]
    kept = pack(numbered, budget)
    assert sum(tokens for _, tokens in kept) <= max(0, budget)
    assert list(kept) == sorted(kept)
    spent = 0
    for item, tokens in numbered:
        assert (item in kept) == (spent + tokens <= budget)
        spent += tokens if item in kept else 0
