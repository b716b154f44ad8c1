"""Keys of SCIM connections: issued once, rotated with overlap, revoked at once (S1)."""

from __future__ import annotations

import json
from datetime import UTC, timedelta

import pytest
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import api_keys_pb2 as pb
from muster.directory.v1 import groups_pb2, licenses_pb2, provisioning_pb2, sources_pb2

from services.directory.operations import api_keys, refusals
from services.directory.operations.tokens import Caller as TokenCaller
from services.directory.operations.tokens import authenticate
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.rules.tokens import API_KEY
from services.directory.store.provisioning_tables import ApiKey
from services.directory.store.tables import RequestReplay, SourceState
from tests.integration.directory.serving import PEPPER, START, Office, ServedDirectory, fields_of, refused

pytestmark = pytest.mark.mostly("postgresql")

REQUEST_ID = "5d2a6f0e-6a0f-4c55-9d3b-2c7a4f8a9b10"


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture
def source(office: Office) -> sources_pb2.Source:
    return office.scim_source()


def caller_of(directory: ServedDirectory, key: str) -> TokenCaller | None:
    with directory.store.look_up() as connection:
        return authenticate(connection, key, pepper=PEPPER, now=directory.clock())


def listed(office: Office, source: sources_pb2.Source) -> dict[str, str]:
    answer = office.support.api_keys.ListApiKeys(pb.ListApiKeysRequest(source=source.name))
    return {key.key_id: pb.ApiKeyState.Name(key.state).removeprefix("API_KEY_STATE_") for key in answer.api_keys}


def rotate(office: Office, key: pb.ApiKey, **request) -> pb.RotateApiKeyResponse:
    return office.support.api_keys.RotateApiKey(pb.RotateApiKeyRequest(name=key.name, **request))


def revoke(office: Office, key: pb.ApiKey, **request) -> pb.ApiKey:
    return office.support.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(name=key.name, **request)).api_key


def test_a_key_says_which_tenant_and_which_connection(directory: ServedDirectory, office, source):
    made = office.api_key(source.name)
    tenant_id, source_id = names.parse(names.SOURCE, source.name, field="source")
    caller = caller_of(directory, made.secret)
    assert caller == TokenCaller(made.api_key.key_id, Grant.CONNECTION, tenant_id, source_id, SourceState.ENABLED)
    assert made.api_key.name == f"{source.name}/apiKeys/{made.api_key.key_id}"
    assert API_KEY.id_of(made.secret) == made.api_key.key_id


def test_the_database_keeps_no_key_and_no_list_shows_one(directory: ServedDirectory, office, source):
    made = office.support.api_keys.CreateApiKey(pb.CreateApiKeyRequest(source=source.name, request_id=REQUEST_ID))
    secret = made.secret.rpartition("_")[2].encode()
    with directory.store.read(office.tenant_id) as session:
        kept = session.get(ApiKey, made.api_key.key_id)
        replayed = session.get(RequestReplay, (kept.tenant_id, REQUEST_ID))
    assert len(kept.secret_hmac) == 32
    assert secret not in kept.secret_hmac
    assert secret not in replayed.answer
    keys = office.support.api_keys.ListApiKeys(pb.ListApiKeysRequest(source=source.name))
    assert secret.decode() not in str(keys)
    assert secret.decode() not in str(office.events("key.*"))


def test_a_retried_create_gives_the_same_key_again(office, source):
    request = pb.CreateApiKeyRequest(source=source.name, request_id=REQUEST_ID)
    first = office.support.api_keys.CreateApiKey(request)
    assert office.support.api_keys.CreateApiKey(request) == first
    assert list(listed(office, source)) == [first.api_key.key_id]


def test_a_forged_key_is_unknown_like_any_other(directory: ServedDirectory, office, source):
    key_id = office.api_key(source.name).api_key.key_id
    assert caller_of(directory, API_KEY.write(key_id, bytes(32))) is None
    assert caller_of(directory, API_KEY.write("0123456789ab", bytes(32))) is None


def test_a_key_expires(directory: ServedDirectory, office, source):
    made = office.api_key(source.name, expires_days=1)
    assert made.api_key.expire_time.ToDatetime(UTC) == START + timedelta(days=1)
    directory.clock.pass_hours(23)
    assert caller_of(directory, made.secret)
    directory.clock.pass_hours(1)
    assert caller_of(directory, made.secret) is None
    assert listed(office, source) == {made.api_key.key_id: "EXPIRED"}


