"""Files as customers write them: encodings, delimiters, line ends and header spellings, through the whole way."""

from __future__ import annotations

import pytest

from tests.builders import a_csv, a_row
from tests.stack.customer import counts_of, outcome_of

pytestmark = pytest.mark.mostly("postgresql")

PEOPLE = [
    a_row(1, Name="Åsa Öberg", Title="Lärare", TelephoneNumber="+46 70-123 45 67"),
    a_row(2, Name="Märta Ångström", Title="Kökschef", TelephoneNumber="+46701234568"),
]


@pytest.fixture
def customer(customer_on_sqlite):
    return customer_on_sqlite


@pytest.mark.parametrize(
    ("encoding", "bom", "recorded", "guessed"),
    [
        ("utf-8", False, "utf-8", False),
        ("utf-8", True, "utf-8", False),
        ("utf-16-le", True, "utf-16-le", False),
        ("utf-16-be", True, "utf-16-be", False),
        ("utf-16-le", False, "utf-16-le", True),
        ("utf-16-be", False, "utf-16-be", True),
        ("cp1252", False, "cp1252", True),
    ],
)
def test_r10_every_encoding_gives_the_same_people(customer, encoding, bom, recorded, guessed):
    run = customer.import_file(customer.source(), a_csv(*PEOPLE, encoding=encoding, bom=bom))

    assert outcome_of(run) == "applied"
    assert run.file.encoding == recorded
    assert customer.warnings(run) == ([(1, "encoding_guessed")] if guessed else [])
    users = customer.users()
    assert users["person1@example.org"].display_name == "Åsa Öberg"
    assert users["person2@example.org"].title == "Kökschef"


def test_r10_a_strict_source_refuses_to_guess(customer):
    source = customer.source(strict_encoding=True)

    assert outcome_of(customer.import_file(source, a_csv(*PEOPLE, encoding="cp1252"))) == "refused encoding_invalid"
    assert outcome_of(customer.import_file(source, a_csv(*PEOPLE, encoding="utf-8"))) == "applied"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("sep_line", [False, True], ids=["plain", "sep="])
def test_r11_every_delimiter_is_found(customer, delimiter, sep_line):
    content = a_csv(*PEOPLE, a_row(3, Name="no mail", Mail=""), delimiter=delimiter, sep_line=sep_line)

    run = customer.import_file(customer.source(), content)

    assert run.file.delimiter == delimiter
    assert counts_of(run.counts) == {"rows": 3, "created": 2, "rejected": 1}
    assert customer.rejected(run) == [(5 if sep_line else 4, "mail_missing")]


@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"], ids=["CRLF", "LF", "CR"])
def test_r11_every_line_end_counts_as_a_line(customer, newline):
    rows = [*PEOPLE, a_row(3, Name=f"Two{newline}lines"), a_row(4, Mail="")]

    run = customer.import_file(customer.source(), a_csv(*rows, newline=newline))

    assert customer.rejected(run) == [(6, "mail_missing")]
    assert customer.users()["person3@example.org"].display_name == "Two lines"


def test_r3_a_whole_last_row_needs_no_line_end(customer):
    run = customer.import_file(customer.source(), a_csv(*PEOPLE, final_newline=False))

    assert counts_of(run.counts) == {"rows": 2, "created": 2}


def test_r12_a_swedish_header_is_understood_and_said(customer):
    header = {"UniqueID": "Anställningsnummer", "Name": "Namn", "Mail": "E-post", "Title": "Befattning"}

    run = customer.import_file(customer.source(), a_csv(*PEOPLE, header=header, delimiter=";"))

    assert outcome_of(run) == "applied"
    assert {code for _, code in customer.warnings(run)} == {"header_alias"}
    assert customer.users()["person1@example.org"].title == "Lärare"


def test_r12_an_unknown_column_is_named_once_and_its_values_never_kept(customer, smtp_sink):
    rows = [row | {"Salary": "secret-31000"} for row in PEOPLE]

    run = customer.import_file(customer.source(), a_csv(*rows))

    assert customer.warnings(run) == [(1, "unknown_column:Salary")]
    (mail,) = smtp_sink.wait_for(1, to=customer.report_to)
    assert "secret-31000" not in mail.message.as_string()
    assert "secret-31000" not in "".join(map(customer.system.log_of, ["directory", "importer", "notifier"]))


def test_first_and_last_names_make_a_name(customer):
    rows = [{"UniqueID": "EMP-0000001", "FirstName": "Åsa", "LastName": "Öberg", "Mail": "asa@example.org"}]

    customer.import_file(customer.source(), a_csv(*rows))

    assert customer.users()["asa@example.org"].display_name == "Åsa Öberg"


def test_r17_identical_rows_collapse_and_group_rows_merge(customer):
    for group_id in ("A", "B"):
        customer.group(group_id, group_id=group_id)
    rows = [a_row(1, Groups="A"), a_row(1, Groups="B"), a_row(2, Groups="A"), a_row(2, Groups="A")]

    run = customer.import_file(customer.source(), a_csv(*rows))

    assert counts_of(run.counts) == {"rows": 4, "created": 2, "merged": 2}
    assert customer.warnings(run) == [(3, "duplicate_merged"), (5, "duplicate_identical")]
    assert customer.members(customer.group_ids()["B"]) == {"person1@example.org"}


def test_r17_rows_that_contradict_each_other_are_all_rejected(customer):
    run = customer.import_file(customer.source(), a_csv(a_row(1, Title="one"), a_row(1, Title="two"), a_row(2)))

    assert customer.rejected(run) == [(2, "duplicate_id"), (3, "duplicate_id")]
    assert set(customer.users()) == {"person2@example.org"}


def test_phones_are_stored_in_international_form(customer):
    run = customer.import_file(customer.source(region="SE"), a_csv(*PEOPLE, a_row(3, TelephoneNumber="070-123 45 69")))

    assert customer.warnings(run) == [(4, "phone_national")]
    phones = {user.email: user.phone for user in customer.users().values()}
    assert phones["person1@example.org"] == "+46701234567"
    assert phones["person3@example.org"] == "+46701234569"


def test_no_personal_data_reaches_a_log(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put("users.csv", a_csv(*PEOPLE, a_row(3, Name="Hemlig Person", Mail="not a mail")))

    customer.run(source)

    logs = "".join(map(customer.system.log_of, ["directory", "importer", "notifier"]))
    for word in ("Hemlig", "not a mail", "person1@example.org", "+4670", "EMP-0000003", customer.report_to):
        assert word not in logs
