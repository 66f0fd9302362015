"""Emotions asked of the language model: the question, the answer's form, and what happens to bad answers."""

import json

import numpy as np
import pytest

from app.emotions.by_model import ask_model, read_answer
from models.engine import EngineBroke, ParameterRefused
from models.local import LocalEngine
from models.scripted import ScriptedEngine
from retrieval.emotion import EMOTIONS


def test_scores_from_1_to_10_become_intensities_and_missing_ones_are_1():
    read = read_answer('[{"dim": "joy", "score": 10}, {"dim": "anger", "score": 4, "analysis": "hm"}]')
    assert read[EMOTIONS.index("joy")] == 1
    assert read[EMOTIONS.index("anger")] == pytest.approx(1 / 3)
    assert np.count_nonzero(read) == 2
    assert read_answer("[]").max() == 0


def test_a_fence_around_the_list_is_allowed():
    assert read_answer('```json\n[{"dim": "fear", "score": 10}]\n```')[EMOTIONS.index("fear")] == 1


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "joy: 7",
        '{"dim": "joy", "score": 7}',
        '[{"dim": "joy", "score": 7}',
        '[{"dim": "joy", "score": 7}] I hope that helps',
        '[{"dim": "hope", "score": 7}]',
        '[{"dim": ["joy"], "score": 7}]',
        '[{"dim": "joy", "score": 0}]',
        '[{"dim": "joy", "score": 11}]',
        '[{"dim": "joy", "score": "7"}]',
        '[{"dim": "joy", "score": true}]',
        '[{"dim": "joy", "score": NaN}]',
        '[{"dim": "joy", "score": 7}, {"dim": "joy", "score": 2}]',
        "[7, 1, 1, 1, 1, 1, 1, 1]",
        "[" * 100_000,
    ],
)
def test_an_answer_of_another_form_is_not_guessed_at(answer):
    assert read_answer(answer) is None


async def test_each_text_is_asked_about_and_an_unreadable_answer_is_flat_and_counted(caplog):
    replies = ['<think>Hm.</think>[{"dim": "joy", "score": 10}]', "It is happy.", '[{"dim": "fear", "score": 5.5}]']
    engine = ScriptedEngine(replies, abilities=frozenset())
    heard = await ask_model(engine, ["hooray", "hm", "eek" * 1000])
    assert heard.dtype == np.float32
    assert heard[:, [EMOTIONS.index("joy"), EMOTIONS.index("fear")]].tolist() == [[1, 0], [0, 0], [0, 0.5]]
    assert [asked.messages[-1].content for asked in engine.asked] == ["hooray", "hm", ("eek" * 1000)[:2000]]
    assert "1 of 3" in caplog.text


async def test_an_engine_that_can_keeps_to_a_schema_with_bounds():
    engine = ScriptedEngine([json.dumps(dict.fromkeys(EMOTIONS, 1) | {"joy": 10}), json.dumps({"joy": 10})])
    heard = await ask_model(engine, ["hooray", "hm"])
    assert heard[:, EMOTIONS.index("joy")].tolist() == [1, 0]
    schema = engine.asked[0].sampling.response_format["json_schema"]["schema"]
    assert schema["required"] == list(EMOTIONS)
    assert all(kind == {"type": "integer", "minimum": 1, "maximum": 10} for kind in schema["properties"].values())


async def test_a_server_that_turns_the_schema_down_is_asked_without_one_and_the_log_says_so(caplog):
    engine = ScriptedEngine([ParameterRefused("no schemas"), '[{"dim": "joy", "score": 10}]', "[]"])
    heard = await ask_model(engine, ["hooray"])
    assert heard[0].max() == 1
    assert [asked.sampling.response_format is None for asked in engine.asked] == [False, True]
    assert "no schemas" in caplog.text


async def test_no_texts_need_no_answer():
    assert (await ask_model(ScriptedEngine(), [])).shape == (0, 8)


async def test_an_engine_that_breaks_is_not_taken_for_an_answer():
    with pytest.raises(EngineBroke):
        await ask_model(
            ScriptedEngine(["[]", EngineBroke("gone"), "[]"], abilities=frozenset()), ["one", "two", "three"]
        )


async def test_the_packaged_models_answer_keeps_to_the_schema(weights_home, caplog):
    engine = LocalEngine(None, weights_home, context_length=1024, max_streams=2)
    await engine.start()
    try:
        heard = await ask_model(engine, ["I am so happy today!", "我好害怕"])
    finally:
        await engine.close()
    assert "could not be read" not in caplog.text
    assert heard.shape == (2, 8)
    assert ((heard >= 0) & (heard <= 1)).all()
