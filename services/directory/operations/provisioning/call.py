"""One call of a connection: whose it is, in which transaction, at what time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from sqlmodel import Session

from services.directory.operations.tenant_sql import TenantSql
from services.directory.store.events import Actor, Change, append_events


class ConnectionSource(NamedTuple):
    """What a call needs to know of its source; `main_group_id` is that of its account, 0 without one."""

    id: int
    display_name: str
    account_id: int
    region: str
    create_unknown_groups: bool
    guard: bool
    main_group_id: int


@dataclass(frozen=True)
class Call(TenantSql):
    """A connection's call; every statement of it sees this tenant and this source only."""

    source_id: int
    unit: str = ""
    """The unit of work that the call is part of; empty: it is a request by itself (S7)."""

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` and `:s` are tenant and source, `:now` the time."""
        return {"t": self.tenant_id, "s": self.source_id, "now": self.now}

    @cached_property
    def source(self) -> ConnectionSource:
        """The connection's source, which reads need not know; it is there, since its key has been let in."""
        row = self.run(
            "SELECT s.id, s.display_name, s.account_id, s.region, s.create_unknown_groups, s.guard,"
            " coalesce(a.main_group_id, 0)"
            " FROM sources s LEFT JOIN accounts a ON a.tenant_id = s.tenant_id AND a.id = s.account_id"
            " WHERE s.tenant_id = :t AND s.id = :s"
        ).one()
        return ConnectionSource(*row)

    @property
    def actor(self) -> Actor:
        """The connection as events name it."""
        return Actor(source_id=self.source_id)

    def tell(self, changes: Sequence[Change]) -> None:
        """Write events for what the call did."""
        append_events(self.session, self.tenant_id, changes, actor=self.actor, now=self.now)

    def linked_main_group(self) -> int:
        """The main group of the connection's account; 0 without one."""
        return self.source.main_group_id

    def main_group_of(self, account_id: int) -> int:
        """The main group of an account; 0 without one."""
        if account_id == self.source.account_id:
            return self.source.main_group_id
        found = self.run("SELECT main_group_id FROM accounts WHERE tenant_id = :t AND id = :a", a=account_id)
        return int(found.scalar() or 0)


def begin(session: Session, tenant_id: int, source_id: int, *, now: datetime, unit: str = "") -> Call:
    """Begin a call of a connection, whose key has been let in."""
    return Call(session, tenant_id, now, source_id, unit)
