"""Administrators: who makes them, how far each reaches, and what ends with them."""

from __future__ import annotations

import uuid
from datetime import UTC

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import administrators_pb2 as pb
from muster.directory.v1 import events_pb2, sources_pb2, tenants_pb2

from services.directory.rules.grants import Grant
from services.directory.store.administrator_tables import Administrator
from tests.integration.directory.serving import (
    START,
    Caller,
    Office,
    ServedDirectory,
    fields_of,
    make_administrator,
    refused,
    sign_in,
)

pytestmark = pytest.mark.mostly("postgresql")


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture(scope="module")
def panel(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.PANEL)


def signed_in(directory: ServedDirectory, panel: Caller, made: pb.CreateAdministratorResponse) -> Caller:
    return directory.caller_with(sign_in(panel, made.administrator.email, made.password).token)


def update(name: str, **values) -> pb.UpdateAdministratorRequest:
    etag = values.pop("etag", "")
    administrator = pb.Administrator(name=name, etag=etag, **values)
    return pb.UpdateAdministratorRequest(administrator=administrator, update_mask=FieldMask(paths=sorted(values)))


def test_an_administrator_has_the_role_that_its_parent_gives_and_a_password_shown_once(
    directory, support, panel, office
):
    for parent, role, account in (
        ("", pb.ADMINISTRATOR_ROLE_SUPPORT, ""),
        (office.name, pb.ADMINISTRATOR_ROLE_TENANT, ""),
        (office.main_account, pb.ADMINISTRATOR_ROLE_ACCOUNT, office.main_account),
    ):
        made = make_administrator(support, parent)
        assert (made.administrator.role, made.administrator.account) == (role, account)
        assert made.administrator.name.startswith("/".join([*parent.split("/")[:2], "administrators/adm_"]).lstrip("/"))
        caller = signed_in(directory, panel, made)
        session = caller.administrators.GetSession(pb.GetSessionRequest())
        assert session.administrator.name == made.administrator.name
        assert session.administrator.last_sign_in_time.ToDatetime(UTC) == START
        assert (session.expire_time.ToDatetime(UTC) - START).total_seconds() == 12 * 3600
    told = office.events("administrator.created")
    assert [dict(event.after) for event in told] == [
        {"role": "tenant"},
        {"role": "account", "account": office.main_account},
    ]
    assert "@" not in str(told)


def test_the_same_request_gives_the_same_password(support, office):
    request = pb.CreateAdministratorRequest(parent=office.name, email="twice@example.org", request_id=str(uuid.uuid4()))
    made = support.administrators.CreateAdministrator(request)
    assert support.administrators.CreateAdministrator(request) == made


def test_one_mail_signs_in_once_whatever_the_tenant(support, office):
    taken = make_administrator(support, Office(support).name).administrator.email
    with refused("ADMINISTRATOR_EXISTS"):
        support.administrators.CreateAdministrator(
            pb.CreateAdministratorRequest(parent=office.name, email=taken.upper())
        )
    other = make_administrator(support).administrator
    with refused("ADMINISTRATOR_EXISTS"):
        support.administrators.UpdateAdministrator(update(other.name, email=taken))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"email": "no mail"}, "email"),
        ({"role": pb.ADMINISTRATOR_ROLE_SUPPORT}, "role"),
        ({"display_name": "x" * 257}, "display_name"),
    ],
)
def test_what_cannot_be_an_administrator_is_refused(support, office, values, field):
    with refused("INVALID_ARGUMENT") as told:
        support.administrators.CreateAdministrator(
            pb.CreateAdministratorRequest(**{"parent": office.name, "email": "who@example.org", **values})
        )
    assert fields_of(told) == [field]


def test_administrators_are_listed_by_whom_they_serve(support, office):
    made = [make_administrator(support, parent) for parent in (office.name, office.main_account)]
    names = [one.administrator.name for one in made]
    first = support.administrators.ListAdministrators(pb.ListAdministratorsRequest(parent=office.name, page_size=1))
    second = support.administrators.ListAdministrators(
        pb.ListAdministratorsRequest(parent=office.name, page_size=1, page_token=first.next_page_token)
    )
    assert [one.name for one in (*first.administrators, *second.administrators)] == names
    supports = support.administrators.ListAdministrators(pb.ListAdministratorsRequest(page_size=1000)).administrators
    assert not {one.name for one in supports} & set(names)


