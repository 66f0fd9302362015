"""Uploaded past lines: three formats, many spellings, and errors that say what was expected and where."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.lines.parse import ENCODINGS, Dialogue, Format, ParseError, detect, parse, speakers
from retrieval.units import Turn

BENCH = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))


def scenes(content: str | bytes, file_format: Format | None = None) -> list[list[tuple[str, str]]]:
    return [[(turn.speaker, turn.text) for turn in one.turns] for one in parse(content, file_format=file_format)]


def jsonl(*rows: object) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) if row is not None else "" for row in rows)


def refusal(
    content: str | bytes, file_format: Format | None = None, limits: Mapping[str, int] = MappingProxyType({})
) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(content, file_format=file_format, **limits)  # type: ignore[arg-type]  # all of them are integers
    return caught.value


def bench(name: str) -> Path:
    path = BENCH / name
    if not path.exists():
        pytest.skip(f"needs {path} (set MOODLINE_BENCH_DATA)")
    return path


# JSON rows


def test_rows_of_one_act_and_dialogue_belong_together() -> None:
    rows = [
        {"act_id": 0, "diag_id": 0, "role": "皇后", "content": "妹妹来了。"},
        {"act_id": 0, "diag_id": 0, "role": "华妃", "content": "娘娘万安。"},
        {"act_id": 0, "diag_id": 1, "role": "华妃", "content": "颂芝。"},
        {"act_id": 1, "diag_id": 1, "role": "颂芝", "content": "是。"},
    ]
    assert scenes(jsonl(*rows)) == [
        [("皇后", "妹妹来了。"), ("华妃", "娘娘万安。")],
        [("华妃", "颂芝。")],
        [("颂芝", "是。")],
    ]


def test_rows_without_ids_belong_together_by_scene_or_until_a_blank_line() -> None:
    rows = [{"speaker": name, "text": "hi", "scene": scene} for name, scene in (("a", "x"), ("b", "x"), ("c", "y"))]
    assert [len(one) for one in scenes(jsonl(*rows))] == [2, 1]
    row = {"role": "a", "content": "hi"}
    assert [len(one) for one in scenes(jsonl(row, row, None, None, row))] == [2, 1]


def test_ids_outweigh_blank_lines() -> None:
    row = {"act_id": 1, "role": "a", "content": "hi"}
    assert [len(one) for one in scenes(jsonl(row, None, row))] == [2]


def test_a_row_can_hold_a_whole_dialogue_and_its_emotion() -> None:
    rows = [
        {"dialogue": [["Ann", "Hi!"], ["Bob", "Hello."]], "emotion": "joy"},
        {"dialogue": [["甲", "你好"]]},
        {"dialogue": "甲：你好\n乙：再见", "emotion": " "},
    ]
    assert parse(jsonl(*rows)) == (
        Dialogue((Turn("Ann", "Hi!"), Turn("Bob", "Hello.")), "joy"),
        Dialogue((Turn("甲", "你好"),)),
        Dialogue((Turn("甲", "你好"), Turn("乙", "再见"))),
    )


def test_a_dialogue_has_an_emotion_when_its_rows_name_one_and_no_other() -> None:
    def emotion(*labels: str | None) -> str | None:
        rows = [{"role": "a", "content": "x", "emotion": label} for label in labels]
        return parse(jsonl(*rows))[0].emotion

    assert emotion("joy", None, "joy") == "joy"
    assert emotion("joy", "anger") is None
    assert emotion(None, "") is None


def test_field_names_may_be_spelled_in_any_case_and_in_chinese() -> None:
    assert scenes(jsonl({"Role": "甲", "Content": "你好"}, {"说话人": "乙", "台词": "再见"})) == [
        [("甲", "你好"), ("乙", "再见")]
    ]


def test_a_row_that_says_nothing_is_left_out_and_a_blank_speaker_is_unknown() -> None:
    rows = [
        {"role": "八戒", "content": ""},
        {"role": "", "content": "多谢。"},
        {"role": " 孙 \n悟空 ", "content": " 去 "},
    ]
    assert scenes(jsonl(*rows)) == [[("?", "多谢。"), ("孙 悟空", "去")]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("许愿）：信女虽不比男子", "信女虽不比男子"),
        ("举案齐眉，跪下）：请皇上翻牌子。（皇帝在写字）皇上！", "请皇上翻牌子。（皇帝在写字）皇上！"),
        ("跪下）；嫔妾领罚", "嫔妾领罚"),
        ("奴才给主子请安。 进屋）：小臣", "奴才给主子请安。 进屋）：小臣"),
        ("又抬头看），：你画的眉", "你画的眉"),
        ("（笑）：好", "（笑）：好"),
        ("他说（低声）：走", "他说（低声）：走"),
        ("see (above): yes", "see (above): yes"),
    ],
)
def test_the_rest_of_an_action_that_a_careless_cut_left_is_removed(text: str, said: str) -> None:
    assert scenes(jsonl({"role": "甄嬛", "content": text})) == [[("甄嬛", said)]]


def test_line_separators_inside_a_json_string_do_not_end_the_row() -> None:
    assert scenes('{"role": "a", "content": "x\u2028y\x85z\x0bw"}'.replace("\x0b", "\\u000b")) == [
        [("a", "x\u2028y\x85z\x0bw")]
    ]


def test_what_a_database_can_not_store_is_replaced() -> None:
    assert scenes('{"role": "a\\ud800", "content": "x\\u0000y"}') == [[("a\ufffd", "x\ufffdy")]]
    assert scenes("甲：x\x00y") == [[("甲", "x\ufffdy")]]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ('{"role": "a", "content": }', "expected one JSON object on each line"),
        ("[1, 2]", "expected one JSON object on each line"),
        ('"text"', "expected one JSON object on each line"),
        ('{"a": ' * 100_000, "characters"),
        ('{"a": ' * 10_000, "too deep"),
        ('{"a": 1' + "0" * 5_000 + "}", "a number too long"),
        ('{"text": "hi"}', "expected a speaker (role) and a text (content), both strings; found text"),
        ('{"role": "a", "content": null}', "expected a speaker"),
        ('{"role": 1, "content": "x"}', "expected a speaker"),
        ('{"role": "a", "content": ["x"]}', "expected a speaker"),
        ("{}", "found nothing"),
        ('{"dialogue": [["a"]]}', "expected a speaker"),
        ('{"dialogue": {"a": "b"}}', "[speaker, text] pairs"),
        ('{"dialogue": "no speaker"}', "`speaker: text` lines"),
        ('{"role": "a", "content": "x", "scene": ["y"]}', "to name the scene"),
        ('{"role": "a", "content": "x", "emotion": 5}', "expected a string as the emotion"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_and_what_was_expected(row: str, why: str) -> None:
    error = refusal('{"role": "a", "content": "x"}\n\n' + row + "\n", "jsonl")
    assert error.line == 3
    assert str(error).startswith("Line 3: ")
    assert why in str(error)


# Tables


def test_a_cell_can_hold_a_whole_dialogue() -> None:
    table = '序号,对话\n2,"二二：来三三\n笑一个。\n三三：姐姐，\n又乱玩。"\n,三三（笑）：喂\n9,\n'
    expected = [[("二二", "来三三\n笑一个。"), ("三三", "姐姐，\n又乱玩。")], [("三三", "喂")]]
    assert scenes(table) == expected
    assert scenes(table.replace("序号,对话", "id,Dialogue")) == expected


def test_a_row_can_hold_a_turn() -> None:
    table = 'Scene,Speaker,Text,Emotion\n1,Ann,"Well, ""yes"".",joy\n1,Bob,No.,\n2,Ann,Oh.,\n'
    assert scenes(table) == [[("Ann", 'Well, "yes".'), ("Bob", "No.")], [("Ann", "Oh.")]]
    assert parse(table)[0].emotion == "joy"


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_columns_are_separated_by_commas_tabs_or_semicolons(separator: str) -> None:
    rows = [["角色", "台词"], ["甲", "你好"], ["乙", "再见"]]
    assert scenes("\n".join(separator.join(row) for row in rows)) == [[("甲", "你好"), ("乙", "再见")]]


def test_a_blank_row_separates_dialogues_of_a_table_without_scenes() -> None:
    assert [len(one) for one in scenes("role,content\na,x\nb,y\n,\n\na,z\n")] == [2, 1]


def test_cells_beyond_the_header_are_refused_so_that_no_text_is_cut_off() -> None:
    error = refusal("role,content\na,x\na,well, yes\n")
    assert (error.line, "3 cells, 2 columns" in str(error)) == (3, True)
    assert scenes("role,content\na,x,,\n") == [[("a", "x")]]


@pytest.mark.parametrize("broken", ['a,"never closed\nb,y\n', 'a,"x"y\n'])
def test_broken_quotes_are_refused_with_the_line_where_the_row_begins(broken: str) -> None:
    error = refusal('role,content\na,"two\nlines"\n' + broken, "csv")
    assert error.line == 4
    assert "not CSV" in str(error)


def test_a_header_without_our_columns_is_refused_with_what_was_expected() -> None:
    error = refusal("\nwho,what\na,b", "csv")
    assert error.line == 2
    assert "expected a header with dialogue or 对话, or with speaker and text, found 'who,what'" in str(error)


def test_a_table_row_without_a_text_is_refused() -> None:
    assert refusal("speaker,text\nAnn,hi\nBob\n").line == 3


# Scripts


@pytest.mark.parametrize(
    ("line", "speaker", "text"),
    [
        ("皇后：恭喜皇上。", "皇后", "恭喜皇上。"),
        ("皇后: 恭喜皇上。", "皇后", "恭喜皇上。"),
        ("苏培盛（宣旨）：奉天承运，皇帝诏曰：钦此。", "苏培盛", "奉天承运，皇帝诏曰：钦此。"),
        ("徐进良（举案齐眉，趋步御前跪下） ：请", "徐进良", "请"),
        ("HAMLET: To be, or not: that is it.", "HAMLET", "To be, or not: that is it."),
        ("HAMLET (aside): To be", "HAMLET", "To be"),
        ("Dr. Watson [quietly]: Holmes?", "Dr. Watson", "Holmes?"),
        ("J. R. R. Smith: hm", "J. R. R. Smith", "hm"),
        ("Anna de la Cruz: hola", "Anna de la Cruz", "hola"),
        ("Élodie Müller: bonjour", "Élodie Müller", "bonjour"),
        ("Анна Каренина: да", "Анна Каренина", "да"),
        ("bot: beep", "bot", "beep"),
        ("R2-D2: beep", "R2-D2", "beep"),
        ("O’Brien: aye", "O’Brien", "aye"),
        ("约翰·史密斯：你好", "约翰·史密斯", "你好"),
        ("甲、乙：是！", "甲、乙", "是！"),
        ("【皇帝】：嗯", "皇帝", "嗯"),
        ("　　甄嬛：我去。　", "甄嬛", "我去。"),
        ("三三：http://example.org 好看", "三三", "http://example.org 好看"),
        ("三三：现在10:30了，注意：别迟到", "三三", "现在10:30了，注意：别迟到"),
        ("Guard 1: Halt!", "Guard 1", "Halt!"),
        ("三三：😀", "三三", "😀"),
    ],
)
def test_a_spoken_line_is_a_name_a_colon_and_a_text(line: str, speaker: str, text: str) -> None:
    assert scenes(line) == [[(speaker, text)]]


@pytest.mark.parametrize(
    "line",
    [
        "注意：门关了",
        "Note: the door is shut",
        "http://example.org/x",
        "见https://example.org/x",
        "10:30 才到",
        "今天10:30出发",
        "朕今日过来，是有个打算想告诉你：学着点",
        "这样想来想去也没有什么用的道理：就是没用",
        "I have told him only this: never",
        "Well, here is the thing: never",
        "...: what",
        "“他说：”",
        "3:1",
        "我今日备的是普洱",
    ],
)
def test_a_line_that_only_looks_spoken_continues_the_turn(line: str) -> None:
    assert scenes(f"甲：好\n\n{line}\n乙：嗯") == [[("甲", f"好\n{line}"), ("乙", "嗯")]]


def test_a_name_in_lower_case_words_or_a_long_one_counts_when_it_comes_again() -> None:
    assert scenes("Old man: Hey.\nBob: Yes?\nOld man: Bye.") == [
        [("Old man", "Hey."), ("Bob", "Yes?"), ("Old man", "Bye.")]
    ]
    assert speakers(parse("来自远方的白胡子老爷爷：喂\n来自远方的白胡子老爷爷：哎")) == {"来自远方的白胡子老爷爷": 2}


def test_a_semicolon_slipped_in_for_the_colon_is_read_after_a_known_name() -> None:
    script = "皇后：好。\n皇后；有几分相似。\n皇帝（喜）；只是\n皇帝：嗯"
    assert scenes(script) == [[("皇后", "好。"), ("皇后", "有几分相似。"), ("皇帝", "只是"), ("皇帝", "嗯")]]
    assert scenes("皇后：好。\n天冷；加衣") == [[("皇后", "好。\n天冷；加衣")]]


@pytest.mark.parametrize(
    "heading",
    [
        *(
            "第一集",
            "第12幕",
            "第 3 场 御花园 夜",
            "第63幕（续）",
            "第三场：御花园",
            "【第三场】",
            "第二十一回·大闹天宫",
            "序幕",
        ),
        *(
            "场景：养心殿",
            "地点：御花园",
            "时间：夜",
            "Scene 3",
            "SCENE 3: The garden",
            "ACT II",
            "Act Two",
            "ACT I, SCENE 2",
        ),
        *(
            "ACT I SCENE 2",
            "Chapter 12 - Storm",
            "[Scene 4]",
            "Prologue",
            "INT. KITCHEN - DAY",
            "EXT. STREET",
            "CUT TO:",
        ),
        *("INT./EXT. CAR", "***", "* * *", "---", "———", "###", "# 第一章", "## Part", "=====", "Setting: a park"),
    ],
)
def test_a_heading_ends_the_dialogue_and_is_not_spoken(heading: str) -> None:
    assert scenes(f"甲：一\n\n{heading}\n\n乙：二\n丙：三") == [[("甲", "一")], [("乙", "二"), ("丙", "三")]]
    assert scenes(f"{heading}\n甲：一\n{heading}\n{heading}\n") == [[("甲", "一")]]


@pytest.mark.parametrize(
    "line", ["第一回见你，我就知道", "Part of me wants to go", "Act I think is wrong", "——", "…………", "场景很美"]
)
def test_speech_that_begins_like_a_heading_is_still_speech(line: str) -> None:
    assert scenes(f"甲：一\n{line}") == [[("甲", f"一\n{line}")]]


@pytest.mark.parametrize(
    "direction",
    [
        "（金銮殿。皇帝登基）",
        "(He leaves.)",
        "[thunder]",
        "【旁白】",
        "（旁白：公元一七二二年）",
        "（起身）（离去）。",
        "(a) [b]",
    ],
)
def test_stage_directions_are_skipped(direction: str) -> None:
    assert scenes(f"{direction}\n甲：一\n{direction}\n二") == [[("甲", "一\n二")]]


def test_actions_inside_a_line_stay() -> None:
    assert scenes("甲：（笑）好。（离去）") == [[("甲", "（笑）好。（离去）")]]
    assert scenes("甲：一\n（笑）好（哭）") == [[("甲", "一\n（笑）好（哭）")]]


def test_a_name_alone_takes_the_lines_below_it() -> None:
    assert scenes("HAMLET:\nTo be,\nor not.\nGHOST:\nBOB: ok") == [[("HAMLET", "To be,\nor not."), ("BOB", "ok")]]


def test_a_screenplay_has_the_name_alone_above_the_speech() -> None:
    screenplay = """THE LAMP

