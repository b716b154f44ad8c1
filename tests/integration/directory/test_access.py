"""Who is let in: every method of every service, walked by its descriptor."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from muster.directory.v1 import tenants_pb2, users_pb2
from muster.runtime.errors import failure_of

from services.directory.api.registration import SERVICE_NAMES
from services.directory.rules import names
from services.directory.rules.grants import METHOD_RULES, SERVICE_GRANTS, Grant
from services.directory.rules.tokens import SERVICE_TOKEN
from services.directory.store.tables import ServiceToken
from tests.integration.directory.serving import Office, ServedDirectory, refused

PATTERNS = {
    "tenant": names.TENANT,
    "account": names.ACCOUNT,
    "group": names.GROUP,
    "source": names.SOURCE,
    "import_run": names.IMPORT_RUN,
    "license": names.LICENSE,
}
BY_SERVICE = {
    "TenantService": names.TENANT,
    "AccountService": names.ACCOUNT,
    "GroupService": names.GROUP,
    "UserService": names.USER,
    "LicenseService": names.LICENSE,
    "SourceService": names.SOURCE,
    "ImportService": names.IMPORT_RUN,
}
KEY_ID = "0123456789ab"


def all_methods():
    pool = descriptor_pool.Default()
    return [
        pytest.param(method, id=f"{method.containing_service.name}.{method.name}")
        for name in SERVICE_NAMES
        for method in pool.FindServiceByName(name).methods
    ]


def path_of(method):
    return f"/{method.containing_service.full_name}/{method.name}"


def a_request(method, tenant_id):
    """A request that names this tenant where the method reads it."""
    request = GetMessageClass(method.input_type)()
    field = METHOD_RULES[path_of(method)].tenant_field
    if not field:
        return request
    holder = request
    *parents, last = field.split(".")
    for parent in parents:
        holder = getattr(holder, parent)
    setattr(holder, last, a_name(method.containing_service.name, last, tenant_id))
    return request


def a_name(service, field, tenant_id):
    if (service, field) == ("ApiKeyService", "name"):
        return names.format_api_key(tenant_id, 1, KEY_ID)
    pattern = PATTERNS.get(field) or BY_SERVICE[service]
    numbers = (tenant_id,) if pattern in {names.TENANT, names.LICENSE} else (tenant_id, 1)
    return pattern.format(*numbers)


def call(channel, method, request):
    """Call a method by its descriptor; gives the reason with which it was refused, or None."""
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    stub = kinds[method.client_streaming, method.server_streaming](
        path_of(method),
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    argument = iter([request]) if method.client_streaming else request
    try:
        if method.server_streaming:
            stream = stub(argument, timeout=10)
            next(iter(stream), None)
            stream.cancel()
        else:
            stub(argument, timeout=10)
    except grpc.RpcError as error:
        return failure_of(error).reason
    return None


@pytest.mark.parametrize("method", all_methods())
def test_no_method_answers_without_a_token(directory: ServedDirectory, method):
    caller = directory.caller_with("")
    assert call(caller.channel, method, a_request(method, 1)) == "UNAUTHENTICATED"


@pytest.mark.parametrize("method", all_methods())
def test_no_method_answers_another_tenants_token(directory: ServedDirectory, support, method):
    request = tenants_pb2.CreateTenantRequest(display_name="Ours", seats_total=1)
    ours = support.tenants.CreateTenant(request).tenant.name
    theirs = support.tenants.CreateTenant(request).tenant.name
    caller = directory.caller(Grant.TENANT, ours)
    theirs_id = names.parse_tenant(theirs, field="tenant")
    assert call(caller.channel, method, a_request(method, theirs_id)) == "PERMISSION_DENIED"


@pytest.mark.parametrize("method", all_methods())
def test_a_connections_key_reaches_provisioning_and_nothing_else(directory: ServedDirectory, support, method):
    office = Office(support)
    caller = directory.caller_with(office.api_key(office.scim_source().name).secret)
    outcome = call(caller.channel, method, a_request(method, names.parse_tenant(office.name, field="tenant")))
    assert (outcome == "PERMISSION_DENIED") == (method.containing_service.name != "ProvisioningService")


@pytest.mark.parametrize("grant", sorted(SERVICE_GRANTS))
@pytest.mark.parametrize("method", all_methods())
def test_a_method_refuses_every_grant_that_is_not_in_its_row(directory: ServedDirectory, support, method, grant):
    tenant = support.tenants.CreateTenant(tenants_pb2.CreateTenantRequest(display_name="Ours")).tenant.name
    caller = directory.caller(grant, tenant if grant is Grant.TENANT else "")
    outcome = call(caller.channel, method, a_request(method, names.parse_tenant(tenant, field="tenant")))
    assert (outcome == "PERMISSION_DENIED") == (grant not in METHOD_RULES[path_of(method)].grants)


def test_every_method_has_a_row_and_every_row_a_method():
    assert set(METHOD_RULES) == {path_of(parameter.values[0]) for parameter in all_methods()}


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
