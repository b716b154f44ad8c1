"""Resource names: reversible, checked, and never another kind's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument, NotFound

NUMBERS = st.integers(min_value=1, max_value=2**63 - 1)
PATTERNS = [names.ACCOUNT, names.GROUP, names.USER, names.SOURCE, names.IMPORT_RUN, names.EVENT]


@given(pattern=st.sampled_from(PATTERNS), tenant=NUMBERS, number=NUMBERS)
def test_a_name_reads_back_as_what_it_was_made_from(pattern, tenant, number):
    name = pattern.format(tenant, number)
    assert names.parse(pattern, name, field="name") == (tenant, number)
    assert names.tenant_of(name, field="name") == tenant


@given(pattern=st.sampled_from(PATTERNS), other=st.sampled_from(PATTERNS), tenant=NUMBERS, number=NUMBERS)
def test_a_name_of_one_kind_is_none_of_another(pattern, other, tenant, number):
    if pattern == other:
        return
    with pytest.raises(InvalidArgument):
        names.parse(other, pattern.format(tenant, number), field="name")


@given(
    tenant=NUMBERS, number=NUMBERS, place=st.integers(0, 40), letter=st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz")
)
def test_one_mistyped_character_is_noticed(tenant, number, place, letter):
    name = names.USER.format(tenant, number)
    typed = name[: place % len(name)] + letter + name[place % len(name) + 1 :]
    if typed == name:
        return
    with pytest.raises(InvalidArgument):
        names.parse(names.USER, typed, field="name")


@given(text=st.text())
def test_any_text_is_a_name_or_refused_with_its_field(text):
    with pytest.raises(InvalidArgument) as caught:
        names.parse(names.USER, text, field="user")
    assert caught.value.fields == ("user",)


def test_a_name_of_another_tenant_is_not_found_here():
    with pytest.raises(NotFound):
        names.parse_within(names.USER, names.USER.format(2, 1), tenant_id=1, field="user")
    assert names.parse_within(names.USER, names.USER.format(1, 7), tenant_id=1, field="user") == 7


def test_what_an_event_is_about_has_a_name_of_its_kind():
    assert names.format_resource("ten", 5, 5) == names.TENANT.format(5)
    assert names.format_resource("lic", 5, 5) == f"{names.TENANT.format(5)}/license"
    assert names.format_resource("usr", 5, 9) == names.USER.format(5, 9)
    assert names.format_optional(names.SOURCE, 5, 0) == ""


def test_a_mistyped_name_is_called_so():
    name = names.USER.format(1, 2)
    for typed, is_mistyped in [(name[:-1] + "~", True), ("users/7", False), (names.GROUP.format(1, 2), False)]:
        with pytest.raises(InvalidArgument) as told:
            names.parse(names.USER, typed, field="name")
        assert ("mistyped" in str(told.value)) is is_mistyped
