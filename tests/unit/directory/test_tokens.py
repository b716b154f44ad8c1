"""Tokens and keys: mistyping is noticed without asking the database, and no family is taken for another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.operations.tokens import Caller, mint
from services.directory.rules.grants import METHOD_RULES, SERVICE_GRANTS, Grant
from services.directory.rules.tokens import API_KEY, SERVICE_TOKEN, is_id, token_hmac

TOKENS = {form: form.write("0123456789ab", bytes(range(32))) for form in (SERVICE_TOKEN, API_KEY)}
FORMS = pytest.mark.parametrize("form", TOKENS, ids=lambda form: form.prefix)


@FORMS
def test_a_token_tells_its_id(form):
    assert TOKENS[form].startswith(f"{form.prefix}_0123456789ab_")
    assert form.id_of(TOKENS[form]) == "0123456789ab"


def test_a_key_has_the_form_that_secret_scanners_look_for():
    assert TOKENS[API_KEY].startswith("mst_scim_")
    assert len(TOKENS[API_KEY]) == len("mst_scim_") + 12 + len("_") + 64 + 8


@FORMS
def test_a_token_of_another_family_is_none_of_this_one(form):
    assert [other.id_of(TOKENS[form]) for other in TOKENS if other is not form] == [None]


@given(
    form=st.sampled_from(sorted(TOKENS, key=str)),
    place=st.integers(0, len(TOKENS[SERVICE_TOKEN]) - 1),
    letter=st.sampled_from("0123456789abcdef_"),
)
def test_one_mistyped_character_is_noticed(form, place, letter):
    token = TOKENS[form]
    typed = token[:place] + letter + token[place + 1 :]
    assert form.id_of(typed) == ("0123456789ab" if typed == token else None)


@given(text=st.text())
def test_any_other_text_is_no_token(text):
    assert [form.id_of(text) for form in TOKENS] == [None, None]


@FORMS
def test_what_is_minted_is_read_again_and_never_twice_the_same(form):
    one, other = mint(form, pepper=b"pepper"), mint(form, pepper=b"pepper")
    assert form.id_of(one.token) == one.token_id
    assert is_id(one.token_id)
    assert one.secret_hmac == token_hmac(one.token, pepper=b"pepper")
    assert (one.token_id, one.token) != (other.token_id, other.token)


def test_another_pepper_makes_another_hmac():
    assert token_hmac(TOKENS[API_KEY], pepper=b"one") != token_hmac(TOKENS[API_KEY], pepper=b"two")


@pytest.mark.parametrize("grant", [Grant.TENANT, Grant.CONNECTION])
def test_a_bound_grant_reaches_its_tenant_alone(grant):
    bound = Caller("x", grant, tenant_id=4)
    assert bound.reaches(4)
    assert not bound.reaches(5)
    assert not bound.reaches(0)
    assert not Caller("x", grant).reaches(4)


def test_support_reaches_all_tenants():
    assert Caller("x", Grant.SUPPORT).reaches(4)
    assert Caller("x", Grant.SUPPORT).reaches(0)


def test_what_a_connection_does_is_done_by_its_source():
    assert Caller("x", Grant.CONNECTION, tenant_id=4, source_id=7).actor.source_id == 7
    assert Caller("x", Grant.TENANT, tenant_id=4).actor.name == "services/tenant/tokens/x"


def test_a_connection_shares_no_method_with_a_service():
    for rule in METHOD_RULES.values():
        assert rule.grants == {Grant.CONNECTION} if rule.by_key else rule.grants <= SERVICE_GRANTS
