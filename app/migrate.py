"""Bring a database to the newest revision, or say where it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from app.db import prepare_folder

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
LOCK = "hashtext('moodline migrations')"
"""The advisory lock of PostgreSQL under which one process at a time changes the schema."""


def migrate(url: str) -> None:
    """Apply what is missing of the migrations. Must be called outside an event loop."""
    prepare_folder(url)
    command.upgrade(configure(url), "head")


def configure(url: str) -> Config:
    """Alembic's configuration. With `attributes["connection"]` set it works in that connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
