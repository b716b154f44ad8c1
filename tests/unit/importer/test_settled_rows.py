"""A row is known again by its hash: the same for what reads the same, another for anything that may read otherwise."""

from __future__ import annotations

import io

import pytest

from services.importer.csv_file import read_csv_file
from services.importer.header import COLUMNS
from services.importer.row_hash import NO_HASH, SettledHashes
from services.importer.row_layout import RowSettings
from services.importer.rows import RowReader
from services.importer.staging import ReadFile
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import NOW, read

CELLS = {
    "Title": "Teacher",
    "TelephoneNumber": "+46701234567",
    "SecondaryTelephoneNumber": "+46701234568",
    "TimeStamp": "2026-02-28",
    "Groups": "A,B",
    "Skip": "0",
}


def hashes_of(data, **settings):
    csv_file = read_csv_file(lambda: io.BytesIO(data))
    reader = RowReader(csv_file, RowSettings(**settings))
    return [reader.hash_of(record) for record in csv_file.records()]


def hash_of(data, **settings):
    (row_hash,) = hashes_of(data, **settings)
    return row_hash


def test_the_same_row_has_the_same_hash_wherever_it_stands_and_whenever_it_was_written():
    first, second = hashes_of(a_csv(a_row(1, TimeStamp="2026-02-28"), a_row(1, TimeStamp="2026-03-01")))
    assert first == second != NO_HASH
    assert hash_of(a_csv(a_row(1, TimeStamp="x"), newline="\n", delimiter=";")) == first


@pytest.mark.parametrize("column", sorted({"UniqueID", "Name", "Mail", *CELLS} - {"TimeStamp"}))
def test_any_other_cell_that_is_read_makes_another_hash(column):
    row = a_row(1, **CELLS)
    assert hash_of(a_csv(row | {column: "1"})) != hash_of(a_csv(row))


def test_a_column_that_is_not_read_makes_no_difference():
    assert hash_of(a_csv(a_row(1, Office="A"))) == hash_of(a_csv(a_row(1, Office="B")))


@pytest.mark.parametrize("settings", [{"region": "SE"}, {"group_separator": ";"}])
def test_what_decides_how_rows_read_makes_another_hash(settings):
    data = a_csv(a_row(1, **CELLS))
    assert hash_of(data, **settings) != hash_of(data)


def test_another_order_of_columns_is_another_file():
    columns = [column for column in COLUMNS if column in {"UniqueID", "Name", "Mail"}]
    assert hash_of(a_csv(a_row(1), columns=columns)) != hash_of(a_csv(a_row(1), columns=columns[::-1]))


def test_no_two_rows_look_alike_when_their_cells_are_joined():
    one, other = hashes_of(a_csv(a_row(1, Title="a", Groups="b,c"), a_row(1, Title="a,b", Groups="c")))
    assert one != other


@pytest.mark.parametrize("cells", [{"Title": "a\x1fb"}, {"Office": "\x00"}, {"Title": "x" * 20_000}])
def test_a_row_that_cannot_be_known_again_has_no_hash(cells):
    assert hash_of(a_csv(a_row(1, **cells))) == NO_HASH


def test_a_row_with_a_broken_byte_in_a_column_that_is_not_read_has_no_hash():
    data = a_csv(a_row(1, Name="Åsa Öberg", Office="X"), a_row(2, Name="Örjan Ek", Office="Y")).replace(b"X", b"\xff")
    assert [row_hash == NO_HASH for row_hash in hashes_of(data)] == [True, False]


def test_a_row_with_another_number_of_fields_has_no_hash():
    assert hashes_of(a_csv(a_row(1), "EMP-0000002,Bo Ek,b@example.org,x"))[1] == NO_HASH


def test_settled_rows_are_not_read_but_counted_and_their_timestamp_noted():
    data = a_csv(
        a_row(1, Mail="nonsense"), a_row(2, TimeStamp="2026-02-28"), columns=["UniqueID", "Name", "Mail", "TimeStamp"]
    )
    csv_file = read_csv_file(lambda: io.BytesIO(data))
    settings = RowSettings()
    reader = RowReader(csv_file, settings)
    settled = SettledHashes(hashes_of(data)[1:])
    (block,) = ReadFile(csv_file, settings, NOW).blocks(reader, settled)
    assert [row.line for row in block.rows] == [2]
    assert [line for line, _ in block.settled] == [3]
    assert reader.newest_timestamp.value == read(data).newest


def test_settled_hashes_are_found_among_many():
    hashes = hashes_of(a_csv(*(a_row(number) for number in range(300))))
    settled = SettledHashes([b"".join(hashes[:100]), b"", b"".join(hashes[100:200])])
    assert [row_hash in settled for row_hash in hashes] == [True] * 200 + [False] * 100
    assert NO_HASH not in settled
    assert hashes[0] not in SettledHashes()


PLAIN = a_csv(*(a_row(number, **CELLS) for number in range(1, 41)))
ODD = "\r\n".join(
    [
        "UniqueID;Name;Mail;Title;TimeStamp",
        "EMP-0000001;Åsa Öberg;asa@example.org;Rektor;2026-02-28",
        'EMP-0000002;"Bo\r\nBerg";bo@example.org;"Says ""hi""";2026-02-27',
        "",
        ";;;;",
        *(f"EMP-{number:07d};Name {number};n{number}@example.org;\u2028Åland;" for number in range(3, 40)),
        "EMP-0000040;Last;last@example.org;\x0b;",
    ]
)
FILES = {
    "plain": PLAIN,
    "utf-8": ODD.encode(),
    "with a mark": ODD.encode("utf-8-sig"),
    "utf-16": ODD.encode("utf-16"),
    "sep=": b"sep=;\r\n" + ODD.encode(),
    "line feeds": ODD.replace("\r\n", "\n").encode(),
    "carriage returns": ODD.replace("\r\n", "\r").encode(),
    "cp1252": ODD.replace("\u2028", "").encode("cp1252"),
    "a stray quote": PLAIN + b'EMP-0000099,"Stray,x@example.org\r\nEMP-0000098,A,a@example.org\r\n"\r\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("settled_share", [0.0, 0.5, 0.95, 1.0])
def test_a_file_read_once_is_staged_like_one_read_twice(name, settled_share):
    """What the first reading has hashed is neither hashed again nor, where few rows are needed, read again."""
    settings = RowSettings()
    twice, once = (read_csv_file(lambda: io.BytesIO(FILES[name]), settings=given) for given in (None, settings))
    assert twice.index is None
    assert (once.index is None) == (name == "a stray quote")
    reader = RowReader(twice, settings)
    hashes = [reader.hash_of(record) for record in twice.records()]
    settled = SettledHashes([b"".join(hashes[: round(len(hashes) * settled_share)])])
    staged = [_staged(file, settings, settled) for file in (twice, once)]
    assert staged[0] == staged[1]


def _staged(csv_file, settings, settled):
    """Everything of a file but in which block it travels."""
    reader = RowReader(csv_file, settings)
    blocks = list(ReadFile(csv_file, settings, NOW).blocks(reader, settled))
    rows, known, issues = (
        [each for block in blocks for each in getattr(block, name)] for name in ("rows", "settled", "issues")
    )
    return rows, known, [issue.SerializeToString() for issue in issues], reader.newest_timestamp.value
