"""Adapters on the shelf: one folder each, whole or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.adapter import AdapterRefused
from models.stored import NAME_PATTERN, AdapterMissing, check_kept, drop, keep, kept
from tests.adapters import rewrite, small_adapter


def test_a_name_says_role_and_weights(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    assert kept(shelf) == []
    first = keep(small_adapter(tmp_path / "a"), shelf, "mara")
    assert re.fullmatch(NAME_PATTERN, first.name)
    assert keep(small_adapter(tmp_path / "b"), shelf, "mara") == first
    assert keep(small_adapter(tmp_path / "c", alpha=9), shelf, "mara").name != first.name
    assert keep(small_adapter(tmp_path / "d"), shelf, "zoe").name.partition("@")[2] == first.name.partition("@")[2]
    assert [one.name for one in kept(shelf)] == sorted(one.name for one in kept(shelf))
    assert len(kept(shelf)) == 3
    drop(shelf, first.name)
    assert first.name not in [one.name for one in kept(shelf)]
    with pytest.raises(AdapterMissing, match=first.name):
        check_kept(shelf, first.name)


@pytest.mark.parametrize("name", ["", "..", "mara", "mara@0", "../mara@000000000000", "mara@000000000000/.."])
def test_a_name_that_is_none_finds_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdapterMissing):
        drop(tmp_path, name)


@pytest.mark.parametrize(
    "field", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"rank_pattern": {"q_proj": 4}}]
)
def test_what_only_a_merge_computes_exactly_is_not_kept(tmp_path: Path, field: dict[str, object]) -> None:
    adapter = small_adapter(tmp_path / "adapter")
    rewrite(adapter / "adapter_config.json", **field)
    with pytest.raises(AdapterRefused, match=f"{next(iter(field))}.*moodline merge"):
        keep(adapter, tmp_path / "shelf", "mara")
    assert not (tmp_path / "shelf").exists()


@pytest.mark.parametrize("role", ["", "Mara", "a b", "../up", "-mara", "x" * 64, "甄嬛"])
def test_roles_are_plain_words(tmp_path: Path, role: str) -> None:
    with pytest.raises(AdapterRefused, match="no name for an adapter"):
        keep(small_adapter(tmp_path / "adapter"), tmp_path / "shelf", role)
