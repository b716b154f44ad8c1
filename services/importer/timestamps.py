"""Read TimeStamp cells and keep the newest of a file (R6)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from services.importer.cells import clean_cell

STALE_AFTER = timedelta(hours=48)
_SPACE_BEFORE_ZONE = re.compile(r"(?<!\s)\s+(?=[+\-]\d\d|Z$)", re.IGNORECASE)


def read_timestamp(text: str, zone: tzinfo) -> datetime | None:
    """Read an ISO 8601 time in its usual forms, or `YYYYMMDDHHMMSS`; None for anything else.

    A time without a zone is in `zone`; the result is UTC.
    """
    moment = _read(text)
    return None if moment is None else _in_utc(moment, zone)


def is_stale(newest: datetime, now: datetime) -> bool:
    """Tell whether a file whose newest TimeStamp is `newest` deserves `stale_export`."""
    return now - newest > STALE_AFTER


class NewestTimestamp:
    """The newest readable TimeStamp of all cells noted; cells that cannot be read are ignored."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._last = ""
        self._local: datetime | None = None  # without a zone
        self._aware: datetime | None = None

    def note(self, text: str) -> None:
        """Take one more cell."""
        if text == self._last:  # one export has one time, as a rule
            return
        self._last = text
        moment = _read(text)
        if moment is None:
            return
        if moment.tzinfo is None:
            if self._local is None or moment > self._local:
                self._local = moment
        elif self._aware is None or moment > self._aware:
            self._aware = moment

    @property
    def value(self) -> datetime | None:
        """The newest in UTC, or None."""
        moments = [_in_utc(moment, self._zone) for moment in (self._local, self._aware) if moment is not None]
        return max((moment for moment in moments if moment is not None), default=None)


def _read(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    text = text.strip()
    if text[:1] == "'" or not text.isascii():  # a spreadsheet's apostrophe, invisible characters (R16)
        text = clean_cell(text).text
    try:
        if len(text) == 14 and text.isascii() and text.isdigit():
            return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")
        return datetime.fromisoformat(_SPACE_BEFORE_ZONE.sub("", text))
    except ValueError:
        return None


def _in_utc(moment: datetime, zone: tzinfo) -> datetime | None:
    try:
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:  # year 1 or 9999 at the edge of a zone
        return None
