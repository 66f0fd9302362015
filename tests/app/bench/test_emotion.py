"""`moodline bench emotion` on real rows: the shipped head against the anchors."""

import json
import random

import pytest
from typer.testing import CliRunner

from app.cli.main import app


@pytest.mark.parametrize(("kind", "count", "least"), [("goemotions/dev.tsv", 700, 0.45)])
def test_the_shipped_head_is_well_ahead_of_the_anchors(
    bench_data, weights_home, monkeypatch, tmp_path, kind, count, least
):
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))
    rows = (bench_data / kind).read_text(encoding="utf-8").split("\n")
    part = tmp_path / "part.tsv"
    part.write_text("\n".join(random.Random(5).sample([row for row in rows if row], count)), encoding="utf-8")
    told = CliRunner().invoke(app, ["bench", "emotion", "--data", str(part)])
    assert told.exit_code == 0, told.output
    results = json.loads(told.stdout.splitlines()[-1])["results"]
    assert results["moodline"]["macro_f1"] > least
    assert results["moodline"]["macro_f1"] > results["anchors"]["macro_f1"] + 0.08
    assert results["moodline"]["ece"] < results["anchors"]["ece"]
    assert results["moodline"]["flat_neutral"] > results["moodline"]["flat_emotional"] + 0.2
