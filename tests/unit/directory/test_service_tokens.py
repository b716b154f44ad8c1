"""Service tokens: mistyping is noticed without asking the database."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.directory.operations.tokens import Caller
from services.directory.rules.grants import Grant
from services.directory.rules.service_tokens import token_hmac, token_id_of, write_token

TOKEN = write_token("0123456789ab", bytes(range(32)))


def test_a_token_tells_its_id():
    assert TOKEN.startswith("mst_svc_0123456789ab_")
    assert token_id_of(TOKEN) == "0123456789ab"


@given(place=st.integers(0, len(TOKEN) - 1), letter=st.sampled_from("0123456789abcdef_"))
def test_one_mistyped_character_is_noticed(place, letter):
    typed = TOKEN[:place] + letter + TOKEN[place + 1 :]
    assert token_id_of(typed) == ("0123456789ab" if typed == TOKEN else None)


@given(text=st.text())
def test_any_other_text_is_no_token(text):
    assert token_id_of(text) is None


def test_another_pepper_makes_another_hmac():
    assert token_hmac(TOKEN, pepper=b"one") != token_hmac(TOKEN, pepper=b"two")


def test_a_tenants_token_reaches_its_tenant_alone_and_support_reaches_all():
    bound = Caller("x", Grant.TENANT, tenant_id=4)
    assert bound.reaches(4)
    assert not bound.reaches(5)
    assert not bound.reaches(0)
    assert not Caller("x", Grant.TENANT).reaches(4)
    assert Caller("x", Grant.SUPPORT).reaches(4)
    assert Caller("x", Grant.SUPPORT).reaches(0)
