"""Filters become trees that name attributes as they are stored, with values in the attributes' own types."""

from __future__ import annotations

import pytest
from google.protobuf.json_format import MessageToDict
from scim2_models import InvalidFilterException, ScimFilter

from services.scim_gateway import schemas
from services.scim_gateway.filters import filter_of

USER, GROUP = schemas.model("User"), schemas.model("Group")


def translated(text, model=USER):
    return MessageToDict(filter_of(ScimFilter(text), model))


def comparison(text, model=USER):
    return translated(text, model)["comparison"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('USERNAME eq "a"', ["userName"]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a"', ["userName"]),
        ('name.GivenName eq "a"', ["name", "givenName"]),
        (f'{schemas.ENTERPRISE_SCHEMA}:department eq "a"', [schemas.ENTERPRISE_SCHEMA, "department"]),
        (f'{schemas.ENTERPRISE_SCHEMA}:manager.value eq "a"', [schemas.ENTERPRISE_SCHEMA, "manager", "value"]),
        (f'{schemas.ENTERPRISE_SCHEMA}:manager.$ref eq "a"', [schemas.ENTERPRISE_SCHEMA, "manager", "$ref"]),
        ('emails co "a"', ["emails", "value"]),
        ('groups eq "a"', ["groups", "value"]),
        ('x509Certificates.value eq "MIIB"', ["x509Certificates", "value"]),
        ('id eq "a"', ["id"]),
        ('externalId eq "a"', ["externalId"]),
        ('meta.resourceType eq "User"', ["meta", "resourceType"]),
        ('meta.lastModified gt "2024-01-01T00:00:00Z"', ["meta", "lastModified"]),
    ],
)
def test_an_attribute_has_its_stored_name(text, path):
    assert comparison(text)["attribute"]["path"] == path


def test_a_members_filter_asks_for_the_id():
    found = comparison('members eq "usr_1"', GROUP)["attribute"]
    assert found == {
        "path": ["members", "value"],
        "multiValued": True,
        "caseExact": True,
        "type": "ATTRIBUTE_TYPE_STRING",
    }


@pytest.mark.parametrize(("text", "value"), [("true", True), ('"True"', True), ('"False"', False)])
def test_a_boolean_may_come_as_text(text, value):
    assert comparison(f"active eq {text}")["boolean"] is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-01T02:00:00+02:00", "2024-01-01T00:00:00+00:00"),
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00+00:00"),
    ],
)
def test_a_moment_travels_in_utc(text, value):
    assert comparison(f'meta.created ge "{text}"')["text"] == value


def test_null_is_no_value():
    assert comparison("title eq null").keys() == {"attribute", "operator"}


@pytest.mark.parametrize("text", ["title gt null", "title co null", 'meta.created co "20"', "userName sw 5"])
def test_what_can_never_hold_is_false(text):
    assert translated(text) == {"constant": False}


def test_an_attribute_of_another_kind_matches_none_also_when_negated():
    assert translated('userName eq "a"', GROUP) == {"constant": False}
    assert translated('not (members eq "a")') == {"not": {"constant": False}}


def test_an_object_can_be_asked_whether_it_is_there():
    present = {"path": ["name"], "type": "ATTRIBUTE_TYPE_COMPLEX"}
    assert translated("name pr") == {"present": present}
    assert translated("name ne null") == {"present": present}
    assert translated("name eq null") == {"not": {"present": present}}


@pytest.mark.parametrize(
    "text",
    ['name eq "a"', 'addresses eq "a"', 'active gt "a"', 'schemas[value eq "a"]', 'meta.created gt "yesterday"'],
)
def test_what_has_no_answer_is_refused(text):
    with pytest.raises(InvalidFilterException):
        translated(text)


def test_a_path_behind_brackets_is_a_condition_within_them():
    assert translated('emails[type eq "work"].value eq "a"') == translated('emails[type eq "work" and value eq "a"]')
    inner = translated('emails[type eq "work"]')["selection"]["filter"]["comparison"]["attribute"]
    assert inner == {"path": ["type"], "type": "ATTRIBUTE_TYPE_STRING"}


def test_and_binds_more_than_or():
    tree = translated('title eq "a" or title eq "b" and not (title eq "c")')
    assert [next(iter(each)) for each in tree["anyOf"]["filters"]] == ["comparison", "allOf"]
