"""Scripts of every form become scenes, and a role's lines pairs that never cross one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from models.data.pairs import Cut, pairs, unanswered
from models.data.script import Line, Script, Staged, read_script, split, without_actions
from models.example import BadRow
from models.prompt import render

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
TEXT = """第一集

第1幕
（花园，夜）
阿月（回头）：谁在那里？
阿月母：是我。（咳嗽）风大，回屋吧。
阿月：娘，
我再坐一会儿。
阿月：月亮真好。

第2幕
（书房）
阿月：先生早。
先生：早。
书童：阿月姑娘来得真早。
阿月：睡不着。
"""


def file(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), "utf-8")
    return path


def data(name: str) -> Path:
    if not (DATA / name).exists():
        pytest.skip(f"needs {DATA / name} (set MOODLINE_BENCH_DATA)")
    return DATA / name


def told(script: Script, role: str, cut: Cut | None = None) -> list[tuple[list[str], str]]:
    return [([said.content for said in one.scene.history], one.reply) for one in pairs(script, role, cut)]


def test_pairs_stay_within_a_scene_and_what_is_said_in_a_row_is_one_reply(tmp_path: Path):
    script = read_script(file(tmp_path, "月.txt", TEXT))

    assert told(script, "阿月") == [
        (["是我。风大，回屋吧。"], "娘，\n我再坐一会儿。\n月亮真好。"),
        (["阿月姑娘来得真早。"], "睡不着。"),
    ]
    assert unanswered(script, "阿月") == 2


def test_a_longer_name_is_another_role(tmp_path: Path):
    script = read_script(file(tmp_path, "月.txt", TEXT))

    assert script.speakers() == {"阿月": 5, "阿月母": 1, "先生": 1, "书童": 1}
    assert told(script, "阿月母") == [(["谁在那里？"], "是我。风大，回屋吧。")]


def test_several_turns_name_those_who_speak_and_begin_with_another(tmp_path: Path):
    script = read_script(file(tmp_path, "月.txt", TEXT))

    first, second = pairs(script, "阿月", Cut(turns=8, actions=True), persona="一个姑娘")

    assert [(m.role, m.content) for m in first.scene.history] == [("user", "是我。（咳嗽）风大，回屋吧。")]
    assert second.scene.history[0].content == "先生：早。\n书童：阿月姑娘来得真早。"
    assert (first.scene.user, second.scene.user) == ("阿月母", "书童")
    assert (first.scene.scenario, second.scene.scenario) == ("花园，夜", "书房")
    assert (first.scene.persona, first.learn, first.group) == ("一个姑娘", "reply", "月-0")
    assert first.group != second.group


def test_a_role_that_is_absent_is_told_with_those_who_speak(tmp_path: Path):
    script = read_script(file(tmp_path, "月.txt", TEXT))

    with pytest.raises(ValueError, match=r"阿月亮.*says nothing.*阿月"):
        list(pairs(script, "阿月亮"))


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("[I fear him.] (kneeling) My lord.", ("I fear him.", "kneeling", "My lord.")),
        ("(kneeling) [I fear him.] My lord, (rising) go.", ("I fear him.", "kneeling", "My lord, (rising) go.")),
        ("（笑）好。（叹气）罢了。", ("", "笑", "好。（叹气）罢了。")),
        ("许愿）：信女不敢。", ("", "许愿", "信女不敢。")),
        ("My lord.", ("", "", "My lord.")),
    ],
)
def test_thoughts_actions_and_speech_are_told_apart(said, parts):
    assert split(said) == parts


def test_what_stands_in_brackets_goes_whole():
    assert without_actions("好。（叹气）罢了。") == "好。罢了。"
    assert without_actions("Well (sighs), go.") == "Well, go."


def test_thoughts_are_in_replies_alone():
    lines = (Line("Iago", "Ay?", thought="Now."), Line("Cassio", "What?"), Line("Iago", "Nay."), Line("Cassio", "So."))
    scene = Staged("1", (*lines, Line("Iago", "Ha!", "aside", "Fool.")), "A street", {"Iago": "Revenge."})

    first, last = pairs(Script("o", (scene,)), "Iago", Cut(turns=9, actions=True, thoughts=True))

    assert [said.content for said in last.scene.history] == ["What?", "Nay.", "So."]
    assert (first.reply, last.reply) == ("Nay.", "[Fool.] (aside) Ha!")
    assert last.scene.passing == "What moves you now: Revenge."
    assert [one.reply for one in pairs(Script("o", (scene,)), "Cassio", Cut(9, True, True))] == ["What?", "So."]
    cassio = next(iter(pairs(Script("o", (scene,)), "Cassio", Cut(9, True, True))))
    assert "Now" not in cassio.to_json()
    assert "Revenge" not in cassio.to_json()


def test_tables_and_rows_are_scripts_too(tmp_path: Path):
    act = [{"act_id": 0, "role": "旁白", "content": "花园"}, {"act_id": 0, "role": "甲", "content": "早。"}]
    act += [{"act_id": 0, "role": "乙", "content": "笑）：早。"}, {"act_id": 1, "role": "甲", "content": "晚。"}]
    rows = file(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in act))
    index = file(tmp_path, "b.csv", '序号,对话\n1,"甲：早。\n乙：早。"\n')
    named = file(tmp_path, "c.json", [{"role_name": "乙", "role_info": "乙是…", "dialog": ["甲：早。", "乙：早。"]}])
    cped = file(tmp_path, "d.csv", "Dialogue_ID,Speaker,Utterance,Scene\n1,甲,早,home\n1,乙,早,home\n2,甲,晚,home\n")

    for path in (rows, index, named, cped):
        script = read_script(path)
        ((history, reply),) = told(script, "乙")
        assert [history[0].strip("。"), reply.strip("。")] == ["早", "早"]
    assert read_script(rows).scenes[0].place == "花园"
    assert read_script(named).personas == {"乙": "乙是…"}
    assert len(read_script(cped).scenes) == 2


@pytest.mark.parametrize(
    ("name", "content", "line", "why"),
    [
        ("a.txt", "Nothing is said here.", 1, "nobody speaks"),
        ("a.jsonl", '{"role": "甲", "content": "a"}\n{"role": "甲", "content": 5}', 2, "content must be a text"),
        ("a.json", '{"x": 1}', 1, "expected CoSER's plots"),
        ("a.json", '{"plots": [],\n}', 2, "expected JSON"),
        ("a.json", '[{"role_name": "a", "role_info": "", "dialog": ["no colon"]}]', 1, "names no speaker"),
        ("a.csv", "a,b\n1,2\n", 1, "expected a column"),
        ("a.csv", "Dialogue_ID,Speaker,Utterance\n1,,x\n", 2, "Speaker is empty"),
    ],
)
def test_a_damaged_script_is_named_by_its_line(tmp_path: Path, name, content, line, why):
    with pytest.raises(BadRow, match=f"line {line}: ") as caught:
        read_script(file(tmp_path, name, content))
    assert why in str(caught.value)


def test_most_of_chat_huanhuans_own_pairs_are_found_in_its_script():
    script = read_script(data("huanhuan/script_excerpt.txt"))
    published = json.loads(data("huanhuan/huanhuan.json").read_text("utf-8"))

    def bare(text: str) -> str:
        return re.sub(r"\W+", "", text)

    said = {
        bare(without_actions(line.text)) for scene in script.scenes for line in scene.lines if line.speaker == "甄嬛"
    }
    ours = {(bare(one.scene.history[-1].content), bare(one.reply)) for one in pairs(script, "甄嬛")}
    theirs = [(bare(row["instruction"]), bare(row["output"])) for row in published]
    here = [pair for pair in theirs if pair[1] in said and len(pair[1]) >= 4]

    assert len(here) > 400
    assert sum(pair in ours for pair in here) > 0.85 * len(here)


@pytest.mark.parametrize(
    ("name", "role", "scenes"),
    [
        ("scripts_zh/甄嬛传-华妃.jsonl", "华妃", 145),
        ("scripts_zh/西游记-孙悟空.jsonl", "孙悟空", 715),
        ("index_sansan/三三.csv", "三三", 88),
        ("index_sansan/三三.json", "三三", 88),
        ("coser/Othello.json", "Iago", 14),
        ("cped/dialogues_a.csv", "胡一菲", 2341),
    ],
)
def test_real_scripts_give_rows_that_render(name, role, scenes):
    script = read_script(data(name))
    rows = list(pairs(script, role, Cut(turns=8, actions=True, thoughts=True)))

    assert len(script.scenes) == scenes
    assert len({row.id for row in rows}) == len(rows) > 25
    for row in rows[:20]:
        assert row.reply
        assert render(row.scene, layout="late", budget=10**6, window=99, count=len).messages[-2].content
