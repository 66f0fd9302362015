"""Answers are kept as they come, so a run that broke off goes on where it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.engine import EngineBroke, EngineRefused, EngineUnavailable, PromptTooLong, Sampling
from models.judging import asking
from models.judging.asking import Answer, Answers, Asked, Question
from models.scene import Message, Scene
from models.scripted import THOUGHT, ScriptedEngine

REPLIES = ("The lamp is lit.", "Mind the third step.", "Fog by evening, I think.", "No boats today.")


def question(text: str) -> Question:
    return Question((Message("user", text),), Sampling(max_tokens=40, temperature=0.0))


def asked(engine: ScriptedEngine, folder: Path, at_once: int = 1) -> Asked:
    return Asked(engine, "scripted", Answers(folder), at_once)


def cut_short(folder: Path) -> None:
    (file,) = folder.rglob("*.json")
    file.write_text(file.read_text("utf-8")[:20], "utf-8")


QUESTIONS = [question(text) for text in ("Who is there?", "May I come up?", "And the weather?", "Any boats?")]


async def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    first = await asked(ScriptedEngine(REPLIES), tmp_path).ask(QUESTIONS)
    silent = ScriptedEngine()
    again = await asked(silent, tmp_path).ask(QUESTIONS)
    assert [answer.text for answer in again] == list(REPLIES)
    assert again == first
    assert silent.asked == []


async def test_other_sampling_and_another_engine_have_answers_of_their_own(tmp_path: Path) -> None:
    engine = ScriptedEngine(REPLIES)
    await asked(engine, tmp_path).ask(QUESTIONS[:1])
    warm = Question(QUESTIONS[0].messages, Sampling(max_tokens=40, temperature=1.0))
    await asked(engine, tmp_path).ask([warm])
    await Asked(engine, "another", Answers(tmp_path)).ask(QUESTIONS[:1])
    assert len(engine.asked) == 3


async def test_a_run_goes_on_after_the_engine_broke(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await asked(ScriptedEngine([*REPLIES[:2], EngineBroke("It fell over.")]), tmp_path).ask(QUESTIONS)
    assert raised.group_contains(EngineBroke)
    rest = ScriptedEngine(REPLIES[2:])
    answers = await asked(rest, tmp_path).ask(QUESTIONS)
    assert [answer.text for answer in answers] == list(REPLIES)
    assert len(rest.asked) == 2


async def test_an_engine_that_is_away_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    engine = ScriptedEngine([EngineUnavailable("Loading."), REPLIES[0]])
    assert [a.text for a in await asked(engine, tmp_path).ask(QUESTIONS[:1])] == [REPLIES[0]]
    gone = ScriptedEngine()
    with pytest.raises(ExceptionGroup):
        await asked(gone, tmp_path).ask(QUESTIONS[1:2])
    assert len(gone.asked) == asking.TRIES


async def test_a_refusal_is_an_answer_that_is_not_kept(tmp_path: Path) -> None:
    engine = ScriptedEngine([EngineRefused("It may not say that."), *REPLIES[:2]])
    first, second = await asked(engine, tmp_path).ask(QUESTIONS[:2])
    assert first == Answer("", refused="It may not say that.")
    assert second.text == REPLIES[0]
    assert (await asked(engine, tmp_path).ask(QUESTIONS[:1]))[0].text == REPLIES[1]


async def test_an_engine_that_refuses_everybody_ends_the_run_and_one_whose_prompts_are_too_long_does_not(
    tmp_path: Path,
) -> None:
    locked = ScriptedEngine([EngineRefused("Check the API key.")] * len(QUESTIONS))
    with pytest.raises(ExceptionGroup) as raised:
        await asked(locked, tmp_path).ask(QUESTIONS)
    assert "Check the API key." in str(raised.value.exceptions[0])
    assert len(locked.asked) == 2, "one question at a time, and one more"
    with pytest.raises(EngineRefused, match="Check the API key"):
        await asked(ScriptedEngine([EngineRefused("Check the API key.")]), tmp_path).ask(QUESTIONS[:1])
    small = ScriptedEngine([PromptTooLong("Too long.")] * len(QUESTIONS))
    assert await asked(small, tmp_path).ask(QUESTIONS) == [Answer("", refused="Too long.")] * len(QUESTIONS)


async def test_a_server_that_says_when_to_come_back_is_waited_for_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asking.asyncio, "sleep", sleep)
    engine = ScriptedEngine([EngineUnavailable("Busy.", 20.0), REPLIES[0], EngineUnavailable("Busy.", 3600.0)])
    (answer,) = await asked(engine, tmp_path).ask(QUESTIONS[:1])
    assert answer.text == REPLIES[0]
    with pytest.raises(ExceptionGroup):
        await asked(engine, tmp_path).ask(QUESTIONS[1:2])
    assert (20.0 in slept, 3600.0 in slept) == (True, False)


async def test_a_damaged_file_is_asked_for_anew(tmp_path: Path) -> None:
    await asked(ScriptedEngine(REPLIES), tmp_path).ask(QUESTIONS[:1])
    cut_short(tmp_path)
    assert (await asked(ScriptedEngine(REPLIES[1:]), tmp_path).ask(QUESTIONS[:1]))[0].text == REPLIES[1]


async def test_no_more_questions_are_under_way_than_allowed(tmp_path: Path) -> None:
    open_ = asyncio.Event()
    engine = ScriptedEngine(REPLIES, pace=open_)
    run = asyncio.create_task(asked(engine, tmp_path, at_once=2).ask(QUESTIONS))
    while len(engine.asked) < 2:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(engine.asked) == 2
    open_.set()
    assert len(await run) == 4


async def test_a_question_that_comes_twice_is_asked_once_and_told_twice(tmp_path: Path) -> None:
    engine, told = ScriptedEngine(REPLIES), list[int]()
    answers = await asked(engine, tmp_path).ask([QUESTIONS[0], QUESTIONS[0]], lambda: told.append(1))
    await asyncio.sleep(0)
    assert (len(engine.asked), len(answers), len(told)) == (1, 2, 2)


async def test_thoughts_are_no_part_of_an_answer_and_the_first_token_is(tmp_path: Path) -> None:
    engine = ScriptedEngine([f"{THOUGHT}hm{THOUGHT}<think>well</think>Yes."])
    likely = Question(QUESTIONS[0].messages, Sampling(max_tokens=60, logprobs=2))
    (answer,) = await asked(engine, tmp_path).ask([likely])
    assert answer.text == "Yes."
    assert len(answer.first) == 2
    assert (await asked(ScriptedEngine(), tmp_path).ask([likely])) == [answer]


async def test_a_character_of_a_server_is_sent_the_talk_alone_and_others_the_whole_prompt(tmp_path: Path) -> None:
    scene = Scene("Mara", "en", "Keeps a lighthouse.", history=(Message("user", "Hungry?"),))
    served = Asked(ScriptedEngine(name="char/mara"), "s", Answers(tmp_path))
    bare = Asked(ScriptedEngine(), "b", Answers(tmp_path))
    assert (await served.question(scene, Sampling())).messages == scene.history
    assert "Keeps a lighthouse." in (await bare.question(scene, Sampling())).messages[0].content


KILLED = """
import asyncio, sys
from pathlib import Path
from test_asking import QUESTIONS, REPLIES, asked
from models.scripted import ScriptedEngine

class Stuck(ScriptedEngine):
    async def _wait(self):
        if len(self.asked) > 2:
            print("stuck", flush=True)
            await asyncio.Event().wait()

asyncio.run(asked(Stuck(REPLIES), Path(sys.argv[1])).ask(QUESTIONS))
"""


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(Path(__file__).parent)])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"stuck\n"
        run.send_signal(signal.SIGKILL)
    rest = ScriptedEngine(REPLIES[2:])
    answers = asyncio.run(asked(rest, tmp_path).ask(QUESTIONS))
    assert [answer.text for answer in answers] == list(REPLIES)
    assert len(rest.asked) == 2
