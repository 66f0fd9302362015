"""Builders that ask a teacher, at the command line: killed and gone on with, at their limits, with wrong files."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli.main import app
from models.example import read_examples
from tests.peer import Peer

SCRIPT = "第1幕\n阿远：今晚还点灯吗？\n玛拉：灯塔一夜也不能黑。\n阿远：那我陪你。\n玛拉：好，把油拿来。\n"
NOVEL = "\n".join(f"“第{n}盏灯亮了。”守塔人说。" + f"第{n}夜的风从海上来，吹了很久很久。" * 12 for n in range(1, 9))


def file(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, "utf-8")
    return folder / name


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def told(result: Result) -> str:
    return " ".join(result.output.split())


def found(body: dict[str, Any]) -> str:
    """What a good teacher answers to a piece of the novel."""
    said = re.findall(r"“(第\d盏灯亮了。)”", body["messages"][-1]["content"])
    return json.dumps({"dialogues": [{"role": "守塔人", "dialogue": line} for line in said]})


async def extract(peer: Peer, novel: Path, out: Path, *more: str) -> tuple[asyncio.subprocess.Process, str]:
    """The command in a process of its own, to its end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from app.cli.main import app; app()", "data", "extract", str(novel)),
        *("--teacher", f"{peer.address}/v1", "--at-once", "1", "-o", str(out), *more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"MOODLINE_HOME": str(out.parent / "home")},
    )
    running.append(process)
    said, _ = await process.communicate()
    return process, " ".join(said.decode().split())


running: list[asyncio.subprocess.Process] = []


async def test_a_run_that_is_killed_goes_on_to_the_same_rows_and_asks_nothing_twice(peer: Peer, tmp_path: Path):
    novel, out, straight = file(tmp_path, "n.txt", NOVEL), tmp_path / "a.jsonl", tmp_path / "b.jsonl"

    def until_it_is_killed(body: dict[str, Any]) -> str:
        if len(peer.asked) == 4:
            running[-1].kill()
        return found(body)

    peer.answering = until_it_is_killed
    killed, _ = await extract(peer, novel, out)
    assert killed.returncode == -9
    assert not out.exists()
    peer.answering = found
    limited, said = await extract(peer, novel, out, "--requests", "2")
    assert limited.returncode == 3
    assert "The limit of 2 requests is reached" in said
    assert "a.answers.jsonl; the same command goes on from there" in said
    assert not out.exists()
    done, _ = await extract(peer, novel, out)
    asked = len(peer.asked)
    whole, said = await extract(peer, novel, straight)

    assert (done.returncode, whole.returncode) == (0, 0), said
    assert out.read_bytes() == straight.read_bytes()
    assert asked == (len(peer.asked) - asked) + 1, "the question that it died over was asked again"
    rows = [json.loads(row) for row in out.read_text("utf-8").splitlines()]
    assert [row["content"] for row in rows] == [f"第{n}盏灯亮了。" for n in range(1, 9)]
    one, other = (json.loads((tmp_path / f"{name}.manifest.json").read_text("utf-8")) for name in "ab")
    assert one == other
    assert (one["rows"], one["lost"], one["inputs"][0]["file"]) == (8, {}, "n.txt")


async def test_what_cannot_be_read_is_counted_named_and_told(peer: Peer, tmp_path: Path):
    novel, out = file(tmp_path, "n.txt", NOVEL), tmp_path / "rows.jsonl"
    peer.answering = lambda body: "I see no JSON here." if "第3盏" in str(body["messages"]) else found(body)

    done, said = await extract(peer, novel, out)

    assert done.returncode == 0
    assert "1 not made: broken JSON 1." in said
    assert "piece 2: broken JSON" in said
    manifest = json.loads((tmp_path / "rows.manifest.json").read_text("utf-8"))
    assert manifest["lost"] == {"broken JSON": 1}
    assert manifest["lost_rows"][0]["row"] == "piece 2"
    assert manifest["rows"] == 7
    again, said = await extract(peer, novel, out)
    assert (again.returncode, "rows.jsonl is there already" in said) == (1, True)


