"""People and groups are found by index, whatever the database knows of how many there are."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from services.directory.operations import user_views
from services.directory.rules import names
from services.directory.store.session import Store, open_engine
from tests.integration.directory.connection import Connection, comparison, connect
from tests.integration.directory.nights import Clock, Night
from tests.stack.databases import KINDS, Databases

_READS_ALL = re.compile(
    r"SCAN (?!json_each|\w+ VIRTUAL TABLE|m\b|CONSTANT ROW)"
    r"|^(?!SEARCH (?:licenses|s) ).*\((tenant_id=\?|tenant_id=\? AND source_id=\? AND kind=\?)\)"
    r"|create_time>"
)
"""A step that goes through all of a table, of a tenant's people, of what a connection has said, or of a day's requests.

Sources are few, and a tenant has one license.
"""


_ALL_ON_POSTGRESQL = re.compile(
    r"Seq Scan|hashed SubPlan|Index Cond: [^\n]*create_time >"
    r"| on (?:users|memberships|provisioned_resources|claims|request_replays)\b[^\n]*\n"
    r" *Index Cond: \(tenant_id = \S+\)\n"
)


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Store]:
    """A fresh database without statistics: on SQLite nobody makes any where no file is imported."""
    opened = Store(databases.make(request.param))
    yield opened
    opened.close()


def test_what_an_identity_provider_asks_and_changes_reads_no_table_whole(directory, office, store):
    connection = connect(directory, office)
    if not store.is_sqlite:
        _fill(store, *names.parse(names.SOURCE, connection.source, field="source"))
    ann, ben = (connection.create(external_id=name, display_name=name) for name in ("ann", "ben"))
    crisis, fire = (connection.create_group(name, name, members=[ann.id]) for name in ("Crisis", "Fire"))
    steps = _steps if store.is_sqlite else _generic_plans
    reads_all = _READS_ALL if store.is_sqlite else _ALL_ON_POSTGRESQL
    plans = {name: steps(store, call) for name, call in _calls(connection, ann.id, ben.id, crisis.id, fire.id).items()}
    assert {name: [step for step in steps if reads_all.search(step)] for name, steps in plans.items()} == {
        name: [] for name in plans
    }
    assert all(plans.values())


def _calls(connection: Connection, ann: str, ben: str, crisis: str, fire: str) -> dict[str, Callable[[], Any]]:
    name = comparison("userName", "person@example.org")
    key = comparison("externalId", "ann", case_exact=True)
    return {
        "read a user": lambda: connection.get(ann),
        "find by userName": lambda: connection.search(name, with_groups=True),
        "find by externalId": lambda: connection.search(key, with_groups=True),
        "create": lambda: connection.create("cleo@example.org", external_id="cleo"),
        "create without a key": lambda: connection.create("dora@example.org"),
        "change": lambda: connection.update(ben, "ben@example.org", title="Teacher"),
        "put to sleep": lambda: connection.update(ben, "ben@example.org", active=False),
        "wake": lambda: connection.update(ben, "ben@example.org", active=True),
        "add": lambda: connection.change_group(crisis, add=[ben]),
        "take out of one of two": lambda: connection.change_group(crisis, remove=[ann]),
        "take out of the last": lambda: connection.change_group(fire, remove=[ann]),
        "put in again": lambda: connection.change_group(fire, add=[ann]),
        "make a group": lambda: connection.create_group("Flood", "FLOOD", members=[ann]),
        "delete": lambda: connection.delete(ben),
    }


def _generic_plans(store: Store, call: Callable[[], Any]) -> list[str]:
    """Call, and give the plans that PostgreSQL keeps for all that was asked of it, whatever is bound."""
    plans = []
    for statement, values in _asked(store, call):
        if values:
            with store.look_up() if "api_keys" in statement else _writing(store) as connection:
                raw: Any = connection.connection.cursor()
                raw.execute(f"EXPLAIN (GENERIC_PLAN) {_numbered(statement, values)}", prepare=False)
                plans.append(f"{statement}\n" + "".join(f"{line}\n" for (line,) in raw.fetchall()))
    return plans


@contextmanager
def _writing(store: Store) -> Iterator[Any]:
    with store.write(1) as session:
        yield session.connection()


def _numbered(statement: str, values: Any) -> str:
    """Write the statement as PostgreSQL is given it; a time's type is said by the driver."""
    names: dict[str, str] = {}

    def number(name: re.Match[str]) -> str:
        kind = "::timestamptz" if isinstance(values[name[1]], datetime) else ""
        return names.setdefault(name[1], f"${len(names) + 1}") + kind

    return re.sub(r"%\((\w+)\)s", number, statement).replace("%%", "%")


