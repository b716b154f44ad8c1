"""Notice when a connection begins to fail and when it works again, and tell of it once each (S13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from services.directory.rules.activity import (
    JUDGED_OVER,
    LOCKED_OUT,
    TALLIED_BY,
    Asked,
    Tally,
    has_recovered,
    is_failing,
    is_locked_out,
    tally_start,
)
from services.directory.store.activity_tables import ConnectionHealth, ConnectionRequest, ConnectionTally
from services.directory.store.events import Actor, append_event

FAILING: Final = "connection.failing"
RECOVERED: Final = "connection.recovered"

_WATCH: Final = Actor(name="connection-watch")
_LAST_LOOKED_AT: Final = 100
_MOST_EXPLAINED: Final = 5


def lock_health(session: Session, tenant_id: int, source_id: int) -> ConnectionHealth:
    """Take the connection's row, made if there is none, so that nobody else records for it until we have."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    row = dialect.insert(ConnectionHealth).values(tenant_id=tenant_id, source_id=source_id, dropped=0, locked_out=0)
    session.connection().execute(row.on_conflict_do_nothing())
    return session.get_one(ConnectionHealth, (tenant_id, source_id), with_for_update=True)


def judge(session: Session, health: ConnectionHealth, new: Sequence[Asked], *, now: datetime) -> None:
    """Follow requests that were just recorded, and tell when the connection begins or ceases to fail."""
    was_locked_out = health.locked_out >= LOCKED_OUT
    _follow(health, new)
    if health.failing_since is None:
        locked_out = is_locked_out(health.locked_out, health.last_success_time, now) and not _recovered_lately(
            health, now
        )
        hour = last_hour(session, health, now)
        if any(each.is_failure for each in new) and (locked_out or is_failing(hour)):
            health.failing_since = now
            since = (health.last_success_time if locked_out else None) or now - JUDGED_OVER
            told = {"locked_out": locked_out, "problems": _last_problems(session, health, since)}
            _tell(session, health, FAILING, hour, now=now, **told)
    elif any(each.is_served for each in new) and (
        was_locked_out or has_recovered(_tallied(session, health, tally_start(now) - TALLIED_BY))
    ):
        health.failing_since, health.judged_from = None, now
        _tell(session, health, RECOVERED, last_hour(session, health, now), now=now)
    session.add(health)
    session.flush()


def last_hour(session: Session, health: ConnectionHealth, now: datetime) -> Tally:
    """Count the requests of the last hour, and those since it recovered last if that is less."""
    start = tally_start(now) - JUDGED_OVER + TALLIED_BY
    if health.judged_from is not None:
        start = max(start, tally_start(health.judged_from) + TALLIED_BY)
    return _tallied(session, health, start)


def _follow(health: ConnectionHealth, new: Sequence[Asked]) -> None:
    served = [each.time for each in new if each.is_served]
    if served:
        health.last_success_time = max([*served, health.last_success_time or served[0]])
    locked_out = health.locked_out
    for each in new:
        if each.is_counted:
            locked_out = locked_out + 1 if each.is_locked_out else 0
    health.locked_out = locked_out


def _recovered_lately(health: ConnectionHealth, now: datetime) -> bool:
    """An old key that somebody still uses beside the new one must not be told of again and again."""
    return health.judged_from is not None and now - health.judged_from < JUDGED_OVER


def _tallied(session: Session, health: ConnectionHealth, start: datetime) -> Tally:
    query = select(
        func.coalesce(func.sum(ConnectionTally.requests), 0), func.coalesce(func.sum(ConnectionTally.failures), 0)
    ).where(
        col(ConnectionTally.tenant_id) == health.tenant_id,
        col(ConnectionTally.source_id) == health.source_id,
        col(ConnectionTally.start_time) >= start,
    )
    requests, failures = session.exec(query).one()
    return Tally(int(requests), int(failures))


def _tell(session: Session, health: ConnectionHealth, kind: str, hour: Tally, *, now: datetime, **told: Any) -> None:
    append_event(
        session,
        health.tenant_id,
        kind=kind,
        resource=("src", health.source_id),
        actor=_WATCH,
        now=now,
        after={"requests": hour.requests, "failures": hour.failures, **told},
    )


def _last_problems(session: Session, health: ConnectionHealth, since: datetime) -> list[dict[str, Any]]:
    """Say what the last failures from a time on were, the most frequent first, each in words and with its cure."""
    query = select(ConnectionRequest).where(
        col(ConnectionRequest.tenant_id) == health.tenant_id,
        col(ConnectionRequest.source_id) == health.source_id,
        col(ConnectionRequest.status) >= 400,
        col(ConnectionRequest.time) >= since,
    )
    last = session.exec(query.order_by(col(ConnectionRequest.number).desc()).limit(_LAST_LOOKED_AT)).all()
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for each in last:
        if not _as_asked(each).is_failure:
            continue
        said = {"problem": each.problem, "status": each.status, "detail": each.detail, "cure": each.cure, "count": 0}
        kept = found.setdefault((each.problem, each.status), said)
        kept["count"] += 1
    return sorted(found.values(), key=lambda each: -each["count"])[:_MOST_EXPLAINED]


def _as_asked(kept: ConnectionRequest) -> Asked:
    return Asked(kept.request_id, kept.time, kept.method, kept.path, kept.status, problem=kept.problem)
