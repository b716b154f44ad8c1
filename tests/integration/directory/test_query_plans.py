"""People and groups are found by index, whatever the database knows of how many there are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import event, text

from services.directory.operations import user_views
from services.directory.store.session import Store
from tests.integration.directory.connection import Connection, comparison, connect
from tests.integration.directory.nights import Clock, Night
from tests.stack.databases import Databases

_READS_ALL = re.compile(
    r"SCAN (?!json_each|\w+ VIRTUAL TABLE|m\b|CONSTANT ROW)"
    r"|^(?!SEARCH (?:licenses|s) ).*\((tenant_id=\?|tenant_id=\? AND source_id=\? AND kind=\?)\)"
)
"""A step that goes through all of a table, of a tenant's people, or of what a connection has said.

Sources are few, and a tenant has one license.
"""


@pytest.fixture(scope="module")
def store(databases: Databases) -> Iterator[Store]:
    """A fresh database of SQLite, without statistics: nobody makes any where no file is imported."""
    opened = Store(databases.make("sqlite"))
    yield opened
    opened.close()


def test_what_an_identity_provider_asks_and_changes_reads_no_table_whole(directory, office, store):
    connection = connect(directory, office)
    ann, ben = (connection.create(external_id=name, display_name=name) for name in ("ann", "ben"))
    crisis, fire = (connection.create_group(name, name, members=[ann.id]) for name in ("Crisis", "Fire"))
    plans = {name: _steps(store, call) for name, call in _calls(connection, ann.id, ben.id, crisis.id, fire.id).items()}
    assert {name: [step for step in steps if _READS_ALL.search(step)] for name, steps in plans.items()} == {
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


def _steps(store: Store, call: Callable[[], Any]) -> list[str]:
    """Call, and give the steps of the plans of all that was asked of the database."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SAVEPOINT")) and "import_runs" not in statement:
            asked.append((statement, values))

    for engine in store.engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        call()
    finally:
        for engine in store.engines:
            event.remove(engine, "before_cursor_execute", note)
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


_MANY_USERS = """
    INSERT INTO users (tenant_id, id, email, display_name, title, phone, secondary_phone, owner_source_id, state,
        password_reset_required, revision, create_time, update_time)
    SELECT {t}, g, g || '@example.org', 'Anna', '', '', '', {s}, 1, false, 1, now(), now()
    FROM generate_series(1, 30000) g
"""
_THEIR_CLAIMS = """
    INSERT INTO claims (tenant_id, source_id, external_id, user_id, missed_files, deletion_left_out)
    SELECT {t}, {s}, 'EMPLOYEE-' || g, g, 0, false FROM generate_series(1, 30000) g
"""


@pytest.mark.long
def test_right_after_a_first_night_postgresql_finds_a_users_key_by_the_user(databases, tmp_path):
    """Nobody has counted the claims yet; looked up by their source, a page of users took minutes."""
    with closing(Store(databases.make("postgresql"))) as store:
        night = Night(store, tmp_path, Clock())
        with store.write(night.tenant_id) as session:
            for statement in (_MANY_USERS, _THEIR_CLAIMS):
                session.connection().execute(text(statement.format(t=night.tenant_id, s=night.source_id)))
            query = user_views.PEOPLE.replace("{each}", f"unnest(ARRAY{list(range(1, 1001))}) AS i(id)").replace(
                ":t", "1"
            )
            plan = "\n".join(session.connection().execute(text(f"EXPLAIN {query}")).scalars())
    assert "claims_by_user" in plan, plan
    assert "claims_pkey" not in plan, plan
