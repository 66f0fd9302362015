"""The casts that come along: rows in both languages, from what the project itself has written."""

from __future__ import annotations

from app.data.cast import shipped
from models.data.cast import read_cast


def test_what_comes_along_is_rows_in_both_languages():
    for language, names in (("en", {"Pask", "Grith", "Vex"}), ("zh", {"柴米"})):
        rows = list(read_cast(shipped(language), language))

        assert names <= {row.scene.character for row in rows}
        assert len({row.id for row in rows}) == len(rows) > 90
        assert not any(row.reply in line for row in rows for line in row.scene.lines)


def test_a_dialogue_of_several_begins_with_others_and_ends_with_the_character():
    (zh,) = (one for one in shipped("zh") if one["slug"] == "chai-mi")

    assert all(len(scene) % 2 == 0 and all(scene) for scene in zh["scenes"])
    assert any(len(scene) > 2 for scene in zh["scenes"])
