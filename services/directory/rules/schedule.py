"""When a source's night comes: local time and zone, clock changes, the spread between sources, tries within a night."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SPREAD: Final = timedelta(seconds=30)
"""Sources of one minute begin within this time, each always at the same moment of it."""

TRY_AGAIN_AFTER: Final = (timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=45))
"""How long a night waits after its first try, its second, its third; the fourth is the last."""

BUSY_FOR: Final = timedelta(minutes=3)
"""How long a source is put back whose tenant has another run under way (R44)."""

MOST_TRIES: Final = 5
"""Tries of one night that may come to nothing because importers died; then the night is given up, and says so."""

_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


def next_due(nightly_time: str, time_zone: str, *, after: datetime, spread: timedelta = timedelta()) -> datetime:
    """Say when the first night after a moment begins, UTC.

    A time that a clock change skips is the next minute that exists; one that happens twice is the first of the two.
    """
    return next(moment for moment in _nights(nightly_time, time_zone, after=after, spread=spread) if moment > after)


def spread_of(tenant_id: int, source_id: int) -> timedelta:
    """Give a source its own place within SPREAD, the same every night."""
    seconds = int(SPREAD.total_seconds())
    return timedelta(seconds=zlib.crc32(f"{tenant_id}/{source_id}".encode()) % seconds)


def is_last_try(attempt: int) -> bool:
    """Say whether a night's try (1 is the first) is the one after which no other comes by itself."""
    return attempt > len(TRY_AGAIN_AFTER)


def try_again_after(attempt: int) -> timedelta:
    """Say how long a night waits after a try that is not the last."""
    return TRY_AGAIN_AFTER[attempt - 1]


def _nights(nightly_time: str, time_zone: str, *, after: datetime, spread: timedelta) -> Iterator[datetime]:
    """Give the nights from the one before `after` on, in order."""
    zone, at = ZoneInfo(time_zone), time.fromisoformat(nightly_time)
    day = after.astimezone(zone).date() - _DAY
    while True:
        yield _moment(day, at, zone) + spread
        day += _DAY


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    wanted = datetime.combine(day, at)
    while True:
        moment = wanted.replace(tzinfo=zone).astimezone(UTC)  # fold 0: the first, when it happens twice
        if moment.astimezone(zone).replace(tzinfo=None) == wanted:
            return moment
        wanted += _MINUTE  # a zone that crossed the date line skipped a whole day
