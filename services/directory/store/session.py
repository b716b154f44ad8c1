"""Open transactions: reading, and writing under a tenant's lock, on SQLite and PostgreSQL alike.

On PostgreSQL each is of a tenant, or looks across tenants, and row-level security holds it to that (store/fence.py).
"""

from __future__ import annotations

import enum
import select
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DisconnectionError, IntegrityError, OperationalError
from sqlalchemy.pool import StaticPool
from sqlmodel import Session

from services.directory.store.fence import PLATFORM, Reach, step_in
from services.directory.store.sending import SendingConnection
from services.directory.store.statements import execute
from services.directory.store.turns import NoTurnError, SharedConnection, Turns

FOLD_ON_SQLITE = "muster_lower"
"""Lower case of any script, on SQLite."""

USUAL_MEMORY = ("main.cache_size = -8192", "temp_store = MEMORY")
"""What a connection of SQLite has, in KiB and at hand; a run that takes more gives it back (roster/space.py)."""

WRITER_WAIT_S = 2.0
"""How long a writer waits for an applying run before it is told TENANT_BUSY (R44)."""


_BY_INDEX: Final = ("jit = off", "enable_seqscan = off", "plan_cache_mode = force_generic_plan")
"""Of whoever asks for few rows on PostgreSQL (docs/adr/0031, docs/adr/0033).

A plan is kept that was made while a table was small, when reading all of it was the cheapest: for minutes each call
would take the longer the more there is. And where a list is asked for, PostgreSQL thinks a plan for a list of that very
length the cheapest each time, and making it takes longer than what it saves.
"""


class TenantLockedError(Exception):
    """The tenant's lock (on SQLite: the database's) was not free within the wait."""


class Lock(enum.Enum):
    """How a transaction holds its tenant: writers share, an apply is alone; what is no writer's affair needs none."""

    NONE = ""
    SHARED = "pg_advisory_xact_lock_shared"
    EXCLUSIVE = "pg_advisory_xact_lock"


class Transaction(Session):
    """A session in a transaction that the store has begun and will end; models cost only those who use them."""

    def __init__(self, begun: Connection) -> None:
        super().__init__(begun)
        self._begun = begun

    def connection(self, *arguments: Any, **options: Any) -> Connection:
        """Give the transaction's own connection, without joining it as a session that loads or flushes does."""
        return super().connection(*arguments, **options) if arguments or options else self._begun

    def rollback(self) -> None:
        """Give up all that the transaction has written, whether by models or by statements."""
        super().rollback()
        self._begun.rollback()


