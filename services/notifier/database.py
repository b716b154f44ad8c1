"""Open the notifier's database and bring its tables to this version's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine, make_url

SCHEMA = "notifier"
"""On PostgreSQL the tables live in a schema of their own, so that a database may be shared with the directory."""

_MIGRATION_LOCK = 0x6D757374  # any number that every replica agrees on


def open_engine(database_url: str) -> Engine:
    """Open SQLite (`sqlite:////path/notifier.db`) or PostgreSQL (`postgresql+psycopg://…`)."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        options = {"options": f"-csearch_path={SCHEMA}"}
        return create_engine(url, pool_size=5, pool_pre_ping=True, connect_args=options)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction; other replicas wait for it."""
    config = _config()
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            _make_schema(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the tables back to an older version's shape."""
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _make_schema(connection: Connection) -> None:
    """Look first: a login that may not create schemas can still use one that was made for it."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    found = connection.execute(text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": SCHEMA})
    if found.first() is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def _set_up_sqlite(dbapi_connection: Any, _: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = dbapi_connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # Taking the write lock at once avoids SQLITE_BUSY when a transaction that has read begins to write.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
