"""Values from a file are made harmless before they are shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.safe import neutral, plain, without_addresses


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+46 70", "'+46 70"),
        ("-x", "'-x"),
        ("@x", "'@x"),
        ("\tx", "'x"),
        ("\rx", "'x"),
        ("  =x", "'=x"),
        ("\u200b=x", "'=x"),
        ("O'Hara", "O'Hara"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_r25_a_value_that_begins_like_a_formula_gets_an_apostrophe(value, shown):
    assert neutral(value) == shown


def test_one_visible_line_is_kept_of_any_value():
    assert plain("a\r\nb\tc\x00d\u202ee\ufefff") == "a b cdef"
    assert plain("x" * 300) == "x" * 199 + "…"
    assert plain("Eve ⌈li⌈link⌉nk⌉ \x02usr_1\x04Ada\x03") == "Eve lilinknk usr_1Ada", "nothing can be taken for a mark"
    assert plain("محمد علي") == "محمد علي"


@given(st.text())
def test_what_is_shown_has_one_line_and_no_control_characters(value):
    shown = neutral(value)
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cs", "Zl", "Zp"}
    shown.encode()  # no lone surrogates


def test_what_a_server_says_is_logged_without_addresses():
    said = "421 4.7.0 <hr@ingleby.example> too much from muster@vendor.example today"
    assert without_addresses(said) == "421 4.7.0 <…@…> too much from …@… today"
