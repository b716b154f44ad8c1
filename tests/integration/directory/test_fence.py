"""The second fence: on PostgreSQL a transaction of one tenant neither sees nor writes another's rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module

import pytest
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import JSON, LargeBinary, String, func, insert, inspect, select, text, update
from sqlalchemy.exc import ProgrammingError
from sqlmodel import SQLModel

from services.directory.store import ids, schema
from services.directory.store.fence import APP, PLATFORM, PLATFORM_TABLES, tenant_columns
from services.directory.store.migrations import downgrade, fencing, migrate
from services.directory.store.session import Lock, Store, open_engine
from services.directory.store.tables import Tenant, User
from tests.integration.directory.nights import Night

MINE, THEIRS = 1, 2
DENIED = "42501"  # insufficient_privilege
NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)
LOGIN = "fence_owner", "fence_service"


@pytest.fixture(scope="module")
def store(databases):
    """A register on PostgreSQL in which two tenants have one row in every table."""
    url = databases.make("postgresql")
    opened = Store(url)
    for tenant in (MINE, THEIRS):
        with opened.write(None) as session:
            session.connection().execute(insert(Tenant).values(a_row("tenants", tenant)))
        with opened.write(tenant) as session:
            for table in fenced_tables():
                if table.name != "tenants":
                    session.connection().execute(insert(table).values(a_row(table.name, tenant)))
    yield opened
    opened.close()
    databases.drop(url)


def fenced_tables():
    """Every fenced table, those first that others refer to."""
    return [table for table in SQLModel.metadata.sorted_tables if table.name in tenant_columns()]


def a_row(name, tenant):
    """A row by reflection. Every number but the tenant is the same, so that rows of a tenant refer to each other."""
    table = SQLModel.metadata.tables[name]
    return {column.name: _value(column, tenant) for column in table.columns} | {tenant_columns()[name]: tenant}


def _value(column, tenant):
    if isinstance(column.type, JSON):
        return {}
    if isinstance(column.type, LargeBinary):
        return b"secret"
    if isinstance(column.type, String):
        return f"of {tenant}"
    return {int: 7, bool: False}.get(column.type.python_type, NOW)


def column_of(table):
    """The table's column that says whose a row is."""
    return table.columns[tenant_columns()[table.name]]


@contextmanager
def refused():
    with pytest.raises(ProgrammingError) as caught:
        yield
    assert caught.value.orig.sqlstate == DENIED


@contextmanager
def undone(engine):
    """A transaction that leaves nothing."""
    with engine.connect() as connection:
        yield connection
        connection.rollback()


def test_every_table_is_behind_the_fence_or_the_platforms_alone(store):
    with store.engine.connect() as connection:
        fenced = set(
            connection.scalars(
                text("""
                SELECT relname FROM pg_class JOIN pg_policies p ON p.tablename = relname AND p.policyname = 'app'
                WHERE relrowsecurity AND relforcerowsecurity AND p.cmd = 'ALL' AND p.qual LIKE '%muster.tenant%'
                """)
            )
        )
        open_to_app = {
            name
            for name in inspect(connection).get_table_names()
            if connection.scalar(select(func.has_table_privilege(APP, name, "SELECT, INSERT, UPDATE, DELETE")))
        }
        closed_sequences = [
            (role, name)
            for name in ids.SEQUENCES
            for role in (APP, PLATFORM)
            if not connection.scalar(select(func.has_sequence_privilege(role, f"{name}_id_seq", "USAGE")))
        ]
    assert fenced == open_to_app == schema.NAMES - PLATFORM_TABLES
    assert closed_sequences == []


def test_a_statement_that_forgets_the_tenant_reaches_its_own_rows_alone(store):
    seen, changed = {}, {}
    for table in fenced_tables():
        with undone(store.writing(MINE)) as connection:
            seen[table.name] = connection.scalars(select(column_of(table))).all()
            same = update(table).values({column_of(table): column_of(table)})
            changed[table.name] = connection.execute(same).rowcount
    assert seen == {name: [MINE] for name in tenant_columns()}
    assert changed == dict.fromkeys(tenant_columns(), 1)


def test_a_row_cannot_be_written_for_another_tenant(store):
    for table in fenced_tables():
        with undone(store.writing(MINE)) as connection, refused():
            connection.execute(insert(table).values(a_row(table.name, THEIRS)))
        with undone(store.writing(MINE)) as connection, refused():
            connection.execute(update(table).values({column_of(table): THEIRS}))


def test_a_wrong_condition_deletes_nothing_of_another_tenant(store):
    with undone(store.writing(MINE)) as connection:
        assert connection.execute(text("DELETE FROM events WHERE tenant_id = 2 OR true")).rowcount == 1
    with store.read(THEIRS) as session:
        assert session.scalar(text("SELECT count(*) FROM events")) == 1


def test_without_a_tenant_nothing_is_seen(store):
    seen = {}
    for table in fenced_tables():
        with undone(store.engine) as connection:
            seen[table.name] = connection.scalar(select(func.count()).select_from(table))
        with undone(store.engine) as connection, refused():
            connection.execute(insert(table).values(a_row(table.name, MINE)))
    assert seen == dict.fromkeys(tenant_columns(), 0)


