"""Builders without a teacher: what they write, and that it renders, on small files and on the published ones."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from models.data import characterglm, coser, lccc, mirau, multiturn, qa, stylechat
from models.data.leaks import shown
from models.data.script import Line, Script, Staged, read_script
from models.example import BadRow, Example
from models.prompt import render
from models.scene import Message
from models.thoughts import without_thoughts

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
SCENE = Staged(
    "1",
    (
        Line("Cassio", "Where is she?"),
        Line("", "A bell rings."),
        Line("Iago", "Gone, my lord.", "bows", "Not for long."),
        Line("Cassio", "Find her.", "", "I fear him."),
        Line("Iago", "I will."),
    ),
    "A street in Venice.",
    {"Iago": "Revenge.", "Cassio": "Shame."},
    {"Iago": "An ensign.", "Cassio": "A lieutenant."},
)
PLAY = Script("play", (SCENE,), {"Iago": "A schemer."})


def data(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"needs {DATA / name} (set MOODLINE_BENCH_DATA)")
    return DATA / name


def file(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), "utf-8")
    return path


@pytest.mark.parametrize(
    ("build", "row"),
    [
        (lambda path: qa.rolebench(path, str), {"role": "皇帝", "question": "谁？", "generated": ["朕。"]}),
        (
            lambda path: stylechat.rows([path], {}, ["answer"]),
            {"context": "Ann: Hi.\nBob:", "style": "Formal", "response": "Good day."},
        ),
    ],
)
def test_rows_of_an_array_in_one_line_have_names_of_their_own(build, row: dict[str, object], tmp_path: Path):
    made = list(build(file(tmp_path, "rows.json", json.dumps([row, row]))))

    assert [one.id.split("-")[1] for one in made] == ["1", "2"]


def test_a_character_of_coser_knows_its_own_thoughts_and_nobody_elses():
    rows = list(coser.scenes(PLAY))

    first, last = (row for row in rows if row.scene.character == "Iago")
    assert first.reply == "[Not for long.] (bows) Gone, my lord."
    assert [said.content for said in last.scene.history] == [
        "Where is she?\n(A bell rings.)",
        "(bows) Gone, my lord.",
        "Find her.",
    ]
    assert (first.scene.persona, first.scene.scenario) == ("A schemer.", "A street in Venice.")
    assert [lore.text for lore in first.scene.lore] == ["Cassio: A lieutenant."]
    assert "[square brackets]" in first.scene.style
    for row in rows:
        own = row.to_json()
        assert ("Revenge" in own, "Shame" in own) == (row.scene.character == "Iago", row.scene.character == "Cassio")
        assert "I fear him" not in own or row.scene.character == "Cassio"
    assert not any("[" in said.content for row in rows for said in row.scene.history)


def test_a_story_of_mirau_is_told_in_the_first_person_and_hides_its_thought():
    (row,) = mirau.stories(PLAY, "Iago")

    assert row.scene.rules.startswith("I am Iago.\nThis is what is said of me: A schemer.")
    assert "This is where I am now: A street in Venice.\nRevenge." in row.scene.rules
    assert row.reply == "<think>\nNot for long.\n</think>\n\n(bows) Gone, my lord."
    assert row.scene.history[-1].content.endswith("(A bell rings.)")
    prompt = render(row.scene, layout="classic", budget=10**6, window=9, count=len).messages[0].content
    assert "You are Iago" not in prompt
    silent = Script("p", (Staged("1", (Line("A", "Hm?"), Line("B", "No."))),))
    with pytest.raises(ValueError, match="nothing of what B thinks"):
        list(mirau.stories(silent, "B"))


def test_a_style_is_answered_in_recited_and_moved_to(tmp_path: Path):
    context = "Person A: Do you like tea ?\nPerson B: It ' s fine .\nPerson A: And coffee ?\nPerson B: \n"
    rows = [{"context": context, "response": f"{style} coffee.", "style": style} for style in ("Blog", "Formal")]
    path = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    profile = {"name": "Formal", "description": "Stiff.", "examples": ["Indeed."], "observation": {"Diction": "Long."}}
    known = {"Formal": stylechat.read_profile(file(tmp_path, "Formal.json", profile))}

    made = {row.id: row for row in stylechat.rows([path], known, ["answer", "recite", "transfer"])}

    assert list(made) == ["rows-1-answer", "rows-2-answer", "rows-2-recite", "rows-2-from-rows-1"]
    answer, recite, moved = (made[name] for name in list(made)[1:])
    assert [said.content for said in answer.scene.history] == ["Do you like tea?", "It's fine.", "And coffee?"]
    assert [said.role for said in answer.scene.history] == ["user", "assistant", "user"]
    assert "Stiff.\nExamples:\n- Indeed.\nPattern:\n- Diction: Long." in answer.scene.style
    assert "Stiff" not in recite.scene.style
    assert recite.reply.startswith("<think>\nThe Formal style: Stiff.")
    assert without_thoughts(recite.reply).strip() == "Formal coffee."
    assert (moved.scene.history[0].content.endswith("Blog coffee."), moved.reply) == (True, "Formal coffee.")
    assert len({row.group for row in made.values()}) == 1


def test_a_card_is_told_in_four_ways_with_all_it_says(tmp_path: Path):
    info = "阿月，十七岁。喜欢下棋。平时寡言少语。小时候曾走失过。"
    cards = {
        "阿月": {"bot_info": info, "user_name": "用户", "bot_name": "阿月", "greeting": "嗯？"},
        "x": {"bot_info": "a"},
    }

    rows = list(characterglm.cards(file(tmp_path, "c.json", cards)))

    assert [row.reply for row in rows] == ["嗯？"] * 4
    assert len({row.scene.persona for row in rows}) == 4
    assert {row.group for row in rows} == {"阿月"}
    for row in rows:
        for sentence in ("十七岁", "喜欢下棋", "平时寡言少语", "曾走失过"):
            assert sentence in row.scene.persona
    assert "兴趣：喜欢下棋。" in rows[1].scene.persona
    english = characterglm.paraphrases("Ana", "Ana is a nurse. She likes tea. She always hums.")
    assert "Interests: She likes tea." in english[1]


def test_a_card_of_manners_gives_nothing_away(tmp_path: Path):
    talks = {"train": [["在 吗 ？", "在 呀 ～", "吃 了 没", "吃 啦 ， 哈 哈"], ["一 句"], ["a", "b", "c"]]}

    first, second = lccc.chats(file(tmp_path, "t.json", talks))

    assert [said.content for said in first.scene.history] == ["在吗？", "在呀～", "吃了没"]
    assert first.reply == "吃啦，哈哈"
    assert "句尾常带语气词" in first.scene.persona
    assert "吃" not in first.scene.persona
    assert (second.reply, first.learn) == ("b", "talk")
    assert lccc.unspaced("我 在 看 Harry Potter 呢") == "我在看Harry Potter呢"


def test_questions_come_with_what_is_known(tmp_path: Path):
    facts = file(tmp_path, "Ana_Bell.txt", "Ana was born in 1900.\tWhen were you born?\tIn 1900.\n")
    bench = {"role": "皇帝", "question": " 您累吗？ ", "generated": ["朕不累。"], "type": "script_based"}
    rows = file(tmp_path, "r.jsonl", json.dumps(bench))

    (fact,) = qa.character100(facts)
    (asked,) = qa.rolebench(rows, {"皇帝": "一国之君"}.__getitem__)

    assert (fact.scene.character, fact.scene.lore[0].text, fact.reply) == (
        "Ana Bell",
        "Ana was born in 1900.",
        "In 1900.",
    )
    assert (asked.scene.persona, asked.scene.history[0].content, asked.reply) == ("一国之君", "您累吗？", "朕不累。")
    with pytest.raises(ValueError, match="no row of '甄嬛'"):
        list(qa.rolebench(rows, str, "甄嬛"))


def test_conversations_become_a_pair_a_turn_with_the_chosen_history(tmp_path: Path):
    def talk(*replies: str, last: str = "Where?") -> list[dict[str, str]]:
        asked = ("Who?", "Why?", last)
        return [m for q, a in zip(asked, replies, strict=False) for m in _turn(q, a)]

    row = {"chosen": talk("Ana.", "For tea.", "Here."), "rejected": talk("Nobody.", "For tea.", "There.")}
    other = {
        "prompt": [{"role": "system", "content": "S"}],
        "chosen": talk("a", "b", "c"),
        "rejected": talk("d", "b", "e", last="x"),
    }
    path = file(tmp_path, "p.jsonl", "\n".join(map(json.dumps, [row, other])))

    first, second, third = multiturn.turn_pairs(path, "Ana")

    assert (first.reply, first.rejected, len(first.scene.history)) == ("Ana.", "Nobody.", 1)
    assert (second.reply, second.rejected) == ("Here.", "There.")
    assert [said.content for said in second.scene.history] == ["Who?", "Ana.", "Why?", "For tea.", "Where?"]
    assert (first.group, first.learn) == (second.group, "reply")
    assert (third.scene.rules, third.reply, third.rejected) == ("S", "a", "d")


def _turn(asked: str, said: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


@pytest.mark.parametrize(
    ("build", "name", "content", "line"),
    [
        (qa.character100, "a.txt", "a\tb\tc\na\tb\n", 2),
        (lambda path: qa.rolebench(path, str), "a.jsonl", '{"role": "a", "question": "b", "generated": []}', 1),
        (lccc.chats, "a.json", '{"train": [["a"],\n}', 2),
        (lccc.chats, "a.json", '{"train": ["a"]}', 1),
        (characterglm.cards, "a.json", '{"a": "b"}', 1),
        (multiturn.turn_pairs, "a.jsonl", '\n{"chosen": [], "rejected": []}', 2),
        (multiturn.turn_pairs, "a.jsonl", '{"chosen": [{"role": "x"}], "rejected": []}', 1),
        (
            lambda path: stylechat.rows([path], {}, ["answer"]),
            "a.jsonl",
            '{"context": "x", "style": "s", "response": "r"}',
            1,
        ),
    ],
)
def test_a_damaged_file_is_named_by_its_line(
    tmp_path: Path, build: Callable[[Path], Iterable[Example]], name, content, line
):
    with pytest.raises(BadRow, match=f"line {line}: "):
        list(build(file(tmp_path, name, content)))


REAL: dict[str, tuple[Callable[[], Iterable[Example]], int]] = {
    "coser": (lambda: coser.scenes(read_script(data("coser/Othello.json"))), 100),
    "mirau": (lambda: mirau.stories(read_script(data("coser/Othello.json")), "Iago"), 25),
    "stylechat": (
        lambda: stylechat.rows(sorted(data("styleeval/stylized_dialogue").glob("*.jsonl")), {}, ["answer", "transfer"]),
        1000,
    ),
    "character100": (lambda: qa.character100(data("character100/Bruce_Lee.txt")), 80),
    "rolebench-zh": (lambda: qa.rolebench(data("rolebench/zh_role_specific_train.jsonl"), str), 1535),
    "rolebench-en": (lambda: qa.rolebench(data("rolebench/en_role_specific_sample.jsonl"), str), 594),
    "lccc": (lambda: lccc.chats(data("cdial/toy_data.json")), 1300),
    "characterglm": (lambda: characterglm.cards(data("characterglm/character.json")), 40),
}


@pytest.mark.parametrize("name", REAL)
def test_published_data_gives_rows_that_render(name):
    build, least = REAL[name]
    rows = list(build())

    assert len(rows) >= least
    assert len({row.id for row in rows}) == len(rows)
    for row in rows[:: max(1, len(rows) // 20)]:
        prompt = render(row.scene, layout="late", budget=10**6, window=999, count=len)
        assert prompt.messages[-1] == row.scene.history[-1]
        assert Example.from_json(row.to_json()) == row
        assert all(said.role in ("user", "assistant") for said in row.scene.history)
    if name == "lccc":
        assert not [one for one in shown(rows) if one.field == "persona"]
        assert rows[0].scene.history[0] == Message("user", "遭淋安逸了？")
