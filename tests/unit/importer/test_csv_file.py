"""R3, R4, R7, R10, R11, R14: bytes become records with their lines, or the file is refused."""

from __future__ import annotations

import gzip
import io
import tracemalloc

import pytest

from services.importer import csv_file as csv_file_module
from services.importer.csv_file import read_csv_file
from services.importer.errors import NoHeaderError, TooLargeError
from services.importer.row_layout import REJECTED
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import read

BASIC = ("UniqueID", "Name", "Mail")


@pytest.mark.parametrize("bom", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_r10_utf_8_and_utf_16_are_read_with_and_without_a_mark(encoding, bom):
    reading = read(a_csv(a_row(Name="Åsa Öberg"), encoding=encoding, bom=bom))
    assert reading.row.display_name == "Åsa Öberg"
    assert reading.csv_file.decoding.encoding == encoding
    assert reading.codes == (["encoding_guessed"] if encoding != "utf-8" and not bom else [])


def test_r10_a_swedish_file_in_cp1252_is_guessed():
    reading = read(a_csv(a_row(Name="Åsa Öberg"), encoding="cp1252"))
    assert reading.row.display_name == "Åsa Öberg"
    assert reading.csv_file.decoding.encoding == "cp1252"
    assert [(issue.code, issue.line, issue.key) for issue in reading.issues] == [("encoding_guessed", 1, "")]


def test_r10_one_broken_byte_among_many_characters_of_utf_8_costs_its_row():
    data = a_csv(a_row(1, Name="Åsa Öberg"), a_row(2, Name="Bo X Ek"), a_row(3, Name="Örjan Åkesson"))
    reading = read(data.replace(b"Bo X", b"Bo \xff"))
    assert reading.csv_file.decoding.encoding == "utf-8"
    assert reading.rejections == [(3, "encoding_invalid", "")]
    assert reading.rows[1].external_id == "EMP-0000002"
    assert "encoding_guessed" in reading.codes


def test_r10_a_byte_that_cp1252_does_not_know_costs_its_row():
    data = a_csv(a_row(1, Name="Åsa Öberg"), a_row(2, Name="Bo X Ek"), encoding="cp1252").replace(b"X", b"\x81")
    assert read(data).rejections == [(3, "encoding_invalid", "")]


@pytest.mark.parametrize(
    "data",
    [
        a_csv(a_row(), encoding="cp1252").replace(b"Bo", b"\xc5"),
        a_csv(a_row(), encoding="utf-16-le"),
        a_csv(a_row(Name="ÅÄÖ")).replace(b"person", b"\xff"),
    ],
)
def test_r10_a_strict_source_refuses_what_would_be_guessed(data):
    assert read(data, strict_encoding=True).refusal == "encoding_invalid"
    assert read(data).refusal == ""


@pytest.mark.parametrize(
    "data", [a_csv(a_row(), encoding="utf-16-le", bom=True) + b"a", b"\xff\xfe" + b"\x00\xd8a\x00"]
)
def test_r10_broken_utf_16_is_refused(data):
    assert read(data).refusal == "encoding_invalid"


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be"])
def test_r10_utf_32_is_refused_and_not_read_as_utf_16(encoding):
    assert read("\ufeff".encode(encoding) + a_csv(a_row()).decode().encode(encoding)).refusal == "encoding_invalid"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
def test_r11_each_delimiter_and_line_end_is_found(delimiter, newline):
    row = a_row(Name="Berg, Anna; the 1st", Groups="A|B", Title="a\tb")
    reading = read(a_csv(row, a_row(2), delimiter=delimiter, newline=newline))
    assert [row.display_name for row in reading.rows] == ["Berg, Anna; the 1st", "Cia Ek"]
    assert [row.line for row in reading.rows] == [2, 3]


@pytest.mark.parametrize("sep", ["sep=;", "SEP=;", '"sep=;"'])
def test_r11_a_sep_line_is_honoured_and_counts_as_a_line(sep):
    data = sep.encode() + b"\r\n" + a_csv(a_row(TelephoneNumber="12"), delimiter=";")
    reading = read(data)
    assert reading.row.line == 3
    assert read(data.replace(b";", b"^")).row.line == 3
    assert reading.csv_file.header_line == 2


def test_r11_lines_are_physical_inside_quotes_too():
    data = (
        b'UniqueID,Name,Mail\r\nEMP-0000001,"Anna\r\nMaria\nBerg",a@example.org\r\n\r\nEMP-0000002,Bo,b@example.org\n'
    )
    reading = read(data)
    assert [(row.line, row.display_name) for row in reading.rows] == [(2, "Anna Maria Berg"), (6, "Bo")]


def test_r11_doubled_and_lone_quotes_are_kept():
    data = b'UniqueID,Name,Mail\nEMP-0000001,"Anna ""Nan"" Berg",a@example.org\nEMP-0000002,Bo 6" Ek,b@example.org\n'
    assert [row.display_name for row in read(data).rows] == ['Anna "Nan" Berg', 'Bo 6" Ek']


@pytest.mark.parametrize("column", ["Title", "Shoe size"])
def test_r11_a_field_over_64_kib_rejects_its_row(column):
    reading = read(a_csv(a_row(1, **{column: "å" * 32768}), a_row(2, **{column: "å" * 32769}), a_row(3)))
    assert [issue[:2] for issue in reading.rejections] == [(3, f"field_too_long:{column}")]
    assert reading.rows[1].external_id == "EMP-0000002"


def test_r3_a_quote_that_never_closes_is_truncated():
    reading = read(
        a_csv(a_row(1), a_row(2)) + b'EMP-0000003,"Dag Falk,c@example.org\r\nEMP-0000004,Eva,d@example.org\r\n'
    )
    assert (reading.refusal, reading.counted) == ("truncated", 2)


def test_r3_a_quote_that_never_closes_in_the_header_is_truncated():
    assert read(b'UniqueID,Mail,"Name\r\nEMP-0000001,a@example.org,Anna\r\n').refusal == "truncated"


@pytest.mark.parametrize("tail", [b'"', b'EMP-0000002,"', b'EMP-0000002,Bo,"a'])
def test_r3_a_quote_opened_at_the_very_end_is_truncated(tail):
    assert read(a_csv(a_row(1)) + tail).refusal == "truncated"


def test_r3_a_short_last_record_without_newline_is_truncated():
    reading = read(a_csv(a_row(1), a_row(2)) + b"EMP-0000003,Dag")
    assert (reading.refusal, reading.counted) == ("truncated", 2)


@pytest.mark.parametrize("tail", [b"EMP-0000003,Dag Falk,c@example.org", b'EMP-0000003,Dag Falk,"c@example.org"'])
def test_r3_a_complete_last_row_without_newline_is_fine(tail):
    reading = read(a_csv(a_row(1)) + tail)
    assert (reading.refusal, reading.counted, reading.rejected) == ("", 2, 0)


def test_r3_a_short_last_record_with_newline_is_only_rejected():
    reading = read(a_csv(a_row(1)) + b"EMP-0000003,Dag\n")
    assert (reading.refusal, reading.rejections) == ("", [(3, "column_count", "")])


def test_r3_white_space_behind_the_last_row_is_no_torn_record():
    assert read(a_csv(a_row(1)) + b"  ").refusal == ""


@pytest.mark.parametrize("tail", [b"\x1a", b"EMP-0000003,Dag Falk,c@example.org\x1a", b"\r\n\x1a\x1a"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_r3_the_end_of_file_mark_of_dos_is_no_part_of_the_file(tail, encoding):
    reading = read((a_csv(a_row(1)) + tail).decode().encode(encoding))
    assert (reading.refusal, reading.codes, len(reading.rows)) == ("", [], 2 if b"Dag" in tail else 1)


def test_r3_the_end_of_file_mark_of_dos_elsewhere_is_a_control_character():
    assert read(a_csv(a_row(1, Name="Anna\x1aBerg"))).rejections == [(2, "control_character", "Name")]


def ended(*rows, eof, delimiter=","):
    """A file with this last row, on a source that wants one."""
    return read(a_csv(*rows, eof, delimiter=delimiter), ends_with_eof=True)


@pytest.mark.parametrize("eof", ["#EOF,2", '"#EOF","2"', "#EOF,2,", " #EOF , 2 ", "#EOF,2\r\n\r\n,,"])
def test_r2_the_last_row_says_how_many_rows_there_are_and_is_none(eof):
    reading = ended(a_row(1), "", a_row(2), eof=eof)
    assert (reading.refusal, reading.counted, reading.rejected) == ("", 2, 0)


@pytest.mark.parametrize("eof", ["#EOF;2", "#EOF,2"])
def test_r2_the_marker_may_have_the_file_s_delimiter_or_a_comma(eof):
    assert ended(a_row(1), a_row(2), eof=eof, delimiter=";").counted == 2


def test_r2_the_marker_s_line_end_may_be_absent_and_rows_may_have_surplus_fields():
    data = b"UniqueID,Name,Mail\nEMP-0000001,Anna,a@example.org,\n#EOF,1"
    assert read(data, ends_with_eof=True).refusal == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["#EOF,1"], "The last row says 1 rows and 2 stand before it"),
        (["#EOF,3"], "The last row says 3 rows and 2 stand before it"),
        ([], "The last row is not #EOF"),
        (["#EOF"], "The last row is not #EOF"),
        (["#EOF,two"], "The last row is not #EOF"),
        (["#EOF," + "9" * 5000], "The last row is not #EOF"),
        (["#EOF,2", a_row(3)], "The last row is not #EOF"),
    ],
)
def test_r2_a_wrong_or_absent_marker_is_truncated_and_says_which(rows, said):
    reading = read(a_csv(a_row(1), a_row(2), *rows), ends_with_eof=True)
    assert reading.refusal == "truncated"
    assert reading.csv_file.refusal.message.startswith(said)


