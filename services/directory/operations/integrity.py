"""Compare what the register keeps twice, and name what disagrees; one statement a check and tenant, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session, col, select

from services.directory.operations.integrity_checks import CHECKS
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules import names
from services.directory.store.session import Store
from services.directory.store.tables import Tenant

MOST_OF_A_KIND: Final = 1000
"""How many problems of one kind are named in one tenant: the first tell what happened."""

OVERDUE: Final = timedelta(minutes=10)
"""How long after its lease a run may still be open: its worker looks every second."""


@dataclass(frozen=True)
class Problem:
    """Something that disagrees: where, of what kind, and a sentence that names nobody."""

    tenant_id: int
    kind: str
    resource: str
    message: str


def check_integrity(store: Store, tenant_id: int | None, *, now: datetime) -> Iterator[Problem]:
    """Yield what disagrees in a tenant, or in all, a tenant at a time on one consistent state of it."""
    for each in [tenant_id] if tenant_id is not None else _tenants(store):
        with store.read(each) as session:
            problems = problems_of(session, each, now=now)
        yield from problems


def problems_of(session: Session, tenant_id: int, *, now: datetime) -> list[Problem]:
    """Check one tenant."""
    sql = TenantSql(session, tenant_id, now)
    found = []
    for check in CHECKS:
        values = {"until": now - OVERDUE} if ":until" in check.statement else {}
        rows = sql.run(f"{check.statement} LIMIT {MOST_OF_A_KIND}", **values)
        found += [
            Problem(
                tenant_id=tenant_id,
                kind=check.kind,
                resource=names.format_resource(check.prefix, tenant_id, row[0]),
                message=check.message.format(*row),
            )
            for row in rows
        ]
    return found


def _tenants(store: Store) -> list[int]:
    with store.read(None) as session:
        return list(session.exec(select(Tenant.id).where(col(Tenant.delete_time).is_(None)).order_by(col(Tenant.id))))
