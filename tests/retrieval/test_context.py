"""The text by which a row is found through its surroundings."""

from datetime import date

from retrieval.context import BEFORE_CHARACTERS, in_context

DAY = date(2023, 5, 8)


def test_the_day_is_written_in_the_language_of_the_text():
    assert in_context("We won!", "", DAY) == "(8 May 2023) We won!"
    assert in_context("我们赢了！", "比赛怎么样？", DAY) == "（2023年5月8日）比赛怎么样？\n我们赢了！"


def test_only_the_end_of_what_was_said_before_is_kept():
    told = in_context("Yes.", "x" * 5000 + "tell me", DAY)
    assert told.endswith("xtell me\nYes.")
    assert len(told) == len("(8 May 2023) \nYes.") + BEFORE_CHARACTERS
