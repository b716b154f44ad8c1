"""Set-based SQL of one tenant: statements of fixed text over any number of ids, the same on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlmodel import Session

from services.directory.store.tables import UtcDateTime

_STATEMENTS: Final[dict[str, Any]] = {}
"""Statements of fixed text, each prepared once."""

_LOCKS: Final = {
    "{for_update}": " FOR UPDATE",
    "{for_update_of_u}": " FOR NO KEY UPDATE OF u",
}
"""Places in statements where PostgreSQL takes a lock; on SQLite there is one writer at a time."""

_MOMENTS: Final = ("now", "until")
"""Names of bound values that are moments."""


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
        return self.session.connection().execute(self._prepared(statement), {**self.bound, **values})

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

    def _prepared(self, statement: str) -> Any:
        key = f"{self.is_sqlite}{statement}"
        if key not in _STATEMENTS:
            each = (
                "(SELECT value AS id FROM json_each(:ids)) i"
                if self.is_sqlite
                else "unnest(CAST(:ids AS bigint[])) AS i(id)"
            )
            filled = statement.replace("{each}", each)
            for place, lock in _LOCKS.items():
                filled = filled.replace(place, "" if self.is_sqlite else lock)
            clause = text(filled)
            moments = [bindparam(name, type_=UtcDateTime()) for name in _MOMENTS if f":{name}" in statement]
            _STATEMENTS[key] = clause.bindparams(*moments)
        return _STATEMENTS[key]


@dataclass(frozen=True)
class TenantSql(TenantReads):
    """The statements of a transaction that has a time, such as one that writes."""

    now: datetime

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` is the tenant, `:now` the time."""
        return {"t": self.tenant_id, "now": self.now}
