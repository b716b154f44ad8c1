"""Give out ids: sequences on PostgreSQL, a counter row on SQLite; never reused, gaps are fine."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlmodel import Session

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
    if connection.dialect.name == "sqlite":
        last = connection.execute(
            text("UPDATE id_counters SET last = last + :count WHERE name = :name RETURNING last"),
            {"count": count, "name": name},
        ).scalar_one()
        return list(range(last - count + 1, last + 1))
    taken = text(f"SELECT nextval('{name}_id_seq') FROM generate_series(1, :count)")
    return sorted(connection.execute(taken, {"count": count}).scalars())
