"""R15, R16, R18, R20 to R25: what one row says, and why it is rejected."""

from __future__ import annotations

import pytest
from muster.directory.v1 import imports_pb2

from services.importer.row_layout import ACCEPTED, REJECTED, SKIPPED
from tests.builders import a_csv, a_row
from tests.unit.importer.reading import read

PHONE = "TelephoneNumber"
SECONDARY = "SecondaryTelephoneNumber"
WARNING = imports_pb2.ISSUE_SEVERITY_WARNING


def reading_of(settings=None, /, **cells):
    return read(a_csv(a_row(1, **cells)), **(settings or {}))


def assert_rejected(reading, code, column):
    assert reading.rejections == [(2, code, column)]
    assert reading.row.disposition == REJECTED
    assert len(reading.issues) == 1
    assert reading.issues[0].message


@pytest.mark.parametrize(
    ("external_id", "code"),
    [
        ("", "id_missing"),
        ("   ", "id_missing"),
        ("123456789", "id_length"),
        ("x" * 257, "id_length"),
        ("1,23E+11", "id_damaged"),
        ("1.23E+11", "id_damaged"),
        ("1E+05", "id_damaged"),
        ("1,23456789E+11", "id_damaged"),
        ("EMP-\x000000001", "control_character"),
    ],
)
def test_r15_r16_r20_a_bad_unique_id_rejects_and_holds_by_mail(external_id, code):
    reading = reading_of(UniqueID=external_id)
    assert_rejected(reading, code, "UniqueID")
    assert (reading.row.external_id, reading.row.email) == ("", "person1@example.org")


@pytest.mark.parametrize(
    "external_id", ["1234567890", "x" * 256, "ÅÄÖ-4567890", "a b c d e f", "1E05000000", "1E-12345678"]
)
def test_r15_a_unique_id_of_10_to_256_characters_is_kept_exactly(external_id):
    reading = reading_of(UniqueID=f"  {external_id} ")
    assert (reading.row.external_id, reading.issues) == (external_id, [])


def test_r15_the_key_of_an_issue_is_the_unique_id_else_the_mail():
    assert reading_of(UniqueID=" short ").issues[0].key == "short"
    assert reading_of(UniqueID="").issues[0].key == "person1@example.org"
    assert reading_of(UniqueID="", Mail="").issues[0].key == ""


def test_r16_a_leading_apostrophe_is_dropped():
    reading = reading_of(UniqueID="'1234567890", **{PHONE: "'+46701234567"})
    assert (reading.row.external_id, reading.row.phone) == ("1234567890", "+46701234567")
    assert [(i.code, i.column, i.severity) for i in reading.issues] == [
        ("apostrophe_removed", "UniqueID", WARNING),
        ("apostrophe_removed", PHONE, WARNING),
    ]


@pytest.mark.parametrize("name", ["'t Hart", "'s-Gravesande"])
def test_r16_an_elided_name_keeps_its_apostrophe(name):
    reading = reading_of(Name=name)
    assert (reading.row.display_name, reading.issues) == (name, [])


def test_r16_invisible_characters_around_values_are_trimmed():
    reading = reading_of(UniqueID="\xa01234567890\u200b", Mail="\ufeffa@example.org\xa0", Name="Anna\u2060")
    assert (reading.row.external_id, reading.row.email, reading.row.display_name) == (
        "1234567890",
        "a@example.org",
        "Anna",
    )
    assert [(i.code, i.column) for i in reading.issues] == [
        ("invisible_removed", column) for column in ("UniqueID", "Mail", "Name")
    ]


@pytest.mark.parametrize(
    ("mail", "canonical"),
    [
        (" Anna.BERG@Example.ORG ", "anna.berg@example.org"),
        ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ("anna@XN--BCHER-KVA.example", "anna@xn--bcher-kva.example"),
        ("anna+tag_1@intra.local", "anna+tag_1@intra.local"),
        ("anna@school.test", "anna@school.test"),
        ("o'neil@example.org", "o'neil@example.org"),
        ("åsa@example.org", "åsa@example.org"),
        ("田中さん@example.org", "田中さん@example.org"),
    ],
)
def test_r18_a_mail_is_trimmed_lower_cased_and_its_domain_ascii(mail, canonical):
    reading = reading_of(Mail=mail)
    assert (reading.row.email, reading.row.disposition, reading.issues) == (canonical, ACCEPTED, [])


@pytest.mark.parametrize(
    "mail",
    [
        "anna",
        "anna@",
        "@example.org",
        "anna@example",
        "anna@@example.org",
        "anna berg@example.org",
        "Anna <anna@example.org>",
        "anna@example.org, bo@example.org",
        "anna@example.org;bo@example.org",
        "anna(home)@example.org",
        '"anna berg"@example.org',
        "anna@[192.0.2.1]",
        "anna.@example.org",
        "a" * 65 + "@example.org",
        "anna@" + "a" * 64 + ".org",
        "anna@example.org.",
        "mailto:anna@example.org",
        "anna@exa_mple.org",
        "anna@example.o9",
    ],
)
def test_r18_what_is_not_one_bare_address_is_rejected(mail):
    reading = reading_of(Mail=mail)
    assert_rejected(reading, "mail_invalid", "Mail")
    assert (reading.row.external_id, reading.row.email) == ("EMP-0000001", "")


