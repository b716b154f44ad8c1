"""Notice when seats in use pass a mark of the license, so that it is told once a passing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text, update
from sqlalchemy.engine import Connection
from sqlmodel import Session, col

from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import License

NEAR_FULL_PERCENT: Final = 90
FULL_PERCENT: Final = 100


@dataclass(frozen=True)
class Seats:
    """A license's seats, and the highest mark of which an event told."""

    total: int
    used: int
    told_percent: int

    @property
    def mark(self) -> int:
        """The highest mark that is reached; 0 for none. Nobody in no seats is no news."""
        if self.used and self.used >= self.total:
            return FULL_PERCENT
        return NEAR_FULL_PERCENT if self.used and self.used * 100 >= self.total * NEAR_FULL_PERCENT else 0


def change_seats(
    connection: Connection, tenant_id: int, change: int, *, actor: Actor, now: datetime, run_id: int
) -> None:
    """Count the seats that a run takes and frees, with the event of a mark that it passes; they suffice, it looked."""
    sql = """
        UPDATE licenses SET seats_used = seats_used + :change, revision = revision + 1 WHERE tenant_id = :t
        RETURNING seats_total, seats_used, told_percent
    """
    seats = Seats(*connection.execute(text(sql), {"change": change, "t": tenant_id}).one())
    session = Session(bind=connection)
    append_events(session, tenant_id, note_mark(session, tenant_id, seats), actor=actor, now=now, run_id=run_id)


def note_mark(session: Session, tenant_id: int, seats: Seats) -> list[Change]:
    """Remember the mark that seats have come to, in the transaction that changed them; gives the event if it rose.

    A mark that seats have fallen below is told again when they pass it again.
    """
    if seats.mark == seats.told_percent:
        return []
    noted = update(License).where(col(License.tenant_id) == tenant_id).values(told_percent=seats.mark)
    session.connection().execute(noted)
    if seats.mark < seats.told_percent:
        return []
    kind = "license.full" if seats.mark == FULL_PERCENT else "license.near_full"
    return [Change(kind, ("lic", tenant_id), after={"seats_total": seats.total, "seats_used": seats.used})]
