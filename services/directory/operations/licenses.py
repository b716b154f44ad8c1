"""Read and set a tenant's seats, and take one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import update
from sqlmodel import Session, col

from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import LicenseLimitReached, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import LICENSE
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.seats import Seats, note_mark
from services.directory.store.tables import License

_SEATS: Final = (col(License.seats_total), col(License.seats_used), col(License.told_percent))


def take_seat(session: Session, tenant_id: int, *, actor: Actor, now: datetime) -> None:
    """Take one seat; see `take_seats`. Errors: LicenseLimitReached."""
    take_seats(session, tenant_id, 1, actor=actor, now=now)


def take_seats(session: Session, tenant_id: int, count: int, *, actor: Actor, now: datetime) -> None:
    """Take seats, all or none, with one conditional UPDATE, so that racing writers cannot pass the total (R35).

    That the license is nearly full, or full, is told by an event. Errors: LicenseLimitReached.
    """
    taken = session.connection().execute(
        update(License)
        .where(col(License.tenant_id) == tenant_id, col(License.seats_used) + count <= col(License.seats_total))
        .values(seats_used=col(License.seats_used) + count)
        .returning(*_SEATS)
    )
    seats = taken.first()
    if seats is None:
        kept = get_license(session, tenant_id)
        raise LicenseLimitReached(seats_total=kept.seats_total, seats_used=kept.seats_used)
    append_events(session, tenant_id, note_mark(session, tenant_id, Seats(*seats)), actor=actor, now=now)


def free_seats(session: Session, tenant_id: int, count: int) -> None:
    """Give seats back."""
    freed = session.connection().execute(
        update(License)
        .where(col(License.tenant_id) == tenant_id)
        .values(seats_used=col(License.seats_used) - count)
        .returning(*_SEATS)
    )
    note_mark(session, tenant_id, Seats(*freed.one()))


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
        marked = note_mark(session, tenant_id, Seats(seats_total, kept.seats_used, kept.told_percent))
        updated = Change(
            "license.updated",
            ("lic", tenant_id),
            before={"seats_total": before},
            after={"seats_total": seats_total},
        )
        append_events(session, tenant_id, [updated, *marked], actor=actor, now=now)
        session.refresh(kept)
    return kept
