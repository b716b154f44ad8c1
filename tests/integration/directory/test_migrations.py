"""The schema: made and unmade by migrations on both databases, the same as the models, tenant first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlmodel import SQLModel

from services.directory.operations.tenants import NewTenant, create_tenant
from services.directory.store import ids, schema, tables
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.migrations import downgrade, migrate
from services.directory.store.session import Store

NOT_BY_TENANT = {
    "tenants": [("id",)],
    "service_tokens": [("token_id",)],
    "api_keys": [("key_id",)],
    "events": [("xid", "position")],
    "id_counters": [("name",)],
    "administrators": [("email",)],
    "administrator_sessions": [("token_id",)],
    "sources": [("due_at",)],
    "subscriptions": [("name",)],
}
"""The exceptions: what must be found before, or across, tenants."""


@pytest.fixture
def fresh(database_url):
    store = Store(database_url)
    yield store
    store.close()


def a_tenant(store):
    with store.write(None) as session:
        new = NewTenant("Springfield", seats_total=3)
        create_tenant(session, new, actor=Actor("test"), now=datetime.now(UTC))


def test_the_schema_goes_down_to_nothing_with_data_and_up_again(database_url, fresh):
    a_tenant(fresh)
    downgrade(database_url, to="base")
    assert set(inspect(fresh.engine).get_table_names()) <= {"alembic_version"}
    migrate(database_url)
    a_tenant(fresh)
    with fresh.read(None) as session:
        assert session.get(tables.Tenant, 1).display_name == "Springfield"


def test_migrating_again_leaves_the_data_alone(database_url, fresh):
    a_tenant(fresh)
    migrate(database_url)
    with fresh.read(None) as session:
        assert session.get(tables.License, 1).seats_total == 3


@pytest.mark.mostly("postgresql")
def test_what_was_detached_before_it_was_kept_stays_disabled(database_url, fresh):
    now = datetime(2026, 3, 1, 2, tzinfo=UTC)
    with fresh.write(None) as session:
        tenant_id = create_tenant(session, NewTenant("Springfield", 3), actor=Actor("test"), now=now).id
    with fresh.write(tenant_id) as session:
        for number, state in enumerate((tables.SourceState.DISABLED, tables.SourceState.ENABLED), start=1):
            facts = {"display_name": "file", "state": state}
            session.add(tables.Source(tenant_id=tenant_id, id=number, create_time=now, **facts))
            detached = Change("source.detached", ("src", number))
            append_events(session, tenant_id, [detached], actor=Actor("test"), now=now)
    downgrade(database_url, to="0012")
    migrate(database_url)
    with fresh.read(tenant_id) as session:
        times = [session.get(tables.Source, (tenant_id, number)).detach_time for number in (1, 2)]
    assert times == [now, None]


@pytest.mark.mostly("postgresql")
def test_files_that_were_there_before_the_schedule_get_their_next_night(database_url, fresh):
    with fresh.write(None) as session:
        now = datetime.now(UTC)
        tenant_id = create_tenant(session, NewTenant("Springfield", 3), actor=Actor("test"), now=now).id
    with fresh.write(tenant_id) as session:
        for number, state in enumerate(tables.SourceState, start=1):
            facts = {"display_name": "file", "state": state, "nightly_time": "03:30", "time_zone": "Asia/Kolkata"}
            session.add(tables.Source(tenant_id=tenant_id, id=number, create_time=now, **facts))
    downgrade(database_url, to="0009")
    migrate(database_url)
    with fresh.read(tenant_id) as session:
        due = [session.get(tables.Source, (tenant_id, number)).due_at for number in range(1, 5)]
    assert due[2:] == [None, None]
    assert due[0] == due[1]
    assert (due[0].hour, due[0].minute) == (22, 0)
    assert timedelta() < due[0] - now <= timedelta(days=1)


def test_the_migrated_schema_is_that_of_the_models(fresh):
    with fresh.engine.connect() as connection:
        # SQLite gives an empty default back in a form that compares as another one.
        options = {"compare_type": True, "compare_server_default": not fresh.is_sqlite}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, SQLModel.metadata) == []


def test_every_key_and_index_begins_with_the_tenant_save_the_listed_ones(fresh):
    inspector = inspect(fresh.engine)
    found = {}
    for table in schema.NAMES:
        keys = [inspector.get_pk_constraint(table)["constrained_columns"]]
        keys += [index["column_names"] for index in inspector.get_indexes(table)]
        others = [tuple(key) for key in keys if key[0] != "tenant_id"]
        if others:
            found[table] = others
    assert found == NOT_BY_TENANT


def test_ids_come_from_one_sequence_each_and_never_twice(fresh):
    with fresh.write(None) as session:
        taken = [ids.next_id(session, name) for name in ids.SEQUENCES]
        more = ids.reserve_ids(session.connection(), "user", 1000)
    assert taken == [1] * len(ids.SEQUENCES)
    assert more == list(range(2, 1002))


def test_postgresql_has_a_schema_for_stages(fresh):
    if not fresh.is_sqlite:
        assert "stage" in inspect(fresh.engine).get_schema_names()
        return
    with fresh.engine.connect() as connection:  # SQLite has a counter row for each sequence instead
        names = set(connection.execute(text("SELECT name FROM id_counters")).scalars())
    assert names == set(ids.SEQUENCES)
