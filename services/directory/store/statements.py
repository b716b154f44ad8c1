"""Run statements of fixed text on the database's own driver: for what is asked on every call.

SQLAlchemy takes 0.1 ms for a statement that it has compiled before, and 0.4 ms where models are made of the rows; the
drivers take 0.002 and 0.03 ms (docs/adr/0022). Whoever listens for statements on the engine is told of these as well.
"""

from __future__ import annotations

import json
import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, cast

from sqlalchemy import JSON, String
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.types import TypeEngine
from sqlmodel import Session

from services.directory.store.sending import SendingConnection

_BOUND: Final = re.compile(r"(?<![:\w]):([a-z_]\w*)")
"""A bound value, `:name`; `::bigint` is a cast."""


class Rows(list[Any]):
    """What a statement gave: rows, whose values have the names of their columns, and how many it touched."""

    def __init__(self, rows: Iterable[Any], rowcount: int) -> None:
        super().__init__(rows)
        self.rowcount = rowcount

    def all(self) -> list[Any]:
        """All rows."""
        return self

    def first(self) -> Any:
        """The first row, or None."""
        return self[0] if self else None

    def one(self) -> Any:
        """The first row, which there must be. Errors: NoResultFound."""
        if not self:
            raise NoResultFound
        return self[0]

    def scalars(self) -> Rows:
        """The first value of each row."""
        return Rows((row[0] for row in self), self.rowcount)

    def scalar(self) -> Any:
        """The first value of the first row, or None."""
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        """The only value. Errors: NoResultFound."""
        return self.one()[0]


class Statement:
    """One statement for both databases, with `:name` where a value is bound; text that differs is given apart."""

    def __init__(self, text: str, *, sqlite: str = "") -> None:
        self._sqlite = sqlite or text
        self._postgresql = _BOUND.sub(r"%(\1)s", text.replace("%", "%%"))
        self._row: Callable[[Iterable[Any]], Any] | None = None

    def run(self, session: Session, **values: Any) -> Rows:
        """Execute it in the session's transaction; what the session has not flushed, it does not see."""
        return self.run_on(session.connection(), values)

    def run_on(self, connection: Connection, values: Mapping[str, Any]) -> Rows:
        """Execute it on a connection, in a transaction that has begun or in one of its own.

        Errors: those of SQLAlchemy for the driver's.
        """
        if connection.dialect.name == "sqlite":
            text, values = self._sqlite, {name: _for_sqlite(value) for name, value in values.items()}
        else:
            text = self._postgresql
        return self._rows_of(execute(connection, text, values))

    def send_on(self, connection: Connection, values: Mapping[str, Any]) -> Callable[[], Rows]:
        """Execute it without waiting for it, where that can be (store/sending.py); gives what reads its rows later.

        They come with those of the next statement. Errors: those of SQLAlchemy for the driver's; perhaps not here, but
        of the next statement or the commit.
        """
        sending = connection.connection.dbapi_connection
        if not isinstance(sending, SendingConnection):
            rows = self.run_on(connection, values)
            return lambda: rows
        with _told_as_sqlalchemy(connection, self._postgresql, values):
            cursor = sending.send(self._postgresql, values)

        def read() -> Rows:
            settle(connection)
            return self._rows_of(cursor)

        return read

    def _rows_of(self, cursor: Any) -> Rows:
        if self._row is None:
            self._row = _row_of(cursor.description)
        return Rows(map(self._row, cursor.fetchall()) if self._row else (), cursor.rowcount)


