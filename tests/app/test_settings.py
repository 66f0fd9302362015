from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


def told(monkeypatch: pytest.MonkeyPatch, **wrong: str) -> str:
    """What is said about wrong variables."""
    with monkeypatch.context() as patch:
        for name, value in wrong.items():
            patch.setenv(f"MOODLINE_{name.upper()}", value)
        with pytest.raises(ValidationError) as error:
            Settings(_env_file=None)
    (fault,) = error.value.errors()
    return f"{'_'.join(map(str, fault['loc']))}: {fault['msg']}"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        ("postgres://u:p@h:5/d", "postgresql+psycopg://u:p@h:5/d"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql+psycopg://u:p@h/d?sslmode=require"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("sqlite:////var/lib/x.db", "sqlite+aiosqlite:////var/lib/x.db"),
        ("sqlite+aiosqlite:///x.db", "sqlite+aiosqlite:///x.db"),
    ],
)
def test_a_database_url_is_read_in_every_spelling_people_paste(
    monkeypatch: pytest.MonkeyPatch, written: str, read: str
) -> None:
    monkeypatch.setenv("MOODLINE_DATABASE_URL", written)
    assert Settings(_env_file=None).database_url == read


def test_without_a_url_the_database_is_a_file_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MOODLINE_HOME", str(tmp_path))
    assert Settings(_env_file=None).database == f"sqlite+aiosqlite:///{tmp_path}/moodline.db"


def test_home_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for written, read in (("~/state", tmp_path / "state"), ("state", tmp_path / "state")):
        monkeypatch.setenv("MOODLINE_HOME", written)
        assert Settings(_env_file=None).home == read


@pytest.mark.parametrize(
    "url", ["mysql://h/d", "/var/x.db", "postgresql+asyncpg://u:secret@h/d", "mongodb+srv://h", "x"]
)
def test_a_database_of_another_kind_is_told_what_to_write_and_not_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    message = told(monkeypatch, database_url=url)
    assert "sqlite:///FILE or postgresql://HOST/DB" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "eighty"),
        ("log_level", "loud"),
        ("require_key", "perhaps"),
        ("engine", "gpt"),
        ("upstream_dialect", "klingon"),
        ("upstream_url", "gpu-box:8000/v1"),
        ("upstream_url", "http://gpu-box:8000/v1,"),
        ("vllm_options", "--served-model-name 'mara"),
        ("context_tokens", "511"),
        ("reply_tokens", "0"),
        ("window", "1"),
        ("layout", "wide"),
        ("strategy", "best"),
        ("recall_lines", "-1"),
        ("recall_memories", "51"),
        ("index_bytes", "-1"),
        ("database_pool", "0"),
        ("max_body_bytes", "10"),
        ("max_upload_bytes", "4 MB"),
        ("max_message_chars", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    assert told(monkeypatch, **{name: value}).startswith(f"{name}: ")


def test_a_reply_that_leaves_no_room_for_a_prompt_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    message = told(monkeypatch, context_tokens="1000", reply_tokens="501")
    assert "MOODLINE_REPLY_TOKENS" in message
    assert "MOODLINE_CONTEXT_TOKENS" in message
    monkeypatch.setenv("MOODLINE_CONTEXT_TOKENS", "1000")
    monkeypatch.setenv("MOODLINE_REPLY_TOKENS", "500")
    assert Settings(_env_file=None).reply_tokens == 500


def test_vllm_has_to_be_told_what_to_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MOODLINE_VLLM_MODEL" in told(monkeypatch, engine="vllm")
    monkeypatch.setenv("MOODLINE_VLLM_MODEL", "/weights/mara")
    assert Settings(engine="vllm", _env_file=None).vllm_model == "/weights/mara"
    monkeypatch.setenv("HOME", "/home/ana")
    assert Settings(vllm_python="~/vllm/bin/python", _env_file=None).vllm_python == "/home/ana/vllm/bin/python"


def test_the_older_name_of_an_engine_elsewhere_is_read() -> None:
    assert Settings(engine="upstream", _env_file=None).engine == "openai"


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"MOODLINE_{name.upper()}", "")
    assert Settings(_env_file=None) == Settings(_env_file=None, **{})
    assert Settings(_env_file=None).require_key is None


@pytest.mark.parametrize(
    ("host", "require_key", "required"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("::1", None, False),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.168.1.5", None, True),
        ("127.0.0.1", True, True),
        ("0.0.0.0", False, False),
    ],
)
def test_a_key_is_asked_for_unless_the_address_is_loopback_or_someone_decided(
    host: str, require_key: bool | None, required: bool
) -> None:
    assert Settings(host=host, require_key=require_key, _env_file=None).key_required is required


def test_the_upstream_key_is_not_shown() -> None:
    settings = Settings(upstream_key="sk-very-secret", _env_file=None)
    assert "very-secret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.upstream_key.get_secret_value() == "sk-very-secret"


def test_settings_are_read_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "MOODLINE_PORT=9000\nMOODLINE_UPSTREAM_MODEL=柴米\nSOMETHING_ELSE=1\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert (Settings().port, Settings().upstream_model) == (9000, "柴米")
    monkeypatch.setenv("MOODLINE_PORT", "9001")
    assert Settings().port == 9001, "the environment goes before the file"


def test_the_example_file_documents_every_setting_with_its_default(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    written = dict(re.findall(r"^#?(MOODLINE_\w+)=(.*)$", example, re.MULTILINE))
    assert set(written) == {f"MOODLINE_{name.upper()}" for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        text = written[f"MOODLINE_{name.upper()}"]
        described = " ".join(example.split(f"MOODLINE_{name.upper()}=")[0].replace("\n# ", " ").split())
        assert " ".join((field.description or "?").split()) in described, f"{name} has another description"
        assert not text.endswith(" "), name
    (tmp_path / ".env").write_text(re.sub(r"^#(?=MOODLINE_)", "", example, flags=re.MULTILINE), encoding="utf-8")
    assert Settings(_env_file=tmp_path / ".env") == Settings(_env_file=None), "a default there is not the default here"
