"""A plain user is read without the models as the models read it."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st
from muster.directory.v1 import provisioning_pb2 as pb

from services.scim_gateway import mapping
from services.scim_gateway.entra import tolerate_resource
from services.scim_gateway.plain_users import plain_user
from services.scim_gateway.schemas import USER, USER_SCHEMA, resource_type
from services.scim_gateway.service import GatewayService

SERVICE = GatewayService()
plain = st.sampled_from(["ann@example.org", "Ann", "+46701234567", "a\u0301 Öst", '"', "a  b"])
texts = st.one_of(plain, plain, plain, st.sampled_from([" x", "", "True", "a\nb"]), st.text())
types: st.SearchStrategy[object] = st.sampled_from(
    ["work", "home", "mobile", "work", "Work", "other", "", None, ["work"], {}]
)
entries = st.lists(
    st.fixed_dictionaries({"value": texts}, optional={"type": types, "primary": st.booleans()}),
    max_size=2,
)
bodies = st.fixed_dictionaries(
    {"schemas": st.just([USER_SCHEMA]), "userName": texts},
    optional={
        "externalId": texts,
        "displayName": texts,
        "title": st.one_of(texts, st.none()),
        "active": st.one_of(st.booleans(), st.just("True")),
        "name": st.one_of(
            st.fixed_dictionaries({}, optional={"givenName": texts, "familyName": texts, "formatted": texts}), texts
        ),
        "emails": entries,
        "phoneNumbers": entries,
    },
)


@given(bodies)
def test_what_is_plain_is_kept_as_the_models_would_have_it_kept(body):
    said = plain_user(orjson.loads(orjson.dumps(body)))
    if said is None:
        return
    quirks: list[str] = []
    assert tolerate_resource(USER, body, quirks.append) == body
    assert not quirks

    with SERVICE.provider:
        read = SERVICE.read_creation(resource_type(USER), orjson.dumps(body), "application/scim+json")
        if read.active is None:
            read.active = True
        expected = mapping.user_facts(read, active=True)

    assert mapping.facts_of(said, active=True).SerializeToString(deterministic=True) == expected.SerializeToString(
        deterministic=True
    )
    assert isinstance(expected, pb.UserFacts)


def test_a_plain_user_is_read():
    said = {
        "schemas": [USER_SCHEMA],
        "userName": "ann",
        "emails": [{"type": "work", "value": "a@b.c", "primary": True}],
    }

    assert plain_user(said) == {**said, "active": True}