def test_a_tenants_administrator_reaches_its_tenant_and_signs_what_it_does(directory, support, panel, office):
    made = make_administrator(support, office.name)
    caller = signed_in(directory, panel, made)
    other = Office(support)
    assert caller.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=office.name)).tenant.name == office.name
    mate = make_administrator(caller, office.name).administrator
    (event,) = [event for event in office.events("administrator.created") if event.resource == mate.name]
    assert event.actor == made.administrator.name
    theirs = make_administrator(support, other.name).administrator
    for refuse in (
        lambda: caller.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=other.name)),
        lambda: caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest()),
        lambda: caller.administrators.DeleteAdministrator(pb.DeleteAdministratorRequest(name=theirs.name)),
        lambda: make_administrator(caller, other.name),
    ):
        with refused("PERMISSION_DENIED"):
            refuse()
    supports = make_administrator(support).administrator.name
    for refuse in (
        lambda: make_administrator(caller),
        lambda: caller.administrators.ListAdministrators(pb.ListAdministratorsRequest()),
        lambda: caller.administrators.ResetAdministratorPassword(pb.ResetAdministratorPasswordRequest(name=supports)),
    ):
        with refused("INVALID_ARGUMENT"):  # a name without a tenant
            refuse()


def test_support_that_has_signed_in_reaches_all_tenants(directory, support, panel, office):
    caller = signed_in(directory, panel, make_administrator(support))
    assert caller.sources.ListSources(sources_pb2.ListSourcesRequest(tenant=office.name)) is not None
    assert caller.tenants.ListTenants(tenants_pb2.ListTenantsRequest(page_size=1)).tenants


def test_mail_and_name_are_changed_and_a_stale_etag_is_noticed(directory, support, panel, office):
    made = make_administrator(support, office.name)
    caller = signed_in(directory, panel, made)
    name = made.administrator.name
    changed = support.administrators.UpdateAdministrator(
        update(name, email=f"New.{made.administrator.email}", display_name="", etag=made.administrator.etag)
    ).administrator
    assert (changed.email, changed.display_name) == (f"new.{made.administrator.email}", "")
    with refused("STALE_ETAG"):
        support.administrators.UpdateAdministrator(update(name, display_name="x", etag=made.administrator.etag))
    assert caller.administrators.GetSession(pb.GetSessionRequest()).administrator.email == changed.email
    (event,) = office.events("administrator.updated")
    assert MessageToDict(event.after) == {"changed": ["display_name", "email"]}


def test_deleting_an_administrator_ends_its_sessions(directory, support, panel, office):
    made = make_administrator(support, office.name)
    caller = signed_in(directory, panel, made)
    support.administrators.DeleteAdministrator(pb.DeleteAdministratorRequest(name=made.administrator.name))
    with refused("UNAUTHENTICATED"):
        caller.administrators.GetSession(pb.GetSessionRequest())
    with refused("WRONG_PASSWORD"):
        sign_in(panel, made.administrator.email, made.password)
    with refused("NOT_FOUND"):
        support.administrators.GetAdministrator(pb.GetAdministratorRequest(name=made.administrator.name))
    assert [event.resource for event in office.events("administrator.deleted")] == [made.administrator.name]


def test_a_reset_gives_another_password_and_ends_sessions_codes_and_locks(directory, support, panel, office):
    made = make_administrator(support, office.name)
    caller = signed_in(directory, panel, made)
    key = _key(directory, made.administrator.email)
    with directory.store.write(None) as session:
        kept = session.get(Administrator, key)
        kept.is_totp_on, kept.failures, kept.locked_until = True, 9, directory.clock.now.replace(year=2030)
    reset = support.administrators.ResetAdministratorPassword(
        pb.ResetAdministratorPasswordRequest(name=made.administrator.name)
    )
    assert not reset.administrator.totp
    with refused("UNAUTHENTICATED"):
        caller.administrators.GetSession(pb.GetSessionRequest())
    with refused("WRONG_PASSWORD"):
        sign_in(panel, made.administrator.email, made.password)
    assert sign_in(panel, made.administrator.email, reset.password).token


def _key(directory: ServedDirectory, email: str) -> tuple[int, int]:
    with directory.store.read(None) as session:
        found = session.connection().exec_driver_sql(
            f"SELECT tenant_id, id FROM administrators WHERE email = '{email}'"
        )
        return tuple(found.one())


def test_nobody_of_a_deleted_tenant_gets_in(directory, support, panel):
    office = Office(support)
    made = make_administrator(support, office.name)
    caller = signed_in(directory, panel, made)
    bound = directory.caller(Grant.TENANT, office.name)
    support.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=office.name))
    for refuse in (
        lambda: caller.administrators.GetSession(pb.GetSessionRequest()),
        lambda: bound.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=office.name)),
    ):
        with refused("UNAUTHENTICATED"):
            refuse()
    with refused("WRONG_PASSWORD"):
        sign_in(panel, made.administrator.email, made.password)


def test_services_have_no_session_and_the_panel_does_nothing_but_sign_in(directory, support, panel, office):
    for caller in (support, directory.caller(Grant.TENANT, office.name)):
        with refused("PERMISSION_DENIED"):
            caller.administrators.GetSession(pb.GetSessionRequest())
    with refused("PERMISSION_DENIED"):
        panel.events.ListEvents(events_pb2.ListEventsRequest(tenant=office.name))
    made = make_administrator(support, office.name)
    with refused("PERMISSION_DENIED"):
        sign_in(signed_in(directory, panel, made), made.administrator.email, made.password)
