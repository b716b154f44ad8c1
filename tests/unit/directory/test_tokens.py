"""Tokens and keys: mistyping is noticed without asking the database, and no family is taken for another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.operations.tokens import Caller, mint
from services.directory.rules.grants import METHOD_RULES, SERVICE_GRANTS, Grant
from services.directory.rules.tokens import (
    ACCESS_TOKEN,
    API_KEY,
    INVITATION_LINK,
    PASSWORD_LINK,
    SERVICE_TOKEN,
    AccessToken,
    Derived,
    is_id,
    token_hmac,
)

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


@pytest.mark.parametrize("grant", [Grant.TENANT, Grant.ACCOUNT, Grant.CONNECTION])
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


def test_what_an_administrator_does_is_done_in_its_name():
    assert Caller("x", Grant.SUPPORT, administrator_id=3).actor.name == "administrators/adm_000036"
    assert Caller("x", Grant.TENANT, tenant_id=4, administrator_id=3).actor.name.startswith("tenants/ten_00004")


def test_a_connection_shares_no_method_with_a_service():
    administrators = {Grant.SUPPORT, Grant.TENANT, Grant.ACCOUNT}
    for rule in METHOD_RULES.values():
        assert rule.grants in ({Grant.CONNECTION}, administrators) if rule.by_key else rule.grants <= SERVICE_GRANTS


def test_the_panel_signs_administrators_in_and_does_nothing_else():
    reached = [method for method, rule in METHOD_RULES.items() if Grant.PANEL in rule.grants]
    assert reached == ["/muster.directory.v1.AdministratorService/SignIn"]


def test_the_log_in_page_reaches_passwords_and_accepts_invitations():
    reached = {method.rpartition("/")[2] for method, rule in METHOD_RULES.items() if Grant.LOGIN in rule.grants}
    assert reached == {"AcceptInvitation", "RequestPasswordReset", "ResetPassword", "VerifyPassword"}


def test_only_what_carries_a_secret_of_its_own_needs_no_token():
    assert [method.rpartition("/")[2] for method, rule in METHOD_RULES.items() if rule.anonymous] == [
        "IssueAccessToken",
        "RecordActivity",
    ]


@pytest.mark.parametrize("form", [PASSWORD_LINK, INVITATION_LINK], ids=lambda form: form.prefix)
def test_a_derived_token_says_what_it_was_written_for_and_the_same_each_time(form):
    token = form.write(4, 70, 2, pepper=b"pepper")
    assert token == form.write(4, 70, 2, pepper=b"pepper")
    assert form.read(token, pepper=b"pepper") == Derived(tenant_id=4, number=70, generation=2)
    assert form.read(token, pepper=b"another") is None


@given(place=st.integers(0, 76), letter=st.sampled_from("0123456789abcdef-_"))
def test_nothing_of_a_derived_token_can_be_changed(place, letter):
    token = PASSWORD_LINK.write(4, 70, 2, pepper=b"pepper")
    typed = token[:place] + letter + token[place + 1 :]
    assert (PASSWORD_LINK.read(typed, pepper=b"pepper") is not None) == (typed == token)
    assert INVITATION_LINK.read(token.replace("mst_pwd", "mst_inv"), pepper=b"pepper") is None


def test_an_access_token_says_its_secret_and_its_end_and_neither_can_be_changed():
    said = AccessToken("0123456789ab", datetime(2024, 3, 4, 3, 0, tzinfo=UTC))
    token = ACCESS_TOKEN.write(said, pepper=b"pepper")
    assert ACCESS_TOKEN.read(token, pepper=b"pepper") == said
    later = ACCESS_TOKEN.write(replace(said, expire_time=said.expire_time + timedelta(hours=1)), pepper=b"pepper")
    head, tail = later.rsplit("_", 1)[0], token.rsplit("_", 1)[1]
    assert ACCESS_TOKEN.read(f"{head}_{tail}", pepper=b"pepper") is None
    assert ACCESS_TOKEN.read(token, pepper=b"another") is None
