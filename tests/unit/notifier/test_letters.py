"""What letters to people and notices to administrators say, and what no value can make them say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.notifier.marks import LINK
from services.notifier.notice_mail import render_notice
from services.notifier.notices import Notice, Subject
from services.notifier.people import Letter, Occurrence
from services.notifier.person_mail import masked, render_letter
from services.notifier.readers import Readers
from services.notifier.report_data import Seats
from tests.unit.notifier.pages import HOSTILE, Page

LETTER = Letter(
    occurrence=Occurrence.INVITED,
    user="tenants/ten_000017/users/usr_000056",
    recipient="ada@x.example",
    name="Ada Byron",
    tenant_name="Ingleby Council",
    language="en",
    source_name="Staff file",
    old_email="ada@x.example",
    new_email="lovelace@y.example",
    until=datetime(2026, 3, 31, tzinfo=UTC),
)
NOTICE = Notice(
    subject=Subject.PAUSED,
    about="tenants/ten_000017/sources/src_000012",
    readers=Readers(),
    tenant="tenants/ten_000017",
    tenant_name="Ingleby Council",
    language="en",
    source="tenants/ten_000017/sources/src_000012",
    source_name="Staff file",
    time_zone="Europe/Stockholm",
    happened_at=datetime(2026, 3, 1, tzinfo=UTC),
    key_ends_at=datetime(2026, 3, 31, tzinfo=UTC),
    seats=Seats(10, 9),
)


def _assert_harmless(mail):
    assert "\n" not in mail.subject
    assert mail.subject.isprintable()
    Page(mail.html).assert_passive()
    lines = mail.text.splitlines()
    assert all(character.isprintable() for line in lines for character in line)


@pytest.mark.parametrize("occurrence", list(Occurrence))
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_makes_a_letter_more_than_text(occurrence, value):
    _assert_harmless(
        render_letter(
            replace(
                LETTER,
                occurrence=occurrence,
                name=value,
                tenant_name=value,
                source_name=value,
                recipient=value,
                old_email=value,
                new_email=value,
            )
        )
    )


@pytest.mark.parametrize("subject", list(Subject))
@pytest.mark.parametrize("value", HOSTILE)
def test_no_value_makes_a_notice_more_than_text(subject, value):
    _assert_harmless(
        render_notice(replace(NOTICE, subject=subject, tenant_name=value, source_name=value, by=value, key_id=value))
    )


@pytest.mark.parametrize("occurrence", list(Occurrence))
def test_only_letters_that_open_something_have_a_place_for_a_link(occurrence):
    mail = render_letter(replace(LETTER, occurrence=occurrence))
    opens = occurrence not in {Occurrence.MAIL_WAS, Occurrence.MAIL_IS}
    assert mail.text.count(LINK) == mail.html.count(LINK) == (1 if opens else 0)


def test_a_person_without_a_name_is_greeted_all_the_same():
    assert "Hello,\n" in render_letter(replace(LETTER, name="")).text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ada.byron@example.org", "a***@e***.org"),
        ("ä@exempel.se", "ä***@e***.se"),
        ("a@localhost", "a***@l***"),
        ("a@b.c.example", "a***@b***.example"),
    ],
)
def test_an_address_is_masked_so_that_who_knows_it_knows_it_again(address, shown):
    assert masked(address) == shown


def test_a_paused_file_and_a_paused_connection_are_told_differently():
    connection, file = (render_notice(replace(NOTICE, is_file=is_file)).text for is_file in (False, True))
    assert "identity provider's calls are refused" in connection
    assert "No file is fetched" in file


def test_what_the_guard_was_against_is_told():
    told = render_notice(replace(NOTICE, guarded=(102, 400))).text
    assert "102 of 400 active people would have lost access within an hour" in told
    assert "102" not in render_notice(NOTICE).text
