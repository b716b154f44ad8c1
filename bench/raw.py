"""The limit: the same two nights by COPY and set-based SQL alone, on the project's own tables, indexes and event rows.

It reads rows that are known to be good, checks nothing, asks no limit, and writes what Muster writes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg

from bench.people import Person, group_ids

_ROW = (
    "line bigint, external_id text, email text, display_name text, title text, phone text, secondary text, groups text"
)


class RawRegister:
    """One tenant in a migrated database of its own, written by hand-made SQL."""

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        with self._connection.transaction():
            for statement in (
                "INSERT INTO tenants (id, display_name, main_account_id, create_time) VALUES (1, 'raw', 1, now())",
                "INSERT INTO licenses (tenant_id, seats_total) VALUES (1, 100000000)",
                (
                    "INSERT INTO accounts (tenant_id, id, display_name, main_group_id, create_time) "
                    "VALUES (1, 1, 'raw', 1, now())"
                ),
                (
                    "INSERT INTO groups (tenant_id, id, account_id, display_name, is_main, create_time) "
                    "VALUES (1, 1, 1, 'raw', true, now())"
                ),
                (
                    "INSERT INTO sources (tenant_id, id, display_name, allowed_networks, limits, report_to, "
                    "create_time) VALUES (1, 1, 'raw', '[]', '{}', '[]', now())"
                ),
            ):
                self._connection.execute(statement)
            for number, name in enumerate(group_ids(), start=2):
                self._connection.execute(
                    "INSERT INTO groups (tenant_id, id, account_id, display_name, external_id, create_time) "
                    "VALUES (1, %s, 1, %s, %s, now())",
                    (number, name, name),
                )
        self._connection.execute("ANALYZE groups")

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def run(self, people: Iterator[Person]) -> float:
        """Take one night in; answers seconds from the prepared bytes to the commit."""
        seconds = take_in(self._connection, "raw_rows", people, _NIGHT)
        self._connection.execute("DROP TABLE raw_rows, raw_people, raw_wanted, raw_added, raw_removed, raw_gone")
        for table in ("users", "claims", "memberships", "events"):
            self._connection.execute(f"ANALYZE {table}")
        return seconds


def take_in(connection: psycopg.Connection[Any], table: str, people: Iterator[Person], night: Iterable[str]) -> float:
    """Copy people into a new table and run a night's statements on it; answers seconds from the prepared bytes."""
    data = _as_copy(people)
    started = time.perf_counter()
    connection.execute(f"CREATE UNLOGGED TABLE {table} ({_ROW})")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copy:
        copy.write(data)
    connection.execute(f"ANALYZE {table}")
    with connection.transaction():
        for statement in night:
            connection.execute(statement)
    return time.perf_counter() - started


def _as_copy(people: Iterator[Person]) -> bytes:
    """Write a night as COPY reads it, under the columns of _ROW."""
    text = io.StringIO()
    for line, person in enumerate(people, start=2):
        identifier, name, mail, title, phone, secondary, _, groups, *_ = person
        text.write(f"{line}\t{identifier}\t{mail}\t{name}\t{title}\t{phone}\t{secondary}\t{groups}\n")
    return text.getvalue().encode()


_EVENT = (
    "INSERT INTO events (tenant_id, position, xid, time, actor_source_id, kind, resource_kind, resource_id, run_id, "
    "before, after) SELECT 1, nextval('event_id_seq'), pg_current_xact_id()::text::bigint, now(), 1, "
)
_PERSON = (
    "json_strip_nulls(json_build_object('display_name', p.display_name, 'email', p.email, 'title', "
    "nullif(p.title, ''), 'phone', nullif(p.phone, ''), 'secondary_phone', nullif(p.secondary, ''), "
    "'external_id', p.external_id))"
)

