"""Set-based SQL of one tenant: statements of fixed text over any number of ids, the same on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlmodel import Session

from services.directory.store.tables import UtcDateTime

_STATEMENTS: Final[dict[tuple[bool, str], str]] = {}
"""Statements of fixed text as the drivers take them, each written once."""

_LOCKS: Final = {
    "{for_update}": " FOR UPDATE",
    "{for_update_of_u}": " FOR NO KEY UPDATE OF u",
    "{for_key_share}": " FOR KEY SHARE",
}
"""Places in statements where PostgreSQL takes a lock; on SQLite there is one writer at a time."""

_BOUND: Final = re.compile(r"(?<![:\w]):([a-z_]\w*)")
"""A place for a value, which is no cast."""


@dataclass(frozen=True)
class TenantReads:
    """A transaction's statements; every one of them sees this tenant only."""

    session: Session
    tenant_id: int

    @property
    def is_sqlite(self) -> bool:
        """Which database it is."""
        return self.session.get_bind().dialect.name == "sqlite"

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` is the tenant."""
        return {"t": self.tenant_id}

    def run(self, statement: str, **values: Any) -> Any:
        """Execute a statement of fixed text with what `bound` names.

        `:ids` is what `ids` gave; in the text `{each}` stands for a relation `i(id)` of the bound `:ids`.
        """
        bound = {**self.bound, **values}
        if self.is_sqlite:  # it has no time zones and keeps UTC; see UtcDateTime
            bound = {name: _sqlite_value(value) for name, value in bound.items()}
        return self.session.connection().exec_driver_sql(self._written(statement), bound)

    def query(self, statement: str, values: Mapping[str, Any]) -> Any:
        """Execute a statement whose text was written for this call."""
        moments = [
            bindparam(name, type_=UtcDateTime()) for name, value in values.items() if isinstance(value, datetime)
        ]
        return self.session.connection().execute(text(statement).bindparams(*moments), dict(values))

    def ids(self, numbers: Iterable[int]) -> Any:
        """Bring ids into the form that `:ids` takes, each once and in one order for all writers."""
        kept = sorted(set(numbers))
        return f"[{','.join(map(str, kept))}]" if self.is_sqlite else kept

    def _written(self, statement: str) -> str:
        """Write a statement as the driver takes it: SQLAlchemy's own reading of it costs more than running it."""
        key = (self.is_sqlite, statement)
        if key not in _STATEMENTS:
            each = (
                "(SELECT value AS id FROM json_each(:ids)) i"
                if self.is_sqlite
                else "unnest(CAST(:ids AS bigint[])) AS i(id)"
            )
            filled = statement.replace("{each}", each)
            for place, lock in _LOCKS.items():
                filled = filled.replace(place, "" if self.is_sqlite else lock)
            if not self.is_sqlite:
                filled = _BOUND.sub(r"%(\1)s", filled.replace("%", "%%"))
            _STATEMENTS[key] = filled
        return _STATEMENTS[key]


def moment_of(value: Any) -> datetime:
    """Read a moment as the driver gives it: PostgreSQL's with its zone, SQLite's as text without one."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value.astimezone(UTC)  # type: ignore[no-any-return]  # a driver's value


def _sqlite_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
    return value


@dataclass(frozen=True)
class TenantSql(TenantReads):
    """The statements of a transaction that has a time, such as one that writes."""

    now: datetime

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` is the tenant, `:now` the time."""
        return {"t": self.tenant_id, "now": self.now}
