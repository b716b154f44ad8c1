"""What a provider says of people and groups comes back as it was said, and the register gets its part of it."""

from __future__ import annotations

import base64

import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import Context

from services.scim_gateway import mapping, schemas
from services.scim_gateway.answers import group_json, user_json
from services.scim_gateway.service import GatewayService

USER = [schemas.USER_SCHEMA]
TEXT = st.text(max_size=12)
MOMENT = Timestamp(seconds=1_700_000_000)


def a_user(**attributes):
    with schemas.provider():
        return schemas.model("User").model_validate({"schemas": USER, "userName": "ann@example.org", **attributes})


def facts(**attributes):
    return mapping.user_facts(a_user(**attributes), active=True)


def kept(told: pb.UserFacts, **fields) -> pb.ProvisionedUser:
    return pb.ProvisionedUser(
        id="usr_1",
        attributes=told.attributes,
        active=told.active,
        etag="7",
        create_time=MOMENT,
        update_time=MOMENT,
        **fields,
    )


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"displayName": "Ann", "name": {"formatted": "Dr Ann Example"}}, "Ann"),
        ({"name": {"formatted": "Dr Ann Example", "givenName": "Ann"}}, "Dr Ann Example"),
        ({"name": {"givenName": "Ann", "familyName": "Example"}}, "Ann Example"),
        ({"name": {"familyName": "Example"}}, "Example"),
        ({"displayName": ""}, "ann@example.org"),
        ({}, "ann@example.org"),
    ],
)
def test_a_name_is_made_of_what_there_is(attributes, name):
    assert facts(**attributes).display_name == name


@pytest.mark.parametrize(
    ("attributes", "email"),
    [
        (
            {"emails": [{"value": "w@example.org", "type": "work"}, {"value": "p@example.org", "primary": True}]},
            "p@example.org",
        ),
        (
            {"emails": [{"value": "h@example.org", "type": "home"}, {"value": "w@example.org", "type": "Work"}]},
            "w@example.org",
        ),
        ({"emails": [{"value": "h@example.org", "type": "home"}]}, "ann@example.org"),
        ({"userName": "ann", "emails": [{"value": "h@example.org", "type": "home"}]}, "h@example.org"),
        ({"emails": [{"value": "", "primary": True}]}, "ann@example.org"),
        ({}, "ann@example.org"),
    ],
)
def test_the_mail_is_the_primary_one_else_that_for_work_else_the_user_name(attributes, email):
    assert facts(**attributes).email == email


def test_the_work_phone_is_primary_and_the_mobile_secondary():
    phones = [{"type": "fax", "value": "1"}, {"type": "mobile", "value": "2"}, {"type": "work", "value": "3"}]
    told = facts(phoneNumbers=phones)
    assert (told.phone, told.secondary_phone) == ("3", "2")


def test_a_password_is_not_kept():
    assert b"s3cret" not in facts(password="s3cret").attributes


def test_what_is_empty_reads_back_as_absent():
    told = facts(title="", nickName=None, roles=[], name={"formatted": ""}, emails=[{"type": "work", "value": ""}])
    assert orjson.loads(told.attributes).keys() == {"schemas", "userName"}


def test_an_entry_that_never_had_a_value_stays():
    assert orjson.loads(facts(emails=[{"type": "home"}]).attributes)["emails"] == [{"type": "home"}]


def test_groups_and_version_come_from_the_directory():
    groups = [pb.ProvisionedReference(id="grp_1", display_name="Board")]
    user = mapping.user_of(kept(facts(groups=[{"value": "grp_of_the_provider"}]), groups=groups)).model_dump()
    assert user["groups"] == [{"value": "grp_1", "$ref": "Groups/grp_1", "display": "Board", "type": "direct"}]
    assert user["meta"]["version"] == 'W/"7"'
    assert user["meta"]["created"] == "2023-11-14T22:13:20Z"


