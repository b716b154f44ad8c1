"""Every method of the contract, found by its descriptor: whom it lets in, and that no tenant meets another."""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from muster.directory.v1 import administrators_pb2, imports_pb2, invitations_pb2, sources_pb2
from sqlalchemy import select
from sqlmodel import SQLModel

from services.directory.api.registration import SERVICE_NAMES
from services.directory.rules.account_reach import REACHES
from services.directory.rules.grants import METHOD_RULES, SERVICE_GRANTS, Grant
from services.directory.store.fence import tenant_columns
from tests.integration.directory.serving import (
    Caller,
    Office,
    ServedDirectory,
    counted_statements,
    make_administrator,
    sign_in,
)
from tests.integration.directory.walking import all_methods, beside_own, call, filled, path_of, rule_of, services

PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED
REFUSALS = {PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
MARK = "Zanzibar"
WHO_CALLS = {"service_tokens", "api_keys", "sources", "administrator_sessions", "administrators", "tenants"}
"""The tables in which a caller is found."""


@dataclass(frozen=True)
class Full:
    """A tenant with one thing of each kind; `names` has their names by kind."""

    office: Office
    names: dict[str, str]
    key: str

    @property
    def marks(self):
        """What shows nowhere but in this tenant."""
        return [MARK.encode(), self.office.name.encode(), *(name.rpartition("/")[2].encode() for name in self.own)]

    @property
    def own(self):
        return [name for kind, name in self.names.items() if kind not in {"tenant", "license"}]


def a_full_office(support: Caller) -> Full:
    office = Office(support, accept_url="https://people.example.org/accept")
    group = office.group(f"{MARK} group", group_id=f"{MARK}-1")
    user = office.user(f"{MARK}@example.org", groups=[group.name], display_name=f"{MARK} Ann")
    request = sources_pb2.CreateSourceRequest(tenant=office.name, source=sources_pb2.Source(display_name=MARK))
    source = support.sources.CreateSource(request).source
    key = office.api_key(office.scim_source(f"{MARK} provider").name)
    run = support.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=source.name)).import_run
    invitation = support.invitations.CreateInvitation(invitations_pb2.CreateInvitationRequest(user=user.name))
    names = {
        "tenant": office.name,
        "account": office.account(f"{MARK} School").name,
        "group": group.name,
        "user": user.name,
        "source": source.name,
        "import_run": run.name,
        "license": office.license,
        "api_key": key.api_key.name,
        "invitation": invitation.invitation.name,
        "administrator": make_administrator(support, office.name).administrator.name,
    }
    return Full(office, names, key.secret)


@pytest.fixture(scope="module")
def theirs(support: Caller) -> Full:
    """The tenant that is looked for."""
    return a_full_office(support)


@pytest.fixture(scope="module")
def ours(support: Caller) -> Full:
    """The tenant of those who look."""
    return a_full_office(support)


@pytest.fixture(scope="module")
def callers(directory: ServedDirectory, support: Caller, ours: Full) -> dict[Grant, Caller]:
    """One caller with each grant; those that are bound are bound to our tenant."""
    made = {
        grant: directory.caller(grant, ours.office.name if grant is Grant.TENANT else "") for grant in SERVICE_GRANTS
    }
    made[Grant.CONNECTION] = directory.caller_with(ours.key)
    administrator: administrators_pb2.CreateAdministratorResponse = make_administrator(support, ours.names["account"])
    session = sign_in(made[Grant.PANEL], administrator.administrator.email, administrator.password)
    made[Grant.ACCOUNT] = directory.caller_with(session.token)
    assert set(made) == set(Grant)
    return made


def rows_of(directory: ServedDirectory, tenant_id: int):
    """Everything that the register holds of a tenant."""
    found = {}
    with directory.store.read(tenant_id) as session:
        for name, column in tenant_columns().items():
            table = SQLModel.metadata.tables[name]
            rows = session.connection().execute(select(table).where(table.c[column] == tenant_id))
            found[name] = sorted(map(repr, rows))
    return found


