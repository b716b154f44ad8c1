"""Read and set a tenant's seats, and take one."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session

from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import LicenseLimitReached, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import LICENSE
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.seats import Seats, note_mark
from services.directory.store.statements import Statement
from services.directory.store.tables import License


def take_seat(session: Session, tenant_id: int, *, actor: Actor, now: datetime) -> None:
    """Take one seat; see `take_seats`. Errors: LicenseLimitReached."""
    take_seats(session, tenant_id, 1, actor=actor, now=now)


def take_seats(session: Session, tenant_id: int, count: int, *, actor: Actor, now: datetime) -> None:
    """Take seats, all or none, with one conditional UPDATE, so that racing writers cannot pass the total (R35).

    That the license is nearly full, or full, is told by an event. Errors: LicenseLimitReached.
    """
    taken = _TAKE.run(session, t=tenant_id, count=count)
    seats = taken.first()
    if seats is None:
        kept = get_license(session, tenant_id)
        raise LicenseLimitReached(seats_total=kept.seats_total, seats_used=kept.seats_used)
    append_events(session, tenant_id, note_mark(session, tenant_id, Seats(*seats)), actor=actor, now=now)


_TAKE: Final = Statement("""
    UPDATE licenses SET seats_used = seats_used + :count WHERE tenant_id = :t AND seats_used + :count <= seats_total
    RETURNING seats_total, seats_used, told_percent
""")


def free_seats(session: Session, tenant_id: int, count: int) -> None:
    """Give seats back."""
    note_mark(session, tenant_id, Seats(*_FREE.run(session, t=tenant_id, count=count).one()))


_FREE: Final = Statement("""
    UPDATE licenses SET seats_used = seats_used - :count WHERE tenant_id = :t
    RETURNING seats_total, seats_used, told_percent
""")


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
