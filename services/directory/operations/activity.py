"""Keep what identity providers asked of a connection, and read it (S13)."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import Table, func
from sqlmodel import Session, col, select

from services.directory.operations.activity_keys import Shown
from services.directory.operations.connection_health import judge, lock_health
from services.directory.operations.sources import get_source
from services.directory.rules.activity import KEY_WRONG, Asked, check, settled, tally_start
from services.directory.store import ids
from services.directory.store.activity_tables import (
    ConnectionHealth,
    ConnectionQuirk,
    ConnectionRequest,
    ConnectionTally,
)
from services.directory.store.statements import Insertion, Statement

_MOST_WRONG: Final = 20
"""Requests with a wrong secret that are kept an hour: whoever knows a key's id must not fill the list."""


def record(session: Session, shown: Shown, asked: Sequence[Asked], dropped: int, *, now: datetime) -> int:
    """Keep requests, count them, and judge the connection; says how many were new. Errors: InvalidArgument."""
    requests = [settled(each, shown.trouble, now) for each in asked]
    check(requests)
    health = lock_health(session, shown.tenant_id, shown.source_id)  # one recorder of a connection at a time
    if shown.trouble == KEY_WRONG:
        refused = [each for each in requests if each.status in {401, 429}]
        requests = refused[: max(0, _MOST_WRONG - _count_wrong(session, shown, now))]
    new = _insert(session, shown, requests)
    _count_quirks(session, shown, new)
    _tally(session, shown, new)
    health.dropped += max(0, dropped)
    judge(session, health, new, now=now)
    return len(new)


@dataclass(frozen=True)
class Sought:
    """Which requests: of statuses in a range, from a time on."""

    statuses: tuple[int, int] = (0, 600)
    since: datetime | None = None


def list_requests(
    session: Session, tenant_id: int, source_id: int, sought: Sought, *, before: int, limit: int
) -> list[ConnectionRequest]:
    """Read a connection's requests, the last recorded first, below a number. Errors: NotFound."""
    get_source(session, tenant_id, source_id)
    least, most = sought.statuses
    query = select(ConnectionRequest).where(
        col(ConnectionRequest.tenant_id) == tenant_id,
        col(ConnectionRequest.source_id) == source_id,
        col(ConnectionRequest.number) < before,
        col(ConnectionRequest.status) >= least,
        col(ConnectionRequest.status) < most,
    )
    if sought.since is not None:
        query = query.where(col(ConnectionRequest.time) >= sought.since)
    return list(session.exec(query.order_by(col(ConnectionRequest.number).desc()).limit(limit)))


def _count_wrong(session: Session, shown: Shown, now: datetime) -> int:
    query = select(func.count()).where(
        col(ConnectionRequest.tenant_id) == shown.tenant_id,
        col(ConnectionRequest.source_id) == shown.source_id,
        col(ConnectionRequest.status) >= 400,
        col(ConnectionRequest.problem) == KEY_WRONG,
        col(ConnectionRequest.time) > now - timedelta(hours=1),
    )
    return session.exec(query).one()


def _insert(session: Session, shown: Shown, requests: Sequence[Asked]) -> list[Asked]:
    """Insert what is not there yet, in the order in which it happened; gives that."""
    each_once = {each.request_id: each for each in requests}
    known = _known(session, shown, list(each_once))
    new = sorted((each for each in each_once.values() if each.request_id not in known), key=lambda each: each.time)
    if not new:
        return []
    numbers = ids.reserve_ids(session.connection(), "connection_request", len(new))
    rows = [
        {
            "tenant_id": shown.tenant_id,
            "source_id": shown.source_id,
            "number": number,
            "request_id": each.request_id,
            "time": each.time,
            "key_id": shown.key_id,
            "method": each.method,
            "path": each.path,
            "shape": each.shape,
            "status": each.status,
            "scim_type": each.scim_type,
            "problem": each.problem,
            "detail": each.detail,
            "cure": each.cure,
            "quirks": json.dumps(list(each.quirks or ())),
            "effects": json.dumps(dict(each.effects or {})),
            "duration_ms": each.duration_ms,
        }
        for number, each in zip(numbers, new, strict=True)
    ]
    _INSERT.run_many(session, rows)
    return new


