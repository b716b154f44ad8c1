"""Bring a database to the schema of this release, step by step, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.store.session import open_engine

if TYPE_CHECKING:
    from alembic.config import Config

_ONE_AT_A_TIME = 7_236_001
"""PostgreSQL advisory lock of migrations: replicas that start together take turns."""


def migrate(database_url: str, *, to: str = "head") -> None:
    """Upgrade to revision `to` in one transaction; a database that is there already is left alone."""
    _run(database_url, "upgrade", to)


def downgrade(database_url: str, *, to: str) -> None:
    """Go back to revision `to` (`base`: nothing left) in one transaction."""
    _run(database_url, "downgrade", to)


def _run(database_url: str, direction: str, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 - a tenth of a start, which only this needs

    engine = open_engine(database_url)
    try:
        with engine.execution_options(sqlite_begin="BEGIN IMMEDIATE", sqlite_wait_s=30).begin() as connection:
            if connection.dialect.name != "sqlite":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
                connection.execute(text("SET LOCAL row_security = off"))  # fail instead of missing rows; see fencing.py
            getattr(command, direction)(_config(connection), revision)
    finally:
        engine.dispose()


def _config(connection: Connection) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