class Insertion(Statement):
    """Inserts rows into a table; `values` says by column what becomes of it: `:name` for a bound value, or SQL.

    On PostgreSQL many rows are one execution with one bound value, which holds them as JSON: the driver would write an
    array text by text (docs/adr/0031).
    """

    def __init__(
        self, table: Any, values: Mapping[str, str], *, sqlite: Mapping[str, str] | None = None, conflict: str = ""
    ) -> None:
        columns = ", ".join(f'"{column}"' for column in values)
        into = f"INSERT INTO {table.__tablename__} ({columns})"
        on_sqlite = ", ".join({**values, **(sqlite or {})}.values())
        super().__init__(
            f"{into} VALUES ({', '.join(values.values())}) {conflict}",
            sqlite=f"{into} VALUES ({on_sqlite}) {conflict}",
        )
        kinds = {
            name: table.__table__.columns[column].type
            for column, value in values.items()
            for name in _BOUND.findall(value)
        }
        members = ", ".join(f"{name} {_type_in_json(kind)}" for name, kind in kinds.items())
        selected = ", ".join(
            _BOUND.sub(rf"CAST(v.\1 AS {_type_of(table.__table__.columns[column].type)})", value)
            for column, value in values.items()
        )
        self._of_json = Statement(f"{into} SELECT {selected} FROM json_to_recordset(:rows) AS v({members}) {conflict}")

    def run_many(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows in their order."""
        connection = session.connection()
        if len(rows) == 1:
            self.send_on(connection, rows[0])
            return
        if connection.dialect.name == "sqlite":
            adapted = [{name: _for_sqlite(value) for name, value in row.items()} for row in rows]
            execute(connection, self._sqlite, adapted, many=True)
        else:
            written = json.dumps(rows, ensure_ascii=False, default=_for_json)
            self._of_json.send_on(connection, {"rows": written})


def _type_of(kind: TypeEngine[Any]) -> str:
    """Name a column's type on PostgreSQL; a text's has no length, since a cast would cut what the column refuses."""
    return "text" if isinstance(kind, String) else kind.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]


def _type_in_json(kind: TypeEngine[Any]) -> str:
    """Name the type as which a member of JSON is read; what is JSON itself is written as a text."""
    return "text" if isinstance(kind, JSON) else _type_of(kind)


def _for_json(value: Any) -> str:
    """Write what JSON has no form for as PostgreSQL reads it."""
    return f"\\x{value.hex()}" if isinstance(value, bytes) else value.isoformat()


@lru_cache(maxsize=512)
def statement(text: str) -> Statement:
    """Make a statement of a text that was written for one call, and may come again."""
    return Statement(text)


def execute(connection: Connection, text: str, values: Any = None, *, many: bool = False) -> Any:
    """Execute a text as the driver takes it; gives its cursor. Errors: those of SQLAlchemy for the driver's."""
    with _told_as_sqlalchemy(connection, text, values, many=many):
        sending = connection.connection.dbapi_connection
        if isinstance(sending, SendingConnection) and sending.is_sending:
            return sending.ask(text, values or None)
        cursor = connection.connection.cursor()
        if many:
            cursor.executemany(text, values)
        elif values:
            cursor.execute(text, values)
        else:
            cursor.execute(text)
        return cursor


def settle(connection: Connection) -> None:
    """Wait for what has been sent without waiting. Errors: those of SQLAlchemy for the driver's."""
    sending = connection.connection.dbapi_connection
    if isinstance(sending, SendingConnection) and sending.is_sending:
        with _told_as_sqlalchemy(connection):
            sending.settle()


@contextmanager
def _told_as_sqlalchemy(
    connection: Connection, text: str = "", values: Any = None, *, many: bool = False
) -> Iterator[None]:
    for tell in connection.dispatch.before_cursor_execute if text else ():
        tell(connection, None, text, values, None, many)
    try:
        yield
    except connection.dialect.loaded_dbapi.Error as error:
        raise _told(connection, error) from error


def moment(value: str | datetime | None) -> datetime | None:
    """Read a time as a driver gives it, or that there is none."""
    return None if value is None else moment_of(value)


def moment_of(value: str | datetime) -> datetime:
    """Read a time as a driver gives it: PostgreSQL's with its zone, SQLite's as text without one."""
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value.astimezone(UTC)


def _row_of(description: Sequence[Any] | None) -> Callable[[Iterable[Any]], Any] | None:
    """Make a row's type of a statement's columns, each by its name or, without a usable one, its place.

    None, when it gives no rows.
    """
    if description is None:
        return None
    names = [column[0] for column in description]
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - known when it has run
    return cast("Callable[[Iterable[Any]], Any]", row._make)


def _for_sqlite(value: Any) -> Any:
    """Write a time as tables.UtcDateTime does, and a list as json_each reads it."""
    if isinstance(value, list):
        return json.dumps(value)
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("a naive datetime cannot be stored")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _told(connection: Connection, error: Exception) -> BaseException:
    """Tell an error as SQLAlchemy does, without the values; a connection that is lost is never used again."""
    dialect = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
