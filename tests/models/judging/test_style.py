"""The discriminator learns manners from text, and nothing of a test's answers."""

import json
import os
from pathlib import Path

import pytest

from models.judging.style import Discriminator, hits

DATA = Path(os.environ.get("MOODLINE_BENCH_DATA", "../shared/data"))
PIRATE = ["Arr, the sea be callin', matey!", "Hoist the sails, ye scurvy dogs!", "Arr, ye be walkin' the plank, matey."]
LORD = ["One would hardly call that proper.", "I should be delighted, my dear fellow.", "Hardly proper, my good man."]


def test_a_manner_is_known_again_in_other_words() -> None:
    found = Discriminator([*PIRATE, *LORD], ["pirate"] * 3 + ["lord"] * 3)
    assert found.speakers == ("lord", "pirate")
    assert found.ranks(["Arr, ye be late, matey!", "My dear fellow, hardly."], ["pirate", "lord"]) == [1, 1]
    assert found.ranks(["Arr, ye be late, matey!"], ["lord"]) == [2]


def test_a_text_that_tells_nothing_is_no_hit() -> None:
    found = Discriminator([*PIRATE, *LORD], ["pirate"] * 3 + ["lord"] * 3, hidden=("Arr", "matey"))
    assert found.scores(["Arr matey"]) == pytest.approx(found.scores([""]))


def test_hits_are_ranks_within_k() -> None:
    assert hits([1, 3, 4], 3) == [1.0, 1.0, 0.0]


def test_unknown_speakers_and_lone_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="two speakers"):
        Discriminator(["a", "b"], ["x", "x"])
    with pytest.raises(ValueError, match="not trained on z"):
        Discriminator([*PIRATE, *LORD], ["pirate"] * 3 + ["lord"] * 3).ranks(["a"], ["z"])


@pytest.mark.skipif(not (DATA / "rolebench").is_dir(), reason=f"needs {DATA}/rolebench (set MOODLINE_BENCH_DATA)")
def test_roles_of_rolebench_are_told_apart_on_questions_that_were_kept_aside() -> None:
    file = DATA / "rolebench" / "zh_role_specific_train.jsonl"
    rows = [json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()]
    kept, learnt = rows[::5], [row for place, row in enumerate(rows) if place % 5]
    found = Discriminator([row["generated"][0] for row in learnt], [row["role"] for row in learnt])
    ranks = found.ranks([row["generated"][0] for row in kept], [row["role"] for row in kept])
    assert sum(hits(ranks, 1)) / len(ranks) > 2 / len(found.speakers)
