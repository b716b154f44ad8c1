"""What a report says, in both languages, and what no value from a file can make it say."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier import render as rendering
from services.notifier.render import ATTACHMENT_NAME
from services.notifier.report_data import Counts, LimitFigures, Outcome, People, Person, Seats
from tests.unit.notifier.pages import HOSTILE, Page
from tests.unit.notifier.reports import RUN, a_full_report, a_report, an_issue, as_mailed


def render(report):
    return as_mailed(rendering.render(report))


def _rows(attachment):
    return list(csv.reader(io.StringIO(attachment.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("language", ["en", "sv"])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_told_in_both_languages_as_text_and_html(outcome, language):
    mail = render(a_full_report(outcome, language=language))
    page = Page(mail.html)
    assert ("html", {"lang": language}) in page.elements
    assert page.tags() >= {"h1", "h2", "table", "caption", "th"}
    assert all(attributes.get("scope") in {"row", "col"} for tag, attributes in page.elements if tag == "th")
    assert mail.subject.startswith("[Ingleby Council] ")
    headline = mail.text.splitlines()[0]
    assert headline[:30] in page.text


def test_the_two_languages_differ_and_an_unknown_one_is_english():
    english, swedish = (render(a_full_report(Outcome.HELD, language=language)) for language in ("en", "sv"))
    assert "Importen är stoppad och väntar på ditt beslut. Inget har ändrats." in swedish.text
    assert "1\N{NO-BREAK SPACE}622" in swedish.text
    assert "1,622" in english.text
    assert render(a_full_report(Outcome.HELD, language="fi")).text == english.text


def test_an_applied_run_says_what_changed_with_the_first_names():
    mail = render(a_full_report(Outcome.APPLIED))
    expected = "[Ingleby Council] Staff file: 12 new, 32 changed, 412 deleted, 7 rows rejected, 3 seats short"
    assert mail.subject == expected
    assert "New users (12)\n  - Ada Byron (joins 2 groups)\n  and 11 more" in mail.text
    assert "Users who are back (1)\n  - Dag Ek (mail)" in mail.text
    assert "Changed users (29)\n  - Bo Ek (title, phone, joins 1 group, leaves 2 groups)\n  and 28 more" in mail.text
    assert "Deleted users (412)" in mail.text
    assert "and 402 more" in mail.text
    assert "2026-03-01 02:02 (Europe/Stockholm)" in mail.text


def test_one_person_is_told_of_as_one():
    counts = Counts(rows=5, created=1, updated=1, deleted=1, unchanged=3)
    mail = render(a_report(Outcome.APPLIED, language="sv", counts=counts, rejected=(), seats=None))
    assert "1 ny, 1 ändrad, 1 borttagen" in mail.subject


def test_a_run_without_changes_says_so():
    mail = render(a_report(Outcome.APPLIED, counts=Counts(rows=5, unchanged=5)))
    assert mail.subject == "[Ingleby Council] Staff file: nothing to change"
    assert "Nothing had to be changed." in mail.text
    assert mail.attachment == b""


def test_r27_a_takeover_is_named_and_explained():
    mail = render(a_full_report(Outcome.APPLIED))
    assert "Users taken over by the file (2)" in mail.text
    assert "Their old passwords are no longer valid." in mail.text
    assert "  - Cia Dahl" in mail.text


def test_r46_every_count_is_there_and_the_rows_add_up():
    report = a_full_report(Outcome.APPLIED)
    counts = report.counts
    parts = (counts.created, counts.updated, counts.unchanged, counts.skipped, counts.rejected, counts.merged)
    assert counts.rows == sum(parts) + counts.deferred
    lines = [" ".join(line.split()) for line in render(report).text.splitlines()]
    assert {"Rows in the file 1,622", "New, but without a seat 3", "Deleted 412"} <= set(lines)


def test_r35_the_mail_says_how_many_seats_are_missing_and_what_to_do():
    mail = render(a_report(counts=Counts(rows=3, deferred=3), seats=Seats(total=10, used=10, missing=3)))
    assert "3 seats are missing." in mail.text
    assert "muster license set --tenant tenants/ten_000017 --seats 13" in mail.text
    assert "Seats: 10 of 10 taken, 0 left" in mail.text
    over = render(a_report(counts=Counts(rows=5, deferred=1), seats=Seats(total=0, used=4, missing=5)))
    assert "muster license set --tenant tenants/ten_000017 --seats 5" in over.text
    one = render(a_report(language="sv", counts=Counts(rows=1, deferred=1), seats=Seats(10, 10, 1)))
    assert "1 plats saknas." in one.text


def test_r8_a_held_run_says_which_limit_how_many_and_how_to_decide():
    mail = render(a_full_report(Outcome.HELD, limit=LimitFigures(3, 20.0), admin_url="https://admin.example.org"))
    assert "Decision needed" in mail.subject
    assert "The plan deletes more people than the limit allows." in mail.text
    assert "more than 3 and more than 20\N{NO-BREAK SPACE}%." in mail.text
    assert "412 people would be deleted." in mail.text
    for command in (
        f"muster runs show {RUN} --changes",
        f"muster runs approve {RUN}\n",
        f"muster runs approve {RUN} --without-deletions",
        f"muster runs discard {RUN}",
        f"https://admin.example.org/{RUN}",
    ):
        assert command in mail.text
        assert command.strip() in re.sub("</?span[^>]*>", "", mail.html)


def test_r8_nobody_is_offered_to_leave_out_deletions_that_are_not_there():
    counts = Counts(rows=200, created=150, unchanged=50)
    mail = render(a_report(Outcome.HELD, reason="create_limit", counts=counts))
    assert "--without-deletions" not in mail.text
    assert "adds more people than the limit allows" in mail.text


def test_a_held_run_that_was_decided_meanwhile_offers_no_decision():
    mail = render(a_full_report(Outcome.HELD, decided="discarded"))
    assert "the run is now “discarded”" in mail.text
    assert "muster runs approve" not in mail.text


def test_r8_deletions_that_were_left_out_are_told():
    mail = render(a_report(counts=Counts(rows=5, unchanged=5), deletions_left_out=4))
    assert "Nobody was deleted, as decided when the run was approved: 4 people" in mail.text


def test_a_refused_file_says_what_is_wrong_the_cure_and_that_nothing_changed():
    mail = render(a_report(Outcome.REFUSED, reason="missing_column:Mail"))
    assert mail.subject == "[Ingleby Council] File refused: Staff file (missing_column:Mail)"
    assert "Nothing has been changed." in mail.text
    assert "What is wrong: The column Mail is missing." in mail.text
    assert "What to do: Add the column" in mail.text
    assert "<code>muster source sample</code>" in mail.html


def test_the_directorys_own_sentence_stands_beside_ours_in_both_languages():
    sentence = "The file ends in row 812."
    english = render(a_report(Outcome.REFUSED, reason="truncated", message=sentence)).text
    swedish = render(a_report(Outcome.REFUSED, reason="truncated", message=sentence, language="sv")).text
    assert "Details: The file ends in row 812." in english
    assert "The file is not whole" in english
    assert "Detaljer: The file ends in row 812." in swedish
    assert "Filen är inte hel" in swedish


def test_a_reason_nobody_foresaw_is_still_told():
    mail = render(a_report(Outcome.FAILED, reason="sun_spots", message="The sun is restless.", language="sv"))
    assert "sun_spots" in mail.subject
    assert "The sun is restless." in mail.text


@pytest.mark.parametrize(("nights", "urgent"), [(1, False), (2, True), (9, True)])
def test_r5_a_missing_file_is_urgent_from_the_second_night(nights, urgent):
    mail = render(a_report(Outcome.NO_FILE, nights_without_file=nights))
    assert mail.urgent is urgent
    assert mail.subject.startswith("[Ingleby Council] URGENT: ") is urgent
    assert "There is no file at /users.csv." in mail.text
    assert (f"{nights} nights in a row" in mail.text) is urgent


def test_a_trial_says_whether_the_file_is_fine_and_how_to_go_ahead():
    fine = render(a_report(Outcome.PLANNED, counts=Counts(rows=2, created=2)))
    assert "The file is fine: every row can be used." in fine.text
    assert "muster source enable tenants/ten_000017/sources/src_000012" in fine.text
    assert "WHAT WOULD CHANGE" not in fine.text
    bad = render(a_full_report(Outcome.PLANNED, reason="delete_limit"))
    assert "7 rows cannot be used yet" in bad.text
    assert "On a live source this file would be held." in bad.text
    assert "WHAT WOULD CHANGE" in bad.text


def test_a_rejected_row_has_line_key_column_reason_and_cure():
    mail = render(a_report(counts=Counts(rows=1, rejected=1), rejected=(an_issue(line=7),)))
    assert "Line 7 · EMP-0000007 · Mail: a***@e***" in mail.text
    assert "mail_invalid: The mail address is not a valid one." in mail.text
    assert "→ Write one bare address, such as name@example.org." in mail.text
    swedish = render(a_report(counts=Counts(rows=1, rejected=1), rejected=(an_issue(line=7),), language="sv"))
    assert "E-postadressen är inte giltig." in swedish.text
    assert "Write one bare address." not in swedish.text


def test_the_mail_shows_the_first_fifty_rejected_rows_and_attaches_all_it_has():
    rejected = tuple(an_issue(line=line) for line in range(2, 122))
    mail = render(a_report(counts=Counts(rows=300, rejected=130), rejected=rejected))
    assert mail.text.count("  Line ") == 50
    assert "70 more rows are in the attached file." in mail.text
    assert "10 more rows are not attached" in mail.text
    assert f"muster runs show {RUN} --issues" in mail.text
    assert mail.attachment_name == ATTACHMENT_NAME
    rows = _rows(mail.attachment)
    assert rows[0] == ["line", "key", "column", "reason", "message"]
    assert rows[1][:4] == ["2", "EMP-0000002", "Mail", "mail_invalid"]
    assert len(rows) == 121
    assert mail.attachment.startswith(b"\xef\xbb\xbf")


def test_the_advice_on_many_warnings_is_not_that_on_the_first_of_them():
    advice = "No group has this Group ID; nearest Group ID: {}; correct the file, or give a group this ID."
    one = an_issue("unknown_group:RADD-01", line=2, message=advice.format("RÄDD-01"))
    other = an_issue("unknown_group:HORSE", line=3, message=advice.format("HOUSE"))
    assert "nearest Group ID: RÄDD-01" in render(a_report(warnings=(one, replace(one, line=4)))).text
    together = render(a_report(warnings=(one, other))).text
    assert "nearest Group ID" not in together
    assert "→ Correct the Group ID, or make the group." in together


def test_warnings_are_summed_up_by_their_word_with_examples():
    warnings = (
        *(an_issue("unknown_group:G-17", line=line) for line in range(2, 10)),
        an_issue("unknown_group:G-18", line=10),
        an_issue("phone_national", line=3),
    )
    text = render(a_report(warnings=warnings)).text
    assert "9 × unknown_group: There is no group with this Group ID." in text
    assert "G-17 (8); G-18; line 2, 3, 4, 5, 6, …" in text
    assert text.index("unknown_group") < text.index("phone_national")


@pytest.mark.parametrize("value", HOSTILE)
def test_r25_no_value_of_a_file_becomes_markup_a_header_or_a_formula(value):
    issue = an_issue(f"unknown_group:{value}", key=value, column=value, masked_value=value, message=value)
    report = a_full_report(
        Outcome.APPLIED,
        people=People(created=(Person(value),), deleted=(Person(value),)),
        rejected=(issue,),
        warnings=(issue,),
        file_name=value,
        source_name=value,
        tenant_name=value,
        message=value,
    )
    _assert_harmless(render(report), render(a_full_report(Outcome.APPLIED)))


@given(value=st.text(max_size=60), language=st.sampled_from(["en", "sv"]), outcome=st.sampled_from(list(Outcome)))
def test_any_text_renders_and_stays_text(value, language, outcome):
    issue = an_issue(value, key=value, column=value, masked_value=value, message=value)
    report = a_full_report(
        outcome,
        language=language,
        reason=value,
        message=value,
        people=People(updated=(Person(value, (value,)),)),
        rejected=(issue,),
        warnings=(issue,),
        time_zone=value,
    )
    _assert_harmless(render(report), None)


def _assert_harmless(mail, innocent):
    page = Page(mail.html)
    page.assert_passive()
    if innocent is not None:
        assert page.tags() <= Page(innocent.html).tags()
    assert "\n" not in mail.subject
    assert "\r" not in mail.subject
    for text in (mail.text, mail.html):
        assert not set(text) & set("\x00\x1b\u2028\u202a\u202b\u202d\u202e\r")
    for row in _rows(mail.attachment)[1:]:
        assert not [cell for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert not [line for line in mail.text.splitlines() if line.strip().startswith(("- =", "- @", "- +"))]
