"""Where a run's stage lives: tables in schema `stage` on PostgreSQL, an attached file of its own on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.store.session import USUAL_MEMORY, Store

STAGED_TABLES = ("rows", "settled_rows", "issues")
"""What the importer sent."""

SHOWN_TABLES = ("shown", "new_groups")
"""What outlives a plan: the changes a person was shown, and ids given to groups that do not exist yet."""

PLAN_TABLES = (
    "settled",
    "repeated",
    "twins",
    "merged",
    "verdicts",
    "shared_mails",
    "people",
    "contested",
    "held",
    "joined",
    "rekeyed",
    "gone",
    "dropped",
    "left_out",
    "blocked",
    "scope",
    "listed",
    "unknown_groups",
    "suggestions",
    "wanted",
    "unwanted",
    "moves",
    "shared",
    "moved",
    "changes",
    "findings",
    "effective",
    "departures",
    "thinned",
    "domains",
    "shrunken",
)
"""What a plan is made of, in the order it is made; see plan.py, reach.py and shape.py for each."""


UNDO_TABLES = (
    "kept",
    "turned",
    "turned_moves",
    "others",
    "wanting",
    "stuck",
    "turning",
    "places",
    "fixed_groups",
)
"""What an apply keeps for its undo while it runs (undo_memory.py), and what an undo is made of besides (undo.py)."""

READ_BY_LINE = ("rows", "settled_rows", "settled", "verdicts", "merged", "people", "changes", "findings")
"""What is shown of a planned or held file, row by row."""

_CACHE_KIB = 32 * 1024
"""What a run on SQLite keeps in memory of the register and of its stage, each; what it sorts beyond goes to disk."""


@dataclass(frozen=True)
class StageSpace:
    """The names of one run's stage tables, and how to reach and remove them."""

    store: Store
    run_id: int
    directory: Path

    def name(self, table: str) -> str:
        """The table's name in SQL."""
        return f"stage.{table}" if self.store.is_sqlite else f"stage.{table}_{self.run_id}"

    @property
    def names(self) -> dict[str, str]:
        """All names, for `str.format`."""
        return {table: self.name(table) for table in (*STAGED_TABLES, *SHOWN_TABLES, *PLAN_TABLES, *UNDO_TABLES)}

    @property
    def file(self) -> Path:
        """SQLite's file for this run."""
        return self.directory / f"run_{self.run_id}.db"

    @contextmanager
    def attached(self, connection: Connection) -> Iterator[Connection]:
        """Make the stage reachable from a connection that is in no transaction, until the block ends."""
        if not self.store.is_sqlite:
            yield connection
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.execute("ATTACH DATABASE ? AS stage", (str(self.file),))
        raw.execute("PRAGMA stage.journal_mode = WAL")
        raw.execute("PRAGMA stage.synchronous = OFF")
        raw.execute(f"PRAGMA stage.cache_size = -{_CACHE_KIB}")
        raw.execute(f"PRAGMA main.cache_size = -{_CACHE_KIB}")
        raw.execute("PRAGMA temp_store = FILE")
        try:
            yield connection
        finally:
            if connection.in_transaction():
                connection.rollback()
            raw.execute("DETACH DATABASE stage")
            for pragma in USUAL_MEMORY:
                raw.execute(f"PRAGMA {pragma}")
            raw.execute("PRAGMA shrink_memory")

    def exists(self, connection: Connection) -> bool:
        """Whether rows were staged."""
        return self.has(connection, "rows")

    def has_plan(self, connection: Connection) -> bool:
        """Whether a plan was made of them."""
        return self.has(connection, "changes")

    def has_settled(self, connection: Connection) -> bool:
        """Whether a plan was made in which rows came as settled by name."""
        return bool(connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {self.name('settled_rows')})")).scalar_one())

    def index_lines(self, connection: Connection) -> None:
        """Index what is read line by line while someone looks at the plan; plans themselves need none of it."""
        for table in READ_BY_LINE:
            name = f"{table}_by_line" if self.store.is_sqlite else f"{table}_{self.run_id}_by_line"
            where = f"stage.{name} ON {table}" if self.store.is_sqlite else f"{name} ON {self.name(table)}"
            connection.execute(text(f"CREATE INDEX IF NOT EXISTS {where} (line)"))

    def has(self, connection: Connection, table: str) -> bool:
        """Whether a table of the stage is there."""
        if self.store.is_sqlite:
            found = connection.execute(text(f"SELECT count(*) FROM stage.sqlite_master WHERE name = '{table}'"))
            return bool(found.scalar_one())
        return connection.execute(text(f"SELECT to_regclass('{self.name(table)}')")).scalar_one() is not None

    def drop(self) -> None:
        """Remove the stage, whatever there is of it."""
        if self.store.is_sqlite:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self.file}{suffix}").unlink(missing_ok=True)
            return
        with self.store.engine.begin() as connection:
            connection.execute(text(f"DROP TABLE IF EXISTS {', '.join(self.names.values())}"))

    def make_durable(self) -> None:
        """Let the stage outlive a crash of the database's host: a held plan waits for days."""
        if self.store.is_sqlite:
            with self.store.engine.connect() as connection, self.attached(connection):
                raw = connection.connection.dbapi_connection
                assert raw is not None
                raw.execute("PRAGMA stage.synchronous = FULL")
                raw.execute("PRAGMA stage.wal_checkpoint(TRUNCATE)")
            return
        with self.store.engine.begin() as connection:
            for table in dict.fromkeys((*STAGED_TABLES, *SHOWN_TABLES, *READ_BY_LINE)):
                connection.execute(text(f"ALTER TABLE IF EXISTS {self.name(table)} SET LOGGED"))
