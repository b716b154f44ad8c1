"""Give out ids: sequences on PostgreSQL, a counter row on SQLite; never reused, gaps are fine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.engine import Connection
from sqlmodel import Session

from services.directory.store.statements import Statement

SEQUENCES: Final = (
    "tenant",
    "account",
    "group",
    "user",
    "source",
    "import_run",
    "event",
    "api_key",
    "refusal",
    "invitation",
    "administrator",
    "connection_request",
)


def next_id(session: Session, name: str) -> int:
    """Take one id of the sequence `name`."""
    return reserve_ids(session.connection(), name, 1)[0]


def reserve_ids(connection: Connection, name: str, count: int) -> list[int]:
    """Take `count` ids, in rising order; on SQLite this needs the write lock."""
    return reserve_later(connection, name, count)()


def reserve_later(connection: Connection, name: str, count: int) -> Callable[[], list[int]]:
    """Take `count` ids as `reserve_ids` does, which are read later: they come with the next statement."""
    taken = _TAKE[name].send_on(connection, {"count": count, "name": name})

    def read() -> list[int]:
        numbers = taken().scalars()
        if connection.dialect.name == "sqlite":
            return list(range(numbers[0] - count + 1, numbers[0] + 1))
        return sorted(numbers)

    return read


_TAKE: Final = {
    name: Statement(
        f"SELECT nextval('{name}_id_seq') FROM generate_series(1, :count)",
        sqlite="UPDATE id_counters SET last = last + :count WHERE name = :name RETURNING last",
    )
    for name in SEQUENCES
}