def test_r18_a_missing_mail_is_rejected():
    assert_rejected(reading_of(Mail=" "), "mail_missing", "Mail")


@pytest.mark.parametrize(
    "mail", ["аnna@example.org", "anna@exаmple.org", "anna@xn--exmple-4nf.org", "αnna@example.org"]
)
def test_r18_mixed_scripts_are_rejected(mail):
    assert_rejected(reading_of(Mail=mail), "mail_mixed_script", "Mail")


def test_r18_a_masked_value_names_nobody():
    assert reading_of(Mail="anna@berg@example.org").issues[0].masked_value == "a***"
    assert reading_of(Mail="Ånna.berg@exаmple.org").issues[0].masked_value == "Å***@e***.org"


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("  Anna \t  Berg ", "Anna Berg"),
        ("A\u030asa O\u0308berg", "Åsa Öberg"),
        ("山田\u3000太郎", "山田 太郎"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("x" * 256, "x" * 256),
    ],
)
def test_r20_a_name_is_collapsed_and_composed_in_any_script(name, canonical):
    reading = reading_of(Name=name)
    assert (reading.row.display_name, reading.issues) == (canonical, [])


def test_r20_a_line_break_collapses_in_a_name_and_rejects_in_a_unique_id():
    quoted = '"EMP-\n0000002"," Anna\r\n Berg ",a@example.org'
    reading = read(a_csv(quoted.replace("\n0", "0", 1), quoted))
    assert reading.rows[0].display_name == "Anna Berg"
    assert reading.rejections == [(4, "control_character", "UniqueID")]


@pytest.mark.parametrize(
    ("cells", "code", "column"),
    [
        ({"Name": ""}, "name_missing", "Name"),
        ({"Name": "x" * 257}, "field_too_long:Name", "Name"),
        ({"Name": "Anna\x07Berg"}, "control_character", "Name"),
        ({"Mail": "an\x00na@example.org"}, "control_character", "Mail"),
    ],
)
def test_r20_a_bad_name_or_control_character_rejects(cells, code, column):
    assert_rejected(reading_of(**cells), code, column)


def test_r20_bidi_overrides_are_removed_with_a_warning():
    reading = reading_of(Name="Anna \u202egreB\u202c", **{PHONE: "\u202a+46701234567\u202c"})
    assert (reading.row.display_name, reading.row.phone) == ("Anna greB", "+46701234567")
    assert reading.codes == ["bidi_control_removed"] * 2


@pytest.mark.parametrize(("title", "code"), [("x" * 257, "field_too_long:Title"), ("a\x01b", "control_character")])
def test_r20_an_unusable_title_is_dropped_with_a_warning(title, code):
    reading = reading_of(Title=title)
    assert (reading.codes, reading.row.title, reading.row.disposition) == ([code], None, ACCEPTED)


def test_r20_groups_with_a_control_character_are_dropped_with_a_warning():
    reading = reading_of(Groups="A,B\x01")
    assert (reading.codes, reading.row.group_external_ids) == (["control_character"], None)


@pytest.mark.parametrize(
    ("name", "first", "last", "expected"),
    [
        ("Anna B", "Bo", "Ek", "Anna B"),
        ("", "Bo", "Ek", "Bo Ek"),
        ("", "Bo", "", "Bo"),
        ("Anna B", "B\x01", "", "Anna B"),
    ],
)
def test_r20_name_wins_over_first_and_last_name(name, first, last, expected):
    reading = reading_of(Name=name, FirstName=first, LastName=last)
    assert (reading.row.display_name, reading.issues) == (expected, [])


@pytest.mark.parametrize(
    ("phone", "e164"),
    [
        ("+46701234567", "+46701234567"),
        ("+46 70-123 45 67", "+46701234567"),
        ("+46 (0)70 123 45 67", "+46701234567"),
        ("0046 70 123 45 67", "+46701234567"),
        ("(+46) 70.123.45.67", "+46701234567"),
        ("+1 (212) 555-0123", "+12125550123"),
        ("+39 06 1234 5678", "+390612345678"),
        ("+46\u202f70\u2009123 45 67", "+46701234567"),
        ("+47\xa0412\u2011345\u201167", "+4741234567"),
    ],
)
def test_r21_international_phones_become_e164(phone, e164):
    reading = reading_of(**{PHONE: phone})
    assert (reading.row.phone, reading.issues) == (e164, [])


def test_r21_national_form_needs_a_region_and_is_warned_of():
    reading = reading_of({"region": "SE"}, **{PHONE: "070-123 45 67"})
    assert (reading.row.phone, reading.codes, reading.issues[0].column) == ("+46701234567", ["phone_national"], PHONE)
    assert reading_of(**{PHONE: "070-123 45 67"}).codes == ["phone_invalid"]