def test_the_platform_does_what_its_grants_name_and_no_more(store):
    with store.read(None) as session:
        assert session.scalars(text("SELECT tenant_id FROM events ORDER BY 1")).all() == [MINE, THEIRS]
        assert session.scalars(text("SELECT tenant_id FROM request_replays")).all() == []
    for statement in (
        "SELECT password_hash FROM credentials",
        "SELECT document FROM provisioned_resources",
        "UPDATE events SET kind = 'x'",
        "UPDATE users SET title = 'x'",
        "UPDATE tenants SET display_name = 'x'",
        "CREATE TABLE stage.x ()",
    ):
        with undone(store.writing(None)) as connection, refused():
            connection.execute(text(statement))


def test_tables_of_no_tenant_are_closed_to_whoever_works_for_one(store):
    for name in PLATFORM_TABLES:
        with undone(store.writing(MINE)) as connection, refused():
            connection.execute(text(f"SELECT * FROM {name}"))


def test_nothing_of_role_and_tenant_outlives_the_transaction(store):
    with store.read(MINE) as session:
        backend = session.scalar(text("SELECT pg_backend_pid()"))
    with pytest.raises(ZeroDivisionError), store.write(MINE, lock=Lock.EXCLUSIVE):
        raise ZeroDivisionError
    connection = store.engine.raw_connection()
    try:
        left = connection.driver_connection.execute(
            "SELECT pg_backend_pid(), current_user = session_user, current_setting('muster.tenant', true),"
            " current_setting('lock_timeout')"
        ).fetchone()
    finally:
        connection.close()
    assert left == (backend, True, "", "0")


def test_a_statement_that_is_kept_prepared_sees_each_time_the_tenant_of_its_transaction(store):
    for tenant in (MINE, THEIRS) * 8:  # the driver prepares what it has run five times
        with store.read(tenant) as session:
            assert [user.tenant_id for user in session.scalars(select(User))] == [tenant]


def test_databases_of_one_cluster_can_make_the_roles_at_once(store):
    make = import_module("services.directory.store.migrations.versions.0005_fence")._make_role("fence_race")
    engine = open_engine(str(store.engine.url.render_as_string(hide_password=False)))
    waiting = "SELECT pg_stat_clear_snapshot(), count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

    def make_role():
        with engine.begin() as connection:
            connection.execute(text(make))

    with ThreadPoolExecutor(1) as thread, engine.connect() as connection:
        connection.execute(text(make))
        second = thread.submit(make_role)
        while not second.done() and not connection.execute(text(waiting)).one()[1]:
            pass
        connection.commit()
        second.result()
        connection.execute(text("DROP ROLE fence_race"))
        connection.commit()
    engine.dispose()


@pytest.fixture
def logins(stack, store):
    """A database whose owner is no superuser, and a login for the service that owns nothing; gives their URLs."""
    server = stack.postgres()
    name = "fence_logins"
    superuser = open_engine(server.create_database(name)).execution_options(isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        for login in LOGIN:
            connection.execute(text(f"CREATE ROLE {login} LOGIN PASSWORD 'fence'"))
            connection.execute(text(f"GRANT {APP}, {PLATFORM} TO {login}"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO {LOGIN[0]}"))
        connection.execute(text(f"ALTER SCHEMA public OWNER TO {LOGIN[0]}"))
    yield [replace(server, user=login, password="fence").url(name) for login in LOGIN]
    superuser.dispose()
    server.drop_database(name)
    elsewhere = open_engine(server.url("postgres")).execution_options(isolation_level="AUTOCOMMIT")
    with elsewhere.connect() as connection:
        connection.execute(text(f"DROP ROLE {', '.join(LOGIN)}"))
    elsewhere.dispose()


@contextmanager
def as_login(url):
    engine = open_engine(url)
    with engine.connect() as connection:
        yield connection
        connection.commit()
    engine.dispose()


def test_a_login_that_owns_nothing_serves_what_a_plain_owner_migrates(logins, tmp_path, clock):
    owner, service = logins
    migrate(owner)
    store = Store(service)
    night = Night(store, tmp_path, clock)
    assert night.apply(night.plan("anna", "bo")).counts["created"] == 2
    for login in logins:
        with as_login(login) as connection:  # outside of the service both stand before the fence
            assert connection.scalar(text("SELECT count(*) FROM users")) == 0
    with as_login(owner) as connection:
        assert connection.scalar(text("SELECT reltuples FROM pg_class WHERE relname = 'users'")) == 2
        with Operations.context(MigrationContext.configure(connection)), fencing.lifted("users"):
            assert connection.execute(text("UPDATE users SET title = 'Dr'")).rowcount == 2
    night.plan("anna", dry_run=True)  # its stage stays
    store.close()
    downgrade(owner, to="0004")
    migrate(owner)
    store = Store(service)
    with store.read(night.tenant_id) as session:
        assert session.scalars(text("SELECT title FROM users")).all() == ["Dr", "Dr"]
    store.close()


def test_a_migration_that_forgets_to_lift_the_fence_fails_instead_of_changing_nothing(logins, monkeypatch):
    owner, _ = logins
    migrate(owner)
    forgetful = text("UPDATE users SET title = ''")
    monkeypatch.setattr(command, "upgrade", lambda config, _: config.attributes["connection"].execute(forgetful))
    with refused():
        migrate(owner)
