"""The file of rejected rows: in the customer's own form, what is wrong beside each, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.directory.rules.rejected_csv import FileForm, RowToMend, harmless, rejected_csv
from services.importer.cells import clean_cell
from tests.unit.importer.reading import read

FORM = FileForm(
    encoding="utf-8",
    byte_order_mark=False,
    delimiter=",",
    line_end="\r\n",
    all_quoted=False,
    separator_line=False,
    columns=("UniqueID", "Name", "Mail"),
    header=("Användar-ID", "Lön", "Name", "Mail"),
    places=(0, 2, 3),
)
ROW = RowToMend(7, ("EMP-0000001", "Åsa", "åsa"), "line 7: mail_invalid (Mail). Mend it.")


def written(*rows, **form):
    return b"".join(rejected_csv(replace(FORM, **form), rows))


def test_it_has_the_file_s_header_its_columns_places_and_a_last_column_of_remarks():
    assert written(ROW).decode().splitlines() == [
        "Användar-ID,Lön,Name,Mail,Muster",
        "EMP-0000001,,Åsa,åsa,line 7: mail_invalid (Mail). Mend it.",
    ]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"byte_order_mark": True}, b"\xef\xbb\xbfAnv\xc3\xa4ndar-ID,"),
        ({"encoding": "cp1252", "delimiter": ";"}, b"Anv\xe4ndar-ID;L\xf6n;Name;Mail;Muster\r\nEMP-0000001;;\xc5sa;"),
        ({"encoding": "utf-16-le"}, b"\xff\xfeA\0n\0v\0"),
        ({"encoding": "utf-16-be", "byte_order_mark": True}, b"\xfe\xff\0A\0n\0v"),
        ({"all_quoted": True, "line_end": "\n"}, 'm"\n'),
        ({"separator_line": True, "delimiter": "\t", "line_end": "\r"}, b"sep=\t\rAnv"),
    ],
)
def test_it_is_written_as_the_file_was(form, expected):
    if expected == 'm"\n':
        expected = '"Användar-ID","Lön","Name","Mail","Muster"\n"EMP-0000001","","Åsa","åsa","line 7'.encode()
    assert written(ROW, **form).startswith(expected)


def test_a_remark_that_the_encoding_lacks_loses_only_those_characters():
    assert written(replace(ROW, remark="nearest: 東京"), encoding="cp1252").endswith(b"nearest: ??\r\n")


def test_bytes_that_are_no_text_come_back_as_they_were():
    assert b",,\xff\x81," in written(replace(ROW, cells=("EMP-0000001", "\udcff\udc81", "x")))


def test_a_row_of_another_width_stays_so_that_it_cannot_pass_for_a_whole_one():
    surplus = RowToMend(7, ("EMP-0000001", "Berg", "Anna", "a@example.org"), "line 7: column_count.")
    short = RowToMend(8, ("EMP-0000002", "b@example.org"), "line 8: column_count.")
    data = written(surplus, short, header=("UniqueID", "Name", "Mail"), places=(0, 1, 2))
    assert [code for _, code, _ in read(data).rejections] == ["column_count", "column_count"]


def test_a_row_whose_cells_were_not_kept_is_there_with_its_line_and_reason():
    data = written(RowToMend(9, (), "line 9: column_count. Mend it."))
    assert data.decode().splitlines()[1] == ",,,,line 9: column_count. Mend it."
    assert [code for _, code, _ in read(data).rejections] == ["id_missing"]  # never taken for a blank row


def test_r25_a_header_that_looks_like_a_formula_is_harmless_and_still_found():
    data = written(header=("-Unique-ID", "=SUM(A1)", "Name", "Mail"))
    assert data.decode() == "UniqueID,'=SUM(A1),Name,Mail,Muster\r\n"


@pytest.mark.parametrize("value", ["=1+1", "+46701740605", "-x", "@y", "\t=1", " =1", "\u200b=1", "＝1", "'=1"])
def test_r25_no_cell_begins_like_a_formula(value):
    assert harmless(value)[0] == "'"


@pytest.mark.parametrize("value", ["0012345678", "123456789012345", "12E3456789"])
def test_an_id_that_a_spreadsheet_would_turn_into_another_number_is_protected(value):
    assert harmless(value, "UniqueID") == f"'{value}"
    assert harmless(value, "Title") == value


_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@given(st.sampled_from(["UniqueID", "Mail", "Title", "Groups", "TelephoneNumber"]), _TEXT)
def test_importing_the_file_gives_each_value_as_it_was(column, value):
    assert clean_cell(harmless(value, column)).text == clean_cell(value).text


@given(_TEXT)
def test_importing_the_file_gives_each_name_as_it_was(value):
    assert clean_cell(harmless(value), keeps_elision=True).text == clean_cell(value, keeps_elision=True).text


@given(
    st.lists(st.tuples(_TEXT, _TEXT, _TEXT), min_size=1, max_size=4),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
    st.booleans(),
)
@example(rows=[("", "", "\r")], delimiter=",", line_end="\n", encoding="utf-8", all_quoted=False)
def test_every_row_comes_back_whole_and_alone(rows, delimiter, line_end, encoding, all_quoted):
    data = written(
        *(RowToMend(number, cells, "wrong") for number, cells in enumerate(rows)),
        delimiter=delimiter,
        line_end=line_end,
        encoding=encoding,
        byte_order_mark=True,
        all_quoted=all_quoted,
    )
    text = data.decode({"utf-8": "utf-8-sig"}.get(encoding, "utf-16"))
    read_back = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    columns = ("UniqueID", "Name", "Mail")
    expected = [[harmless(cell, column) for cell, column in zip(cells, columns, strict=True)] for cells in rows]
    assert [[row[0], row[2], row[3]] for row in read_back[1:]] == expected
    assert all(row[1] == "" and row[4] == "wrong" for row in read_back[1:])