def test_a_group_without_a_word_about_members_is_not_a_group_without_members():
    with schemas.provider():
        group = schemas.model("Group")
        assert mapping.member_ids(group.model_validate({"displayName": "a"})) is None
        assert mapping.member_ids(group.model_validate({"displayName": "a", "members": []})) == []
        twice = [{"value": "usr_1"}, {"value": "usr_2"}, {"value": "usr_1"}]
        assert mapping.member_ids(group.model_validate({"displayName": "a", "members": twice})) == ["usr_1", "usr_2"]


def _entries(**more):
    fields = {"value": TEXT, "display": TEXT, "type": TEXT, **more}
    return st.lists(st.fixed_dictionaries({}, optional=fields), max_size=3)


USERS = st.fixed_dictionaries(
    {"userName": st.text(min_size=1, max_size=12)},
    optional={
        "externalId": TEXT,
        "active": st.booleans(),
        "title": TEXT,
        "displayName": TEXT,
        "locale": TEXT,
        "timezone": TEXT,
        "name": st.fixed_dictionaries({}, optional={"formatted": TEXT, "givenName": TEXT, "honorificPrefix": TEXT}),
        "emails": _entries(),
        "phoneNumbers": _entries(),
        "roles": _entries(primary=st.just(False)),
        "addresses": st.lists(st.fixed_dictionaries({}, optional={"formatted": TEXT, "country": TEXT}), max_size=2),
        "x509Certificates": st.lists(
            st.fixed_dictionaries({"value": st.binary(min_size=1).map(lambda raw: base64.b64encode(raw).decode())}),
            max_size=2,
        ),
        schemas.ENTERPRISE_SCHEMA: st.fixed_dictionaries(
            {}, optional={"department": TEXT, "manager": st.fixed_dictionaries({}, optional={"value": TEXT})}
        ),
    },
)


@given(USERS)
def test_every_attribute_comes_back_as_it_was_sent(attributes):
    told = facts(**attributes)
    read = mapping.user_of(kept(told)).model_dump()
    for name in ("id", "meta", "schemas"):
        read.pop(name)
    assert read == mapping.without_empties(attributes)


@given(USERS)
def test_what_was_read_says_the_same_when_it_is_written_again(attributes):
    told = facts(**attributes)
    assert mapping.user_facts(mapping.user_of(kept(told)), active=True) == told


def _asked(kind, **parameters):
    return GatewayService().read_response_parameters(schemas.resource_type(kind), parameters)


@given(USERS, st.sampled_from([{}, {"excludedAttributes": "groups"}, {"attributes": "emails.value,groups"}]))
def test_what_is_shown_is_what_the_models_show(attributes, parameters):
    told = kept(facts(**attributes), groups=[pb.ProvisionedReference(id="grp_1", display_name="Board")])
    told.create_time.nanos, told.update_time.nanos = 123_000_000, 123_456_000
    with schemas.provider():
        asked = _asked("User", **parameters)
        user = mapping.user_of(told)
        mapping.locate(user, "https://scim.example.org/scim/v2")
        by_models = user.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=asked)
        assert user_json(told, "https://scim.example.org/scim/v2", asked) == by_models


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"excludedAttributes": "members.type"},
        {"excludedAttributes": "displayName"},
        {"attributes": "members"},
        {"attributes": "members.value"},
        {"attributes": "members.display,displayName"},
        {"attributes": "members,members.display"},
    ],
)
def test_a_group_shows_of_its_members_what_the_models_show(parameters):
    attributes = orjson.dumps({"schemas": [schemas.GROUP_SCHEMA], "displayName": "Board"})
    head = pb.ProvisionedGroup(id="grp_1", attributes=attributes, etag="7", create_time=MOMENT, update_time=MOMENT)
    members = [pb.ProvisionedReference(id="usr_1", display_name="Ann"), pb.ProvisionedReference(id="usr_2")]
    with schemas.provider():
        asked = _asked("Group", **parameters)
        group = mapping.group_of(head, members)
        mapping.locate(group, "https://scim.example.org/scim/v2")
        by_models = group.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=asked)
        assert group_json(head, members, "https://scim.example.org/scim/v2", asked) == by_models