def test_the_packaged_model_is_a_teacher_too(tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    asked, out = (
        file(tmp_path, "asked.txt", "Say in one short sentence what a lighthouse is.\n"),
        tmp_path / "rows.jsonl",
    )
    command = ("human-pairs", asked, "--teacher", "packaged", "--temperature", "0", "-o", out)

    done = run(*command)

    assert done.exit_code == 0, told(done)
    (row,) = read_examples(out)
    assert row.reply
    assert row.rejected not in ("", row.reply)
    first = out.read_bytes()
    again = run(*command, "--force")
    assert again.exit_code == 0, told(again)
    assert "this run cost 0 requests" in told(again)
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("feelings", "灯塔.txt", "--role", "玛拉母"), "'玛拉母' says nothing in 灯塔. Speakers are 玛拉, 阿远"),
        (("profiles", "none.txt", "--role", "玛拉"), "No such file"),
        (("instruct", "灯塔.txt", "--role", "玛拉", "--questions", "empty.txt"), "the file has no line"),
        (("experiences", "empty.txt", "--role", "玛拉"), "no paragraph of 40 letters"),
        (("extract", "empty.txt"), "the file is empty"),
        (("acts", "灯塔.txt", "--role", "船长"), "'船长' is not in 灯塔.txt"),
        (("monologues", "灯塔.txt", "--role", "船长"), "'船长' says nothing in 灯塔"),
        (("human-pairs", "empty.txt"), "the file has no line"),
        (("personas", "empty.txt"), "no chat of two lines"),
        (("styles", "灯塔.txt"), "Give --style NAME, or --profiles"),
        (("invent", "card.json"), "line 1: 角色名称 must be a text"),
        (("extract", "灯塔.txt", "--money", "1"), "A limit in money needs --price"),
        (("extract", "灯塔.txt", "--price", "cheap"), "expected two numbers"),
        (("extract", "灯塔.txt"), "There is no engine nobody"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], why: str
):
    monkeypatch.chdir(tmp_path)
    file(tmp_path, "灯塔.txt", SCRIPT)
    file(tmp_path, "empty.txt", "\n")
    file(tmp_path, "card.json", '[{"name": "玛拉"}]')

    done = run(*arguments, "--teacher", "nobody", "-o", "rows.jsonl")

    assert done.exit_code in (1, 2)
    assert why in told(done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["card.json", "empty.txt", "灯塔.txt"]


async def test_rows_of_instruction_come_through_the_whole_command(peer: Peer, tmp_path: Path):
    script, out = file(tmp_path, "灯塔.txt", SCRIPT), tmp_path / "rows.jsonl"
    general = file(tmp_path, "general.txt", "一加一等于几？\n")

    def answer(body: dict[str, Any]) -> str:
        words = body["messages"][-1]["content"]
        if "口头禅" in words and "人物描述" in words and "出题" not in words:
            return json.dumps({"description": "你看守灯塔。", "catchphrases": ["灯不能黑"]})
        if "出题" in words:
            kind = "人物" if "段人物描述" in words else "剧本"
            one = {"question": f"{kind}里说的灯为什么不能黑？", "confidence": "high", "answer": f"因为{kind}上有船。"}
            return json.dumps({"questions": [one]})
        return "二，像两盏灯。"

    peer.answering = answer
    done = await asyncio.to_thread(
        run, "instruct", script, "--role", "玛拉", "--questions", general, "--teacher", f"{peer.address}/v1", "-o", out
    )

    assert done.exit_code == 0, told(done)
    rows = list(read_examples(out))
    assert [row.reply for row in rows] == ["因为人物上有船。", "因为剧本上有船。", "二，像两盏灯。"]
    assert {row.scene.persona for row in rows} == {"你看守灯塔。\n口头禅：灯不能黑"}
    assert [said["role"] for said in peer.asked[-1]["messages"]] == ["system", *("user", "assistant") * 2, "user"]
