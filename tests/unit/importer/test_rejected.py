"""What of rows that cannot be used is brought to the directory: the rows as they stand in the file, and every issue."""

from __future__ import annotations

import io

import pytest
from muster.directory.v1 import imports_pb2

from services.importer import rejected, staging
from services.importer.csv_file import read_csv_file
from services.importer.csv_form import find_form
from tests.builders import a_csv, a_row
from tests.unit.importer.test_run import door  # noqa: F401 - a fixture

HEADER = b"UniqueID,Name,Mail\r\n"


def csv_file(data):
    return read_csv_file(lambda: io.BytesIO(data))


def facts_of(data):
    facts = imports_pb2.ImportFileFacts()
    rejected.describe(facts, csv_file(data))
    return facts


def kept(data, *lines):
    """The cells that are brought of these lines."""
    return {row.line: list(row.cells) for row in rejected._rows_on(csv_file(data), lines)}


@pytest.fixture
def planned(door):  # noqa: F811 - the fixture
    """A door to a directory whose plan rejects the file's second and fourth row."""
    door.directory.rejected_lines = [3, 3, 5]
    door.directory.planned.plan.rejected = 2
    return door


def test_rows_that_the_plan_rejects_are_brought_as_they_stand(planned):
    planned.import_file(a_csv(*(a_row(number, Name=f" Name {number} ") for number in range(6))))
    assert {line: cells[1] for line, cells in planned.directory.rejected_rows.items()} == {
        3: b" Name 1 ",
        5: b" Name 3 ",
    }
    assert planned.directory.rejected_rows_are_whole


def test_rejected_rows_are_there_before_the_run_is_applied(planned):
    real, order = planned.directory._called, []
    planned.directory._called = lambda method: (order.append(method), real(method))
    planned.import_file(a_csv(*map(a_row, range(6))))
    assert order.index("PlanImport") < order.index("KeepRejectedRows") < order.index("ApplyImport")


def test_of_a_run_that_is_held_rejected_rows_are_brought_as_well(planned):
    planned.directory.planned.status = imports_pb2.IMPORT_RUN_STATUS_HELD
    planned.import_file(a_csv(*map(a_row, range(6))))
    assert sorted(planned.directory.rejected_rows) == [3, 5]


def test_no_number_of_issues_of_a_refused_file_is_too_many(door, monkeypatch):  # noqa: F811 - the fixture
    monkeypatch.setattr(staging, "MAX_BLOCK_ROWS", 500)
    rows = 2_600
    run = door.import_file(a_csv(*(a_row(number, Mail="") for number in range(rows))) + b"EMP-0000004")
    assert (run.reason, door.directory.refusal.counts.rejected) == ("truncated", rows)
    assert list(door.directory.added_issues) == list(range(1, rows + 1))
    assert list(door.directory.rejected_rows) == list(range(2, rows + 2))
    assert len(door.directory.refusal.issues) == 0


def test_r12_values_of_unknown_columns_never_leave_the_importer():
    data = b"UniqueID,Salary,Name,Mail\nEMP-0000001,1000,Anna,\nEMP-0000002,2000,Bo,,surplus\nEMP-0000003,3000\n"
    assert kept(data, 2, 3, 4) == {2: [b"EMP-0000001", b"Anna", b""], 3: [], 4: []}


def test_a_row_of_another_width_is_brought_whole_when_every_column_is_known():
    data = HEADER + b"EMP-0000001,Berg, Anna,anna@example.org\r\n"
    assert kept(data, 2) == {2: [b"EMP-0000001", b"Berg", b" Anna", b"anna@example.org"]}


def test_a_row_of_more_than_256_kib_is_not_brought():
    data = HEADER + b"EMP-0000001,Anna," + b"a" * rejected.MAX_ROW_BYTES + b"\r\nEMP-2,Bo,\r\n"
    assert kept(data, 2, 3) == {2: [], 3: [b"EMP-2", b"Bo", b""]}


def test_bytes_that_are_no_text_stay_as_they_are():
    rows = b"".join(b"EMP-%07d,\xc3\x85sa,a%d@example.org\r\n" % (n, n) for n in range(5))
    assert kept(HEADER + rows + b"EMP-0000009,\xff,x\r\n", 7) == {7: [b"EMP-0000009", b"\xff", b"x"]}


@pytest.mark.parametrize(
    ("data", "line_end", "all_quoted"),
    [
        (HEADER + b"1,2,3\r\n", "\r\n", False),
        (b"UniqueID,Name,Mail\n1,2,3\n", "\n", False),
        (b"UniqueID,Name,Mail\r1,2,3\r", "\r", False),
        (b'UniqueID,Name,Mail\n"1","a ""b""","c\nd"\n', "\n", True),
        (b'\xef\xbb\xbfsep=;\r\n"UniqueID";"Name";"Mail"\r\n\r\n"1";"2";"3"', "\r\n", True),
        (b'"UniqueID","Name","Mail"\n1,"2,3",4\n', "\n", False),
    ],
)
def test_the_form_of_the_file_is_found(data, line_end, all_quoted):
    form = find_form(csv_file(data))
    assert (form.line_end, form.all_quoted) == (line_end, all_quoted)


def test_the_directory_hears_how_the_file_is_written():
    facts = facts_of(b"\xef\xbb\xbfsep=;\nE-post;L\xc3\xb6n;UniqueID;Namn\na@b.se;1;EMP-0000001;Anna\n")
    assert (list(facts.header), list(facts.column_places)) == (["E-post", "Lön", "UniqueID", "Namn"], [0, 2, 3])
    assert (facts.byte_order_mark, facts.separator_line, facts.line_end) == (True, True, "\n")


def test_the_column_of_remarks_is_read_past_without_a_word():
    assert csv_file(b"UniqueID,Name,Mail,Muster,Other\n1,2,3,4,5\n").header.unknown == ("Other",)
