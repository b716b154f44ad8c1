"""What has come due is done once an hour, by one directory at a time: nothing before its time, and nothing else."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest
from muster.directory.v1 import operations_pb2 as pb
from muster.directory.v1 import tenants_pb2, users_pb2
from sqlalchemy import text
from sqlmodel import SQLModel

from services.directory.operations import refusals
from services.directory.operations.housekeeping import Housekeeper, make_housekeeping_worker
from services.directory.operations.imports import Imports
from services.directory.rules import names
from services.directory.store import schema
from services.directory.store.administrator_tables import AdministratorSession
from services.directory.store.provisioning_tables import SleepingMembership
from services.directory.store.seal import Seal
from tests.integration.directory.connection import connect
from tests.integration.directory.nights import Night
from tests.integration.directory.serving import SEAL_KEY, Caller, Office

KEPT = timedelta(days=730)


@pytest.fixture
def keeper(store, directory):
    """The housekeeper of another directory on the same database."""
    return Housekeeper(Imports(store, directory.stages, clock=directory.clock), Seal(SEAL_KEY), KEPT)


def purge(support: Caller) -> dict[str, int]:
    """Purge; gives what was done."""
    done = support.operations.PurgeExpired(pb.PurgeExpiredRequest())
    return {field.name: value for field, value in done.ListFields()}


def pass_days(directory, days):
    directory.clock.pass_hours(24 * days)


def user_of(support, name):
    return support.users.GetUser(users_pb2.GetUserRequest(name=name)).user


def rows_of(store, tenant_id):
    """How many rows each table has of a tenant, where there are any."""
    counts = {}
    with store.read(tenant_id) as session:
        for table in SQLModel.metadata.sorted_tables:
            if table.name in schema.NAMES - {"service_tokens"} and "tenant_id" in table.c:
                sql = text(f"SELECT count(*) FROM {table.name} WHERE tenant_id = :t")
                counts[table.name] = session.connection().execute(sql, {"t": tenant_id}).scalar_one()
    return {table: count for table, count in counts.items() if count}


def test_each_thing_is_purged_in_its_time_and_nothing_before(store, directory, support):
    office = Office(support)
    connection = connect(directory, office)
    asleep, deleted = (f"{office.name}/users/{connection.create().id}" for _ in range(2))
    connection.set_active(connection.get(asleep.rpartition("/")[2]), active=False)
    kept = office.user(request_id=str(uuid.uuid4()))
    waits = refusals.Refused("waits@example.org", "")
    with store.write(office.tenant_id) as session:
        source_id = names.parse(names.SOURCE, connection.source, field="source")[1]
        refusals.remember_refusals(session, office.tenant_id, source_id, [waits], now=directory.clock())
    group = names.parse(names.GROUP, office.group().name, field="group")[1]
    with store.write(office.tenant_id) as session:
        user_id = names.parse(names.USER, asleep, field="user")[1]
        soon = directory.clock() + timedelta(hours=24)
        member = {"tenant_id": office.tenant_id, "group_id": group, "user_id": user_id}
        session.add(SleepingMembership(**member, origin_source_id=0, until=soon))
    with store.write(None) as session:
        session.add(
            AdministratorSession(
                token_id=uuid.uuid4().hex,
                tenant_id=office.tenant_id,
                administrator_id=1,
                secret_hmac=b"",
                create_time=directory.clock(),
                expire_time=soon,
            )
        )
    assert purge(support) == {}

    directory.clock.pass_hours(25)
    done = purge(support)
    replays = done.pop("request_replays_deleted")
    assert replays >= 2  # of the office, and of the tenants themselves
    assert done == {"sleeping_memberships_ended": 1, "sessions_deleted": 1}
    connection.delete(deleted.rpartition("/")[2])

    pass_days(directory, 89)
    # 90 days and an hour asleep, and as long not asked for
    assert purge(support) == {"dormant_users_deleted": 1, "license_refusals_deleted": 1}
    assert user_of(support, asleep).state == users_pb2.USER_STATE_DELETED
    assert user_of(support, deleted).email

    pass_days(directory, 1)
    assert purge(support) == {"users_erased": 1}  # 90 days deleted
    assert user_of(support, deleted).email == ""
    assert user_of(support, asleep).email

    pass_days(directory, 90)
    assert purge(support) == {"users_erased": 1}
    assert user_of(support, asleep).email == ""
    assert user_of(support, kept.name).email == kept.email
    assert {event.actor for event in office.events("user.erased")} == {"services/directory"}
    assert purge(support) == {}


def test_a_deleted_tenant_is_wiped_whole_after_90_days(store, directory, support):
    office, other = Office(support), Office(support)
    connection = connect(directory, office)
    connection.create_group(members=[connection.create().id])
    office.user(groups=[office.group(account=office.account().name).name])
    night = Night(store, directory.stages, directory.clock)
    night.apply(night.plan("anna"))
    planned = night.plan("bert", dry_run=True)
    rest = rows_of(store, other.tenant_id)
    assert len(rows_of(store, office.tenant_id)) > 8
    for tenant in (office.name, names.TENANT.format(night.tenant_id)):
        support.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=tenant))
    directory.clock.pass_hours(25)
    purge(support)
    assert "users" in rows_of(store, office.tenant_id)

    pass_days(directory, 90)
    assert purge(support)["tenants_wiped"] == 2

    assert rows_of(store, office.tenant_id) == rows_of(store, night.tenant_id) == {}
    assert not night.staged(planned)
    listed = support.tenants.ListTenants(tenants_pb2.ListTenantsRequest(page_size=1000)).tenants
    assert office.name not in {tenant.name for tenant in listed}
    assert rows_of(store, other.tenant_id) == rest


def test_erasure_that_meets_a_run_is_done_by_the_next_purge(store, directory, support):
    night = Night(store, directory.stages, directory.clock)
    night.apply(night.plan("anna", "bo"))
    night.apply(night.plan("anna"))
    pass_days(directory, 91)
    run_id = night.open()
    assert "users_erased" not in purge(support)
    night.apply(night.plan_again(run_id, "anna"))
    assert purge(support)["users_erased"] == 1


def test_one_purge_at_a_time_on_one_database(store, directory, support, keeper):
    with keeper._alone() as is_alone:  # as if it took long
        assert is_alone
        assert keeper.purge().is_under_way
        if not store.is_sqlite:  # two directories on one database
            assert purge(support) == {"is_under_way": True}
    assert not keeper.purge().is_under_way


def test_a_directory_purges_by_itself(store, directory, office, keeper):
    office.user(request_id=str(uuid.uuid4()))
    directory.clock.pass_hours(25)
    worker = make_housekeeping_worker(keeper, first_within_s=0)
    deadline = time.monotonic() + 10
    worker.start()
    while "request_replays" in rows_of(store, office.tenant_id) and time.monotonic() < deadline:
        store.commits.wait(store.commits.count, timeout_s=0.1)
    worker.stop()
    assert "request_replays" not in rows_of(store, office.tenant_id)


def test_events_past_the_retention_go_to_the_archive(store, directory, support, office):
    office.user()
    pass_days(directory, 731)
    deadline = time.monotonic() + 10
    while rows_of(store, office.tenant_id).get("events") and time.monotonic() < deadline:
        purge(support)  # another database of the cluster may have a transaction open that holds them back
    assert "events" not in rows_of(store, office.tenant_id)
    assert rows_of(store, office.tenant_id)["archived_events"] >= 2
