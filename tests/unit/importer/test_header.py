"""R12, R13: which columns a header names."""

from __future__ import annotations

import pytest

from services.importer.errors import RunEndedError
from services.importer.header import _ALIASES, COLUMNS, read_header
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import read


@pytest.mark.parametrize(
    "spelling", ["UNIQUEID", "unique_id", "Unique-ID", "Unique.Id", " unique id ", "\u200bUniqueID\ufeff"]
)
def test_r12_case_spaces_marks_and_invisible_characters_do_not_matter(spelling):
    header = read_header([spelling, "Name", "Mail"])
    assert header.positions["UniqueID"] == 0
    assert header.aliases == ()


@pytest.mark.parametrize(("column", "alias"), [(c, a) for c, names in _ALIASES.items() for a in names.split(", ")])
def test_r12_each_alias_is_known(column, alias):
    others = [name for name in ("UniqueID", "Name", "Mail") if name != column]
    header = read_header([*others, alias.upper()])
    assert header.positions[column] == len(others)


@pytest.mark.parametrize(
    "names",
    [
        "Anställningsnummer,Förnamn,Efternamn,E-post,Befattning",
        "Ansattnummer,Fornavn,Etternavn,E-post,Stilling",
        "Medarbejdernummer,Fornavn,Efternavn,E-mail,Titel",
        "Henkilönumero,Etunimi,Sukunimi,Sähköposti,Tehtävänimike",
    ],
)
def test_r12_a_header_may_be_in_any_nordic_language(names):
    assert list(read_header(names.split(",")).positions) == ["UniqueID", "FirstName", "LastName", "Mail", "Title"]


def test_r12_an_alias_is_warned_of_on_the_header_s_line():
    reading = read(a_csv(a_row(), header={"UniqueID": "Anställningsnummer", "Mail": "E-post"}, sep_line=True))
    assert [(i.code, i.line, i.key, i.column) for i in reading.issues] == [
        ("header_alias", 2, "", "UniqueID"),
        ("header_alias", 2, "", "Mail"),
    ]


def test_r12_unknown_columns_are_named_once_and_never_kept():
    row = a_row() | {"Shoe size": "secret 43"}
    reading = read(a_csv(row, columns=["UniqueID", "Shoe size", "Name", "Mail", "Shoe size"]))
    assert reading.codes == ["unknown_column:Shoe size"]
    assert "secret" not in str(reading.rows) + str(reading.issues)


def test_r12_a_header_s_empty_last_cell_is_no_unknown_column():
    assert read(b"UniqueID,Name,Mail,\r\nEMP-0000001,Anna,a@example.org,\r\n").codes == []


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (["UniqueID", "Mail", "E-mail", "Name"], "duplicate_header:Mail"),
        (["UniqueID", "Mail", "Name", "unique id"], "duplicate_header:UniqueID"),
        (["Mail", "Name"], "missing_column:UniqueID"),
        (["UniqueID", "Name"], "missing_column:Mail"),
        (["UniqueID", "Mail"], "missing_column:Name"),
        (["UniqueID", "Mail", "FirstName"], "missing_column:Name"),
        (["EMP-0000001", "Anna", "anna@example.org"], "no_header"),
        ([""], "no_header"),
    ],
)
def test_r12_r13_a_header_that_cannot_be_used_is_refused(header, reason):
    with pytest.raises(RunEndedError) as refused:
        read_header(header)
    assert refused.value.code == reason
    assert refused.value.message


def test_r13_first_and_last_name_stand_for_name():
    reading = read(a_csv({"UniqueID": "EMP-0000001", "FirstName": "Anna", "LastName": "Berg", "Mail": "a@example.org"}))
    assert reading.row.display_name == "Anna Berg"


def test_r13_all_columns_together():
    assert list(read_header(COLUMNS).positions) == list(COLUMNS)