def test_r2_r4_no_rows_before_the_marker_are_an_empty_file():
    assert ended(eof="#EOF,0").refusal == "empty_file"


def test_r2_a_source_without_the_marker_takes_it_for_a_row():
    assert read(a_csv(a_row(1), "#EOF,1")).rejections == [(3, "id_length", "UniqueID")]


def test_r3_the_line_on_which_a_quote_opens_that_never_closes_is_said():
    reading = read(a_csv(a_row(1), 'EMP-0000002,"Bo,b@example.org', a_row(3)))
    assert reading.refusal == "truncated"
    assert "the row on line 3" in reading.csv_file.refusal.message


STRAY = ['EMP-0000002,"Bo,b@example.org', a_row(3), "", 'EMP-0000004,"Dag, the 1st",d@example.org', a_row(5)]


def test_r11_r14_lines_that_a_stray_quote_joins_are_rejected_one_by_one_and_hold_their_users():
    reading = read(a_csv(a_row(1), *STRAY))
    assert (reading.refusal, reading.counted) == ("", 5)
    assert reading.rejections == [(3, "column_count", ""), (4, "column_count", ""), (6, "column_count", "")]
    assert [row.external_id for row in reading.rows] == [f"EMP-000000{number}" for number in range(1, 6)]
    assert reading.rows[2].email == "person3@example.org"
    assert {issue.message.partition(",")[0] for issue in reading.issues} == {
        "A quote on line 3 joins the lines to line 6"
    }


