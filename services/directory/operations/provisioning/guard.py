"""Watch how many people a connection puts out, and pause it before it puts out too many (S13)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from sqlmodel import Session

from services.directory.operations.leaving import leave
from services.directory.operations.provisioning.call import Call
from services.directory.operations.returning import bring_back
from services.directory.operations.sources import locked_source
from services.directory.rules.errors import GuardTripped
from services.directory.rules.leaving import WayOut
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import SourceState, UserState

WINDOW: Final = timedelta(minutes=60)
MOST_PEOPLE: Final = 100
MOST_PERCENT: Final = 20

GUARD: Final = Actor("services/directory/guard")
"""Who pauses a connection."""

_BASE_HOLDS_FOR: Final = 5
"""Minutes after which the active users are counted anew, once more than MOST_PEOPLE have left."""
_WINDOW_MINUTES: Final = int(WINDOW.total_seconds()) // 60
_NOTHING: Final[Mapping[int, Mapping[str, Any]]] = MappingProxyType({})


def put_out(call: Call, user_ids: Iterable[int], way: WayOut, *, is_agreed: bool = False) -> list[int]:
    """Let people leave as the connection says; answers who left. Errors: GuardTripped, unless `is_agreed`."""
    left = leave(call.session, call.tenant_id, user_ids, way, actor=call.actor, now=call.now)
    if not is_agreed:
        watch(call, len(left))
    return left


def watch(call: Call, people: int) -> None:
    """Count active users who have just left; the caller's transaction has them still. Errors: GuardTripped.

    Whoever came back since does not count. Writers of a tenant take turns at its license, which who leaves has
    changed, so that none misses what another one counted.
    """
    if not people or not call.source.guard:
        return
    minute = _minute(call.now)
    call.run(
        "DELETE FROM guard_counts WHERE tenant_id = :t AND source_id = :s AND minute <= :old",
        old=minute - _WINDOW_MINUTES,
    )
    call.run(
        "INSERT INTO guard_counts (tenant_id, source_id, minute, people) VALUES (:t, :s, :minute, :people)"
        " ON CONFLICT (tenant_id, source_id, minute) DO UPDATE SET people = guard_counts.people + excluded.people",
        minute=minute,
        people=people,
    )
    counts = call.run("SELECT minute, people, base FROM guard_counts WHERE tenant_id = :t AND source_id = :s").all()
    out = sum(row.people for row in counts)
    if out <= MOST_PEOPLE:
        return
    bases = [(row.minute, row.base) for row in counts if row.base and row.minute > minute - _BASE_HOLDS_FOR]
    if not bases or _is_too_many(out, max(bases)[1]):
        base = _count_base(call, out, minute)
        if _is_too_many(out, base):
            raise GuardTripped(people=out, active=base)


def bring_in(call: Call, user_ids: Iterable[int], *, told: Mapping[int, Mapping[str, Any]] = _NOTHING) -> None:
    """Bring people back whom the connection wants in again: they were not put out. Errors: as `bring_back`."""
    people = list(user_ids)
    if call.source.guard:
        _uncount(call, people)
    bring_back(call.session, call.tenant_id, people, actor=call.actor, now=call.now, told=told)


def pause(session: Session, tenant_id: int, source_id: int, tripped: GuardTripped, *, now: datetime) -> None:
    """Pause a connection after its request was undone, and raise the alarm; once, however many requests follow."""
    source = locked_source(session, tenant_id, source_id)
    if source.state != SourceState.ENABLED:
        return
    source.state, source.guard_trip_time = SourceState.PAUSED, now
    source.revision += 1
    session.flush()
    after = {"state": "paused", "by": "guard", "people": tripped.people, "active": tripped.active}
    alarm = Change("source.paused", ("src", source_id), before={"state": "enabled"}, after=after)
    append_events(session, tenant_id, [alarm], actor=GUARD, now=now)


def _is_too_many(out: int, base: int) -> bool:
    return out * 100 > base * MOST_PERCENT


def _count_base(call: Call, out: int, minute: int) -> int:
    """Count how many were active before: those who are, and those who have left within the hour."""
    active = call.run(
        f"SELECT count(*) FROM users WHERE tenant_id = :t AND owner_source_id = :s AND state = {UserState.ACTIVE}"
    ).scalar_one()
    call.run(
        "UPDATE guard_counts SET base = :base WHERE tenant_id = :t AND source_id = :s AND minute = :minute",
        base=active + out,
        minute=minute,
    )
    return int(active + out)


def _uncount(call: Call, user_ids: list[int]) -> None:
    """Take those back who left within the hour; whoever came in asleep never left."""
    left = call.run(
        "SELECT u.leave_time FROM users u JOIN {each} ON i.id = u.id WHERE u.tenant_id = :t"
        f" AND u.state <> {UserState.ACTIVE} AND u.leave_time > :until AND u.leave_time > u.create_time",
        ids=call.ids(user_ids),
        until=call.now - WINDOW,
    ).scalars()
    for minute, people in sorted(Counter(_minute(_moment(each)) for each in left).items()):  # at most 60
        call.run(
            "UPDATE guard_counts SET people = CASE WHEN people > :people THEN people - :people ELSE 0 END"
            " WHERE tenant_id = :t AND source_id = :s AND minute = :minute",
            minute=minute,
            people=people,
        )


def _moment(kept: Any) -> datetime:
    """Read a moment as statements of plain text give it: SQLite has texts, in UTC."""
    return datetime.fromisoformat(kept).replace(tzinfo=UTC) if isinstance(kept, str) else kept


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // 60