@pytest.mark.parametrize("days", [-1, 3651])
def test_a_key_expires_within_ten_years_or_never(office, source, days):
    with refused("INVALID_ARGUMENT") as told:
        office.api_key(source.name, expires_days=days)
    assert fields_of(told) == ["expires_days"]
    assert not office.api_key(source.name).api_key.HasField("expire_time")


def test_a_rotated_key_opens_beside_its_successor_until_the_overlap_ends(directory: ServedDirectory, office, source):
    old = office.api_key(source.name)
    new = rotate(office, old.api_key)
    assert listed(office, source) == {old.api_key.key_id: "ROTATED", new.api_key.key_id: "ACTIVE"}
    directory.clock.pass_hours(23.9)
    assert caller_of(directory, old.secret)
    assert caller_of(directory, new.secret)
    directory.clock.pass_hours(0.1)
    assert caller_of(directory, old.secret) is None
    assert caller_of(directory, new.secret)
    assert listed(office, source) == {old.api_key.key_id: "EXPIRED", new.api_key.key_id: "ACTIVE"}


def test_a_rotation_without_overlap_ends_the_old_key_at_once(directory: ServedDirectory, office, source):
    old = office.api_key(source.name)
    rotate(office, old.api_key, overlap_hours=0)
    assert caller_of(directory, old.secret) is None


def test_a_rotation_never_lengthens_a_keys_life(directory: ServedDirectory, office, source):
    old = office.api_key(source.name, expires_days=1)
    new = rotate(office, old.api_key, overlap_hours=48)
    assert new.api_key.expire_time == old.api_key.expire_time
    directory.clock.pass_hours(24)
    assert caller_of(directory, old.secret) is None


def test_the_successor_of_a_key_that_expires_expires_as_late_after_it_was_made(directory, office, source):
    old = office.api_key(source.name, expires_days=30)
    directory.clock.pass_hours(24 * 29)
    new = rotate(office, old.api_key)
    assert new.api_key.expire_time.ToDatetime(UTC) == START + timedelta(days=59)


@pytest.mark.parametrize("hours", [-1, 8761])
def test_an_overlap_is_a_year_at_most(office, source, hours):
    with refused("INVALID_ARGUMENT") as told:
        rotate(office, office.api_key(source.name).api_key, overlap_hours=hours)
    assert fields_of(told) == ["overlap_hours"]


def test_a_revoked_key_is_refused_at_once_and_by_each_call_alike(directory: ServedDirectory, office, source):
    made = office.api_key(source.name)
    revoked = revoke(office, made.api_key)
    assert revoked.state == pb.API_KEY_STATE_REVOKED
    assert caller_of(directory, made.secret) is None
    assert revoke(office, made.api_key) == revoked
    assert [event.kind for event in office.events("key.revoked")] == ["key.revoked"]


def test_a_rotated_key_can_be_revoked_before_its_overlap_ends(directory: ServedDirectory, office, source):
    old = office.api_key(source.name)
    new = rotate(office, old.api_key)
    revoke(office, old.api_key)
    assert caller_of(directory, old.secret) is None
    assert caller_of(directory, new.secret)


def test_a_key_whose_time_is_over_is_not_rotated(directory: ServedDirectory, office, source):
    revoked, expired = office.api_key(source.name), office.api_key(source.name, expires_days=1)
    revoke(office, revoked.api_key)
    directory.clock.pass_hours(24)
    for key, state in ((revoked, "revoked"), (expired, "expired")):
        with refused("KEY_STATE") as told:
            rotate(office, key.api_key)
        assert told["failure"].metadata["state"] == state


def test_what_happens_to_keys_is_told_by_events_of_the_source(office, source):
    old = office.api_key(source.name)
    new = rotate(office, old.api_key)
    revoke(office, new.api_key)
    old_id, new_id = old.api_key.key_id, new.api_key.key_id
    told = [(event.kind, MessageToDict(event.before), MessageToDict(event.after)) for event in office.events("key.*")]
    assert told == [
        ("key.created", {}, {"key_id": old_id}),
        ("key.rotated", {"key_id": old_id}, {"key_id": new_id}),
        ("key.revoked", {}, {"key_id": new_id}),
    ]
    assert {event.resource for event in office.events("key.*")} == {source.name}


