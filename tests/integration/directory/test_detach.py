"""S12: a source is paused, parted from what it keeps, and deleted."""

from __future__ import annotations

import pytest
from muster.directory.v1 import groups_pb2, imports_pb2, users_pb2
from muster.directory.v1 import sources_pb2 as pb
from sqlalchemy import text

from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.tables import Claim, RunStatus, Source, SourceState
from tests.integration.directory.connection import connect
from tests.integration.directory.serving import Office, counted_statements, refused

pytestmark = pytest.mark.mostly("postgresql")

KEEP, DELETE = pb.DETACHED_USERS_KEEP_AS_MANUAL, pb.DETACHED_USERS_DELETE
MANUAL = ""


def detach(support, source, users):
    return support.sources.DetachSource(pb.DetachSourceRequest(name=source, users=users))


def pause(support, source):
    return support.sources.PauseSource(pb.PauseSourceRequest(name=source)).source


def resume(support, source):
    return support.sources.ResumeSource(pb.ResumeSourceRequest(name=source)).source


def delete(support, source, etag=""):
    support.sources.DeleteSource(pb.DeleteSourceRequest(name=source, etag=etag))


def users_of(support, tenant):
    answer = support.users.ListUsers(users_pb2.ListUsersRequest(tenant=tenant, show_deleted=True))
    return {user.email.partition("@")[0]: user for user in answer.users}


def origins(store, tenant_id):
    with store.read(tenant_id) as session:
        found = session.connection().execute(
            text("SELECT group_id, user_id, origin_source_id FROM memberships WHERE tenant_id = :t"), {"t": tenant_id}
        )
        return sorted(map(tuple, found))


def left_of(store, source):
    """How many rows name the source, by table, where there are any."""
    tenant_id, source_id = names.parse(names.SOURCE, source, field="source")
    columns = {
        "users": "owner_source_id",
        "groups": "owner_source_id",
        "memberships": "origin_source_id",
        "sleeping_memberships": "origin_source_id",
        "claims": "source_id",
        "former_claims": "source_id",
        "provisioned_resources": "source_id",
        "license_refusals": "source_id",
    }
    counts = {}
    with store.read(tenant_id) as session:
        for table, column in columns.items():
            sql = f"SELECT count(*) FROM {table} WHERE tenant_id = :t AND {column} = :s"
            counts[table] = session.connection().execute(text(sql), {"t": tenant_id, "s": source_id}).scalar_one()
    return {table: count for table, count in counts.items() if count}


def test_s12_users_of_a_detached_connection_stay_as_manual_users_in_their_groups(store, directory, support):
    office = Office(support)
    connection = connect(directory, office)
    ann, bo = connection.create("ann@example.org"), connection.create("bo@example.org")
    group = connection.create_group("Crisis", "CRISIS", members=[ann.id, bo.id])
    full_group = f"{office.name}/groups/{group.id}"
    office.change_members(full_group, add=[f"{office.name}/users/{ann.id}"])  # by hand, too
    connection.set_active(bo, active=False)
    office.support.users.CreateUser(office.user_request("manual@example.org"))

    detached = detach(support, connection.source, KEEP)

    assert (detached.source.state, detached.users) == (pb.SOURCE_STATE_DISABLED, 2)
    assert detached.source.HasField("detach_time")
    people = users_of(support, office.name)
    assert [people[name].owner for name in ("ann", "bo", "manual")] == [MANUAL] * 3
    assert people["ann"].state == users_pb2.USER_STATE_ACTIVE
    assert people["ann"].group_display_names == ["Crisis"]
    assert people["bo"].state == users_pb2.USER_STATE_DELETED  # nothing could wake it any more
    assert {origin for _, _, origin in origins(store, names.parse_tenant(office.name, field="t"))} == {0}
    kept = next(each for each in _groups(office) if each.name == full_group)
    assert (kept.group_external_id, kept.owner) == ("CRISIS", MANUAL)
    assert left_of(store, connection.source) == {}
    with refused("UNAUTHENTICATED"):
        connection.get(ann.id)
    (told,) = [event for event in office.events("user.updated") if "owner" in event.fields]
    assert (told.before["owner"], told.after["owner"]) == (connection.source, "manual")
    (source_told,) = office.events("source.detached")
    assert tuple(source_told.after[f"{of}_count"] for of in ("user", "group", "key")) == (2, 1, 1)
    told_before = len(office.events())
    detach(support, connection.source, KEEP)
    assert len(office.events()) == told_before
    for revive in (
        lambda: support.sources.EnableSource(pb.EnableSourceRequest(name=connection.source)),
        lambda: office.api_key(connection.source),
    ):
        with refused("FAILED_PRECONDITION") as refusal:
            revive()
        assert refusal["failure"].metadata == {"why": "detached"}