def is_reached(method, grant):
    return grant in rule_of(method).grants or (grant is Grant.ACCOUNT and path_of(method) in REACHES)


def with_tokens():
    return [method for method in all_methods() if not rule_of(method).anonymous]


def test_every_service_is_served_and_every_method_has_a_row_and_is_implemented(directory, callers):
    assert {service.full_name for service in services()} == set(SERVICE_NAMES)
    assert set(METHOD_RULES) == {path_of(method) for method in all_methods()}
    unimplemented = []
    for method in all_methods():
        grant = next((grant for grant in callers if is_reached(method, grant)), Grant.SUPPORT)
        outcome = call(callers[grant], method, GetMessageClass(method.input_type)())
        if outcome.code is grpc.StatusCode.UNIMPLEMENTED:
            unimplemented.append(path_of(method))
    assert unimplemented == []


def test_no_method_answers_without_a_token(directory: ServedDirectory, ours: Full):
    nobody = directory.caller_with("")
    outcomes = {path_of(method): call(nobody, method, filled(method, ours.names)) for method in with_tokens()}
    assert {path: outcome.code for path, outcome in outcomes.items()} == dict.fromkeys(
        outcomes, grpc.StatusCode.UNAUTHENTICATED
    )


@pytest.mark.parametrize("grant", sorted(Grant))
def test_a_grant_that_a_method_does_not_name_is_refused_before_anything_is_looked_up(
    directory: ServedDirectory, callers, ours: Full, grant
):
    answered, looked_up = {}, {}
    for method in with_tokens():
        if is_reached(method, grant):
            continue
        with counted_statements(directory.store) as statements:
            outcome = call(callers[grant], method, filled(method, ours.names))
        if outcome.code is not PERMISSION_DENIED:
            answered[path_of(method)] = outcome
        if tables := tables_in(statements) - WHO_CALLS:
            looked_up[path_of(method)] = tables
    assert answered == {}
    assert looked_up == {}


def tables_in(statements):
    """The tables that statements name; one that writes names itself."""
    text = "\n".join(statements)
    return set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", text)) | set(re.findall(r"^\s*(?:INSERT|UPDATE|DELETE).*", text))


@pytest.mark.parametrize("grant", [Grant.TENANT, Grant.ACCOUNT])
def test_a_token_of_another_tenant_is_refused_by_name(directory: ServedDirectory, callers, theirs: Full, grant):
    before = rows_of(directory, theirs.office.tenant_id)
    answered = {}
    for method in with_tokens():
        if not is_reached(method, grant) or rule_of(method).by_key:
            continue
        outcome = call(callers[grant], method, filled(method, theirs.names))
        if outcome.code is not PERMISSION_DENIED:
            answered[path_of(method)] = outcome
    assert answered == {}
    assert rows_of(directory, theirs.office.tenant_id) == before


@pytest.mark.parametrize("grant", [Grant.TENANT, Grant.ACCOUNT, Grant.CONNECTION])
def test_what_another_tenant_has_cannot_be_named_beside_ones_own(
    directory: ServedDirectory, callers, ours: Full, theirs: Full, grant
):
    """CreateUser in one's own account with another's group, a connection's PATCH of another's user, and so on."""
    before = rows_of(directory, theirs.office.tenant_id)
    answered, walked = {}, 0
    for method in with_tokens():
        if not is_reached(method, grant):
            continue
        for path, request in beside_own(method, ours.names, theirs.names):
            walked += 1
            outcome = call(callers[grant], method, request)
            is_silent = outcome.failure is None and not any(mark in outcome.answer for mark in theirs.marks)
            if outcome.code not in REFUSALS and not is_silent:
                answered[path_of(method), path] = outcome
    assert answered == {}
    assert walked > 5
    assert rows_of(directory, theirs.office.tenant_id) == before
