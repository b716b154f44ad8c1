"""What the warning of missing seats says, in both languages, and what no userName can make it say (S5)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from services.notifier import license_mail
from services.notifier.license_mail import URGENT_WAITING
from services.notifier.license_warning import WARNED_AT, LicenseWarning
from services.notifier.report_data import Seats
from tests.unit.notifier.pages import HOSTILE, Page
from tests.unit.notifier.reports import as_mailed


def render_warning(warning):
    return as_mailed(license_mail.render_warning(warning))


TENANT = "tenants/ten_000017"


def a_warning(**changes) -> LicenseWarning:
    warning = LicenseWarning(
        tenant=TENANT,
        tenant_name="Ingleby Council",
        source_name="Entra ID",
        license=f"{TENANT}/license",
        language="en",
        waiting=3,
        first=("ada@ingleby.example", "bo@ingleby.example", "cia@ingleby.example"),
        seats=Seats(total=200, used=200, missing=3),
    )
    return replace(warning, **changes)


def paragraphs(text):
    """The text without its folds."""
    return text.replace("\n", " ")


def words_of(text):
    return {word.removesuffix(":") for word in text.casefold().split()}


def test_the_subject_says_how_many_have_no_seat_and_of_whom_the_seats_are():
    assert render_warning(a_warning()).subject == (
        "[Ingleby Council] 3 people have no seat: 200 of 200 seats are taken"
    )
    assert render_warning(a_warning(waiting=1)).subject == (
        "[Ingleby Council] 1 person has no seat: 200 of 200 seats are taken"
    )
    assert render_warning(a_warning(language="sv")).subject == (
        "[Ingleby Council] 3 personer saknar plats: 200 av 200 platser är upptagna"
    )


def test_the_warning_tells_what_is_wrong_what_to_do_and_what_comes_of_waiting():
    mail = render_warning(a_warning())
    told = paragraphs(mail.text)
    assert "3 people were refused for want of a seat." in told
    assert "3 seats are missing. Add them, or free as many" in told
    assert "Nothing else has to be done: once there are seats, they come in with the provider's next cycle." in told
    assert "Microsoft Entra ID stops a job (“quarantine”) after 5,000 failures." in told
    assert "Source: Entra ID" in mail.text
    assert "Seats: 200 of 200 taken, 0 left" in mail.text
    for command in (f"muster license set --tenant {TENANT} --seats 203", f"muster license refused --tenant {TENANT}"):
        assert command in mail.text
        assert command in re.sub("</?span[^>]*>", "", mail.html)


def test_the_same_is_told_in_swedish():
    told = paragraphs(render_warning(a_warning(language="sv", waiting=1_200)).text)
    assert "1\N{NO-BREAK SPACE}200 personer nekades" in told
    assert "när det finns platser kommer de in vid identitetsleverantörens nästa synkronisering" in told
    assert "(”karantän”) efter 5\N{NO-BREAK SPACE}000 misslyckanden" in told
    assert "UTAN PLATS" in told
    assert "seat" not in told.replace("--seats", "")


@pytest.mark.parametrize("language", ["en", "sv"])
def test_text_and_html_tell_the_same(language):
    mail = render_warning(a_warning(language=language, waiting=12))
    page = Page(mail.html)
    assert ("html", {"lang": language}) in page.elements
    assert words_of(mail.text) - {"-", "--"} <= words_of(page.text)


def test_the_first_of_them_are_named_and_the_others_counted():
    mail = render_warning(a_warning(waiting=137))
    assert "  - ada@ingleby.example\n  - bo@ingleby.example\n  - cia@ingleby.example\n  and 134 more\n" in mail.text
    assert "and 134 more" in mail.html
    assert "more" not in render_warning(a_warning()).text


def test_an_overdrawn_license_needs_seats_for_those_who_have_one_and_those_who_wait():
    mail = render_warning(a_warning(seats=Seats(total=190, used=200, missing=13)))
    assert "--seats 203" in mail.text


def test_where_seats_came_meanwhile_nobody_is_asked_for_more():
    mail = render_warning(a_warning(seats=Seats(total=250, used=200)))
    assert "By now there are enough free seats." in mail.text
    assert "muster license set" not in mail.text
    assert "quarantine" not in mail.text


def test_the_link_leads_to_the_license():
    mail = render_warning(a_warning(admin_url="https://admin.vendor.example"))
    assert f"Open the license in the admin panel:\n  https://admin.vendor.example/{TENANT}/license" in mail.text
    assert f'href="https://admin.vendor.example/{TENANT}/license"' in mail.html
    assert "href" not in render_warning(a_warning()).html


def test_s5_the_last_warnings_are_urgent_and_all_come_before_the_quarantine():
    assert max(WARNED_AT) < 5_000
    assert not render_warning(a_warning(waiting=URGENT_WAITING - 1)).urgent
    assert render_warning(a_warning(waiting=URGENT_WAITING)).urgent


@pytest.mark.parametrize("value", HOSTILE)
def test_no_user_name_becomes_markup_a_header_or_a_formula(value):
    mail = render_warning(a_warning(first=(value,), tenant_name=value, source_name=value))
    page = Page(mail.html)
    page.assert_passive()
    assert page.tags() == Page(render_warning(a_warning()).html).tags()
    assert len(mail.subject.splitlines()) == 1
    assert not set(mail.text + mail.html) & set("\x00\x1b\u2028\u202a\u202b\u202d\u202e\r")
    assert not [line for line in mail.text.splitlines() if line.strip().startswith(("- =", "- @", "- +"))]