INT. LAMP ROOM - NIGHT

Mara trims the wick. Rain.

MARA
(without turning)
Is it late?
You came by boat.

MR. HALE (O.S.)
NO WAY
I walked: over the rocks.

He drops his coat.

MARA (CONT'D)
Sit.

EXT. ROCKS - DAY

GUARD 1
Halt!
"""
    assert scenes(screenplay) == [
        [
            ("MARA", "Is it late?\nYou came by boat."),
            ("MR. HALE", "NO WAY\nI walked: over the rocks."),
            ("MARA", "Sit."),
        ],
        [("GUARD 1", "Halt!")],
    ]


def test_a_screenplay_needs_no_blank_lines_and_no_capitals_where_there_are_none() -> None:
    chinese = "三三\n欢迎光临。\n观众（小声）\n（犹豫）\n你是谁？\n三三\n我是三三。\n第二场\n三三博士\n好"
    assert scenes(chinese) == [
        [("三三", "欢迎光临。"), ("观众", "你是谁？"), ("三三", "我是三三。")],
        [("三三博士", "好")],
    ]
    assert scenes("三三\n你好\n\n观众\n你是谁") == [[("三三", "你好"), ("观众", "你是谁")]]
    assert scenes("MARA\nIs it late\nBO\nOK\nMARA\nFine\nBO\nOK") == [
        [("MARA", "Is it late"), ("BO", "OK"), ("MARA", "Fine"), ("BO", "OK")]
    ]


@pytest.mark.parametrize(
    "prose",
    [
        "床前明月光\n疑是地上霜\n举头望明月\n低头思故乡",
        "Mara\nkeeps the lamp.\n\nHale\ndoes not.",
        "THE LAMP\nIt was late.",
        "他说，\n天黑了。\n\n她说，\n是的。",
    ],
)
def test_short_lines_above_others_are_not_names_in_prose(prose: str) -> None:
    assert "Nothing is said" in str(refusal(prose))


def test_a_title_above_spoken_lines_is_no_name() -> None:
    assert scenes("守灯人\n甲：一\n\n风暴\n乙：二\n丙：三") == [[("甲", "一\n风暴"), ("乙", "二"), ("丙", "三")]]


def test_text_before_the_first_speaker_is_skipped() -> None:
    assert scenes("A Play\nby nobody\n\nBOB: ok") == [[("BOB", "ok")]]


# Files


@pytest.mark.parametrize(
    ("filename", "content", "expected"),
    [
        ("a.jsonl", b"", "jsonl"),
        ("a.NDJSON", b"", "jsonl"),
        ("a.json", b"", "jsonl"),
        ("a.csv", b"", "csv"),
        ("a.tsv", b"", "csv"),
        ("a.txt", b'\n {"role": "a"}', "jsonl"),
        ("", b"\xef\xbb\xbfspeaker,text\n", "csv"),
        ("", "\n序号\t对话".encode(), "csv"),
        ("", b'"id","dialogue"', "csv"),
        ("lines.txt", "甲：你好，再见".encode(), "script"),
        ("", b"", "script"),
    ],
)
def test_the_format_is_told_by_the_ending_or_else_by_the_first_line(
    filename: str, content: bytes, expected: Format
) -> None:
    assert detect(filename, content) == expected


def test_the_byte_order_mark_and_windows_or_old_mac_line_ends_do_not_matter() -> None:
    expected = [[("甲", "一"), ("乙", "二\n三")]]
    for end in ("\n", "\r\n", "\r"):
        assert scenes("\ufeff" + f"甲：一{end}乙：二{end}三{end}") == expected
        assert scenes(b"\xef\xbb\xbf" + f"甲：一{end}乙：二{end}三{end}".encode()) == expected


def test_another_encoding_is_read_only_when_it_is_named() -> None:
    content = "甲：你好\n乙：再见".encode("gb18030")
    assert [turn.text for turn in parse(content, encoding="GB18030")[0].turns] == ["你好", "再见"]
    error = refusal(b"ok: fine\n" + content)
    assert (error.line, str(error)) == (
        2,
        "Line 2: byte 0xbc at position 9 is not utf-8. "
        "Save the file as UTF-8, or name its encoding, such as encoding=gb18030.",
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_on_offer_reads_what_it_wrote(encoding: str) -> None:
    script = "Zoë: Señor" if encoding == "latin-1" else "人: 山"
    assert parse(script.encode(encoding), encoding=encoding) == parse(script)


@pytest.mark.parametrize("encoding", ["rot13", "zip", "punycode", "utf-7", "a\0b", "\ud800", "", "x" * 10_000])
def test_an_encoding_that_is_not_on_offer_is_refused(encoding: str) -> None:
    with pytest.raises(ParseError, match="expected one of utf-8, utf-16, gb18030"):
        parse(b"a: b", encoding=encoding)


@pytest.mark.parametrize(
    ("limit", "line"), [({"max_bytes": 10}, None), ({"max_lines": 2}, None), ({"max_line_chars": 3}, 2)]
)
def test_a_limit_is_named_by_the_error_that_it_causes(limit: dict[str, int], line: int | None) -> None:
    error = refusal(b"a:b\nc: d\ne:f", limits=limit)
    assert next(iter(limit)) in str(error)
    assert error.line == line


@pytest.mark.parametrize(
    "content", ["", "\n\n", "（空）", "no speaker here", "\ufeff", '{"role": "a", "content": ""}', "role,content\n"]
)
def test_a_file_in_which_nothing_is_said_is_refused(content: str) -> None:
    assert "Nothing is said" in str(refusal(content))


def test_a_line_made_to_backtrack_is_read_all_the_same() -> None:
    for hostile in (
        "a" + " " * 90_000,
        "(" * 90_000,
        "（）" * 45_000 + "x",
        "a(" + "()" * 40_000,
        "* " * 45_000 + "x",
        "[" * 50_000 + "]" * 49_999,
    ):
        assert speakers(parse(f"甲：一\n{hostile}\n" * 3, file_format="script")) == {"甲": 3}


@given(
    st.binary(max_size=300),
    st.sampled_from([None, "jsonl", "csv", "script"]),
    st.sampled_from(ENCODINGS),
    st.text(max_size=8),
)
@example(b"\xff\xfea\x00", None, "utf-16", "")
@example(b"\xd8\x00", None, "utf-16", "")
def test_arbitrary_bytes_are_read_or_refused_and_nothing_else(
    content: bytes, file_format: Format | None, encoding: str, filename: str
) -> None:
    try:
        dialogues = parse(content, filename=filename, file_format=file_format, encoding=encoding)
    except ParseError as error:
        refused, dialogues = error, ()
    if not dialogues:
        assert str(refused)
        assert refused.line is None or 1 <= refused.line <= content.count(b"\n") + content.count(b"\r") + 1
    assert all(one.turns for one in dialogues)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["甲：好", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)
field_names = st.sampled_from(
    ["role", "content", "TEXT", "dialogue", "emotion", "scene", "act_id", "diag_id", "说话人"]
)


@given(st.lists(st.dictionaries(field_names, json_values, max_size=6), max_size=4))
def test_arbitrary_json_is_read_or_refused_and_nothing_else(rows: list[dict[str, object]]) -> None:
    try:
        dialogues = parse("\n".join(map(json.dumps, rows)), file_format="jsonl")
    except ParseError:
        return
    for one in dialogues:
        for turn in one.turns:
            (turn.speaker + turn.text).encode()
            assert turn.speaker.strip()
            assert turn.text.strip()


@given(st.text("甲乙abA：:；（()）[]【】第一场*#-10。 \n", max_size=60))
def test_arbitrary_scripts_are_read_or_refused_and_no_turn_is_empty(script: str) -> None:
    try:
        dialogues = parse(script, file_format="script")
    except ParseError:
        return
    assert all(turn.speaker.strip() and turn.text.strip() for one in dialogues for turn in one.turns)


# Real files


@pytest.mark.parametrize("name", ["甄嬛传-华妃", "甄嬛传-甄嬛", "甄嬛传-皇帝", "西游记-孙悟空"])
def test_role_scripts_keep_every_row_and_every_scene(name: str) -> None:
    path = bench(f"scripts_zh/{name}.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    dialogues = parse(path.read_bytes(), filename=path.name)
    assert sum(speakers(dialogues).values()) == sum(bool(row["content"].strip()) for row in rows)
    assert len(dialogues) == len({(row["act_id"], row["diag_id"]) for row in rows})
    hero = name.rpartition("-")[2]
    assert speakers(dialogues).most_common(1)[0][0] == hero
    cut_off = [turn.text for one in dialogues for turn in one.turns if re.match("[^（(。]*[)）][：:]", turn.text)]
    assert not cut_off


def test_a_real_script_is_cut_at_its_scenes_and_loses_no_speech() -> None:
    path = bench("huanhuan/script_excerpt.txt")
    dialogues = parse(path.read_bytes(), filename=path.name)
    assert len(dialogues) == 211  # 213 headings 第N幕, two of them over scenes without a word
    turns = [turn for one in dialogues for turn in one.turns]
    assert dialogues[0].turns[0] == Turn("太监", "跪！一叩首！再叩首！三叩首！兴！")
    assert dialogues[0].turns[1].speaker == "苏培盛"
    assert Turn("皇后", "有几分相似已经是很难得的了。恕臣妾多嘴，皇上准备给甄氏什么位分哪？") in turns
    assert max(len(turn.speaker) for turn in turns) <= 6
    assert sum("\n" in turn.text for turn in turns) == 3
    spoken = [
        line
        for line in path.read_text(encoding="utf-8-sig").splitlines()
        if re.match(r"^[^（(，。第]{1,8}(（[^）]*）)?[：；]", line)
    ]
    assert len(turns) == len(spoken)


def test_index_sansan_is_read_row_by_row_and_line_by_line() -> None:
    path = bench("index_sansan/三三.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [row["对话"] for row in csv.DictReader(file)]
    dialogues = parse(path.read_bytes(), filename=path.name)
    assert len(dialogues) == len(cells)
    assert [len(one.turns) for one in dialogues] == [
        len(re.findall(r"^\w{1,4}：", cell, re.MULTILINE)) for cell in cells
    ]
    assert speakers(dialogues).most_common(2) == [("三三", 125), ("二二", 94)]


def test_a_table_of_annotated_television_keeps_its_dialogues() -> None:
    path = bench("cped/dialogues_a.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    dialogues = parse(path.read_bytes(), filename=path.name)
    assert len(dialogues) == len({row["Dialogue_ID"] for row in rows})
    assert sum(speakers(dialogues).values()) == len(rows)
