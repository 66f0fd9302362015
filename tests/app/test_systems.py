"""The table of published systems in models/README.md against the commands that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.main import get_command

from app.cli.main import app
from models.training.recipe import read_recipe, shipped

README = Path(__file__).parents[2] / "models" / "README.md"


def test_the_table_of_systems_names_commands_that_exist_and_leaves_out_no_evaluation():
    table = README.read_text("utf-8").split("## The systems of the field")[1].split("\n## ")[0]
    groups: dict[str, Any] = vars(get_command(app))["commands"]
    known = {f"{group} {name}" for group in ("data", "eval") for name in groups[group].commands}
    known |= {f"train {read_recipe(name).method} {name}" for name in shipped()}

    named = set(re.findall(r"`((?:data|eval|train sft|train dpo) [\w-]+)", table))

    assert named <= known, named - known
    assert {name for name in known if name.startswith("eval ")} - named == {"eval drift"}
    ours = {"cpu", "cpu-dpo", "default", "qwen3-sft", "qwen3-dpo"}
    assert {name for name in known if name.startswith("train ")} - named == {
        f"train {read_recipe(name).method} {name}" for name in ours
    }
