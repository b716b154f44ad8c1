"""One call of a connection: whose it is, in which transaction, at what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from services.directory.operations.tenant_sql import TenantSql
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import Account, Source


@dataclass(frozen=True)
class Call(TenantSql):
    """A connection's call; every statement of it sees this tenant and this source only."""

    source: Source
    unit: str = ""
    """The unit of work that the call is part of; empty: it is a request by itself (S7)."""

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` and `:s` are tenant and source, `:now` the time."""
        return {"t": self.tenant_id, "s": self.source.id, "now": self.now}

    @property
    def actor(self) -> Actor:
        """The connection as events name it."""
        return Actor(source_id=self.source.id)

    def tell(self, changes: Sequence[Change]) -> None:
        """Write events for what the call did."""
        append_events(self.session, self.tenant_id, changes, actor=self.actor, now=self.now)

    def linked_main_group(self) -> int:
        """The main group of the connection's account; 0 without one."""
        account = self.session.get(Account, (self.tenant_id, self.source.account_id))
        return account.main_group_id if account else 0


def begin(session: Session, tenant_id: int, source_id: int, *, now: datetime, unit: str = "") -> Call:
    """Begin a call of a connection, whose key has been let in."""
    return Call(session, tenant_id, now, session.get_one(Source, (tenant_id, source_id)), unit)