def _known(session: Session, shown: Shown, request_ids: list[str]) -> set[str]:
    """Which of the requests are kept already; nobody else records for the connection meanwhile."""
    known = _KNOWN.run(session, tenant_id=shown.tenant_id, source_id=shown.source_id, asked=request_ids)
    return set(known.scalars())


def _count_quirks(session: Session, shown: Shown, requests: Sequence[Asked]) -> None:
    times = defaultdict(list)
    cures: dict[str, str] = {}
    for each in requests:
        for quirk, cure in (each.quirks or {}).items():
            times[quirk].append(each.time)
            cures[quirk] = cure
    if not times:
        return
    of = {"tenant_id": shown.tenant_id, "source_id": shown.source_id}
    rows = [
        {**of, "quirk": quirk, "cure": cures[quirk], "count": len(at), "first_time": min(at), "last_time": max(at)}
        for quirk, at in sorted(times.items())
    ]
    _COUNT_QUIRK.run_many(session, rows)


def _tally(session: Session, shown: Shown, requests: Sequence[Asked]) -> None:
    counted = [each for each in requests if each.is_counted]
    if not counted:
        return
    of = {"tenant_id": shown.tenant_id, "source_id": shown.source_id}
    requests_at = Counter(tally_start(each.time) for each in counted)
    failures_at = Counter(tally_start(each.time) for each in counted if each.is_failure)
    rows = [
        {**of, "start_time": start, "requests": number, "failures": failures_at[start]}
        for start, number in sorted(requests_at.items())
    ]
    _COUNT_REQUESTS.run_many(session, rows)


_REQUEST: Final = [column.name for column in cast("Table", ConnectionRequest.__table__).columns]  # type: ignore[attr-defined]


def _bound(columns: Iterable[str]) -> dict[str, str]:
    """Bind each of these columns by its name."""
    return {column: f":{column}" for column in columns}


_KNOWN: Final = Statement(
    """SELECT request_id FROM connection_requests
    WHERE tenant_id = :tenant_id AND source_id = :source_id AND request_id = ANY(:asked)""",
    sqlite="""SELECT request_id FROM connection_requests
    WHERE tenant_id = :tenant_id AND source_id = :source_id AND request_id IN (SELECT value FROM json_each(:asked))""",
)
_INSERT: Final = Insertion(ConnectionRequest, _bound(_REQUEST))
_COUNT_QUIRK: Final = Insertion(
    ConnectionQuirk,
    _bound(["tenant_id", "source_id", "quirk", "cure", "count", "first_time", "last_time"]),
    conflict="""ON CONFLICT (tenant_id, source_id, quirk) DO UPDATE SET
    count = connection_quirks.count + excluded.count, cure = excluded.cure, last_time = excluded.last_time""",
)
_COUNT_REQUESTS: Final = Insertion(
    ConnectionTally,
    _bound(["tenant_id", "source_id", "start_time", "requests", "failures"]),
    conflict="""ON CONFLICT (tenant_id, source_id, start_time) DO UPDATE SET
    requests = connection_tallies.requests + excluded.requests,
    failures = connection_tallies.failures + excluded.failures""",
)


def read_quirks(session: Session, tenant_id: int, source_id: int) -> list[ConnectionQuirk]:
    """Read what a connection needs beside the standard, the most frequent first."""
    query = select(ConnectionQuirk).where(
        col(ConnectionQuirk.tenant_id) == tenant_id, col(ConnectionQuirk.source_id) == source_id
    )
    return list(session.exec(query.order_by(col(ConnectionQuirk.count).desc(), col(ConnectionQuirk.quirk))))


def read_health(session: Session, tenant_id: int, source_id: int) -> ConnectionHealth:
    """Read how a connection is doing. Errors: NotFound."""
    get_source(session, tenant_id, source_id)
    kept = session.get(ConnectionHealth, (tenant_id, source_id))
    return kept or ConnectionHealth(tenant_id=tenant_id, source_id=source_id, dropped=0)
