"""A merged checkpoint is served as it was merged, or not at all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from transformers import AutoTokenizer

from models import frame, golden, prompt
from models.engine import EngineUnavailable, Finish, Sampling
from models.local import LocalEngine
from models.manifest import (
    MANIFEST,
    Manifest,
    ManifestUnreadable,
    ServedOtherwise,
    Source,
    check_frame,
    check_served,
    file_marks,
    is_merged,
    read_manifest,
)
from models.scene import Language, Message
from models.upstream import UpstreamEngine
from tests.adapters import rewrite, tiny_base
from tests.peer import Peer, reply


@pytest.fixture(scope="module")
def merged(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with the manifest that a merge would have given it. Tests copy it before they change it."""
    folder = tiny_base(tmp_path_factory.mktemp("merged") / "mara", unpacked)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    manifest_of(golden.template_mark(tokenizer), file_marks(folder)).write(folder)
    return folder


def manifest_of(template: golden.TemplateMark, files: dict[str, tuple[int, str]]) -> Manifest:
    return Manifest(
        base=Source("base", "0" * 64),
        adapter=Source("mara", "1" * 64),
        template=template,
        frame=golden.frame_mark(),
        dtype="float32",
        made="2026-11-27",
        versions={"moodline": "0.1.0"},
        verified={"lost": 0.0},
        files=files,
    )


def test_another_wording_or_order_is_another_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = {golden.frame_mark()}
    changes = [(language, field.name) for language in get_args(Language) for field in dataclasses.fields(frame.Frame)]
    for language, name in changes:
        changed = dataclasses.replace(frame.FRAMES[language], **{name: "~" + getattr(frame.FRAMES[language], name)})
        with monkeypatch.context() as patch:
            for module in (golden, prompt):
                patch.setattr(module, "FRAMES", {**frame.FRAMES, language: changed})
            marks.add(golden.frame_mark())
    with monkeypatch.context() as patch:
        patch.setattr(prompt, "SEPARATOR", "\n")
        marks.add(golden.frame_mark())
    with monkeypatch.context() as patch:
        present = prompt.present_texts
        patch.setattr(prompt, "present_texts", lambda scene: present(scene)[::-1])
        marks.add(golden.frame_mark())
    assert len(marks) == len(changes) + 3


def test_a_template_that_writes_the_date_is_known_by_its_text_alone(unpacked: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(unpacked, local_files_only=True)
    plain = golden.template_mark(tokenizer)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + tokenizer.chat_template
    dated = golden.template_mark(tokenizer)
    assert plain.tokens
    assert not dated.tokens
    assert dated.text != plain.text


def test_a_template_that_refuses_system_messages_is_tried_without(unpacked: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(unpacked, local_files_only=True)
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
    tokenizer.chat_template = refusal + tokenizer.chat_template
    mark = golden.template_mark(tokenizer)
    assert [turn.role for turn in mark.turns] == ["user", "assistant", "user"]
    assert mark.tokens


async def test_what_is_as_it_was_merged_is_served(merged: Path, tmp_path: Path) -> None:
    engine = LocalEngine(merged, tmp_path, context_length=512, max_streams=1)
    await engine.start()
    events = [event async for event in engine.stream([Message("user", "Hello.")], Sampling(max_tokens=3))]
    assert isinstance(events[-1], Finish)
    await engine.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}"), "another chat temp"),
        (lambda folder: rewrite(folder / MANIFEST, frame="0" * 64), "another system frame: its manifest has 0000"),
        (lambda folder: (folder / "generation_config.json").unlink(), "generation_config.json is missing"),
        (lambda folder: rewrite(folder / MANIFEST, template=None), "is not the manifest of a merged checkpoint"),
    ],
)
async def test_what_is_not_is_refused_at_start_and_whenever_it_is_asked(
    merged: Path, tmp_path: Path, change: Any, reason: str
) -> None:
    folder = shutil.copytree(merged, tmp_path / "mara")
    change(folder)
    if "chat" in reason:  # as if it had been merged so: its size is no longer what gives it away
        size = (folder / "chat_template.jinja").stat().st_size
        files = json.loads((folder / MANIFEST).read_text())["files"]
        rewrite(folder / MANIFEST, files=files | {"chat_template.jinja": [size, ""]})
    engine = LocalEngine(folder, tmp_path)
    with pytest.raises(EngineUnavailable, match=reason):
        await engine.start()
    with pytest.raises(EngineUnavailable, match=reason):
        await engine.check()


def test_a_checkpoint_that_was_not_merged_is_not_looked_at(unpacked: Path) -> None:
    assert (unpacked / MANIFEST).is_file()
    assert not is_merged(unpacked)
    check_served(unpacked, None)


def test_a_checkpoint_of_another_frame_is_refused(merged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(merged)
    check_frame(manifest)
    changed = dataclasses.replace(frame.FRAMES["zh"], speak="请回复。")
    monkeypatch.setattr(prompt, "FRAMES", {**frame.FRAMES, "zh": changed})
    with pytest.raises(ServedOtherwise, match=r"'mara' was merged for another system frame.*version 0\.1\.0"):
        check_frame(manifest)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "merged"}', '{"kind": "cat"}'])
def test_what_is_no_manifest_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ManifestUnreadable, match="is not the manifest"):
        read_manifest(tmp_path)
    with pytest.raises(ManifestUnreadable, match="There is no manifest"):
        read_manifest(tmp_path / "nowhere.json")


async def test_an_upstream_is_asked_what_its_template_makes_of_the_turns(merged: Path, peer: Peer) -> None:
    tokenizer = AutoTokenizer.from_pretrained(merged, local_files_only=True)
    turns = read_manifest(merged).template.turns
    served: dict[str, Any] = {"tokens": [1, 2, 3]}

    async def tokenizing(asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["messages"] == [{"role": turn.role, "content": turn.content} for turn in turns]
        return served

    peer.tokenizing = tokenizing
    peer.chunks = reply("Aye.")
    engine = UpstreamEngine(f"{peer.address}/v1", dialect="vllm", system="anywhere", manifest=merged / MANIFEST)
    with pytest.raises(ServedOtherwise, match=r"another chat template.*no --chat-template"):
        await engine.start()
    for answer in (served, {"count": 3}):
        served = answer
        with pytest.raises(EngineUnavailable):
            await engine.check()
        with pytest.raises(EngineUnavailable):
            await anext(engine.stream([Message("user", "Hello.")], Sampling()))
    assert not peer.asked, "nothing is said through it"
    served = {"tokens": golden.tokens_of(tokenizer, turns)}
    assert "Aye." in [event async for event in engine.stream([Message("user", "Hello.")], Sampling())]
    await engine.check()
    await engine.close()