def test_s12_users_of_a_detached_connection_are_deleted_and_others_leave_its_groups(store, directory, support):
    office = Office(support)
    other, connection = connect(directory, office, name="Other"), connect(directory, office)
    mine, theirs = connection.create("mine@example.org"), other.create("theirs@example.org")
    group = connection.create_group("Crisis", "CRISIS", members=[mine.id, theirs.id])
    detach(support, connection.source, DELETE)
    people = users_of(support, office.name)
    assert people["mine"].state == users_pb2.USER_STATE_DELETED
    assert people["theirs"].state == users_pb2.USER_STATE_ACTIVE
    assert people["theirs"].owner == other.source
    assert office.members(f"{office.name}/groups/{group.id}") == []
    assert office.seats().seats_used == 1
    assert left_of(store, connection.source) == {}
    assert [event.resource for event in office.events("user.deleted")] == [people["mine"].name]
    assert [event.resource for event in office.events("membership.removed")] == [people["theirs"].name]


@pytest.mark.parametrize("users", [KEEP, DELETE], ids=["keep", "delete"])
def test_r41_whom_another_file_has_too_passes_to_it_and_open_runs_are_discarded(store, support, night, users):
    night.apply(night.plan("anna", "bo"))
    held = night.plan("anna/Anna Berg")
    tenant = names.TENANT.format(night.tenant_id)
    with store.write(night.tenant_id) as session:
        second = Source(
            tenant_id=night.tenant_id,
            id=night.source_id + 1_000_000,
            display_name="second",
            state=SourceState.ENABLED,
            position=2,
            create_time=night.imports.clock(),
        )
        session.add(second)
        session.flush()
        bo = session.get_one(Claim, (night.tenant_id, night.source_id, "EMPLOYEE-bo")).user_id
        session.add(Claim(tenant_id=night.tenant_id, source_id=second.id, external_id="EMPLOYEE-bo", user_id=bo))
        second_name = names.SOURCE.format(night.tenant_id, second.id)
    source = names.SOURCE.format(night.tenant_id, night.source_id)

    assert detach(support, source, users).users == 2

    people = users_of(support, tenant)
    assert people["bo"].owner == second_name
    assert people["anna"].owner == MANUAL
    assert people["anna"].state == (users_pb2.USER_STATE_ACTIVE if users == KEEP else users_pb2.USER_STATE_DELETED)
    assert night.read(held).status == RunStatus.DISCARDED
    assert left_of(store, source) == {}


def test_detaching_takes_the_same_number_of_statements_for_few_and_for_many(store, directory, support):
    counts = []
    for size in (1, 12):
        office = Office(support, seats=20)
        connection = connect(directory, office)
        connection.create_group(members=[connection.create().id for _ in range(size)])
        with counted_statements(store) as statements:
            detach(support, connection.source, DELETE)
        counts.append(len(statements))
    assert counts[0] == counts[1] < 60


