"""Who is let in: tokens that are no longer, or never were, any good. test_walk.py asks every method."""

from __future__ import annotations

import grpc
import pytest
from muster.directory.v1 import tenants_pb2, users_pb2
from muster.runtime.errors import failure_of

from services.directory.rules.grants import Grant
from services.directory.rules.tokens import SERVICE_TOKEN
from services.directory.store.tables import ServiceToken
from tests.integration.directory.serving import ServedDirectory, refused


@pytest.mark.parametrize("damage", ["x", "", "mst_svc_000000000000_" + "0" * 72])
def test_a_damaged_token_is_refused_like_an_unknown_one(directory: ServedDirectory, damage):
    token = directory.token(Grant.SUPPORT)
    caller = directory.caller_with(token[:-1] + damage if len(damage) < 2 else damage)
    with refused("UNAUTHENTICATED"):
        caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest())


def test_a_token_with_another_secret_is_refused(directory: ServedDirectory):
    forged = SERVICE_TOKEN.write(SERVICE_TOKEN.id_of(directory.token(Grant.SUPPORT)) or "", bytes(32))
    with refused("UNAUTHENTICATED"):
        directory.caller_with(forged).tenants.ListTenants(tenants_pb2.ListTenantsRequest())


def test_a_revoked_token_is_refused_at_once(directory: ServedDirectory):
    token = directory.token(Grant.SUPPORT)
    caller = directory.caller_with(token)
    caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest())
    with directory.store.write(None) as session:
        session.get(ServiceToken, SERVICE_TOKEN.id_of(token)).revoked = True
    with refused("UNAUTHENTICATED"):
        caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest())


def test_the_database_keeps_no_token(directory: ServedDirectory):
    token = directory.token(Grant.SUPPORT)
    with directory.store.read(None) as session:
        kept = session.get(ServiceToken, token.split("_")[2])
    assert token.split("_")[3].encode() not in kept.secret_hmac
    assert len(kept.secret_hmac) == 32


def test_a_tenants_token_reaches_its_own_tenant(directory: ServedDirectory, office):
    caller = directory.caller(Grant.TENANT, office.name)
    made = caller.users.CreateUser(office.user_request()).user
    assert caller.users.GetUser(users_pb2.GetUserRequest(name=made.name)).user == made
    with refused("PERMISSION_DENIED"):
        caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest())


def test_a_malformed_name_is_refused_before_anything_is_looked_up(directory: ServedDirectory, office):
    caller = directory.caller(Grant.TENANT, office.name)
    for name in ("", "tenants", office.name, f"{office.name}/users/usr_00001x", "users/usr_000010"):
        with pytest.raises(grpc.RpcError) as caught:
            caller.users.GetUser(users_pb2.GetUserRequest(name=name))
        failure = failure_of(caught.value)
        assert failure.reason == "INVALID_ARGUMENT"
        assert [field for field, _ in failure.violations] == ["name"]
