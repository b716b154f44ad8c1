"""A value of whatever length rejects its row alone (R11), in little memory, unless its lines are rows (R3)."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.importer import long_fields, records
from services.importer.csv_file import read_csv_file
from services.importer.csv_form import find_form
from services.importer.decoding import Decoding
from services.importer.errors import TruncatedError
from services.importer.records import RecordReader, is_well_quoted
from services.importer.row_layout import RowSettings
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import read

MIB = 1024 * 1024
PROSE = 'He said "yes", then, that is: nothing.'
LONG = {
    "one line": "x" * 100_000,
    "one line of 10 MiB": "x" * (10 * MIB),
    "one line of 10 MiB with delimiters and quotes": f"{PROSE} " * (10 * MIB // len(PROSE)),
    "lines": "some text\r\n" * 10_000,
    "lines of 3 MiB": "some text\n" * (3 * MIB // 10),
    "lines of 20 MiB with delimiters and quotes": f"{PROSE}\r\n" * (20 * MIB // len(PROSE)),
    "lines and blank lines and a line of 9 MiB": "a\n\n\r\nb\r" * 200_000 + "y, " * (3 * MIB) + "\nz",
}


LINES_OF_A_MIB = "a, b\n" * (MIB // 4)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("what", LONG)
def test_r11_a_value_that_is_too_long_rejects_its_row_alone(what, encoding):
    text = LONG[what]
    lines = len(io.StringIO(text, newline=None).read().split("\n"))
    data = a_csv(a_row(1), f"EMP-0000002,{quoted(text)},b@example.org", a_row(3), "EMP-0000004,,d@example.org")
    reading = read(data.decode().encode(encoding))
    assert (reading.refusal, reading.counted) == ("", 4)
    assert [(line, code) for line, code, _ in reading.rejections] == [
        (3, "field_too_long:Name"),
        (4 + lines, "name_missing"),
    ]
    assert [(row.line, row.external_id) for row in reading.rows[1:3]] == [
        (3, "EMP-0000002"),
        (3 + lines, "EMP-0000003"),
    ]


@pytest.mark.parametrize("place", [1, 2, 3])
def test_r11_a_long_value_may_stand_in_any_row_and_in_two(place):
    long = f"EMP-0000009,{quoted(LINES_OF_A_MIB)},{quoted('x' * 100_000)}"
    rows = [a_row(1), a_row(2)]
    rows.insert(place - 1, long)
    reading = read(a_csv(*rows))
    assert [code for _, code, _ in reading.rejections] == ["field_too_long:Name"]
    assert reading.counted == 3


def test_r11_many_values_that_are_not_too_long_are_a_row_however_long_it_is():
    columns = [f"Column {number}" for number in range(40)]
    header = ",".join(["UniqueID", "Name", "Mail", *columns])
    cells = [quoted(f"{PROSE}\n" * 1_500) for _ in columns]
    data = "\n".join([header, ",".join(["EMP-0000001", "Anna", "a@example.org", *cells]), ""])
    assert len(data) > 2 * MIB
    reading = read(data.encode())
    assert (reading.refusal, reading.rejections, reading.row.display_name) == ("", [], "Anna")


def test_r11_r14_a_long_row_may_have_the_surplus_that_all_rows_have():
    reading = read(
        a_csv(
            "EMP-0000001,A,a@example.org,",
            f"EMP-0000002,{quoted(LINES_OF_A_MIB)},b@example.org,",
            "EMP-0000003,C,c@d.org,",
        )
    )
    assert [(line, code) for line, code, _ in reading.rejections] == [(3, "field_too_long:Name")]
    assert reading.counted == 3


def test_r3_a_long_row_with_another_surplus_counts_as_a_quote_that_never_closes():
    reading = read(a_csv(a_row(1), f"EMP-0000002,{quoted(LINES_OF_A_MIB)},b@example.org,", a_row(3)))
    assert (reading.refusal, reading.counted) == ("truncated", 1)
    assert "the row on line 3" in reading.csv_file.refusal.message


@pytest.mark.parametrize("behind", [" Ek,b@example.org", ",b@example.org"])
def test_r3_a_stray_quote_that_joins_a_large_part_of_the_file_counts_as_never_closed(behind):
    many = "\r\n".join(f"EMP-{n:07d},Anna,a{n}@example.org" for n in range(10, 40_000))
    reading = read(a_csv(a_row(1), 'EMP-0000002,"Anna,a@example.org', many, f'EMP-0000009,Bo"{behind}', a_row(3)))
    assert (reading.refusal, reading.counted) == ("truncated", 1)
    assert "the row on line 3" in reading.csv_file.refusal.message


def test_a_long_value_in_the_first_row_does_not_hide_the_form_of_the_file():
    data = a_csv(f"EMP-0000001,{quoted('x' * (20 * MIB))},a@example.org", a_row(2))
    assert find_form(read(data).csv_file).line_end == "\r\n"


def test_r5_rows_beside_a_long_one_are_read_by_their_hashes_as_ever():
    data = a_csv(*map(a_row, range(1, 30)), f"EMP-0000099,{quoted(LINES_OF_A_MIB)},b@example.org", a_row(30))
    csv_file = read_csv_file(lambda: io.BytesIO(data), settings=RowSettings())
    assert csv_file.index is None
    assert csv_file.rows == 31


def test_a_value_as_long_as_the_file_takes_little_memory(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.write(b'UniqueID,Name,Mail\nEMP-0000001,"')
        for _ in range(10):
            file.write(b"ab, c\n\n" * 50_000)
        file.write(b'",a@example.org\n')
    tracemalloc.start()
    csv_file = read_csv_file(lambda: path.open("rb"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (csv_file.refusal, csv_file.rows) == (None, 1)
    assert peak < 64 * MIB


PIECES = [
    '"',
    '""',
    ",",
    "\n",
    "\r\n",
    "\r",
    "a",
    "é",
    '"x\ny',
    "word " * 5,
    "\n\n\n\nw",
    '","',
    '",\n',
    '"abc',
    "q" * 30,
]


SMALL = ((long_fields, "KEPT_CHARACTERS", 8), (records, "_LONG_CHARACTERS", 20), (records, "_CHUNK_CHARACTERS", 7))


def readings(data: bytes, encoding: str):
    reader = RecordReader(lambda: io.BytesIO(data), Decoding(encoding), ",", has_sep_line=False)
    try:
        for line, fields, characters in reader.records():
            quoting = reader.spread is None or is_well_quoted(reader.spread, ",")
            yield line, fields, characters, reader.start_byte, reader.end_byte, quoting
    except TruncatedError as error:
        yield error.message
    reader.close()


@given(
    text=st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    encoding=st.sampled_from(["utf-8", "utf-16-le"]),
)
@example(text='a,"' + "b\n" * 30 + '",c\nd,e,f\n', encoding="utf-8")
@example(text='a,"' + 'b"",\n' * 30 + '"c,\nd,"e\n' + "x\n" * 30 + '",f\n', encoding="utf-8")
@settings(max_examples=600, deadline=None)
def test_a_file_reads_as_if_nothing_was_shortened(text, encoding):
    data = text.encode(encoding)
    whole = list(readings(data, encoding))
    with pytest.MonkeyPatch.context() as patch:
        for module, limit, value in SMALL:
            patch.setattr(module, limit, value)
        shortened = list(readings(data, encoding))
    assert len(shortened) == len(whole)
    for short, long in zip(shortened, whole, strict=True):
        if isinstance(long, str):
            assert short == long
            continue
        assert (short[0], *short[2:]) == (long[0], *long[2:])
        assert len(short[1]) == len(long[1])
        for field, full in zip(short[1], long[1], strict=True):
            assert field == full or (len(field) >= 4 and len(full) > len(field))
