"""Any bytes give rows, issues or a refusal, never a traceback; the swift reader and the careful one say the same."""

from __future__ import annotations

import io

import phonenumbers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.importer.careful_row import CarefulRow
from services.importer.cells import international_phone
from services.importer.csv_file import read_csv_file
from services.importer.header import COLUMNS
from services.importer.row_layout import ACCEPTED, RowLayout, RowSettings
from services.importer.rows import RowReader
from services.importer.timestamps import NewestTimestamp
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import read

HEADERS = [b"UniqueID,Name,Mail,Groups,Skip,TimeStamp\r\n", b"UniqueID;FirstName;LastName;Mail;Title;Phone\n", b""]
CELLS = st.one_of(
    st.sampled_from(
        ["", " ", "1", "0", "'", "=1", "Anna Berg", "Åsa", "a@example.org", "+46701234567", "070-1234567", "2026-02-28"]
    ),
    st.text(max_size=20),
    st.text("'=+-@ aÅ\u0301\u200b\xa0\u202e\x00\n\"1,", max_size=12),
)
ROWS = st.lists(CELLS, min_size=len(COLUMNS), max_size=len(COLUMNS)).map(
    lambda cells: dict(zip(COLUMNS, cells, strict=True))
)


@given(
    header=st.sampled_from(HEADERS),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "cp1252"]),
    body=st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(b'\r\n",;|\t1aE+\xff\x00\xc3')).map(bytes)),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]),
    strict=st.booleans(),
    separator=st.sampled_from([",", ";", "|", "\n", "'", "  "]),
    region=st.sampled_from(["", "SE", "US", "XX"]),
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_with_any_settings_give_rows_or_a_refusal(  # noqa: PLR0917 - hypothesis fills them by name
    header, encoding, body, bom, strict, separator, region
):
    data = bom + header.decode().encode(encoding) + body
    reading = read(data, strict_encoding=strict, group_separator=separator, region=region)
    if reading.file is None:
        assert reading.refusal
        return
    assert len(reading.rows) == reading.counted
    accepted = sum(row.disposition == ACCEPTED for row in reading.rows)
    assert reading.counted == accepted + reading.skipped + reading.rejected
    assert len(reading.rejections) == reading.rejected
    assert [row.line for row in reading.rows] == sorted({row.line for row in reading.rows})
    if not reading.refusal:
        assert reading.counted > 0


@given(
    rows=st.lists(st.one_of(ROWS, st.builds(a_row, st.integers(0, 999))), min_size=1, max_size=5),
    columns=st.sets(st.sampled_from(COLUMNS)),
)
@example(rows=[a_row(Mail="'anna@example.org", UniqueID="1.2345E-10")], columns=set())
@settings(max_examples=150, deadline=None)
def test_the_swift_reader_says_what_the_careful_one_says(rows, columns):
    # Three columns of names are always read with care, so one of them stays out.
    chosen = [name for name in COLUMNS if name in {"UniqueID", "Name", "Mail"} | (columns - {"FirstName"})]
    csv_file = read_csv_file(lambda: io.BytesIO(a_csv(*rows, columns=chosen)))
    row_settings = RowSettings(region="SE")
    reader = RowReader(csv_file, row_settings)
    layout = RowLayout(csv_file.header, row_settings, csv_file.fields, NewestTimestamp(row_settings.time_zone))
    for record in csv_file.records():
        issues = []
        row_hash = reader.hash_of(record)
        row = reader.read(record, row_hash, issues)
        careful = CarefulRow(layout, record)
        assert row == careful.row(row_hash)
        assert issues == careful.issues


@given(st.from_regex(r"\+[1-9][0-9 ]{4,18}", fullmatch=True))
@example("+46070123456")
@example("+78001234567")
@example("+5491112345678")
@settings(max_examples=300, deadline=None)
def test_r21_the_quick_look_at_a_phone_says_what_the_library_says(text):
    quick = international_phone(text)
    if quick is None:
        return
    number = phonenumbers.parse(text, None)
    assert phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == quick