def test_only_scim_sources_have_keys(office):
    file = sources_pb2.CreateSourceRequest(tenant=office.name, source=sources_pb2.Source(display_name="Payroll"))
    with refused("SOURCE_STATE"):
        office.api_key(office.support.sources.CreateSource(file).source.name)
    with refused("NOT_FOUND"):
        office.api_key(f"{office.name}/sources/{names.SOURCE.format(1, 999_999).rpartition('/')[2]}")


def test_keys_are_listed_page_by_page(office, source):
    made = [office.api_key(source.name).api_key.key_id for _ in range(3)]
    office.api_key(office.scim_source("Another").name)
    seen, token = [], ""
    while not seen or token:
        request = pb.ListApiKeysRequest(source=source.name, page_size=2, page_token=token)
        answer = office.support.api_keys.ListApiKeys(request)
        seen += [key.key_id for key in answer.api_keys]
        token = answer.next_page_token
    assert seen == made


def test_a_key_is_found_by_its_id_alone_and_a_whole_key_is_not_repeated(office, source):
    made = office.api_key(source.name)
    found = office.support.api_keys.FindApiKey(pb.FindApiKeyRequest(key_id=made.api_key.key_id)).api_key
    assert found == made.api_key
    with refused("NOT_FOUND"):
        office.support.api_keys.FindApiKey(pb.FindApiKeyRequest(key_id="0123456789ab"))
    with refused("INVALID_ARGUMENT") as told:
        office.support.api_keys.FindApiKey(pb.FindApiKeyRequest(key_id=made.secret))
    assert made.secret not in told["failure"].message


def test_a_key_under_another_source_is_not_found(office, source):
    key = office.api_key(source.name).api_key
    other = pb.ApiKey(name=f"{office.scim_source('Another').name}/apiKeys/{key.key_id}")
    with refused("NOT_FOUND"):
        revoke(office, other)
    with refused("NOT_FOUND"):
        rotate(office, other)


@pytest.mark.parametrize(
    "name", ["", "x", "{source}", "{source}/apiKeys/", "{source}/apiKeys/short", "x/apiKeys/0123456789ab"]
)
def test_a_malformed_name_of_a_key_is_refused(office, source, name):
    with refused("INVALID_ARGUMENT") as told:
        revoke(office, pb.ApiKey(name=name.format(source=source.name)))
    assert fields_of(told) == ["name"]


def test_a_tenants_token_handles_its_own_keys(directory: ServedDirectory, office, source):
    caller = directory.caller(Grant.TENANT, office.name)
    made = caller.api_keys.CreateApiKey(pb.CreateApiKeyRequest(source=source.name))
    assert caller_of(directory, made.secret)
    with refused("PERMISSION_DENIED"):
        caller.api_keys.FindApiKey(pb.FindApiKeyRequest(key_id=made.api_key.key_id))


def create_user(caller, name="ann@example.org", request_id=""):
    facts = provisioning_pb2.UserFacts(
        user_name=name, active=True, display_name="Ann", email=name, attributes=json.dumps({"userName": name}).encode()
    )
    request = provisioning_pb2.CreateProvisionedUserRequest(facts=facts, request_id=request_id)
    return caller.provisioning.CreateProvisionedUser(request).user


def test_what_a_key_does_is_done_by_its_source_in_its_tenant(directory: ServedDirectory, office, source):
    made = create_user(directory.caller_with(office.api_key(source.name).secret))
    (event,) = office.events("user.created")
    assert event.actor == source.name
    assert event.resource == f"{office.name}/users/{made.id}"


def test_a_key_of_one_tenant_sees_nothing_of_another(directory: ServedDirectory, support, office, source):
    made = create_user(directory.caller_with(office.api_key(source.name).secret))
    other = Office(support)
    caller = directory.caller_with(other.api_key(other.scim_source().name).secret)
    with refused("NOT_FOUND"):
        caller.provisioning.GetProvisionedUser(provisioning_pb2.GetProvisionedUserRequest(id=made.id))
    kinds = [provisioning_pb2.PROVISIONED_KIND_USER, provisioning_pb2.PROVISIONED_KIND_GROUP]
    search = provisioning_pb2.SearchProvisionedRequest(kinds=kinds)
    assert caller.provisioning.SearchProvisioned(search).total == 0


