"""One call of a connection: whose it is, in which transaction, at what time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlmodel import Session

from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import Account, Source, UtcDateTime

_STATEMENTS: Final[dict[str, Any]] = {}
"""Statements of fixed text, each prepared once."""


_LOCKS: Final = {"{for_update}": " FOR UPDATE", "{for_share_of_u}": " FOR SHARE OF u"}
"""Places in statements where PostgreSQL takes a lock; on SQLite there is one writer at a time."""


@dataclass(frozen=True)
class Call:
    """A connection's call; every statement of it sees this tenant and this source only."""

    session: Session
    tenant_id: int
    source: Source
    now: datetime

    @property
    def is_sqlite(self) -> bool:
        """Which database it is."""
        return self.session.get_bind().dialect.name == "sqlite"

    @property
    def actor(self) -> Actor:
        """The connection as events name it."""
        return Actor(source_id=self.source.id)

    def run(self, statement: str, **values: Any) -> Any:
        """Execute a statement of fixed text; `:t` and `:s` are tenant and source, `:now` the time.

        `:ids` is what `ids` gave; in the text `{each}` stands for a relation `i(id)` of the bound `:ids`.
        """
        return self.session.connection().execute(
            self._prepared(statement), {"t": self.tenant_id, "s": self.source.id, "now": self.now, **values}
        )

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

    def tell(self, changes: Sequence[Change]) -> None:
        """Write events for what the call did."""
        append_events(self.session, self.tenant_id, changes, actor=self.actor, now=self.now)

    def linked_main_group(self) -> int:
        """The main group of the connection's account; 0 without one."""
        account = self.session.get(Account, (self.tenant_id, self.source.account_id))
        return account.main_group_id if account else 0

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
            if ":now" in statement:
                clause = clause.bindparams(bindparam("now", type_=UtcDateTime()))
            _STATEMENTS[key] = clause
        return _STATEMENTS[key]


def begin(session: Session, tenant_id: int, source_id: int, *, now: datetime) -> Call:
    """Begin a call of a connection, whose key has been let in."""
    return Call(session, tenant_id, session.get_one(Source, (tenant_id, source_id)), now)
