"""Read and set a tenant's seats, and take one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col

from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import LicenseLimitReached, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import LICENSE
from services.directory.store.events import Actor, append_event
from services.directory.store.tables import License


def take_seat(session: Session, tenant_id: int) -> None:
    """Take one seat with one conditional UPDATE, so that racing writers cannot pass the total (R35).

    Errors: LicenseLimitReached.
    """
    taken = session.connection().execute(
        update(License)
        .where(col(License.tenant_id) == tenant_id, col(License.seats_used) < col(License.seats_total))
        .values(seats_used=col(License.seats_used) + 1)
    )
    if taken.rowcount == 0:
        kept = get_license(session, tenant_id)
        raise LicenseLimitReached(seats_total=kept.seats_total, seats_used=kept.seats_used)


def free_seat(session: Session, tenant_id: int) -> None:
    """Give one seat back."""
    session.connection().execute(
        update(License).where(col(License.tenant_id) == tenant_id).values(seats_used=col(License.seats_used) - 1)
    )


def get_license(session: Session, tenant_id: int) -> License:
    """Read a tenant's seats. Errors: NotFound."""
    kept = session.get(License, tenant_id)
    if kept is None:
        raise NotFound(resource=LICENSE.format(tenant_id))
    return kept


def update_license(
    session: Session, tenant_id: int, seats_total: int, etag: str, *, actor: Actor, now: datetime
) -> License:
    """Set the total, also below what is used. Errors: InvalidArgument, NotFound, StaleEtag."""
    checks = FieldChecks()
    if seats_total < 0:
        checks.refuse("seats_total", "must be at least 0")
    checks.end()
    kept = session.get(License, tenant_id, with_for_update=True)
    if kept is None:
        raise NotFound(resource=LICENSE.format(tenant_id))
    require_etag(etag, resource=LICENSE.format(tenant_id), revision=kept.revision)
    if kept.seats_total != seats_total:
        before = kept.seats_total
        kept.seats_total = seats_total
        kept.revision += 1
        session.flush()
        append_event(
            session,
            tenant_id,
            kind="license.updated",
            resource=("lic", tenant_id),
            actor=actor,
            now=now,
            before={"seats_total": before},
            after={"seats_total": seats_total},
        )
    return kept
