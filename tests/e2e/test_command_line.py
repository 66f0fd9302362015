"""The command `moodline`, as a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from models.weights import checkpoint
from tests.adapters import random_adapter, tiny_base
from tests.e2e.conftest import MOODLINE

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def moodline(tmp_path: Path, weights_home: Path) -> Run:
    home = tmp_path / "home"
    home.mkdir()
    (weights_home / "weights").mkdir(parents=True, exist_ok=True)
    (home / "weights").symlink_to(weights_home / "weights", target_is_directory=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOODLINE_")}
    environment |= {"MOODLINE_HOME": str(home), "MOODLINE_REPLY_TOKENS": "12", "NO_COLOR": "1"}

    def run(*words: str, said: str = "", columns: int = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(MOODLINE), *words],
            input=said,
            env=environment
            | {"COLUMNS": str(columns)}
            | {f"MOODLINE_{name.upper()}": value for name, value in settings.items()},
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
        )

    return run


def test_a_person_adds_a_character_gives_it_lines_and_talks_with_it(moodline: Run, tmp_path: Path) -> None:
    mara = {"slug": "mara", "name": "Mara", "persona": "Keeps a lighthouse.", "greeting": "The lamp is lit, {{user}}."}
    (tmp_path / "mara.json").write_text(json.dumps(mara))
    (tmp_path / "script.txt").write_text("Sailor: Are you lonely?\nMARA: I have the lamp, and the lamp has me.\n")
    added = moodline("characters", "add", str(tmp_path / "mara.json"))
    assert added.returncode == 0, added.stderr
    again = moodline("characters", "add", str(tmp_path / "mara.json"))
    assert again.returncode == 1
    assert "already have a character 'mara'" in again.stderr.replace("\n", " ")
    wrong = moodline("lines", "import", "mara", str(tmp_path / "script.txt"))
    assert wrong.returncode == 1
    assert "MARA" in wrong.stderr
    imported = moodline("lines", "import", "mara", str(tmp_path / "script.txt"), "--role", "MARA")
    assert "1 units stored" in imported.stdout, imported.stderr
    listed = moodline("characters", "list")
    assert "char/mara" in listed.stdout
    talk = moodline("chat", "mara", "--user", "ana", said="Good evening.\n\n")
    assert talk.returncode == 0, talk.stderr
    assert "The lamp is lit, ana." in talk.stdout
    session = talk.stdout.split("--session ")[1].strip()
    more = moodline("chat", "mara", "--user", "ana", "--session", session, said="")
    assert "Good evening." in more.stdout
    assert moodline("characters", "delete", "mara").returncode == 0
    assert "There is no character 'mara'" in moodline("chat", "mara").stderr.replace("\n", " ")
    assert moodline("characters", "restore", "mara").returncode == 0


def test_a_card_becomes_a_character_and_a_character_a_card(moodline: Run, tmp_path: Path) -> None:
    vectors = Path(__file__).parents[1] / "cards" / "vectors"
    made = moodline("characters", "import", str(vectors / "both.png"))
    assert made.returncode == 0, made.stderr
    assert "A V3 card in png: name, " in made.stdout
    assert "char/mira-mi-la" in made.stdout
    refused = moodline("characters", "import", str(vectors / "nan.json"))
    assert (refused.returncode, "NaN" in refused.stderr) == (1, True)
    for name in ("mira.json", "mira.png", "mira.charx"):
        assert moodline("characters", "export", "mira-mi-la", str(tmp_path / name)).returncode == 0
        again = moodline("characters", "import", str(tmp_path / name), "--slug", name.replace(".", "-"))
        assert "Repaired" not in again.stdout
    there = moodline("characters", "export", "mira-mi-la", str(tmp_path / "mira.png"))
    assert (there.returncode, "--force" in there.stderr) == (1, True)
    original = tmp_path / "original"
    assert moodline("characters", "export", "mira-mi-la", str(original), "--original").returncode == 0
    assert original.read_bytes() == (vectors / "both.png").read_bytes()
    strange = moodline("characters", "export", "mira-mi-la", str(tmp_path / "mira.gif"))
    assert (strange.returncode, ".charx" in strange.stderr) == (1, True)


def test_keys_are_made_shown_once_and_revoked(moodline: Run) -> None:
    key = moodline("keys", "create", "my-app", "--owner", "me").stdout.strip()
    assert key.startswith("ml-")
    listed = moodline("keys", "list", columns=80).stdout
    assert key[:8] in listed, "other commands take it"
    assert key not in listed
    assert moodline("keys", "revoke", key[:8]).returncode == 0
    assert moodline("keys", "revoke", key[:8]).returncode == 1


def test_a_key_s_limits_are_set_changed_and_given_back_to_the_server(moodline: Run) -> None:
    key = moodline("keys", "create", "my-app", "--requests-per-minute", "77", "--streams", "0").stdout.strip()
    assert [word in moodline("keys", "list").stdout for word in (" 77 ", " 64 ")] == [True, False]
    changed = moodline("keys", "change", key[:8], "--requests-per-minute", "-1", "--streams", "64")
    assert changed.returncode == 0, changed.stderr
    assert [word in moodline("keys", "list").stdout for word in (" 77 ", " 600 ", " 64 ")] == [False, True, True]
    assert "Say what to change" in moodline("keys", "change", key[:8]).stderr
    assert moodline("keys", "change", "ml-none", "--streams", "1").returncode == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--engine", "vllm"), "--model (or MOODLINE_VLLM_MODEL) has to name"),
        (("--model", "mara"), "--model goes with --engine"),
        (("--engine", "vllm", "--upstream", "http://gpu-box:8000/v1"), "--upstream goes with --engine openai"),
        (("--upstream", "gpu-box"), "'gpu-box' is no address"),
    ],
)
def test_what_can_not_be_served_is_told_before_anything_starts(
    moodline: Run, words: tuple[str, ...], told: str
) -> None:
    done = moodline("serve", *words)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", " ").split())


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(moodline: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = moodline("serve", port=port)
    assert done.returncode == 1
    assert f"127.0.0.1, port {port}, can't be listened on: Address already in use." in done.stderr.replace("\n", " ")
    assert "curl" not in done.stdout


def test_a_wrong_setting_is_told_in_a_sentence(moodline: Run) -> None:
    told = moodline("characters", "list", port="eighty")
    assert told.returncode == 2
    assert "MOODLINE_PORT" in told.stderr
    assert "Traceback" not in told.stderr


def test_an_adapter_is_merged_or_refused_with_a_sentence(moodline: Run, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "base", checkpoint(None, tmp_path / "home"))
    adapter = random_adapter(base, tmp_path / "adapter")
    words = ("merge", str(adapter), "--base", str(base), "--out")
    done = moodline(*words, str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "nats a token" in done.stdout
    assert "MB of memory" in done.stdout
    assert (tmp_path / "out" / "manifest.json").is_file()
    again = moodline(*words, str(tmp_path / "out"))
    assert again.returncode == 1
    assert "not an empty folder" in again.stderr.replace("\n", " ")
