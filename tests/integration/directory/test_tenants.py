"""Tenants changed and ended: nobody of a deleted one gets in, nothing of it runs, and nothing is written in it."""

from __future__ import annotations

import uuid

from muster.directory.v1 import imports_pb2, sources_pb2, tenants_pb2
from sqlmodel import col, select

from services.directory.operations.tenant_deletion import delete_tenant
from services.directory.rules.grants import Grant
from services.directory.store import ids
from services.directory.store.administrator_tables import AdministratorSession
from services.directory.store.events import Actor
from services.directory.store.tables import ImportRun, RunStatus
from tests.integration.directory.connection import connect
from tests.integration.directory.serving import Caller, Office, ServedDirectory, fields_of, refused


def update(caller: Caller, tenant: str, etag: str = "", **fields):
    request = tenants_pb2.UpdateTenantRequest(tenant=tenants_pb2.Tenant(name=tenant, etag=etag, **fields))
    request.update_mask.paths.extend(fields)
    return caller.tenants.UpdateTenant(request).tenant


def delete(office: Office, **request):
    return office.support.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=office.name, **request)).tenant


def read(office: Office):
    return office.support.tenants.GetTenant(tenants_pb2.GetTenantRequest(name=office.name)).tenant


def listed(support: Caller, **request):
    found, token = [], ""
    while True:
        answer = support.tenants.ListTenants(tenants_pb2.ListTenantsRequest(page_token=token, **request))
        found += [tenant.name for tenant in answer.tenants]
        token = answer.next_page_token
        if not token:
            return found


def sides(event):
    return dict(event.before.items()), dict(event.after.items())


def test_a_tenant_changes_what_the_mask_names_and_tells_it(directory: ServedDirectory, office: Office):
    theirs = directory.caller(Grant.TENANT, office.name)
    was = office.tenant
    changed = update(theirs, office.name, was.etag, language="sv", accept_url="https://accept.example.org")
    assert (changed.language, changed.accept_url) == ("sv", "https://accept.example.org")
    assert changed.display_name == was.display_name
    assert read(office) == changed
    (event,) = office.events("tenant.updated")
    assert event.resource == office.name
    assert sides(event) == (
        {"language": "en", "accept_url": ""},
        {"language": "sv", "accept_url": "https://accept.example.org"},
    )
    assert update(office.support, office.name, language="sv").etag == changed.etag
    with refused("STALE_ETAG"):
        update(office.support, office.name, was.etag, display_name="City")
    with refused("INVALID_ARGUMENT") as told:
        update(office.support, office.name, display_name=" ", accept_url="ftp://x", language="de")
    assert fields_of(told) == ["tenant.display_name", "tenant.accept_url", "tenant.language"]
    with refused("INVALID_ARGUMENT") as told:
        update(office.support, office.name, main_account=office.main_account)
    assert fields_of(told) == ["update_mask"]


def test_nobody_of_a_deleted_tenant_gets_in(directory: ServedDirectory, office: Office, store):
    theirs = directory.caller(Grant.TENANT, office.name)
    connection = connect(directory, office)
    connection.create()
    with store.write(office.tenant_id) as session:
        session.add(
            AdministratorSession(
                token_id=uuid.uuid4().hex,
                tenant_id=office.tenant_id,
                administrator_id=1,
                secret_hmac=b"x",
                create_time=directory.clock(),
                expire_time=directory.clock(),
            )
        )
    get = tenants_pb2.GetTenantRequest(name=office.name)
    assert theirs.tenants.GetTenant(get).tenant.name == office.name
    with refused("PERMISSION_DENIED"):
        theirs.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=office.name))
    with refused("STALE_ETAG"):
        delete(office, etag="0")
    ended = delete(office, etag=office.tenant.etag)
    assert ended.delete_time.ToDatetime() == directory.clock().replace(tzinfo=None)
    for call in (lambda: theirs.tenants.GetTenant(get), connection.create):
        with refused("UNAUTHENTICATED"):
            call()
    with store.read(office.tenant_id) as session:
        assert not session.exec(select(AdministratorSession).where(col(AdministratorSession.token_id) != "")).all()
    told = [(event.kind, event.resource) for event in office.events()[-3:]]
    assert told == [
        ("source.disabled", connection.source),
        ("key.revoked", connection.source),
        ("tenant.deleted", office.name),
    ]


def test_a_deleted_tenant_is_hidden_and_deleting_it_again_has_no_effect(office: Office):
    ended = delete(office)
    assert read(office) == ended
    assert office.name not in listed(office.support)
    assert office.name in listed(office.support, show_deleted=True)
    told = len(office.events())
    assert delete(office, etag=office.tenant.etag) == ended
    assert len(office.events()) == told


def test_nothing_is_written_in_a_deleted_tenant(office: Office):
    group, ann = office.group(), office.user()
    delete(office)
    for write in (
        office.user,
        office.account,
        office.group,
        office.scim_source,
        lambda: office.change_members(group.name, add=[ann.name]),
        lambda: update(office.support, office.name, display_name="Again"),
    ):
        with refused("NOT_FOUND") as told:
            write()
        assert told["failure"].metadata["resource"] == office.name


def test_runs_of_a_deleted_tenant_neither_start_nor_go_on(directory: ServedDirectory, office: Office, store):
    request = sources_pb2.CreateSourceRequest(tenant=office.name, source=sources_pb2.Source(display_name="Drop"))
    source = office.support.sources.CreateSource(request).source.name
    create = imports_pb2.CreateImportRunRequest(source=source)
    run = office.support.imports.CreateImportRun(create).import_run
    with store.write(office.tenant_id) as session:  # in one transaction, or the worker would meet the applying run
        kept = session.exec(select(ImportRun).where(ImportRun.tenant_id == office.tenant_id)).one()
        for status in (RunStatus.HELD, RunStatus.APPLYING, RunStatus.APPLIED):
            session.add(ImportRun(**kept.model_dump() | {"id": ids.next_id(session, "import_run"), "status": status}))
        session.flush()
        delete_tenant(session, office.tenant_id, etag="", actor=Actor("somebody"), now=directory.clock())
    with store.read(office.tenant_id) as session:
        query = select(ImportRun).where(ImportRun.tenant_id == office.tenant_id)
        runs = session.exec(query.order_by(col(ImportRun.id))).all()
    assert [kept.status for kept in runs] == [RunStatus.DISCARDED] * 3 + [RunStatus.APPLIED]
    ended = office.support.imports.GetImportRun(imports_pb2.GetImportRunRequest(name=run.name)).import_run
    assert (ended.status, ended.message) == (imports_pb2.IMPORT_RUN_STATUS_DISCARDED, "The tenant was deleted.")
    assert len(office.events("run.discarded")) == 3
    with refused("SOURCE_STATE"):
        office.support.imports.CreateImportRun(create)
    logins = office.support.sources.ListDropLogins(sources_pb2.ListDropLoginsRequest(page_size=1000)).logins
    assert source not in [login.source for login in logins]
