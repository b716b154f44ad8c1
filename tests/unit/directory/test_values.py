"""Mail addresses, phones and names in the one form in which the register keeps them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.rules import contact, text
from services.directory.rules.checks import InvalidValueError

PARSERS = [
    contact.parse_email,
    contact.parse_phone,
    text.parse_display_name,
    text.parse_title,
    text.parse_group_external_id,
    text.parse_web_address,
]


@given(parser=st.sampled_from(PARSERS), value=st.text())
def test_any_text_is_parsed_or_refused_and_what_is_parsed_parses_to_itself(parser, value):
    try:
        parsed = parser(value)
    except InvalidValueError:
        return
    assert parsed is None or parser(parsed) == parsed


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("Ann@Example.ORG", "ann@example.org"),
        (" ann+alerts@kommun.local ", "ann+alerts@kommun.local"),
        ("ann@intern.test", "ann@intern.test"),
        ("åsa@räksmörgås.example", "åsa@xn--rksmrgs-5wao1o.example"),
    ],
)
def test_r18_a_mail_address_is_lower_case_with_its_domain_in_a_labels(given_text, kept):
    assert contact.parse_email(given_text) == kept


@pytest.mark.parametrize("wrong", ["", "ann", "ann@", "Ann <a@b.example>", "a@b.example; c@d.example", "a b@c.example"])
def test_r18_only_one_bare_address_is_a_mail_address(wrong):
    with pytest.raises(InvalidValueError):
        contact.parse_email(wrong)


@given(st.from_regex(r"\A ?[A-Za-z0-9_+.\-]{1,70}@([A-Za-z0-9\-]{1,66}\.){0,5}[A-Za-z0-9\-]{1,66} ?\Z"))
def test_r18_a_plain_address_reads_as_one_of_any_form_does(address):
    assert _read(contact.parse_email, address) == _read(contact.parse_any_email, address)


def _read(parse: Callable[[str], str], text: str) -> str | None:
    try:
        return parse(text)
    except InvalidValueError:
        return None


def test_a_mail_address_that_is_none_is_searched_for_as_it_is():
    assert contact.comparable_email(" Nobody ") == "nobody"


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [("+46 70-123 45 67", "+46701234567"), ("0046701234567", "+46701234567"), ("  ", "")],
)
def test_r21_a_phone_in_international_form_is_kept_in_e164(given_text, kept):
    assert contact.parse_phone(given_text) == kept


@pytest.mark.parametrize("wrong", ["070-123 45 67", "+46", "+46701234567 ext 5", "phone"])
def test_r21_any_other_phone_is_refused(wrong):
    with pytest.raises(InvalidValueError):
        contact.parse_phone(wrong)


def test_r20_white_space_collapses_and_letters_are_composed():
    assert text.parse_display_name("  A\u030asa\u00a0 \r\n O\u200bsterman ") == "Åsa Osterman"


@pytest.mark.parametrize("wrong", ["", "\u200b", "a\x00b", "x" * 257, "a\u202eb"])
def test_r20_an_empty_too_long_or_hidden_name_is_refused(wrong):
    with pytest.raises(InvalidValueError):
        text.parse_display_name(wrong)
