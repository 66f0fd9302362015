"""A teacher is asked patiently, within limits, and nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path

import pytest

from models.completion import seconds_until
from models.engine import EngineBroke, EngineRefused, EngineUnavailable, ParameterRefused, PromptTooLong
from models.example import BadRow
from models.scene import Message
from models.scripted import ScriptedEngine
from models.teacher.answers import Answer, Answers, AnswersTaken
from models.teacher.ask import Patience, Rejected, Teacher
from models.teacher.form import Form, Unreadable, read_form
from models.teacher.parts import Desk, Lost, Part
from models.teacher.spending import Cost, LimitReached, Limits, Prices, Purse
from models.upstream import UpstreamEngine
from tests.peer import Peer


class Card(Form):
    """What the tests ask for."""

    name: str
    traits: tuple[str, ...] = ()


class Names(Form):
    """One list."""

    names: list[str]


def ask(words: str) -> list[Message]:
    return [Message("user", words)]


@pytest.fixture
def answers(tmp_path: Path):
    with Answers(tmp_path / "answers.jsonl") as kept:
        yield kept


@pytest.fixture
async def upstream(peer: Peer) -> AsyncIterator[UpstreamEngine]:
    engine = UpstreamEngine(f"{peer.address}/v1", "mira")
    await engine.start()
    yield engine
    await engine.close()


async def test_an_answer_is_kept_and_never_asked_for_again(answers: Answers, tmp_path: Path):
    engine = ScriptedEngine(["Mara.", "Another."])
    teacher = Teacher(engine, answers)

    same = await asyncio.gather(*(teacher.text(ask("Who?"), 20) for _ in range(3)))
    other = await teacher.text(ask("Who?"), 20, draw=1)
    answers.close()
    with Answers(tmp_path / "answers.jsonl") as again:
        kept = await Teacher(ScriptedEngine(), again).text(ask("Who?"), 20)

    assert (same, other, kept) == (["Mara."] * 3, "Another.", "Mara.")
    assert len(engine.asked) == 2
    assert teacher.purse.spent == Cost(2, 8, 13)
    assert teacher.used == teacher.purse.spent


async def test_a_line_that_a_crash_cut_off_is_dropped_and_one_before_it_is_named(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    with Answers(path) as answers:
        answers.add("a", Answer("一", "stop", 1, 1))
        answers.add("b", Answer("two", "stop", 1, 1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])

    with Answers(path) as answers:
        assert (answers.get("a"), answers.get("b")) == (Answer("一", "stop", 1, 1), None)
        answers.add("b", Answer("two", "stop", 1, 1))
    assert path.read_bytes() == whole
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(BadRow, match="line 1: this is no answer"):
        Answers(path)


def test_two_runs_do_not_write_one_file(answers: Answers):
    with pytest.raises(AnswersTaken, match="Another run"):
        Answers(answers.path)


async def test_faults_are_waited_out_longer_each_time_and_then_told(answers: Answers):
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    gone = EngineUnavailable("gone")
    engine = ScriptedEngine([gone, ("half of i", EngineBroke("died")), "whole", gone, gone, gone])
    teacher = Teacher(engine, answers, patience=Patience(3, first=1.0), wait=wait)

    assert await teacher.text(ask("a"), 20) == "whole"
    assert 0.75 <= waited[0] <= 1.25
    assert 1.5 <= waited[1] <= 2.5
    with pytest.raises(EngineUnavailable, match="gone"):
        await teacher.text(ask("b"), 20)
    assert len(waited) == 4


async def test_a_server_that_limits_rates_is_left_alone_as_long_as_it_says(
    answers: Answers, upstream: UpstreamEngine, peer: Peer
):
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    said = iter([(429, {"retry-after": "7"}), "Mara.", (503, {"retry-after": "86400"})])
    peer.answering = lambda _: next(said)
    teacher = Teacher(upstream, answers, wait=wait)

    assert await teacher.text(ask("Who?"), 20) == "Mara."
    assert waited == [7.0]
    with pytest.raises(EngineUnavailable) as told:
        await teacher.text(ask("And you?"), 20)
    assert told.value.retry_after == 86400


def test_retry_after_is_seconds_or_a_date():
    assert seconds_until("12", now=0) == 12
    assert seconds_until(formatdate(1_000_030, usegmt=True), now=1_000_000) == 30
    assert seconds_until(formatdate(1_000_000, usegmt=True), now=1_000_030) == 0
    assert seconds_until("soon", now=0) is None
    assert seconds_until("", now=0) is None


async def test_a_limit_is_never_overrun_by_what_is_under_way(answers: Answers):
    engine = ScriptedEngine([f"reply {number}" for number in range(9)])
    teacher = Teacher(engine, answers, Purse(Limits(tokens=100)), at_once=9)

    told = await asyncio.gather(*(teacher.text(ask(f"q{n}"), 30) for n in range(9)), return_exceptions=True)

    assert teacher.purse.spent.tokens <= 100
    assert sum(isinstance(one, str) for one in told) == len(engine.asked) > 3
    assert {str(one).split(":")[0] for one in told if not isinstance(one, str)} == {
        "The limit of 100 tokens is reached"
    }


async def test_money_follows_from_prices(answers: Answers):
    purse = Purse(Limits(money=0.001), Prices(prompt=1.0, completion=10.0))
    teacher = Teacher(ScriptedEngine(["x" * 40, "y"]), answers, purse)

    await teacher.text(ask("ab"), 90)

    assert purse.prices.of(purse.spent) == pytest.approx(0.000402)
    with pytest.raises(LimitReached, match="in money"):
        await teacher.text(ask("abc"), 90)


async def test_json_is_read_with_tolerance_and_asked_for_once_more(answers: Answers):
    engine = ScriptedEngine(["Here you go: {nonsense", '```json\n{"name": " 玛拉 ",}\n```'], abilities=frozenset())
    teacher = Teacher(engine, answers)

    card = await teacher.form(Card, ask("谁？"), 40, language="zh")

    assert card == Card(name="玛拉")
    assert [said.role for said in engine.asked[1].messages] == ["user", "assistant", "user"]
    assert "无法读取" in engine.asked[1].messages[-1].content


async def test_a_teacher_that_only_talks_nonsense_costs_a_row(answers: Answers):
    engine = ScriptedEngine(["what?", '{"title": 1}', "", ""], abilities=frozenset())
    teacher = Teacher(engine, answers)

    with pytest.raises(Rejected, match="broken JSON: name: Field required"):
        await teacher.form(Card, ask("a"), 40, language="en")
    with pytest.raises(Rejected, match="empty answer"):
        await teacher.form(Card, ask("b"), 40, language="en")


async def test_empty_and_cut_replies_are_asked_for_once_more(answers: Answers):
    engine = ScriptedEngine(["", "Now.", "x" * 50, "y" * 50, "<think>only thoughts</think>", ""])
    teacher = Teacher(engine, answers)

    assert await teacher.text(ask("a"), 40) == "Now."
    assert engine.asked[0].sampling.seed != engine.asked[1].sampling.seed
    with pytest.raises(Rejected, match="cut off"):
        await teacher.text(ask("b"), 40)
    with pytest.raises(Rejected, match="empty answer"):
        await teacher.text(ask("c"), 40)


async def test_a_schema_is_given_where_the_engine_takes_one(answers: Answers):
    engine = ScriptedEngine(['{"name": "a"}', ParameterRefused("no schemas here"), '{"name": "b"}', '{"name": "c"}'])
    teacher = Teacher(engine, answers)

    names = [(await teacher.form(Card, ask(who), 40, language="en")).name for who in "abc"]

    assert names == ["a", "b", "c"]
    formats = [one.sampling.response_format for one in engine.asked]
    assert formats[0]
    assert formats[0]["json_schema"]["schema"]["additionalProperties"] is False
    assert [bool(form) for form in formats] == [True, True, False, False]


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('["……", "He said nothing."]', ["……", "He said nothing."]),
        ('Sure!\n{"names": ["a\nb"]} Anything else?', ["a\nb"]),
        ('[1] {"names": ["it fits"], "note": "more"}', ["it fits"]),
        ('{"names": ["a",],}', ["a"]),
    ],
)
def test_what_stands_around_an_answer_is_passed_over(answer: str, read: list[str]):
    assert read_form(Names, answer).names == read


@pytest.mark.parametrize(
    "answer", ["", "none", "[" * 100_000, '{"names": "a"}', '{"names": [1', "{}", '{"names": ["…"]}']
)
def test_what_does_not_fit_is_told(answer: str):
    with pytest.raises(Unreadable):
        read_form(Names, answer)


async def test_parts_keep_their_order_and_lose_what_cannot_be_had(answers: Answers):
    told: list[tuple[str, int, int]] = []
    engine = ScriptedEngine(["one", PromptTooLong("long"), "three"])
    desk = Desk(Teacher(engine, answers, at_once=1), lambda *far: told.append(far))

    async def work(name: str) -> list[str | Lost]:
        return [await desk.teacher.text(ask(name), 20), Lost(name, "half")]

    made = await desk.through("rows", [Part[str](name, lambda name=name: work(name)) for name in "abc"])

    assert made.rows == ["one", "three"]
    assert [(one.row, one.reason) for one in made.lost] == [
        ("a", "half"),
        ("b", "too long for the teacher"),
        ("c", "half"),
    ]
    assert told == [("rows", n, 3) for n in range(4)]


async def test_what_is_under_way_is_kept_when_the_work_ends_early(answers: Answers):
    engine = ScriptedEngine([f"reply {number}" for number in range(9)])
    desk = Desk(Teacher(engine, answers, Purse(Limits(requests=4)), at_once=3))

    async def work(name: str) -> list[str | Lost]:
        return [await desk.teacher.text(ask(name), 20)]

    with pytest.raises(LimitReached, match="4 requests"):
        await desk.through("rows", [Part[str](str(n), lambda n=n: work(str(n))) for n in range(9)])
    assert len(answers) == len(engine.asked) == 4


async def test_a_wrong_key_ends_the_work_at_once(answers: Answers):
    engine = ScriptedEngine([EngineRefused("Check the API key.")])

    with pytest.raises(EngineRefused, match="API key"):
        await Teacher(engine, answers).text(ask("a"), 20)
    assert len(engine.asked) == 1


async def test_a_teacher_that_refuses_everything_ends_the_work(answers: Answers):
    engine = ScriptedEngine([ParameterRefused("max_tokens")] * 9)
    desk = Desk(Teacher(engine, answers, at_once=2))

    async def work(name: str) -> list[str | Lost]:
        return [await desk.teacher.text(ask(name), 20)]

    with pytest.raises(ParameterRefused):
        await desk.through("rows", [Part[str](str(n), lambda n=n: work(str(n))) for n in range(9)])
    assert len(engine.asked) < 9
