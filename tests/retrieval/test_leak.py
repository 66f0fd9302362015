"""What counts as said already, and what gives an answer away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.leak import folded, leaks, shows

SCRIPT = ("二二：走吗？", "去哪里呀", "回家，晚上一起包饺子看电视。", "好。")


def test_space_punctuation_case_and_width_do_not_matter():
    assert folded(" Well… 「OK」，ＡＢＣ１２!\n好～") == "wellokabc12好"
    assert folded("……？！") == ""
    assert folded("ᄀ.ᅡ") == folded("가")


def test_what_was_said_is_shown_whatever_its_punctuation():
    assert shows(SCRIPT, ["回家，晚上 一起包饺子，看电视！"])
    assert shows(SCRIPT, ["去哪里呀？", "回家晚上一起包饺子看电视", "好"])
    assert not shows(SCRIPT, ["去哪里呀？", "好"]), "the turns between were left out"
    assert not shows(["回家"], SCRIPT)


def test_a_long_text_is_shown_by_a_longer_turn_and_a_short_one_only_by_its_own():
    assert shows(SCRIPT, ["晚上一起包饺子看电视"])
    assert not shows(SCRIPT, ["包饺子"])
    assert shows(SCRIPT, ["好"])
    assert not shows(["好的，没问题"], ["好"])
    assert not shows(["I said of course I did"], ["of course"])
    assert shows(["I said of course I would come with you."], ["Of course I would come with you!"])


def test_a_dialogue_leaks_when_it_contains_the_target_or_is_contained():
    assert leaks(SCRIPT, SCRIPT[1:3])
    assert leaks(SCRIPT[1:3], SCRIPT)
    assert not leaks(SCRIPT[:2], SCRIPT[1:])


def test_the_answer_to_a_question_that_was_just_asked_is_not_visible_yet():
    assert not shows(["你是谁"], ["我不清楚具体是谁，但是他们热爱二次元。"])


def test_nothing_said_shows_nothing_and_is_shown_nowhere():
    for silent in ([], [""], ["……", " "]):
        assert not shows(SCRIPT, silent)
        assert not shows(silent, SCRIPT)
        assert not leaks(silent, silent)


def test_one_text_is_no_dialogue():
    with pytest.raises(TypeError, match="sequence of texts"):
        shows(SCRIPT, "好")


words = st.text(alphabet="ab好c1", min_size=1, max_size=12)
dialogues = st.lists(words, min_size=1, max_size=6)
noise = st.text(alphabet=" \n\t,.!?，。！？…「」—~", max_size=4)


@given(dialogues, st.data())
def test_every_run_of_turns_leaks_from_the_whole_however_it_is_punctuated(dialogue, data):
    begin = data.draw(st.integers(0, len(dialogue) - 1))
    end = data.draw(st.integers(begin + 1, len(dialogue)))
    noisy = ["".join(letter + data.draw(noise) for letter in turn.upper()) for turn in dialogue[begin:end]]
    assert shows(dialogue, noisy)
    assert leaks(noisy, dialogue)
    assert leaks(dialogue, noisy)


@given(dialogues, dialogues)
def test_leaking_has_no_direction(one, other):
    assert leaks(one, other) == leaks(other, one) == (shows(one, other) or shows(other, one))


@given(dialogues, dialogues, dialogues)
def test_what_a_part_shows_the_whole_shows(one, two, three):
    assert not (shows(two, three) and not shows([*one, *two], three))


@given(st.text(alphabet="abc你好", min_size=24), st.text(max_size=40), st.text(max_size=40))
def test_a_long_text_is_found_wherever_it_lies(text, before, after):
    assert shows([f"{before} {text} {after}"], [text])


@given(st.text(max_size=60))
def test_folding_twice_changes_nothing(text):
    assert folded(folded(text)) == folded(text)
