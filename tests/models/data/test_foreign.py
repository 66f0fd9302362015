"""Foreign formats: what is read comes back as it was, and what is damaged is named by its line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data import alpaca, messages, sharegpt
from models.data.alpaca import As
from models.data.dataset_info import entry, read_info
from models.data.foreign import detect, read_foreign, rows_of, write_rows
from models.data.rows import Row, read_rows
from models.data.talk import Talk, calls_of, language_of, result, talk_of
from models.example import BadRow, Example
from models.prompt import render
from models.scene import Message, Scene

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", Path(__file__).parents[4] / "shared" / "data"))
WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)
CALL = '{"name": "weather", "arguments": {"town": "苏州"}}'
TOOLS = json.dumps([{"name": "weather", "parameters": {"type": "object"}}])


@st.composite
def talks(draw: st.DrawFn) -> Talk:
    """Talks that every format can say."""
    turns = draw(st.lists(st.tuples(WORDS, WORDS), max_size=2))
    said = [Message(role, text) for pair in turns for role, text in zip(("user", "assistant"), pair, strict=True)]  # type: ignore[arg-type]
    if draw(st.booleans()):
        call = Message("assistant", CALL)
        said += [Message("user", draw(WORDS)), call, result(draw(WORDS), call)]
    else:
        said.append(Message("user", draw(WORDS)))
    system = draw(st.one_of(st.just(""), WORDS))
    form = draw(st.sampled_from(["sft", "preference", "good", "bad"]))
    reply, rejected = draw(WORDS), draw(WORDS)
    if form == "preference":
        return Talk(tuple(said), reply, rejected, system, draw(st.sampled_from(["", TOOLS])), "reply")
    return Talk(tuple(said), "" if form == "bad" else reply, rejected if form == "bad" else "", system)


def form_of(talk: Talk) -> As:
    return "preference" if talk.reply and talk.rejected else "sft" if talk.reply else "kto"


@pytest.mark.parametrize("way", [alpaca, sharegpt, messages])
@given(talk=talks())
def test_an_example_is_the_same_after_export_and_import(way, talk):
    example = talk.to_example("甄嬛")

    row = json.loads(json.dumps(way.write(talk_of(example), form_of(talk))))

    assert way.read(Row(Path("x"), 1, row)).to_example("甄嬛") == example


@pytest.mark.parametrize("way", [alpaca, sharegpt, messages])
@given(talk=talks(), persona=WORDS, style=st.text(max_size=9), begun=st.sampled_from(["", "Well, "]))
def test_a_rendered_scene_is_a_fixed_point_from_its_first_export(way, talk, persona, style, begun):
    greeting = (Message("assistant", "Come in."), *talk.history)
    scene = Scene("Ana", "en", persona, style=style, note="Be brief.", history=greeting, begun=begun)
    form = form_of(talk)

    first = way.write(talk_of(Example(scene, talk.reply, talk.rejected)), form)
    again = way.write(talk_of(way.read(Row(Path("x"), 1, first)).to_example("Ana")), form)

    assert again == first
    assert json.dumps(persona)[1:-1] in json.dumps(first)


def test_an_alpaca_row_is_read_as_llama_factory_reads_it():
    row = {"instruction": "Translate", "input": "Hund", "output": "dog", "system": "S", "history": [["a", "b"]]}

    talk = alpaca.read(Row(Path("x"), 1, row))

    assert [said.content for said in talk.history] == ["a", "b", "Translate\nHund"]
    assert (talk.reply, talk.system, talk.learn) == ("dog", "S", "talk")


def test_a_system_prompt_begins_the_rendered_prompt_as_it_stands():
    row = {"instruction": "Hi", "output": "Yes?", "system": "Now you play Ana."}
    example = alpaca.read(Row(Path("x"), 1, row)).to_example("Ana")

    prompt = render(example.scene, layout="late", budget=10**6, window=9, count=len)

    assert prompt.messages[0].content.startswith("Now you play Ana.")
    assert "You are Ana" not in prompt.messages[0].content


def test_pairs_and_tags_are_read_in_every_spelling():
    for row, expected in [
        ({"instruction": "q", "chosen": "a", "rejected": "b"}, ("a", "b")),
        ({"instruction": "q", "output": ["a", "b"]}, ("a", "b")),
        ({"instruction": "q", "output": "a", "kto_tag": True}, ("a", "")),
        ({"instruction": "q", "output": "b", "kto_tag": False}, ("", "b")),
    ]:
        talk = alpaca.read(Row(Path("x"), 1, row))
        assert (talk.reply, talk.rejected) == expected
    a, b, q = (
        {"role": role, "content": text} for role, text in (("assistant", "a"), ("assistant", "b"), ("user", "q"))
    )
    for row in [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": [q], "chosen": [a], "rejected": [b]},
        {"chosen": [q, a], "rejected": [q, b]},
        {"messages": [q, a], "rejected": b},
        {"input": {"messages": [q]}, "preferred_output": [a], "non_preferred_output": [b]},
    ]:
        talk = messages.read(Row(Path("x"), 1, row))
        assert (talk.history, talk.reply, talk.rejected) == ((Message("user", "q"),), "a", "b")


def test_calls_and_results_are_told_as_the_server_tells_them():
    row = {
        "messages": [
            {"role": "user", "content": "Rain?"},
            {"role": "assistant", "tool_calls": [{"function": {"name": "weather", "arguments": '{"town": "苏州"}'}}]},
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
            {"role": "assistant", "content": "Take a coat."},
        ],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
    }

    talk = messages.read(Row(Path("x"), 1, row))

    assert calls_of(talk.history[1].content)
    assert talk.history[2].content == "[Result of weather]\nrain\n[End of the result]"
    assert '{"name": "weather"}' in talk.rules
    told = sharegpt.write(talk, "sft")
    assert [item["from"] for item in told["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(told["tools"]) == [{"name": "weather"}]


def test_weights_say_which_replies_are_learnt():
    turns = [{"role": role, "content": role} for role in ("user", "assistant", "user", "assistant")]
    turns[1]["weight"] = 0  # type: ignore[assignment]

    assert messages.read(Row(Path("x"), 1, {"messages": turns})).learn == "reply"
    turns[3]["weight"] = 0  # type: ignore[assignment]
    with pytest.raises(BadRow, match="weight 0"):
        messages.read(Row(Path("x"), 1, {"messages": turns}))


DEEP = "[" * 100_000
DEEP_CALL = {"function": {"name": "light", "arguments": DEEP}}
SHAREGPT = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}


def test_a_list_of_data_sets_that_is_nested_too_deeply_is_told(tmp_path: Path):
    file = tmp_path / "dataset_info.json"
    file.write_text(DEEP, "utf-8")

    with pytest.raises(BadRow, match="line 1: it is nested too deeply"):
        read_info(file)


@pytest.mark.parametrize(
    ("way", "row", "why"),
    [
        (alpaca, {"instruction": "", "output": "x"}, "the user says nothing"),
        (alpaca, {"instruction": "q", "output": ""}, "output is empty"),
        (alpaca, {"instruction": "q"}, "output must be a text, not nothing"),
        (alpaca, {"instruction": ["q"], "output": "x"}, "instruction must be a text, not a list"),
        (alpaca, {"instruction": "q", "output": "x", "history": [["a"]]}, "pairs"),
        (alpaca, {"instruction": "q", "chosen": "x"}, "rejected must be a text"),
        (alpaca, {"instruction": "q", "output": "x", "kto_tag": "yes"}, "true or false"),
        (alpaca, {"instruction": "q\ud800", "output": "x"}, "half a character"),
        (sharegpt, {"conversations": []}, "nobody says anything"),
        (sharegpt, {"conversations": None}, "nobody says anything"),
        (sharegpt, {"conversations": ["a"]}, "conversations.0 must be an object"),
        (sharegpt, {"conversations": SHAREGPT["conversations"][1:]}, "turn 1 is by 'gpt'"),
        (sharegpt, {"conversations": SHAREGPT["conversations"][:1]}, "must end with"),
        (sharegpt, {"conversations": [{"from": "bob", "value": "a"}]}, "from is 'bob'"),
        (sharegpt, SHAREGPT | {"chosen": {"from": "gpt", "value": "x"}}, "rejected must be a message"),
        (sharegpt, SHAREGPT | {"tools": "{"}, "tools: "),
        (sharegpt, SHAREGPT | {"tools": DEEP}, "tools: the list is nested too deeply"),
        (messages, {"messages": [{"role": "assistant", "tool_calls": [DEEP_CALL]}]}, "a name and JSON arguments"),
        (messages, {"messages": [{"role": "user", "content": "a"}]}, "must end with what the assistant answers"),
        (messages, {"messages": [{"role": "assistant", "content": "a"}]}, "must be a user's message"),
        (messages, {"messages": [{"role": "wizard", "content": "a"}]}, "wizard"),
        (messages, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "pictures"),
        (messages, {"prompt": "q", "chosen": "a"}, "rejected is missing"),
    ],
)
def test_a_damaged_row_says_what_is_wrong(way, row: dict[str, Any], why):
    with pytest.raises(BadRow, match="line 7: ") as caught:
        way.read(Row(Path("rows.json"), 7, row))
    assert why in str(caught.value)


ROWS = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("x.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, ROWS)), [1, 3]),
        ("x.json", json.dumps(ROWS, indent=1), [2, 6]),
        ("x.jsonl", "\n" + json.dumps(ROWS), [2, 2]),
        ("x.json", "\n".join(map(json.dumps, ROWS)), [1, 2]),
        ("x.json", "[]", []),
    ],
)
def test_rows_know_their_lines_in_every_form_of_file(tmp_path: Path, name, text, lines):
    file = tmp_path / name
    file.write_text(text, "utf-8")

    assert [row.line for row in read_rows(file)] == lines


@pytest.mark.parametrize(
    ("name", "raw", "line"),
    [
        ("x.jsonl", b'{"a": 1}\n{"a": ', 2),
        ("x.jsonl", b'{"a": 1}\n[1]', 2),
        ("x.json", b'[{"a": 1},\n{"a": }]', 2),
        ("x.json", b'[{"a": 1},\n', 2),
        ("x.json", b'[{"a": 1},\n3]', 2),
        ("x.json", b'[{"a":\n"\xff"}]', 2),
        ("x.jsonl", b'{"a": 1}\n"\xff"', 2),
        ("x.jsonl", b"\n" + b"[" * 100_000, 2),
    ],
)
def test_damage_is_named_by_its_line(tmp_path: Path, name, raw, line):
    file = tmp_path / name
    file.write_bytes(raw)

    with pytest.raises(BadRow, match=rf"{name}, line {line}: "):
        list(read_rows(file))


def test_a_file_of_two_formats_and_one_of_none_are_refused(tmp_path: Path):
    mixed, other, empty = tmp_path / "mixed.jsonl", tmp_path / "other.jsonl", tmp_path / "empty.json"
    mixed.write_text("\n".join(map(json.dumps, [ROWS[0], SHAREGPT])), "utf-8")
    other.write_text('{"question": "a", "answer": "b"}', "utf-8")
    empty.write_text("[]", "utf-8")

    assert detect(mixed) == "alpaca"
    with pytest.raises(BadRow, match="line 2: this row looks like sharegpt"):
        list(read_foreign(mixed, "alpaca"))
    with pytest.raises(BadRow, match="question, answer"):
        detect(other)
    with pytest.raises(BadRow, match="empty"):
        detect(empty)


def test_a_dataset_info_names_files_columns_and_tags(tmp_path: Path):
    info = {
        "talk": {
            "file_name": "talk.json",
            "formatting": "sharegpt",
            "columns": {"messages": "said", "system": "who"},
            "tags": {"role_tag": "by", "content_tag": "text", "user_tag": "U", "assistant_tag": "A"},
        },
        "pairs": {
            "file_name": "pairs.jsonl",
            "ranking": True,
            "columns": {"prompt": "q", "chosen": "+", "rejected": "-"},
        },
        "calls": {"file_name": "calls.jsonl", "formatting": "openai", "columns": {"messages": "said"}},
        "far": {"hf_hub_url": "someone/something"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    said = [{"by": "U", "text": "Who?"}, {"by": "A", "text": "Me."}]
    (tmp_path / "talk.json").write_text(json.dumps([{"said": said, "who": "S"}]), "utf-8")
    (tmp_path / "pairs.jsonl").write_text('{"q": "Who?", "+": "Me.", "-": "An AI."}', "utf-8")
    path = tmp_path / "dataset_info.json"

    assert detect(path) == "dataset_info"
    (talk,) = read_foreign(path, "dataset_info", dataset="talk", character="Ana")
    assert (talk.scene.rules, talk.scene.history[0].content, talk.reply) == ("S", "Who?", "Me.")
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]
    (tmp_path / "calls.jsonl").write_text(json.dumps({"said": said}), "utf-8")
    (call,) = read_foreign(path, "dataset_info", dataset="calls")
    assert call.reply == "Me."
    (pair,) = read_foreign(path, "dataset_info", dataset="pairs")
    assert (pair.reply, pair.rejected, pair.learn) == ("Me.", "An AI.", "reply")
    with pytest.raises(BadRow, match="download them"):
        list(read_foreign(path, "dataset_info"))
    with pytest.raises(BadRow, match="no data set 'x'; there are 'talk'"):
        read_info(path, "x")


@pytest.mark.parametrize("form", ["alpaca", "sharegpt"])
@pytest.mark.parametrize("rows", ["sft", "preference", "kto"])
def test_the_entry_of_an_export_makes_its_rows_readable(tmp_path: Path, form, rows: As):
    talk = Talk((Message("user", "q"),), "a", "b" if rows == "preference" else "", "S")
    example = talk.to_example("Ana")
    file = tmp_path / "out.json"
    file.write_text(json.dumps(list(write_rows([example], form, rows))), "utf-8")
    info = tmp_path / "dataset_info.json"
    info.write_text(json.dumps({"out": entry(file, form, rows)}), "utf-8")

    (read,) = read_foreign(info, "dataset_info", character="Ana")

    assert (read.scene, read.reply, read.rejected) == (example.scene, example.reply, example.rejected)


def test_what_rows_are_is_told_and_a_mixture_is_refused():
    def row(reply, rejected=""):
        return Example(Scene("A", "en", "", history=(Message("user", "q"),)), reply, rejected)

    assert rows_of([row("a"), row("b")]) == "sft"
    assert rows_of([row("a", "b")]) == "preference"
    assert rows_of([row("a"), row("", "b")]) == "kto"
    with pytest.raises(ValueError, match="Some rows are pairs"):
        rows_of([row("a"), row("a", "b")])
    with pytest.raises(ValueError, match=r"Row 2 .* has no pair"):
        list(write_rows([row("a", "b"), row("a")], "alpaca", "preference"))


def test_languages_are_told_apart():
    assert language_of(["你好，我是Ana"]) == "zh"
    assert language_of(["Hello, 你 there my friend"]) == "en"
    assert language_of([""]) == "en"


@pytest.mark.skipif(not (DATA / "huanhuan").is_dir(), reason=f"needs {DATA}/huanhuan (set MOODLINE_BENCH_DATA)")
@pytest.mark.parametrize("form", ["alpaca", "sharegpt", "openai"])
def test_real_pairs_come_back_from_every_format(tmp_path: Path, form):
    source = DATA / "huanhuan" / "huanhuan.json"
    rows = [alpaca.COLUMNS | row for row in json.loads(source.read_text("utf-8"))]
    examples = list(read_foreign(source, detect(source), character="甄嬛"))
    assert len(examples) == len(rows) == 3729
    assert {example.scene.language for example in examples} == {"zh"}

    file = tmp_path / "out.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in write_rows(examples, form, "sft")), "utf-8")
    back = list(read_foreign(file, detect(file), character="甄嬛"))

    assert [(one.scene, one.reply) for one in back] == [(one.scene, one.reply) for one in examples]
