"""Running `moodline eval` and reading its last line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from tests.peer import Peer

Run = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def evaluated(tmp_path: Path, weights_home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a task: exit status, everything that was printed, and the last line where it is JSON."""
    monkeypatch.setenv("MOODLINE_HOME", str(weights_home))

    def run(*arguments: object) -> tuple[int, str, dict[str, Any]]:
        ended = CliRunner().invoke(app, ["eval", *map(str, arguments), "--cache", str(tmp_path / "cache")])
        lines = ended.stdout.strip().splitlines()
        last = json.loads(lines[-1]) if ended.exit_code == 0 else {}
        return ended.exit_code, " ".join(ended.output.replace("│", " ").split()), last

    return run


@pytest.fixture
def spoken(peer: Peer) -> str:
    """A server as `--engine` names it, which says another sentence every time, at once."""
    things = ("lamp", "harbour", "ledger", "heron", "bridge", "lantern", "letter", "kettle", "orchard", "staircase")
    doings = ("waits for rain", "was never mine", "came back on Tuesday", "hums at night", "smells of tar")
    sentences = iter([f"The {thing} {doing}." for doing in doings for thing in things])
    peer.models = {"data": [{"id": "spoken", "max_model_len": 32_768}]}
    peer.answering = lambda _body: next(sentences)
    return f"{peer.address}/v1#spoken"