def test_a_paused_source_stands_still_until_it_is_resumed(directory, support):
    office = Office(support)
    connection = connect(directory, office)
    connection.create("ann@example.org")
    assert pause(support, connection.source).state == pb.SOURCE_STATE_PAUSED
    assert pause(support, connection.source).state == pb.SOURCE_STATE_PAUSED
    with refused("SOURCE_STATE") as told:
        connection.create("bo@example.org")
    assert told["failure"].metadata["state"] == "paused"
    assert resume(support, connection.source).state == pb.SOURCE_STATE_ENABLED
    connection.create("bo@example.org")
    assert [event.kind for event in office.events("source.*")][1:] == ["source.paused", "source.resumed"]
    office.disable(connection.source)
    for step in (pause, resume):
        with refused("SOURCE_STATE") as told:
            step(support, connection.source)
        assert told["failure"].metadata["state"] == "disabled"


def test_a_paused_file_opens_no_run(support, office):
    source = support.sources.CreateSource(
        pb.CreateSourceRequest(tenant=office.name, source=pb.Source(display_name="file"))
    ).source.name
    support.sources.EnableSource(pb.EnableSourceRequest(name=source))
    pause(support, source)
    with refused("SOURCE_STATE"):
        support.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=source))


def test_a_source_is_deleted_when_it_owns_nothing_and_its_runs_stay(directory, support, office):
    first, second, third = (
        support.sources.CreateSource(
            pb.CreateSourceRequest(tenant=office.name, source=pb.Source(display_name=name))
        ).source
        for name in ("first", "second", "third")
    )
    run = support.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=first.name)).import_run.name
    importer = directory.caller(Grant.IMPORTER)
    with refused("STALE_ETAG"):
        delete(support, first.name, second.etag)
    delete(support, first.name)
    for call in (
        lambda: support.sources.GetSource(pb.GetSourceRequest(name=first.name)),
        lambda: support.sources.EnableSource(pb.EnableSourceRequest(name=first.name)),
        lambda: importer.sources.GetSourceSecret(pb.GetSourceSecretRequest(name=first.name)),
        lambda: support.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=first.name)),
        lambda: delete(support, first.name),
    ):
        with refused("NOT_FOUND"):
            call()
    listed = support.sources.ListSources(pb.ListSourcesRequest(tenant=office.name)).sources
    assert [(source.name, source.position) for source in listed] == [(second.name, 1), (third.name, 2)]
    logins = importer.sources.ListDropLogins(pb.ListDropLoginsRequest(page_size=1000)).logins
    assert first.name not in {login.source for login in logins}
    assert second.name in {login.source for login in logins}
    runs = support.imports.ListImportRuns(imports_pb2.ListImportRunsRequest(source=first.name)).import_runs
    assert [(each.name, each.status) for each in runs] == [(run, imports_pb2.IMPORT_RUN_STATUS_DISCARDED)]


def test_a_source_that_owns_users_must_be_detached_before_it_is_deleted(directory, support):
    office = Office(support)
    connection = connect(directory, office)
    connection.create()
    with refused("FAILED_PRECONDITION") as told:
        delete(support, connection.source)
    assert "detach it first" in told["failure"].message
    detach(support, connection.source, KEEP)
    delete(support, connection.source)


def test_a_scim_source_takes_back_what_it_reads_under_the_mask_of_everything(support, office):
    read = office.scim_source()
    read.display_name = "Renamed"
    request = pb.UpdateSourceRequest(source=read)
    request.update_mask.paths.append("*")
    assert support.sources.UpdateSource(request).source.display_name == "Renamed"
    request.source.etag = ""
    request.source.stable_for_seconds = 5
    with refused("INVALID_ARGUMENT") as told:
        support.sources.UpdateSource(request)
    assert [field for field, _ in told["failure"].violations] == ["source.stable_for_seconds"]


def _groups(office):

    return office.support.groups.ListGroups(groups_pb2.ListGroupsRequest(tenant=office.name)).groups