@pytest.mark.parametrize(
    "phone",
    [
        "n/a",
        "-",
        "+46",
        "+46 70",
        "+999123456789",
        "+4670123456789012",
        "4,67E+10",
        "+46701234567 / +46709999999",
        "+46701234567 ext 3",
        "701234567.0",
        "+46701234567.0",
    ],
)
def test_r21_an_unusable_phone_is_left_alone_with_a_warning(phone):
    reading = reading_of({"region": "SE"}, **{SECONDARY: phone})
    assert reading.codes == ["phone_invalid"]
    assert reading.row.disposition == ACCEPTED
    assert reading.row.secondary_phone is None


def test_r22_r23_an_empty_cell_is_empty_and_an_absent_column_is_not_set():
    empty = reading_of(**{PHONE: "", SECONDARY: "", "Title": "", "Groups": ""}).row
    assert (empty.phone, empty.secondary_phone, empty.title, empty.group_external_ids) == ("", "", "", "")
    absent = reading_of().row
    assert (absent.phone, absent.secondary_phone, absent.title, absent.group_external_ids) == (None,) * 4


def test_r24_skip_1_is_skipped_and_only_its_unique_id_is_checked():
    reading = read(a_csv(a_row(1, Skip=" 1 ", Mail="nonsense", Name="", TelephoneNumber="x")))
    assert (reading.row.disposition, reading.row.external_id, reading.issues) == (SKIPPED, "EMP-0000001", [])
    assert (reading.counted, reading.skipped, reading.rejected) == (1, 1, 0)


def test_r24_a_skipped_row_with_a_bad_unique_id_is_rejected():
    assert_rejected(reading_of(Skip="1", UniqueID="short"), "id_length", "UniqueID")


@pytest.mark.parametrize(
    ("skip", "codes"),
    [
        ("", []),
        ("0", []),
        ("yes", ["skip_value"]),
        ("01", ["skip_value"]),
        ("'0", ["apostrophe_removed"]),
        ("0\u200b", ["invisible_removed"]),
        ("'no", ["apostrophe_removed", "skip_value"]),
    ],
)
def test_r24_any_other_value_is_imported(skip, codes):
    reading = reading_of(Skip=skip)
    assert (reading.row.disposition, reading.codes) == (ACCEPTED, codes)


@pytest.mark.parametrize("sign", "=+-@")
@pytest.mark.parametrize("column", ["Name", "Title", "Groups"])
def test_r25_formulas_are_kept_and_warned_of(sign, column):
    reading = reading_of(**{column: f"{sign}1"})
    row = reading.row
    kept = {"Name": row.display_name, "Title": row.title, "Groups": row.group_external_ids}[column]
    assert (kept, [(i.code, i.column) for i in reading.issues]) == (f"{sign}1", [("formula_like", column)])


def test_r37_groups_are_split_trimmed_and_repeats_dropped():
    assert reading_of(Groups=" Akron, Basel ,, Akron,akron").row.group_external_ids == "Akron\x1fBasel\x1fakron"
    assert reading_of({"group_separator": ";"}, Groups="A,1;B").row.group_external_ids == "A,1\x1fB"


def test_the_first_rejection_counts_and_warnings_of_a_rejected_row_are_not_told():
    reading = reading_of(UniqueID="'short", Mail="", Name="", **{PHONE: "x"})
    assert_rejected(reading, "id_length", "UniqueID")


def test_r17_the_digest_looks_at_all_cells_but_time_and_groups():
    base = {"Title": "Boss", PHONE: "+46701234567", "Skip": "", "TimeStamp": "2026-02-28", "Groups": "A"}
    rows = [
        a_row(1, **base),
        a_row(1, **base | {"TimeStamp": "2026-03-01", "Groups": "B", "Skip": "0", PHONE: "+46 (0)70 1234567"}),
        a_row(1, **base | {"Mail": " PERSON1@example.org\xa0"}),
        a_row(1, **base | {"Title": "Chef"}),
        a_row(1, **base | {"Title": "", PHONE: "Boss"}),
        a_row(1, **base | {"Skip": "1"}),
        a_row(1, **base | {"Name": "Bo"}),
    ]
    digests = [row.digest for row in read(a_csv(*rows)).rows]
    assert {len(digest) for digest in digests} == {16}
    assert digests[0] == digests[1] == digests[2]
    assert len(set(digests)) == 5


def test_r16_many_spaces_within_cells_take_no_more_time_than_letters():
    gap = " " * 100_000  # each cell would take minutes if every one of them began a search
    cells = dict.fromkeys(("UniqueID", "Name", "Mail", "Title", PHONE, "TimeStamp", "Groups", "Skip"), f"a{gap}b")
    assert_rejected(reading_of(**cells), "id_length", "UniqueID")
