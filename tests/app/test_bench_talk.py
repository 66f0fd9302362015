"""The clients of the benchmarks that talk over HTTP, against a real server."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.bench.cache import Turn, measure, told
from app.bench.crowd import Address, crowd
from app.bench.talk import said, say
from app.characters.samples import add_samples
from app.services import Services
from models.scripted import ScriptedEngine


@pytest.fixture
async def http(address: str, mira: dict[str, Any]):
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        (await http.post("/api/characters", json=mira)).raise_for_status()
        yield http


async def test_an_answer_is_heard_with_its_usage_and_its_trace(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies.append("Mind the ropes.")
    engine.cached_tokens = 5
    body = {"model": "char/mira", "messages": [{"role": "user", "content": "Hello."}], "moodline": {"trace": True}}
    heard = await say(http, body)
    assert heard.text == "Mind the ropes."
    assert 0 < heard.first <= heard.whole
    assert heard.cached_tokens == 5 < heard.prompt_tokens
    assert {"fixed", "present", "lore", "memories", "lines", "history"} == set(heard.moodline["prompt_tokens"])
    assert heard.headers["x-moodline-turn"]


async def test_a_refusal_is_told(http: httpx.AsyncClient) -> None:
    with pytest.raises(OSError, match="404"):
        await say(http, {"model": "char/nobody", "messages": [{"role": "user", "content": "Hello."}]})


async def test_a_crowd_tells_first_texts_ends_tokens_and_turns(http: httpx.AsyncClient, engine: ScriptedEngine) -> None:
    engine.replies += ["晚晴。", "x", "y z"]
    options = {"include_usage": True}

    def body(number: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"Hello {number}."}]
        more = {"user": f"u{number}", "stream": True, "stream_options": options}
        return {"model": "char/mira", "messages": messages} | more

    done = await crowd(Address(http.base_url.port or 0), 2, 3, body)
    assert sorted(done.tokens) == [1, 3, 3]
    assert len(done.first) == len(done.whole) == 3
    assert all(first <= whole for first, whole in zip(done.first, done.whole, strict=True))
    assert sorted(done.turns) == [0, 1, 2]


def test_no_two_turns_say_the_same() -> None:
    texts = [said(turn, words) for words in (1, 20, 300) for turn in range(40 if words > 20 else 16)]
    assert len(set(texts[-40:])) == 40
    assert all(len(said(turn, 300).split()) >= 300 for turn in range(5))


async def test_the_cache_is_measured_of_every_system_turn_by_turn(
    services: Services, address: str, engine: ScriptedEngine
) -> None:
    await add_samples(services.db)
    engine.replies += [
        f"{word} it is." for word in ("Fog", "Rain", "Hail", "Sleet", "Snow", "Frost", "Dew", "Mist", "Haze", "Sun")
    ]
    talks = await measure(httpx.URL(address).port or 0, 2, 5, {"max_tokens": 40})
    assert not engine.replies
    assert {name: len(talk.turns) for name, talk in talks.items()} == dict.fromkeys(
        ("late", "classic", "plain", "kept", "bare"), 2
    )
    for name in ("late", "classic", "plain"):
        first, second = talks[name].turns
        assert 0 < second.late < second.prompt
        assert first.history < second.history


def test_what_is_told_late_is_no_part_of_what_could_be_cached() -> None:
    turns = [Turn(100, 0, 20, 30, 0.1), Turn(150, 64, 20, 80, 0.1), *[Turn(200, 150, 50, 500, 0.2)] * 3]
    numbers = told([*turns, Turn(200, 200, 50, 500, 0.4, again=True), Turn(200, 75, 50, 500, 0.4)])
    assert numbers["cached_of_card_and_talk"] == pytest.approx((3 + 0.5) / 4)
    assert (numbers["begun_anew"], numbers["left_out"]) == (1, 1)
    assert numbers["computed_tokens"] == pytest.approx((50 * 3 + 125) / 4)
    assert numbers["first_ms@500"] == pytest.approx(200)
