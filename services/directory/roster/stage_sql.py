"""Say SQL over a run's stage tables and the register: what every step of a plan, an apply and an undo is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection, CursorResult

from services.directory.roster.dialect import Dialect
from services.directory.roster.space import StageSpace
from services.directory.store.tables import UtcDateTime


class StageSql:
    """One connection, the names of a run's stage tables, and the words that stand in braces in its statements.

    `moments` are times that statements name, such as `:now`.
    """

    def __init__(
        self,
        space: StageSpace,
        connection: Connection,
        words: Mapping[str, object],
        moments: Mapping[str, datetime] | None = None,
    ) -> None:
        self.space = space
        self.connection = connection
        self.dialect = Dialect(space.store.is_sqlite)
        self.words: dict[str, object] = {**space.names, **words}
        self._moments = dict(moments or {})

    def clear(self, tables: Iterable[str]) -> None:
        """Drop what an earlier plan has made; the groups it means to create keep their ids."""
        if self.dialect.is_sqlite:
            for table in tables:
                self._execute(f"DROP TABLE IF EXISTS {self.space.name(table)}")
        else:
            self._execute(f"DROP TABLE IF EXISTS {', '.join(map(self.space.name, tables))}")
        self.run(
            f"{self.dialect.create_table.replace('TABLE', 'TABLE IF NOT EXISTS')} "
            "{new_groups} (external_id text NOT NULL PRIMARY KEY, id bigint NOT NULL)"
        )

    def make(self, table: str, query: str) -> int:
        """Make a stage table from a query, in which names in braces are filled in; answers its row count."""
        name = self.space.name(table)
        made = self._execute(f"{self.dialect.create_table} {name} AS {query.format(**self.words)}").rowcount
        if self.dialect.is_sqlite:
            return int(self._execute(f"SELECT coalesce(max(rowid), 0) FROM {name}").scalar_one())
        if made:
            self._execute(f"ANALYZE {name}")
        return made

    def index(self, table: str, columns: str) -> None:
        """Index a stage table where SQLite would otherwise search it row by row; PostgreSQL hashes."""
        if self.dialect.is_sqlite:
            name = f"stage.{table}_{columns.replace(', ', '_')}"
            self._execute(f"CREATE INDEX {name} ON {table} ({columns})")

    def run(self, statement: str, **moments: datetime) -> int:
        """Execute a statement; answers how many rows it touched. More `moments` may be named for this one."""
        times = {**self._moments, **moments}
        named = [bindparam(name, time, type_=UtcDateTime) for name, time in times.items() if f":{name}" in statement]
        return self.connection.execute(text(statement.format(**self.words)).bindparams(*named)).rowcount

    def look(self, query: str) -> int:
        """Execute a query that answers one number."""
        return int(self._execute(query.format(**self.words)).scalar_one())

    def count(self, table: str, condition: str = "true") -> int:
        """Count rows of a stage table."""
        return int(self._execute(f"SELECT count(*) FROM {self.space.name(table)} WHERE {condition}").scalar_one())

    def _execute(self, sql: str) -> CursorResult[Any]:
        """Execute a statement without parameters as it stands.

        Each run's tables have names of their own, so a `text` would be looked through and compiled for one use.
        """
        return self.connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
