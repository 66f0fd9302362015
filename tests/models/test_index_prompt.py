"""Index-1.9B's own prompt: the published one byte for byte, and what its code gets wrong done right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import PromptTooLong
from models.index_prompt import INDEX_CHARACTERS, index_prompt
from models.scene import Message, Scene

SCENE = Scene(
    character="晚晴",
    language="zh",
    persona="守灯塔的人。",
    lines=("水手：孤单吗？\n晚晴：我有灯。", "孩子：饿吗？\n晚晴：有鱼。"),
    history=(Message("user", "你好。"), Message("assistant", "进来吧。"), Message("user", "这里有过风暴吗？")),
)


def load(bench_data: Path, name: str) -> Any:
    file = bench_data / "index_sansan" / name
    if not file.is_file():
        pytest.skip(f"no {file}; set MOODLINE_BENCH_DATA to a folder with index_sansan")
    return json.loads(file.read_text(encoding="utf-8"))[0]


def test_the_golden_hits_render_the_golden_prompt(bench_data: Path) -> None:
    golden = load(bench_data, "三三_rag.json")
    user = golden["user_name"]
    scene = Scene(
        character=golden["role_name"],
        language="zh",
        persona=golden["role_info"],
        user=user,
        lines=tuple("\n".join(turns) for _, turns in golden["retrieve_results"]),
        history=tuple(Message("user", said.removeprefix(f"{user}:")) for said in golden["dialog"]),
    )
    expected = load(bench_data, "三三_测试问题.json")["input_text"]
    assert index_prompt(scene, budget=INDEX_CHARACTERS, count=len) == expected
    assert len(scene.lines) == 20


def test_the_words_are_those_of_the_published_template(bench_data: Path) -> None:
    file = bench_data / "index_sansan" / "dataset_character.txt"
    if not file.is_file():
        pytest.skip(f"no {file}; set MOODLINE_BENCH_DATA to a folder with index_sansan")
    expected = file.read_text(encoding="utf-8").strip()
    for name, text in (
        ("role_info", f"以下是晚晴的人设：\n{SCENE.persona}\n"),
        ("role_name", SCENE.character),
        ("user_name", "user"),
        ("simi_dialog", f"{SCENE.lines[0]}\n{'-' * 20}\n{SCENE.lines[1]}"),
        ("dialog", "user:你好。\n晚晴:进来吧。\nuser:这里有过风暴吗？"),
    ):
        expected = expected.replace(f"${{{name}}}", text)
    assert index_prompt(SCENE, budget=INDEX_CHARACTERS, count=len) == expected


def changed(**fields: Any) -> Scene:
    return Scene(
        **{"character": "晚晴", "language": "zh", "persona": "守灯塔的人。", "history": SCENE.history} | fields
    )


def test_a_line_that_does_not_fit_is_passed_over_and_the_next_still_gets_in() -> None:
    prompt = index_prompt(changed(lines=(SCENE.lines[0], "长" * 5_000, SCENE.lines[1])), budget=600, count=len)
    assert prompt == index_prompt(SCENE, budget=600, count=len)


def test_a_line_that_repeats_is_shown_once() -> None:
    repeated = changed(lines=(*SCENE.lines, SCENE.lines[0] + "\n"))
    assert index_prompt(repeated, budget=4_000, count=len) == index_prompt(SCENE, budget=4_000, count=len)


def test_nothing_is_substituted_into_what_was_said() -> None:
    history = (Message("user", "三三: ${role_name} ${user_name} {name}"),)
    assert "\nuser:三三: ${role_name} ${user_name} {name}\n晚晴:" in index_prompt(
        changed(history=history), budget=4_000, count=len
    )


def test_a_prompt_that_can_not_fit_says_how_much_it_needs() -> None:
    with pytest.raises(PromptTooLong, match=r"needs \d+ of a budget of 100"):
        index_prompt(SCENE, budget=100, count=len)


@given(st.lists(st.text(max_size=200), max_size=8), st.integers(250, 1_500))
def test_no_prompt_is_over_its_budget(lines: list[str], budget: int) -> None:
    assert len(index_prompt(changed(lines=tuple(lines)), budget=budget, count=len)) <= budget