_NIGHT = (
    """
    CREATE TEMP TABLE raw_people AS
    SELECT r.*, coalesce(c.user_id, nextval('user_id_seq')) AS user_id, c.user_id IS NULL AS is_new,
           u.title IS DISTINCT FROM r.title OR u.display_name IS DISTINCT FROM r.display_name
           OR u.email IS DISTINCT FROM r.email OR u.phone IS DISTINCT FROM r.phone
           OR u.secondary_phone IS DISTINCT FROM r.secondary AS differs
    FROM raw_rows r
    LEFT JOIN claims c ON c.tenant_id = 1 AND c.source_id = 1 AND c.external_id = r.external_id
    LEFT JOIN users u ON u.tenant_id = 1 AND u.id = c.user_id
    """,
    "ANALYZE raw_people",
    """
    CREATE TEMP TABLE raw_gone AS SELECT c.user_id FROM claims c WHERE c.tenant_id = 1 AND c.source_id = 1
    AND NOT EXISTS (SELECT 1 FROM raw_rows r WHERE r.external_id = c.external_id)
    """,
    "DELETE FROM memberships WHERE tenant_id = 1 AND user_id IN (SELECT user_id FROM raw_gone)",
    "DELETE FROM claims WHERE tenant_id = 1 AND user_id IN (SELECT user_id FROM raw_gone)",
    "UPDATE users SET state = 2, update_time = now() WHERE tenant_id = 1 AND id IN (SELECT user_id FROM raw_gone)",
    """
    UPDATE users u SET email = p.email, display_name = p.display_name, title = p.title, phone = p.phone,
        secondary_phone = p.secondary, update_time = now(), revision = revision + 1
    FROM raw_people p WHERE u.tenant_id = 1 AND u.id = p.user_id AND p.differs AND NOT p.is_new
    """,
    """
    INSERT INTO users (tenant_id, id, email, display_name, title, phone, secondary_phone, owner_source_id,
        create_time, update_time)
    SELECT 1, user_id, email, display_name, title, phone, secondary, 1, now(), now()
    FROM raw_people WHERE is_new ORDER BY user_id
    """,
    """
    INSERT INTO claims (tenant_id, source_id, external_id, user_id)
    SELECT 1, 1, external_id, user_id FROM raw_people WHERE is_new ORDER BY external_id
    """,
    """
    CREATE TEMP TABLE raw_wanted AS
    SELECT p.user_id, g.id AS group_id FROM raw_people p
    CROSS JOIN LATERAL unnest(string_to_array(p.groups, ',')) AS l(name)
    JOIN groups g ON g.tenant_id = 1 AND g.external_id = l.name
    UNION ALL SELECT user_id, 1 FROM raw_people
    """,
    "ANALYZE raw_wanted",
    """
    CREATE TEMP TABLE raw_added AS SELECT w.* FROM raw_wanted w WHERE NOT EXISTS (
        SELECT 1 FROM memberships m WHERE m.tenant_id = 1 AND m.group_id = w.group_id AND m.user_id = w.user_id
          AND m.origin_source_id = 1)
    """,
    """
    CREATE TEMP TABLE raw_removed AS SELECT m.user_id, m.group_id FROM memberships m
    WHERE m.tenant_id = 1 AND m.origin_source_id = 1 AND NOT EXISTS (
        SELECT 1 FROM raw_wanted w WHERE w.user_id = m.user_id AND w.group_id = m.group_id)
    """,
    """
    DELETE FROM memberships WHERE tenant_id = 1 AND origin_source_id = 1
      AND (group_id, user_id) IN (SELECT group_id, user_id FROM raw_removed)
    """,
    """
    INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
    SELECT 1, group_id, user_id, 1 FROM raw_added ORDER BY user_id, group_id
    """,
    _EVENT + "'user.deleted', 'usr', user_id, 1, NULL, NULL FROM raw_gone",
    _EVENT + f"'user.updated', 'usr', p.user_id, 1, NULL, {_PERSON} FROM raw_people p WHERE differs AND NOT is_new",
    _EVENT + f"'user.created', 'usr', p.user_id, 1, NULL, {_PERSON} FROM raw_people p WHERE is_new",
    _EVENT + "'membership.added', 'usr', user_id, 1, NULL, json_build_object('groups', json_agg(group_id)) "
    "FROM raw_added GROUP BY user_id",
    "UPDATE licenses SET seats_used = (SELECT count(*) FROM users WHERE tenant_id = 1 AND state = 1)",
)