def test_a_key_of_a_disabled_source_is_told_so_and_opens_again_with_it(directory: ServedDirectory, office, source):
    caller = directory.caller_with(office.api_key(source.name).secret)
    office.support.sources.DisableSource(sources_pb2.DisableSourceRequest(name=source.name))
    with refused("SOURCE_STATE") as told:
        create_user(caller)
    assert told["failure"].metadata["state"] == "disabled"
    office.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=source.name))
    assert create_user(caller).id


def test_a_call_with_a_revoked_key_is_refused(directory: ServedDirectory, office, source):
    made = office.api_key(source.name)
    caller = directory.caller_with(made.secret)
    create_user(caller)
    revoke(office, made.api_key)
    with refused("UNAUTHENTICATED"):
        create_user(caller, "bob@example.org")


def test_a_call_notes_the_use_of_its_key(directory: ServedDirectory, office, source):
    create_user(directory.caller_with(office.api_key(source.name).secret))
    assert last_used(office, source) == START


def test_a_connections_group_is_a_synced_one_without_a_group_id_too(directory: ServedDirectory, office, source):
    facts = provisioning_pb2.GroupFacts(display_name="Porters", attributes=b'{"displayName": "Porters"}')
    caller = directory.caller_with(office.api_key(source.name).secret)
    made = caller.provisioning.CreateProvisionedGroup(provisioning_pb2.CreateProvisionedGroupRequest(facts=facts)).group
    name = f"{office.name}/groups/{made.id}"
    group = office.support.groups.GetGroup(groups_pb2.GetGroupRequest(name=name)).group
    assert (group.kind, group.owner, group.group_external_id) == (groups_pb2.GROUP_KIND_SYNCED, source.name, "")


def last_used(office: Office, source: sources_pb2.Source):
    (key,) = office.support.api_keys.ListApiKeys(pb.ListApiKeysRequest(source=source.name)).api_keys
    return key.last_used_time.ToDatetime(UTC) if key.HasField("last_used_time") else None


def test_a_use_is_noted_to_a_minute(directory: ServedDirectory, office, source):
    key_id = office.api_key(source.name).api_key.key_id
    uses = api_keys.KeyUses(directory.store)
    assert last_used(office, source) is None
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (61, 60), (200, 200)):
        uses.note(office.tenant_id, key_id, START + timedelta(seconds=seconds))
        assert last_used(office, source) == START + timedelta(seconds=noted)


def test_a_use_is_not_noted_while_the_key_or_the_database_is_held(directory: ServedDirectory, office, source):
    key_id = office.api_key(source.name).api_key.key_id
    uses = api_keys.KeyUses(directory.store)
    with directory.store.write(office.tenant_id) as session:
        session.get(ApiKey, key_id, with_for_update=True)
        uses.note(office.tenant_id, key_id, START)
    assert last_used(office, source) is None


def test_refusals_are_listed_the_longest_waiting_first_until_they_are_forgotten(directory, office, source):
    tenant_id, source_id = names.parse(names.SOURCE, source.name, field="source")
    with directory.store.write(tenant_id) as session:
        for minutes, name in enumerate(["Ann@example.org", "Bob@example.org", "Cy@example.org", "ann@example.org"]):
            person = refusals.Refused(name, f"E-{minutes}")
            now = START + timedelta(minutes=minutes)
            refusals.remember_refusals(session, tenant_id, source_id, [person], now=now)
        refusals.forget_refusal(session, tenant_id, source_id, "bob@example.org")
        refusals.forget_refusal(session, tenant_id, source_id, "nobody@example.org")
    request = licenses_pb2.ListRefusalsRequest(license=office.license, page_size=1)
    first = office.support.licenses.ListRefusals(request)
    request.page_token = first.next_page_token
    second = office.support.licenses.ListRefusals(request)
    assert (first.total, second.total, second.next_page_token) == (2, 2, "")
    (ann,) = first.refusals
    assert (ann.source, ann.user_name, ann.external_id, ann.attempts) == (source.name, "ann@example.org", "E-3", 2)
    assert (ann.last_time.ToDatetime(UTC) - ann.first_time.ToDatetime(UTC)) == timedelta(minutes=3)
    assert [refusal.user_name for refusal in second.refusals] == ["Cy@example.org"]
