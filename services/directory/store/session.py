"""Open transactions: reading, and writing under a tenant's lock, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session

WRITER_WAIT_S = 2.0
"""How long a writer waits for an applying run before it is told TENANT_BUSY (R44)."""


class TenantLockedError(Exception):
    """The tenant's lock (on SQLite: the database's) was not free within the wait."""


class Lock(enum.Enum):
    """How a transaction holds its tenant: writers share, an apply is alone."""

    SHARED = "pg_advisory_xact_lock_shared"
    EXCLUSIVE = "pg_advisory_xact_lock"


class Store:
    """The database. Leaving a `write` block commits; an exception inside rolls everything back."""

    def __init__(self, database_url: str) -> None:
        self.engine = open_engine(database_url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.commits = Commits()
        # SQLite's own wait polls with growing sleeps; in one process a lock hands the turn over at once.
        self._sqlite_turn = threading.Lock()

    @contextmanager
    def read(self, tenant_id: int | None) -> Iterator[Session]:  # noqa: ARG002
        """Read one consistent state of a tenant (None: across tenants); nothing is written."""
        level = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with Session(self.engine.execution_options(**level)) as session:
            yield session

    @contextmanager
    def write(
        self, tenant_id: int | None, *, lock: Lock = Lock.SHARED, wait_s: float = WRITER_WAIT_S
    ) -> Iterator[Session]:
        """Write in one transaction under the tenant's lock (None: no tenant's); `TenantLockedError` after `wait_s`."""
        options = {"sqlite_begin": "BEGIN IMMEDIATE", "sqlite_wait_s": wait_s}
        with self._turn(wait_s), Session(self.engine.execution_options(**options)) as session:
            connection = _begin(session)
            if not self.is_sqlite:
                _lock(connection, tenant_id, lock, wait_s)
            yield session
            session.commit()
        self.commits.ring()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @contextmanager
    def _turn(self, wait_s: float) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        if not self._sqlite_turn.acquire(timeout=wait_s):
            raise TenantLockedError
        try:
            yield
        finally:
            self._sqlite_turn.release()


class Commits:
    """Wakes those who wait for news when a transaction of this process has committed."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How many commits there were; remember it before reading, and wait from it."""
        return self._count

    def ring(self) -> None:
        """Say that there may be something new."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, since: int, *, timeout_s: float) -> None:
        """Block until there is a commit after `since`, at most `timeout_s` (another process may have committed)."""
        with self._condition:
            self._condition.wait_for(lambda: self._count != since, timeout_s)


def violates(error: IntegrityError, index: str, column: str) -> bool:
    """Say whether this unique index was violated: PostgreSQL names it, SQLite names its last `table.column`."""
    diagnosis = getattr(error.orig, "diag", None)
    return diagnosis.constraint_name == index if diagnosis is not None else column in str(error.orig)


def _begin(session: Session) -> Connection:
    try:
        return session.connection()
    except OperationalError as error:
        if "database is locked" in str(error.orig):
            raise TenantLockedError from error
        raise


def _lock(connection: Connection, tenant_id: int | None, lock: Lock, wait_s: float) -> None:
    """Take the transaction's id first: the order of events follows it (store/events.py)."""
    connection.execute(text("SELECT pg_current_xact_id()"))
    if tenant_id is None:
        return
    connection.execute(text(f"SET LOCAL lock_timeout = {max(1, int(wait_s * 1000))}"))  # 0 would wait for ever
    try:
        connection.execute(text(f"SELECT {lock.value}(:tenant)"), {"tenant": tenant_id})
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03":  # lock_not_available
            raise TenantLockedError from error
        raise
    connection.execute(text("SET LOCAL lock_timeout = 0"))


def open_engine(database_url: str) -> Engine:
    """Open a pool of connections; on SQLite the file and its folder are made."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url,
            pool_size=40,
            max_overflow=8,
            pool_use_lifo=True,
            pool_pre_ping=True,
            hide_parameters=True,  # values of people stay out of errors and logs
            connect_args={"connect_timeout": 5},
        )
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=40,
        max_overflow=8,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": 2.0},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(dbapi_connection: Any, _: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(options.get('sqlite_wait_s', WRITER_WAIT_S) * 1000)}")
    connection.exec_driver_sql(str(options.get("sqlite_begin", "BEGIN")))