class Store:
    """The database. Leaving a `write` block commits; an exception inside rolls everything back.

    A transaction says of which tenant it is (None: it looks across tenants). One of `engine` itself is nobody's: on
    PostgreSQL it reaches the stages of runs, and no row of the register.
    """

    def __init__(self, database_url: str) -> None:
        self.engine = open_engine(database_url, fenced=True)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # Look-ups across tenants, one statement each, so that no transaction need be begun and ended for them.
        self._look_ups = self.engine if self.is_sqlite else _open_postgresql(make_url(database_url), role=PLATFORM)
        self.commits = Commits()
        # SQLite's own wait polls with growing sleeps; in one process a lock hands the turn over at once.
        self._shared = _open_shared(self.engine.url) if self.is_sqlite else None
        self._turns = Turns(self._shared, self.commits.ring) if self._shared else None
        self._reading = lru_cache(maxsize=1024)(self._make_reading)

    @contextmanager
    def read(self, tenant_id: int | None) -> Iterator[Session]:
        """Read one consistent state of a tenant (None: across tenants); nothing is written."""
        with self._reading(tenant_id, by_index=True).connect() as connection:
            _begin(connection)
            with Transaction(connection) as session:
                yield session
            connection.commit()  # psycopg forgets a connection's prepared statements when it rolls back

    @contextmanager
    def look_up(self) -> Iterator[Connection]:
        """Give a connection that reads across tenants, each statement by itself; see `statements.Statement.run_on`."""
        with self._look_ups.connect() as connection:
            yield connection

    @contextmanager
    def write(
        self,
        tenant_id: int | None,
        *,
        lock: Lock = Lock.SHARED,
        wait_s: float = WRITER_WAIT_S,
        turns: Collection[tuple[int, int]] = (),
        is_brief: bool = False,
    ) -> Iterator[Session]:
        """Write in one transaction under the tenant's lock (None: no tenant's); `TenantLockedError` after `wait_s`.

        `turns` are locks of their own kind, of which the transaction takes hold as well, however long that takes. On
        SQLite `is_brief` lets it share its commit with others that are so (store/turns.py).
        """
        engine = self._writing(tenant_id, lock, wait_s, turns, by_index=True)
        with self._turn(engine, wait_s, is_brief=is_brief) as connection:
            _begin(connection)
            with Transaction(connection) as session:
                yield session
                session.flush()
            connection.commit()

    @contextmanager
    def together(self) -> Iterator[None]:
        """On SQLite, let this thread's brief writes share a commit, which is done when the block is left.

        Errors: those of the commit; then nothing is left of any of them.
        """
        with self._turns.kept() if self._turns else nullcontext():
            yield

    def reading(self, tenant_id: int | None) -> Engine:
        """Give the engine whose transactions each see one consistent state of a tenant (None: across tenants).

        For whoever needs a connection of its own, and asks for many rows.
        """
        return self._reading(tenant_id, by_index=False)

    def writing(self, tenant_id: int | None, *, lock: Lock = Lock.SHARED, wait_s: float = WRITER_WAIT_S) -> Engine:
        """Give the engine whose transactions hold a tenant (None: none, and look across tenants) from their begin.

        For whoever needs a connection of its own, and writes many rows; `write` also takes turns within the process and
        tells of commits.
        """
        return self._writing(tenant_id, lock, wait_s, (), by_index=False)

    def _writing(
        self, tenant_id: int | None, lock: Lock, wait_s: float, turns: Collection[tuple[int, int]], *, by_index: bool
    ) -> Engine:
        reach = Reach.ALL_TENANTS if tenant_id is None else tenant_id
        # The transaction's id comes before the wait for the lock: the order of events follows it (store/events.py).
        steps = ["BEGIN", step_in(reach), "SELECT pg_current_xact_id()"]
        if tenant_id is not None and lock is not Lock.NONE:
            wait_ms = max(1, int(wait_s * 1000))  # 0 would wait for ever
            steps += [f"SET LOCAL lock_timeout = {wait_ms}", f"SELECT {lock.value}({int(tenant_id)})"]
            steps += ["SET LOCAL lock_timeout = 0"]
        # In one order for all writers, so that none waits for one who waits for it.
        steps += [f"SELECT pg_advisory_xact_lock({space}, {key})" for space, key in sorted(set(turns))]
        steps += [f"SET LOCAL {each}" for each in _BY_INDEX if by_index]
        return self.engine.execution_options(
            postgresql_begin="; ".join(steps), sqlite_begin="BEGIN IMMEDIATE", sqlite_wait_s=wait_s
        )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """All engines on which statements run."""
        return tuple({self.engine, self._look_ups} | ({self._shared} if self._shared else set()))

    def close(self) -> None:
        """Give all connections back."""
        for engine in self.engines:
            engine.dispose()

    def _make_reading(self, tenant_id: int | None, *, by_index: bool) -> Engine:
        reach = Reach.ALL_TENANTS if tenant_id is None else tenant_id
        steps = ["BEGIN ISOLATION LEVEL REPEATABLE READ", step_in(reach)]
        steps += [f"SET LOCAL {each}" for each in _BY_INDEX if by_index]
        return self.engine.execution_options(postgresql_begin="; ".join(steps))

    @contextmanager
    def _turn(self, engine: Engine, wait_s: float, *, is_brief: bool) -> Iterator[Connection]:
        """Give a connection to write on; when the block is left, what it has committed is so, and told of."""
        try:
            if self._turns is not None and is_brief:
                with self._turns.together(wait_s) as connection:
                    yield connection
                return
            with self._turns.alone(wait_s) if self._turns else nullcontext(), engine.connect() as connection:
                yield connection
        except NoTurnError:
            raise TenantLockedError from None
        self.commits.ring()


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