def test_r11_joined_lines_are_kept_as_they_read_by_themselves_to_be_mended():
    joined = [fields for _, fields, _ in read(a_csv(a_row(1), *STRAY)).csv_file.records()][1:4]
    assert [fields.as_read for fields in joined] == [
        ["EMP-0000002", "Bo,b@example.org\r\n"],
        ["EMP-0000003", "Dag Falk", "person3@example.org"],
        ["EMP-0000004", "Dag, the 1st", "d@example.org"],
    ]


def test_r11_joined_lines_that_have_as_many_fields_as_a_row_are_no_row():
    reading = read(a_csv('EMP-0000001,"Anna,a@example.org\r\nEMP-0000002,Bo" Ek,b@example.org', a_row(3)))
    assert reading.rejections == [(2, "column_count", ""), (3, "column_count", "")]
    assert [row.external_id for row in reading.rows] == ["EMP-0000001", "EMP-0000002", "EMP-0000003"]


def test_r11_no_line_of_a_joined_record_becomes_a_row_whatever_it_says():
    inner = "x\r\nEMP-0000009,Eve,eve@example.org\r\n"
    reading = read(a_csv(a_row(1), f'EMP-0000002,"{inner}",b@example.org,surplus', a_row(3)))
    assert [(row.line, row.disposition) for row in reading.rows if row.external_id == "EMP-0000009"] == [(4, REJECTED)]


def test_r14_surplus_fields_may_stand_behind_a_value_of_several_lines():
    reading = read(a_csv('EMP-0000001,"Anna\r\nBerg",a@example.org,', "EMP-0000002,Bo,b@example.org,"))
    assert (reading.counted, reading.rejected) == (2, 0)


def test_r2_joined_lines_count_as_the_rows_they_were():
    assert ended(a_row(1), *STRAY, eof="#EOF,5").refusal == ""


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbf", b"\xff\xfe", b"UniqueID,Name,Mail", a_csv(), a_csv() + b"\n,,\n  \n", b"\n"]
)
def test_r4_zero_bytes_or_a_header_alone_is_an_empty_file(data):
    assert read(data).refusal == "empty_file"


def test_r7_more_rows_than_allowed_are_refused(monkeypatch):
    monkeypatch.setattr(csv_file_module, "MAX_ROWS", 3)
    assert read(a_csv(*map(a_row, range(3)))).refusal == ""
    reading = read(a_csv(*map(a_row, range(4))))
    assert (reading.refusal, reading.counted) == ("too_large", 3)
    assert "more than 2,000,000 rows" in reading.csv_file.refusal.message


