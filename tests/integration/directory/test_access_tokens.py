"""OAuth 2.0 client credentials: secrets beside keys, and access tokens that end with them (S13)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from muster.directory.v1 import api_keys_pb2 as pb
from muster.directory.v1 import provisioning_pb2

from services.directory.rules import names
from tests.integration.directory.serving import START, Caller, Office, ServedDirectory, fields_of, refused

SECRET = pb.API_KEY_KIND_CLIENT_SECRET


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture
def source(office: Office) -> str:
    return office.scim_source().name


@pytest.fixture(scope="module")
def nobody(directory: ServedDirectory):
    """A caller without any token."""
    caller = Caller(directory.target, "")
    yield caller
    caller.channel.close()


def make_secret(office: Office, source: str, **options) -> pb.CreateApiKeyResponse:
    return office.support.api_keys.CreateApiKey(pb.CreateApiKeyRequest(source=source, kind=SECRET, **options))


def issue(nobody: Caller, made, **changed) -> pb.IssueAccessTokenResponse:
    asked = {"client_id": made.client_id, "client_secret": made.secret, **changed}
    return nobody.api_keys.IssueAccessToken(pb.IssueAccessTokenRequest(**asked))


def search(directory: ServedDirectory, token: str):
    request = provisioning_pb2.SearchProvisionedRequest(kinds=[provisioning_pb2.PROVISIONED_KIND_USER])
    return directory.caller_with(token).provisioning.SearchProvisioned(request)


def test_a_secret_gives_tokens_that_are_as_good_as_a_key(directory, nobody, office, source):
    made = make_secret(office, source)
    assert made.secret.startswith(f"mst_sec_{made.api_key.key_id}_")
    assert made.client_id == names.short_id("src", names.parse(names.SOURCE, source, field="source")[1])
    token = issue(nobody, made)
    assert token.access_token.startswith(f"mst_oat_{made.api_key.key_id}_")
    assert token.expires_in == 3600
    assert search(directory, token.access_token).total == 0
    (listed,) = office.support.api_keys.ListApiKeys(pb.ListApiKeysRequest(source=source)).api_keys
    assert (listed.kind, listed.HasField("last_used_time")) == (SECRET, True)


def test_a_token_ends_with_its_time_or_at_once_with_its_secret(directory, nobody, office, source):
    first, second = make_secret(office, source), make_secret(office, source)
    assert first.client_id == second.client_id
    tokens = [issue(nobody, made, lifetime_minutes=90).access_token for made in (first, second)]
    office.support.api_keys.RevokeApiKey(pb.RevokeApiKeyRequest(name=first.api_key.name))
    for dead in (lambda: search(directory, tokens[0]), lambda: issue(nobody, first)):
        with refused("UNAUTHENTICATED"):
            dead()
    directory.clock.now += timedelta(minutes=89)
    assert search(directory, tokens[1]).total == 0
    directory.clock.now += timedelta(minutes=1)
    with refused("UNAUTHENTICATED"):
        search(directory, tokens[1])


def test_a_secret_is_rotated_as_a_key_is(directory, nobody, office, source):
    old = make_secret(office, source, expires_days=10)
    new = office.support.api_keys.RotateApiKey(pb.RotateApiKeyRequest(name=old.api_key.name, overlap_hours=1))
    assert (new.api_key.kind, new.client_id) == (SECRET, old.client_id)
    assert [issue(nobody, made).expires_in for made in (old, new)] == [3600, 3600]
    token = issue(nobody, old, lifetime_minutes=360).access_token
    directory.clock.pass_hours(1)
    for dead in (lambda: issue(nobody, old), lambda: search(directory, token)):
        with refused("UNAUTHENTICATED"):
            dead()
    assert issue(nobody, new)


def test_neither_a_secret_nor_a_key_is_taken_for_the_other(directory, nobody, office, source):
    key, made = office.api_key(source), make_secret(office, source)
    assert (key.client_id, key.api_key.kind) == ("", pb.API_KEY_KIND_KEY)
    for wrong in (
        lambda: search(directory, made.secret),
        lambda: issue(nobody, made, client_secret=key.secret),
        lambda: issue(nobody, made, client_id=names.short_id("src", 1_000_000)),
        lambda: search(directory, issue(nobody, made).access_token[:-1] + "~"),
    ):
        with refused("UNAUTHENTICATED"):
            wrong()


def test_wrong_secrets_are_slowed_and_the_right_one_never_waits(directory, nobody, office, source):
    made = make_secret(office, source)
    for _ in range(5):
        with refused("UNAUTHENTICATED"):
            issue(nobody, made, client_secret="wrong")
    with refused("SIGN_IN_LOCKED") as told:
        issue(nobody, made, client_secret="wrong")
    assert told["failure"].retry_after_s == 60
    assert issue(nobody, made)
    with refused("UNAUTHENTICATED"):
        issue(nobody, made, client_secret="wrong")


@pytest.mark.parametrize("minutes", [-1, 59, 361])
def test_a_lifetime_is_from_one_hour_to_six(nobody, office, source, minutes):
    with refused("INVALID_ARGUMENT") as told:
        issue(nobody, make_secret(office, source), lifetime_minutes=minutes)
    assert fields_of(told) == ["lifetime_minutes"]


def test_nothing_else_is_open_to_who_has_no_token(nobody, office, source):
    with refused("UNAUTHENTICATED"):
        nobody.api_keys.ListApiKeys(pb.ListApiKeysRequest(source=source))
