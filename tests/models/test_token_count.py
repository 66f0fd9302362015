from pathlib import Path

import pytest
from transformers import AutoTokenizer

from models import token_count
from models.token_count import TokenCounts, estimate_tokens

ENGLISH = "The captain looked over the rail and laughed. 'You will never see that island again,' she said."
OTHERS = [
    "Привет, как дела? Сегодня хорошая погода.",
    "مرحبا كيف حالك",
    "12345 67890",
    "!?*~",
    "{'a': [1, 2]}",
    "Ça été, déjà",
]


@pytest.mark.parametrize("text", [ENGLISH, *OTHERS])
def test_the_estimate_says_rather_too_many_even_for_an_english_vocabulary(text: str, unpacked: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(unpacked, local_files_only=True)
    assert len(tokenizer(text, add_special_tokens=False).input_ids) <= estimate_tokens(text)


def test_the_estimate_holds_on_real_english_prose(unpacked: Path, bench_data: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(unpacked, local_files_only=True)
    text = (bench_data / "character100" / "Adele.txt").read_text("utf-8")
    assert len(tokenizer(text, add_special_tokens=False).input_ids) <= estimate_tokens(text)


def test_a_chinese_character_is_estimated_at_one_and_a_half_tokens() -> None:
    assert estimate_tokens("悟空把大小群妖都查勘点齐了，") == 21


def test_the_estimate_is_not_wasteful_for_english() -> None:
    assert estimate_tokens(ENGLISH) < len(ENGLISH) / 2


async def test_only_the_last_texts_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_count, "REMEMBERED", 2)
    asked: list[str] = []

    async def count_one(text: str) -> int:
        asked.append(text)
        return len(text)

    counts = TokenCounts(count_one)
    assert await counts.count(["a", "bb", "ccc"]) == [1, 2, 3]
    assert await counts.count(["ccc", "a"]) == [3, 1]
    assert asked == ["a", "bb", "ccc", "a"]


async def test_a_text_that_could_not_be_counted_is_asked_for_again() -> None:
    tries = iter([RuntimeError("down"), 5])

    async def count_one(_: str) -> int:
        if isinstance(outcome := next(tries), Exception):
            raise outcome
        return outcome

    counts = TokenCounts(count_one)
    with pytest.raises(RuntimeError):
        await counts.count(["text"])
    assert await counts.count(["text"]) == [5]
