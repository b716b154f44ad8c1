"""R6: TimeStamps in their usual forms, the newest of a file, and a stale export."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.importer.timestamps import read_timestamp
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import NOW, read

STOCKHOLM = ZoneInfo("Europe/Stockholm")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-28T13:30:00Z", datetime(2026, 2, 28, 13, 30, tzinfo=UTC)),
        ("2026-02-28T13:30:00+01:00", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("2026-02-28 13:30:00 +0100", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("2026-02-28 13:30:00", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        (" 2026-02-28 13:30 ", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("20260228133000", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("2026-02-28", datetime(2026, 2, 27, 23, 0, tzinfo=UTC)),
        ("'2026-02-28T13:30:00Z", datetime(2026, 2, 28, 13, 30, tzinfo=UTC)),
        ("\u200b20260228133000\xa0", datetime(2026, 2, 28, 12, 30, tzinfo=UTC)),
        ("2026-02-28T13:30:00.123Z", datetime(2026, 2, 28, 13, 30, 0, 123000, tzinfo=UTC)),
        ("yesterday", None),
        ("28/02/2026", None),
        ("", None),
        ("2026-02-30", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_r6_a_timestamp_is_read_in_its_usual_forms(text, moment):
    assert read_timestamp(text, STOCKHOLM) == moment


def test_r6_the_newest_of_all_rows_counts():
    rows = [
        a_row(n, TimeStamp=text) for n, text in enumerate(("2026-02-27", "soon", "2026-02-28T23:00:00Z", "2026-02-28"))
    ]
    assert read(a_csv(*rows)).newest == datetime(2026, 2, 28, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "codes"), [(timedelta(hours=48), []), (timedelta(hours=48, seconds=1), ["stale_export"])]
)
def test_r6_an_export_older_than_48_hours_is_stale(age, codes):
    reading = read(a_csv(a_row(TimeStamp=(NOW - age).isoformat())))
    assert reading.codes == codes
    assert [(issue.line, issue.key) for issue in reading.issues] == [(1, "") for _ in codes]
