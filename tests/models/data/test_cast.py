"""A cast's scenes as rows: whole talks, never their own answer among the lines, and in order."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from models.data.cast import read_cast

SHIPPED = json.loads((files("models.training") / "material" / "en.json").read_text("utf-8"))


def test_every_scene_of_the_shipped_cast_is_a_row_that_does_not_show_its_own_answer():
    rows = list(read_cast(SHIPPED, "en"))

    assert len(rows) == sum(len(character["scenes"]) for character in SHIPPED)
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.scene.character in row.scene.persona
        assert not any(row.reply in line for line in row.scene.lines)
        assert [message.role for message in row.scene.history][-1] == "user"
    assert {len(row.scene.lines) for row in rows} == {0, 2, 3, 4}
    assert rows == list(read_cast(SHIPPED, "en"))
    assert rows != list(read_cast(SHIPPED, "en", seed=1))


def test_chinese_casts_are_read_alike():
    (row,) = read_cast(
        [{"character": "晚晴", "persona": "{{char}}守着灯塔。", "scenes": [["你好。", "进来吧。"]]}], "zh"
    )

    assert (row.scene.language, row.scene.persona, row.reply) == ("zh", "晚晴守着灯塔。", "进来吧。")


@pytest.mark.parametrize(
    ("cast", "why"),
    [
        ({}, "a JSON list of characters"),
        ([{}], "every character of a cast has a name"),
        ([{"character": "A"}], "A has no list of `scenes`"),
        ([{"character": "A", "scenes": [["Hi"]]}], "A, scene 1: user and character speak by turns"),
        ([{"character": "A", "scenes": [["a", "b"], ["a", "b", "c"]]}], "A, scene 2: "),
        ([{"character": "A", "scenes": [["a", 5]]}], "A, scene 1: "),
    ],
)
def test_what_is_no_cast_is_told(cast, why):
    with pytest.raises(ValueError, match=why):
        list(read_cast(cast, "en"))