def _steps(store: Store, call: Callable[[], Any]) -> list[str]:
    """Call, and give the steps of the plans of all that was asked of the database."""
    asked = _asked(store, call)
    with store.read(None) as session:
        raw = session.connection().connection.cursor()
        assert not session.connection().execute(text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")).all()
        return [
            step[3]
            for statement, values in asked
            for step in raw.execute(
                f"EXPLAIN QUERY PLAN {statement}", values[0] if isinstance(values, list) else values or ()
            )
        ]


def _asked(store: Store, call: Callable[[], Any]) -> list[tuple[str, Any]]:
    """Call, and give what was asked of the database, with what was bound."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        is_call = threading.current_thread().name.startswith("rpc")
        if is_call and not statement.startswith(("BEGIN", "PRAGMA", "SAVEPOINT")):
            asked.append((statement, values))

    for engine in store.engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        call()
    finally:
        for engine in store.engines:
            event.remove(engine, "before_cursor_execute", note)
    return asked


def _fill(store: Store, tenant_id: int, source_id: int) -> None:
    """Let there be many people, and let PostgreSQL count them, as it does by itself within a minute.

    No more than take a moment: while they come, nobody on the same server sees newer events.
    """
    with store.write(tenant_id) as session:
        for statement in (_MANY_USERS, _THEIR_RESOURCES, _THEIR_MEMBERSHIPS, _THEIR_CLAIMS):
            session.connection().execute(text(statement.format(t=tenant_id, s=source_id, many=3_000)))
    owner = open_engine(store.engine.url.render_as_string(hide_password=False))
    with owner.begin() as connection:
        connection.execute(text("ANALYZE"))
    owner.dispose()


_THEIR_RESOURCES = """
    INSERT INTO provisioned_resources (tenant_id, source_id, kind, resource_id, name_key, external_id, is_active,
        is_gone, document, folded)
    SELECT {t}, {s}, 1, id, email, 'K' || id, true, false, '{{}}', '{{}}' FROM users WHERE tenant_id = {t}
"""
_THEIR_MEMBERSHIPS = """
    INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
    SELECT u.tenant_id, a.main_group_id, u.id, {s} FROM users u JOIN accounts a ON a.tenant_id = u.tenant_id
    WHERE u.tenant_id = {t}
"""
_MANY_USERS = """
    INSERT INTO users (tenant_id, id, email, display_name, title, phone, secondary_phone, owner_source_id, state,
        password_reset_required, revision, create_time, update_time)
    SELECT {t}, g, g || '@example.org', 'Anna', '', '', '', {s}, 1, false, 1, now(), now()
    FROM generate_series(1000001, 1000000 + {many}) g
"""
_THEIR_CLAIMS = """
    INSERT INTO claims (tenant_id, source_id, external_id, user_id, missed_files, deletion_left_out)
    SELECT {t}, {s}, 'EMPLOYEE-' || id, id, 0, false FROM users WHERE tenant_id = {t}
"""


@pytest.mark.long
def test_right_after_a_first_night_postgresql_finds_a_users_key_by_the_user(databases, tmp_path):
    """Nobody has counted the claims yet; looked up by their source, a page of users took minutes."""
    with closing(Store(databases.make("postgresql"))) as store:
        night = Night(store, tmp_path, Clock())
        with store.write(night.tenant_id) as session:
            for statement in (_MANY_USERS, _THEIR_CLAIMS):
                filled = statement.format(t=night.tenant_id, s=night.source_id, many=30_000)
                session.connection().execute(text(filled))
            some = f"unnest(ARRAY{list(range(1_000_001, 1_001_001))}) AS i(id)"
            query = user_views.PEOPLE.replace("{each}", some).replace(":t", "1")
            plan = "\n".join(session.connection().execute(text(f"EXPLAIN {query}")).scalars())
    assert "claims_by_user" in plan, plan
    assert "claims_pkey" not in plan, plan