def _begin(connection: Connection) -> None:
    try:
        connection.begin()
    except OperationalError as error:
        is_locked = getattr(error.orig, "sqlstate", None) == "55P03"  # lock_not_available
        if is_locked or "database is locked" in str(error.orig):
            raise TenantLockedError from error
        raise


def open_engine(database_url: str, *, fenced: bool = False) -> Engine:
    """Open a pool of connections; on SQLite the file and its folder are made.

    Those of a `fenced` one step behind the fence at each begin; others work as the login itself, as migrations do.
    """
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return _open_postgresql(url, fenced=fenced)
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


def _open_shared(url: URL) -> Engine:
    """Open the one connection of those who commit together."""
    engine = create_engine(
        url,
        poolclass=StaticPool,
        pool_reset_on_return=None,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "factory": SharedConnection},
        execution_options={"sqlite_begin": "SAVEPOINT writer", "sqlite_wait_s": None},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: URL, *, fenced: bool = False, role: str = "") -> Engine:
    """Open a pool; with a `role` each connection has that one for good, and each statement is a transaction."""
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT" if fenced or role else "READ COMMITTED",
        pool_size=8 if role else 32,
        max_overflow=8,
        pool_use_lifo=True,
        hide_parameters=True,  # values of people stay out of errors and logs
        connect_args={"connect_timeout": 5},
    )
    if role:
        event.listen(engine, "connect", lambda connection, _: _take_for_good(connection, role))
    event.listen(engine, "checkout", _require_connected)
    event.listen(engine, "do_connect", _connect_sending)
    if fenced:
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _connect_sending(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> SendingConnection:
    return SendingConnection.connect(*arguments, **options)


def _take_for_good(dbapi_connection: Any, role: str) -> None:
    dbapi_connection.execute("; ".join([f"SET ROLE {role}", *(f"SET {each}" for each in _BY_INDEX)]))
    dbapi_connection.commit()


def _require_connected(dbapi_connection: Any, *_: Any) -> None:
    """Let the pool replace a connection that PostgreSQL has ended.

    An idle one has nothing to read but its end, which is seen without the round trip of a ping.
    """
    waiting = select.poll()
    waiting.register(dbapi_connection.fileno(), select.POLLIN)
    if dbapi_connection.closed or waiting.poll(0):
        raise DisconnectionError


def _begin_postgresql(connection: Connection) -> None:
    """Begin, step behind the fence and take locks in one round trip: connections are in autocommit, and we say BEGIN.

    Both roles and all settings are LOCAL, so that nothing of a transaction is left to the connection's next one.
    """
    options = connection.get_execution_options()
    execute(connection, str(options.get("postgresql_begin", f"BEGIN; {step_in(Reach.STAGES)}")))


def _set_up_sqlite(dbapi_connection: Any, _: Any) -> None:
    dbapi_connection.isolation_level = None  # we say BEGIN ourselves, below
    dbapi_connection.create_function(
        FOLD_ON_SQLITE, 1, str.lower, deterministic=True
    )  # its own lower() knows ASCII only
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    for pragma in USUAL_MEMORY:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    wait_s = options.get("sqlite_wait_s", WRITER_WAIT_S)
    wait_ms = None if wait_s is None else int(wait_s * 1000)
    if wait_ms is not None and connection.info.get(_WAIT) != wait_ms:
        execute(connection, f"PRAGMA busy_timeout = {wait_ms}")
        connection.info[_WAIT] = wait_ms
    execute(connection, str(options.get("sqlite_begin", "BEGIN")))


_WAIT: Final = "busy_timeout_ms"
"""What a connection remembers of itself."""
