"""When a source's night comes: every zone, every clock change."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from services.directory.rules import schedule

ZONES = sorted(zoneinfo.available_timezones() - {"localtime"})
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "zone", "after", "due"),
    [
        pytest.param("02:00", "UTC", "2026-11-21T01:59", "2026-11-21T02:00", id="later today"),
        pytest.param("02:00", "UTC", "2026-11-21T02:00", "2026-11-22T02:00", id="strictly after"),
        pytest.param("02:00", "Europe/Stockholm", "2026-07-01T12:00", "2026-07-02T00:00", id="summer time"),
        pytest.param("02:30", "Europe/Stockholm", "2026-03-28T12:00", "2026-03-29T01:00", id="skipped: 03:00 is next"),
        pytest.param("02:30", "Europe/Stockholm", "2026-03-29T01:00", "2026-03-30T00:30", id="once when skipped"),
        pytest.param("02:30", "Europe/Stockholm", "2026-10-24T12:00", "2026-10-25T00:30", id="twice: the first"),
        pytest.param("02:30", "Europe/Stockholm", "2026-10-25T00:30", "2026-10-26T01:30", id="twice: not the second"),
        pytest.param("02:15", "Australia/Lord_Howe", "2026-10-03T12:00", "2026-10-03T15:30", id="half an hour skipped"),
        pytest.param("02:00", "Pacific/Apia", "2011-12-29T20:00", "2011-12-30T10:00", id="a skipped day"),
        pytest.param("02:00", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T12:00", id="the day after it"),
    ],
)
def test_the_next_night(at, zone, after, due):
    assert schedule.next_due(at, zone, after=utc(after)) == utc(due)


@cache
def changes(zone):
    """The minutes of 2005 to 2037 from which the zone's clock shows another difference to UTC."""
    found, moment, end = [], datetime(2005, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)
    tz = ZoneInfo(zone)
    while moment < end:
        following = moment + 7 * DAY
        if moment.astimezone(tz).utcoffset() != following.astimezone(tz).utcoffset():
            low, high = moment, following
            while high - low > MINUTE:
                middle = low + (high - low) // (2 * MINUTE) * MINUTE
                same = middle.astimezone(tz).utcoffset() == low.astimezone(tz).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        moment = following
    return found


def first_minute(day, at, tz):
    """The first minute at which the clock on the wall shows `at` of `day`, or has jumped past it."""
    wanted = datetime.combine(day, datetime.strptime(at, "%H:%M").time())  # noqa: DTZ007 - a time of the wall
    moment = wanted.replace(tzinfo=UTC) - 30 * HOUR
    before = moment.astimezone(tz).replace(tzinfo=None)
    assert before < wanted
    while (shown := moment.astimezone(tz).replace(tzinfo=None)) < wanted:
        moment += HOUR if shown < wanted - 26 * HOUR else MINUTE
    return moment


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(ZONES), st.integers(0, 1439), st.integers(0, 2**32), st.integers(-1500, 1500), st.integers(0, 29)
)
@example("Europe/Stockholm", 150, 1, -700, 0)
@example("Africa/Casablanca", 150, 3, -700, 7)
@example("Pacific/Apia", 120, 4, -100, 29)
def test_around_any_clock_change_each_date_has_one_night_at_its_first_minute(zone, minute, pick, off, seconds):
    moments = changes(zone)
    assume(moments)
    spread, at, tz = timedelta(seconds=seconds), f"{minute // 60:02}:{minute % 60:02}", ZoneInfo(zone)
    after = moments[pick % len(moments)] + off * MINUTE
    day: date = after.astimezone(tz).date() - DAY
    expected = [first_minute(day + n * DAY, at, tz) + spread for n in range(6)]
    nights = [moment for moment in sorted(set(expected)) if moment > after]
    found = []
    for _ in nights:
        found.append(schedule.next_due(at, zone, after=found[-1] if found else after, spread=spread))
    assert found == nights


def test_a_source_has_its_own_place_in_the_spread_and_keeps_it():
    places = [schedule.spread_of(1, number) for number in range(1, 1001)]
    assert places == [schedule.spread_of(1, number) for number in range(1, 1001)]
    assert len(set(places)) == 30
    assert timedelta() <= min(places) <= max(places) < schedule.SPREAD
    assert schedule.spread_of(1, 7) != schedule.spread_of(2, 7)


def test_a_night_is_tried_four_times_with_growing_pauses():
    assert [schedule.is_last_try(attempt) for attempt in (1, 2, 3, 4, 5)] == [False, False, False, True, True]
    pauses = [schedule.try_again_after(attempt) for attempt in (1, 2, 3)]
    assert pauses == sorted(pauses)
    assert sum(pauses, timedelta()) < timedelta(hours=2)