def test_r7_more_than_64_columns_are_refused():
    extra = [f"Extra {number}" for number in range(61)]
    assert read(a_csv(a_row(), columns=[*BASIC, *extra])).refusal == ""
    with pytest.raises(TooLargeError) as refused:
        csv_file_module.read_csv_file(lambda: io.BytesIO(a_csv(a_row(), columns=[*BASIC, *extra, "One more"])))
    assert "more than 64 columns" in refused.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "workbook"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "workbook"),
        (b"PK\x03\x04\x14users.csvUniqueID,Name,Mail\nEMP-0000001,Anna,a@example.org\n", "workbook"),
        (gzip.compress(b"UniqueID,Name,Mail\n"), "archive"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html>\r\n<html>", "web page"),
        (b'"UniqueID,Name,Mail"\r\n"EMP-0000001,Anna,a@example.org"\r\n', "Quotes"),
        (b"sep=;\r\nUniqueID,Name,Mail\r\nEMP-0000001,Anna,a@example.org\r\n", "sep=;,"),
        (b"sep=\t\r\nUniqueID,Name,Mail\r\nEMP-0000001,Anna,a@example.org\r\n", "sep=TAB,"),
        (b"Anna;a@example.org\r\n", "header"),
    ],
    ids=[
        "xlsx",
        "xls",
        "a file as it is in a zip",
        "gz",
        "a login page",
        "quoted lines",
        "another delimiter than sep=",
        "another delimiter than sep=TAB",
        "no header",
    ],
)
def test_r13_what_is_there_instead_of_a_header_is_said(data, said):
    with pytest.raises(NoHeaderError) as caught:
        read_csv_file(lambda: io.BytesIO(data))
    assert said in caught.value.message


def test_r13_a_workbook_is_called_one_by_a_strict_source_too():
    with pytest.raises(NoHeaderError) as caught:
        read_csv_file(lambda: io.BytesIO(b"PK\x03\x04" + bytes(range(256))), strict_encoding=True)
    assert "workbook" in caught.value.message


def test_r14_blank_rows_and_rows_of_delimiters_are_no_rows():
    reading = read(a_csv(a_row(1), "", ",,", "  ", a_row(2), ",,"))
    assert [row.line for row in reading.rows] == [2, 6]
    assert (reading.counted, reading.issues) == (2, [])


def test_r14_blank_lines_may_stand_above_the_header():
    assert read(b"\r\n,,\r\n" + a_csv(a_row())).row.line == 4


def test_r14_another_number_of_fields_is_rejected_and_still_holds_its_user():
    reading = read(a_csv(a_row(1), "EMP-0000002,Bo Ek,b@example.org,x", "EMP-0000003,Cia", a_row(4)))
    assert reading.rejections == [(3, "column_count", ""), (4, "column_count", "")]
    assert [row.external_id for row in reading.rows] == [f"EMP-000000{number}" for number in range(1, 5)]
    assert reading.rows[1].email == "b@example.org"


def test_r14_surplus_fields_are_accepted_when_all_rows_have_them_empty():
    reading = read(a_csv("EMP-0000001,Anna,a@example.org,,", "EMP-0000002,Bo,b@example.org,,"))
    assert (reading.counted, reading.rejected) == (2, 0)


@pytest.mark.parametrize(
    "lines",
    [
        ("EMP-0000001,Anna,a@example.org,,", "EMP-0000002,Bo,b@example.org,"),
        ("EMP-0000001,Anna,a@example.org,", "EMP-0000002,Bo,b@example.org,x"),
        ("EMP-0000001,Anna,a@example.org,", "EMP-0000002,Bo,b@example.org"),
    ],
)
def test_r14_any_other_surplus_is_rejected(lines):
    assert {code for _, code, _ in read(a_csv(*lines)).rejections} == {"column_count"}


def test_a_lost_quote_at_the_top_of_a_large_file_takes_little_memory(tmp_path):
    path = tmp_path / "large.csv"
    line = b"EMP-0000001,Anna Berg,anna@example.org\r\n"
    with path.open("wb") as file:
        file.write(b'UniqueID,Name,Mail\r\nEMP-0000000,"Anna,a@example.org\r\n')
        for _ in range(40):
            file.write(line * 25_000)
    tracemalloc.start()
    csv_file = csv_file_module.read_csv_file(lambda: path.open("rb"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert csv_file.refusal is not None
    assert csv_file.refusal.code == "truncated"
    assert csv_file.rows == 0
    assert peak < 64 * 1024 * 1024
