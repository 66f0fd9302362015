from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.migrate import migrate


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The database of the command's settings."""
    monkeypatch.setenv("MOODLINE_DATABASE_URL", f"sqlite:///{tmp_path / 'x.db'}")
    monkeypatch.setenv("MOODLINE_HOME", str(tmp_path))
    migrate(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    return tmp_path / "x.db"


def orphan(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(
            "INSERT INTO traces (id, owner, session_id, outcome, document, created_at) "
            "VALUES ('t', 'o', 'gone', 'finished', '{}', '2026-01-01')"
        )
    connection.close()


def test_the_exit_status_tells_a_clean_database_from_findings_and_from_no_database(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CliRunner().invoke
    assert run(app, ["check"]).exit_code == 0
    orphan(file)
    told = run(app, ["check", "--json"])
    assert told.exit_code == 1
    assert json.loads(told.stdout)["findings"]["traces without their sessions"]["first"].keys() == {"gone"}
    assert run(app, ["check", "--repair"]).exit_code == 0
    assert run(app, ["check"]).exit_code == 0
    monkeypatch.setenv("MOODLINE_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    failed = run(app, ["check"])
    assert failed.exit_code == 2
    assert "could not run" in failed.output
    assert "secret" not in failed.output


def test_a_backup_and_its_restore_from_the_command_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = CliRunner().invoke
    orphan(file)
    run(app, ["check", "--repair"])
    zipped = file.with_suffix(".zip")
    assert run(app, ["backup", str(zipped)]).exit_code == 0
    assert zipped.stat().st_mode & 0o077 == 0, "only its owner reads it"
    again = run(app, ["backup", str(zipped)])
    assert again.exit_code == 1
    assert "--force" in again.output
    assert run(app, ["backup", str(zipped), "--force"]).exit_code == 0
    assert run(app, ["backup", str(file.parent / "no" / "b.zip")]).exit_code == 1
    refused = run(app, ["restore", str(zipped)])
    assert refused.exit_code == 1
    assert "--replace" in refused.output
    unasked = run(app, ["restore", str(zipped), "--replace"])
    assert unasked.exit_code == 1
    assert "--yes" in unasked.output
    assert run(app, ["restore", str(zipped), "--replace", "--yes"]).exit_code == 0
    monkeypatch.setenv("MOODLINE_DATABASE_URL", f"sqlite:///{file.with_name('y.db')}")
    restored = run(app, ["restore", str(zipped)])
    assert restored.exit_code == 0, restored.output
    assert "Nothing is wrong" in restored.output, "it is checked at once"
