"""Prompts: golden files for both languages and layouts, and what gives way when tokens are short."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import PromptTooLong
from models.prompt import MESSAGE_TOKENS, SYSTEM_TOKENS, Layout, Prompt, render
from models.scene import Lore, Message, Scene
from models.window import size

GOLDEN = Path(__file__).parent.parent / "golden"
EN = Scene(
    character="Mara",
    language="en",
    persona="Keeps a lighthouse. {Braces} and {char} are text here.",
    style="Short sentences.",
    scenario="The lamp room.",
    stage="friend",
    stage_persona="Glad to see Ana.",
    user="Ana",
    client_system="Answer in one paragraph.",
    mood="There is sadness in this talk.",
    lore=(Lore("Nobody lights the lamp but Mara.", constant=True), Lore("The storm of '87 took the pier.")),
    lines=("Sailor: Lonely?\nMara: I have the lamp.", "Boy: Hungry?\nMara: Fish."),
    memories=("(2026-11-01) Ana: My cat is Pickle.\nMara: A fine name.",),
    history=(Message("user", "Hello."), Message("assistant", "Come in."), Message("user", "Was there a storm?")),
)
ZH = dataclasses.replace(
    EN,
    character="晚晴",
    language="zh",
    persona="守灯塔的人。",
    style="话短。",
    scenario="灯室里。",
    stage="朋友",
    stage_persona="见到阿安很高兴。",
    user="阿安",
    client_system="只回一段。",
    mood="谈话里透着难过。",
    lore=(Lore("只有晚晴能点灯。", constant=True), Lore("八七年的风暴卷走了码头。")),
    lines=("水手：孤单吗？\n晚晴：我有灯。",),
    memories=("(2026-11-01) 阿安: 我的猫叫泡菜。\n晚晴: 好名字。",),
    history=(Message("user", "你好。"), Message("assistant", "进来吧。"), Message("user", "这里有过风暴吗？")),
)


def rendered(scene: Scene, layout: Layout = "late", budget: int = 100_000, window: int = 40) -> Prompt:
    return render(scene, layout=layout, budget=budget, window=window, count=len)


@pytest.mark.parametrize("layout", ["late", "classic"])
@pytest.mark.parametrize("scene", [EN, ZH], ids=["en", "zh"])
def test_the_prompt_is_the_golden_one(scene: Scene, layout: Layout) -> None:
    text = "\n\n".join(f"<<{m.role}>>\n{m.content}" for m in rendered(scene, layout).messages) + "\n"
    file = GOLDEN / f"prompt.{scene.language}.{layout}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_a_scene_survives_its_json_line() -> None:
    for scene in (EN, ZH):
        assert Scene.from_json(scene.to_json()) == scene


def test_what_does_not_fit_is_skipped_and_what_comes_after_it_still_gets_in() -> None:
    scene = dataclasses.replace(EN, lines=("x" * 5_000, "Boy: Hungry?\nMara: Fish."), memories=())
    prompt = rendered(scene, budget=2_500)
    ledger = {section.name: section for section in prompt.ledger}
    assert (ledger["lines"].kept, ledger["lines"].dropped) == (1, 1)
    assert "Mara: Fish." in prompt.messages[-2].content


def test_constant_lore_is_kept_before_lore_that_fired() -> None:
    long = Lore("y" * 280)
    scene = dataclasses.replace(EN, lore=(long, Lore("The rule.", constant=True)))
    prompt = rendered(scene, budget=1_900)
    assert "The rule." in prompt.messages[0].content
    assert "yyy" not in "".join(message.content for message in prompt.messages)


PLACED = (
    Lore("BEFORE", constant=True, place="before"),
    Lore("FIRED BEFORE", place="before"),
    Lore("ABOVE", place="note_top"),
    Lore("BELOW", place="note_bottom"),
    Lore("OVER LINES", place="examples_top"),
    Lore("UNDER LINES", place="examples_bottom"),
    Lore("AS THE USER", place="depth", depth=1, role="user"),
    Lore("AT THE END", place="depth", depth=0),
    Lore("AND MORE", place="depth", depth=0),
    Lore("AS MARA", place="depth", depth=0, role="assistant"),
)


@pytest.mark.parametrize("layout", ["late", "classic"])
def test_lore_stands_at_its_place(layout: Layout) -> None:
    scene = dataclasses.replace(EN, lore=(*EN.lore, *PLACED), note="The note.", note_depth=2)
    messages = rendered(scene, layout).messages
    first, late = messages[0].content, messages[0 if layout == "classic" else -3].content
    assert first.index("BEFORE") < first.index("Keeps a lighthouse") < first.index("Nobody lights the lamp")
    assert late.index("FIRED BEFORE") < late.index("Glad to see Ana") < late.index("The storm of '87")
    assert late.index("OVER LINES") < late.index("Sailor: Lonely?") < late.index("UNDER LINES")
    told = [(message.role, message.content) for message in messages if message.content is not late]
    assert any(content.endswith("ABOVE\nThe note.\nBELOW") for role, content in told if role == "system")
    assert ("user", "AS THE USER") in told
    assert ("assistant", "AS MARA") in told
    assert told[-1] == ("system", "AT THE END\nAND MORE")
    assert told[-2] == ("user", "Was there a storm?")


def test_lore_at_the_note_is_told_without_a_note() -> None:
    scene = dataclasses.replace(EN, lore=PLACED[2:3])
    assert any(message.content.endswith("ABOVE") for message in rendered(scene).messages[1:-1])


@given(st.integers(1_000, 3_000), st.lists(st.sampled_from(PLACED), max_size=10, unique=True), st.booleans())
def test_lore_at_any_place_is_within_the_budget(budget: int, lore: list[Lore], noted: bool) -> None:
    scene = dataclasses.replace(EN, lore=tuple(lore), note="The note." if noted else "")
    try:
        prompt = rendered(scene, budget=budget)
    except PromptTooLong:
        return
    assert prompt.tokens <= budget
    assert sum(len(message.content) for message in prompt.messages) <= budget


def test_a_prompt_that_can_not_fit_says_how_much_it_needs() -> None:
    with pytest.raises(PromptTooLong, match=r"need \d+ tokens"):
        rendered(EN, budget=200)


def test_a_scene_that_does_not_end_with_the_user_is_refused() -> None:
    with pytest.raises(ValueError, match="ends with the user"):
        rendered(dataclasses.replace(EN, history=EN.history[:2]))


@pytest.mark.parametrize("scene", [EN, ZH], ids=["en", "zh"])
def test_what_a_client_says_late_stays_nearest_to_the_reply_and_out_of_the_stable_prefix(scene: Scene) -> None:
    noted, plain = rendered(dataclasses.replace(scene, client_late="Be cold to Ana.")), rendered(scene)
    assert noted.messages[0] == plain.messages[0]
    *_, note, speak = noted.messages[-2].content.split("\n\n")
    assert note.endswith("\nBe cold to Ana.")
    assert plain.messages[-2].content.endswith(speak)
    assert (
        "Be cold to Ana."
        in rendered(dataclasses.replace(scene, client_late="Be cold to Ana."), "classic").messages[0].content
    )
    assert noted.tokens == plain.tokens + len(note) + 1


@pytest.mark.parametrize("layout", ["late", "classic"])
@pytest.mark.parametrize("scene", [EN, ZH], ids=["en", "zh"])
def test_a_reply_that_is_begun_stands_last_and_changes_nothing_before_it(scene: Scene, layout: Layout) -> None:
    begun = rendered(dataclasses.replace(scene, begun="Once, "), layout)
    plain = rendered(scene, layout)
    assert begun.messages == (*plain.messages, Message("assistant", "Once, "))
    assert begun.tokens == plain.tokens + len("Once, ") + MESSAGE_TOKENS


def test_a_reply_that_is_begun_is_never_cut() -> None:
    with pytest.raises(PromptTooLong):
        rendered(dataclasses.replace(EN, begun="x" * 3_000), budget=2_500)


@given(
    turns=st.integers(0, 60),
    window=st.integers(2, 40),
    budget=st.integers(1_500, 6_000),
    length=st.integers(1, 300),
)
def test_no_prompt_is_over_its_budget_or_window_and_the_last_message_is_always_there(
    turns: int, window: int, budget: int, length: int
) -> None:
    talk = [Message(role, f"{n}" + "z" * length) for n in range(turns) for role in ("user", "assistant")]  # type: ignore[arg-type]
    scene = dataclasses.replace(EN, history=(*talk, Message("user", "And now?")))
    prompt = rendered(scene, budget=budget, window=window)
    assert prompt.tokens <= budget
    assert sum(len(message.content) for message in prompt.messages) <= budget
    assert prompt.messages[-1] == scene.history[-1]
    shown = [message for message in prompt.messages if message.role != "system"]
    assert len(shown) <= window + 1
    assert tuple(shown) == scene.history[len(scene.history) - len(shown) :]
    assert prompt.history_start == len(scene.history) - len(shown)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 200), st.integers(0, 400)), min_size=30, max_size=40))
def test_what_is_recalled_felt_and_noted_moves_no_cut(turns: list[tuple[int, int, int]]) -> None:
    talk: list[Message] = []
    plain, varied = [], []
    for said, mood, told in turns:
        talk.append(Message("user", "s" * said))
        scene = dataclasses.replace(EN, history=tuple(talk), mood="", lines=(), memories=(), lore=())
        plain.append(rendered(scene, budget=6_000, window=1_000))
        more = {"mood": "m" * mood, "client_late": "c" * mood, "memories": ("n" * told,), "lines": ("l" * told,)}
        varied.append(rendered(dataclasses.replace(scene, **more), budget=6_000, window=1_000))  # type: ignore[arg-type]
        talk.append(Message("assistant", "a" * said))
    assert [prompt.history_start for prompt in plain] == [prompt.history_start for prompt in varied]
    assert [prompt.messages[:-2] for prompt in plain] == [prompt.messages[:-2] for prompt in varied]


def test_a_long_context_is_for_the_talk_and_what_is_recalled_still_gets_in() -> None:
    talk = [Message(role, f"{n}" + "z" * 190) for n in range(100) for role in ("user", "assistant")]  # type: ignore[arg-type]
    scene = dataclasses.replace(
        EN, history=(*talk, Message("user", "And now?")), lines=("l" * 700,), memories=("m" * 700,)
    )
    ledger = {section.name: section for section in rendered(scene, budget=20_000, window=1_000).ledger}
    assert ledger["history"].tokens > 20_000 * 0.7
    assert (ledger["lines"].kept, ledger["memories"].kept, ledger["lore"].kept) == (1, 1, 2)


@pytest.mark.parametrize("scene", [EN, ZH], ids=["en", "zh"])
def test_all_who_talk_with_a_character_share_the_beginning_of_their_prompts(scene: Scene) -> None:
    others = dataclasses.replace(scene, user="Bo", user_persona="A sailor.", client_system="Be brief.")
    one, other = (rendered(s).messages[0].content for s in (scene, others))
    shared = scene.scenario
    assert one[: one.index(shared) + len(shared)] == other[: other.index(shared) + len(shared)]
    assert other.index("Bo") > other.index(shared)


def test_a_scene_that_lost_its_beginning_is_cut_where_the_whole_one_is() -> None:
    talk = [Message(role, f"{n}" + "z" * 90) for n in range(40) for role in ("user", "assistant")]  # type: ignore[arg-type]
    whole = dataclasses.replace(EN, history=(*talk, Message("user", "And now?")))
    before = sum(size(message.content) for message in talk[:20])
    part = dataclasses.replace(whole, history=whole.history[20:], before=before)
    assert rendered(part, budget=6_000, window=1_000).messages == rendered(whole, budget=6_000, window=1_000).messages


@pytest.mark.parametrize("layout", ["late", "classic"])
@pytest.mark.parametrize(
    ("depth", "below"), [(0, []), (1, ["D"]), (2, ["C", "D"]), (4, list("ABCD")), (9, list("ABCD"))]
)
def test_the_authors_note_is_told_at_its_depth_and_counted(layout: Layout, depth: int, below: list[str]) -> None:
    history = tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate("XABCD"))[1:]
    history = (*history[:-1], Message("user", "D"))
    plain = dataclasses.replace(EN, history=history)
    prompt = rendered(dataclasses.replace(plain, note="It is {night}.", note_depth=depth), layout)
    place = prompt.messages.index(Message("system", "## Note from the author\nIt is {night}."))
    assert [m.content for m in prompt.messages[place:] if m.role != "system"] == below
    without = rendered(plain, layout)
    assert prompt.tokens == without.tokens + len(prompt.messages[place].content) + SYSTEM_TOKENS
    assert (*prompt.messages[:place], *prompt.messages[place + 1 :]) == without.messages


def test_the_authors_note_in_chinese_has_a_chinese_heading_and_an_empty_one_is_not_told() -> None:
    prompt = rendered(dataclasses.replace(ZH, note="夜深了。"))
    assert prompt.messages[1] == Message("system", "【作者的提示】\n夜深了。")
    assert rendered(dataclasses.replace(ZH, note=" \n")) == rendered(ZH)
