"""A second limit: the same nights by COPY and set-based SQL on a narrow schema: bigint keys, no tenants, no events.

Nobody could run a register on it: it says neither who changed what nor since when. It shows what the project's own
tables cost, beside what Muster costs on them (raw.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from bench.people import Person, group_ids
from bench.raw import take_in


class NarrowRegister:
    """Three tables in an empty database."""

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        for statement in _TABLES:
            self._connection.execute(statement)
        with self._connection.cursor() as cursor:
            cursor.executemany("INSERT INTO teams (name) VALUES (%s)", [(name,) for name in group_ids()])
        self._connection.execute("ANALYZE teams")

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def run(self, people: Iterator[Person]) -> float:
        """Take one night in; answers seconds from the prepared bytes to the commit."""
        seconds = take_in(self._connection, "narrow_rows", people, _NIGHT)
        self._connection.execute("DROP TABLE narrow_rows, narrow_wanted")
        for table in ("people", "members"):
            self._connection.execute(f"ANALYZE {table}")
        return seconds


_TABLES = (
    "CREATE TABLE teams (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE)",
    """
    CREATE TABLE people (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, external_id text NOT NULL UNIQUE,
        email text NOT NULL UNIQUE, name text NOT NULL, title text NOT NULL, phone text NOT NULL,
        secondary text NOT NULL)
    """,
    """
    CREATE TABLE members (
        team_id bigint NOT NULL REFERENCES teams, person_id bigint NOT NULL REFERENCES people ON DELETE CASCADE,
        PRIMARY KEY (team_id, person_id))
    """,
    "CREATE INDEX members_by_person ON members (person_id)",
)

_NIGHT = (
    "DELETE FROM people p WHERE NOT EXISTS (SELECT 1 FROM narrow_rows r WHERE r.external_id = p.external_id)",
    """
    UPDATE people p SET email = r.email, name = r.display_name, title = r.title, phone = r.phone,
        secondary = r.secondary
    FROM narrow_rows r WHERE r.external_id = p.external_id
      AND (p.email, p.name, p.title, p.phone, p.secondary)
          IS DISTINCT FROM (r.email, r.display_name, r.title, r.phone, r.secondary)
    """,
    """
    INSERT INTO people (external_id, email, name, title, phone, secondary)
    SELECT external_id, email, display_name, title, phone, secondary FROM narrow_rows r
    WHERE NOT EXISTS (SELECT 1 FROM people p WHERE p.external_id = r.external_id) ORDER BY line
    """,
    """
    CREATE TEMP TABLE narrow_wanted AS
    SELECT t.id AS team_id, p.id AS person_id FROM narrow_rows r
    CROSS JOIN LATERAL unnest(string_to_array(r.groups, ',')) AS l(name)
    JOIN teams t ON t.name = l.name JOIN people p ON p.external_id = r.external_id
    """,
    "ANALYZE narrow_wanted",
    """
    DELETE FROM members m WHERE NOT EXISTS (
        SELECT 1 FROM narrow_wanted w WHERE w.team_id = m.team_id AND w.person_id = m.person_id)
    """,
    """
    INSERT INTO members (team_id, person_id)
    SELECT team_id, person_id FROM narrow_wanted ORDER BY team_id, person_id ON CONFLICT DO NOTHING
    """,
)
