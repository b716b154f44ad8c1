"""Compare what an applied run did with the register of today: what its undo puts back, and whom it leaves out.

What the run did is read from its events and from what they remember (undo_memory.py). A handful of tables beside the
undo's own stage hold the plan, each made by one statement, as those of an import (plan.py):

    turned, turned_moves    whom the run created, changed, deleted; and the memberships that it added and removed
    others                  people and groups that somebody else has changed since
    wanting, stuck          people who would get another mail or come back, and those for whom somebody is in the way
    turning                 who is put back, and with which values
    places, fixed_groups    memberships to add again and to take away; groups that stay as they are
    changes, findings       what people are shown, as of an import: deletions, restores, updates; whom it leaves out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.roster import undo_changes
from services.directory.roster.plan_changes import DELETE, RESTORE, UPDATE
from services.directory.roster.run_events import COLUMNS
from services.directory.roster.space import UNDO_TABLES, StageSpace
from services.directory.roster.stage_sql import StageSql
from services.directory.store.events import Cursor, newer_than
from services.directory.store.tables import RunStatus

_NO_CHANGE: Final = "('user.password_set', 'user.password_reset_requested', 'user.missed')"
"""Events of a person that an undo looks past: a password is nobody's record, and files count who is missing."""


@dataclass(frozen=True)
class UndoInput:
    """Whose run is undone, where its events stand, and from where on an event is newer than the run."""

    tenant_id: int
    source_id: int
    run_id: int
    events: Cursor
    basis: Cursor


class Undo(StageSql):
    """Makes one plan of an undo; holds what every step needs."""

    def __init__(self, space: StageSpace, connection: Connection, given: UndoInput) -> None:
        xid, position = given.events
        words = {
            "t": given.tenant_id,
            "s": given.source_id,
            "done": f"e.tenant_id = {given.tenant_id} AND e.xid = {xid} AND e.position > {position}"
            f" AND e.run_id = {given.run_id}",
            "since": f"{newer_than(given.tenant_id, given.basis)} AND run_id <> {given.run_id}"
            f" AND run_id NOT IN ({_come_to_nothing(given.tenant_id)})",
        }
        super().__init__(space, connection, words)
        self.given = given


def _come_to_nothing(tenant_id: int) -> str:
    """Later runs that were undone, and their undos: whom these left out, somebody else has changed."""
    return (
        f"SELECT id FROM import_runs WHERE tenant_id = {tenant_id} AND (status = {RunStatus.UNDONE}"
        f" OR (undoes_run_id <> 0 AND status = {RunStatus.APPLIED}))"
    )


def was_detached(connection: Connection, tenant_id: int, source_id: int, since: Cursor) -> bool:
    """Whether the source gave its people away since (S12)."""
    sql = (
        f"SELECT EXISTS (SELECT 1 FROM events WHERE {newer_than(tenant_id, since)}"
        f" AND resource_kind = 'src' AND resource_id = {source_id} AND kind = 'source.detached')"
    )
    return bool(connection.execute(text(sql)).scalar_one())


def plan_undo(undo: Undo) -> dict[str, int]:
    """Make the plan's tables anew, reading the register only; answers the counts of what is put back."""
    undo.clear((*UNDO_TABLES, "changes", "findings"))
    undo.dialect.tune(undo.connection)
    _read_events(undo)
    _find_others(undo)
    _find_stuck(undo)
    _find_turning(undo)
    _find_places(undo)
    undo_changes.write_changes(undo)
    undo_changes.write_findings(undo)
    undo.dialect.untune(undo.connection)
    return undo_changes.count_changes(undo)


def _read_events(undo: Undo) -> None:
    """Read whom the run touched: each has one event of a person, and at most two of memberships."""
    undo.make(
        "turned",
        """
        SELECT e.resource_id AS user_id, e.kind, e.before, e.after,
               CASE e.kind WHEN 'user.created' THEN 4 WHEN 'user.restored' THEN 4 WHEN 'user.deleted' THEN 5 ELSE 2 END
               AS action
        FROM events e WHERE {done} AND e.resource_kind = 'usr' AND e.kind LIKE 'user.%' AND e.kind <> 'user.missed'
        """,
    )
    undo.index("turned", "user_id")
    dialect = undo.dialect
    number = dialect.json_number("x.value")
    undo.make(
        "turned_moves",
        f"""
        SELECT e.resource_id AS user_id, {number} AS group_id, true AS was_added
        FROM events e CROSS JOIN {dialect.each_json("e.after", "groups")}
        WHERE {{done}} AND e.kind = 'membership.added'
        UNION ALL
        SELECT e.resource_id, {number}, false
        FROM events e CROSS JOIN {dialect.each_json("e.before", "groups")}
        WHERE {{done}} AND e.kind = 'membership.removed'
        """,
    )
    undo.index("turned_moves", "user_id")


def _find_others(undo: Undo) -> None:
    """Find whom, and which groups, somebody else has changed since; main groups stay what they are."""
    undo.make(
        "others",
        f"""
        SELECT DISTINCT resource_kind AS kind, resource_id AS id FROM events
        WHERE {{since}} AND resource_kind IN ('usr', 'grp') AND kind NOT IN {_NO_CHANGE}
        """,
    )
    undo.index("others", "id")


def _find_stuck(undo: Undo) -> None:
    """Find whose mail or key of before somebody else has by now, and who waits for one of these to give up a mail.

    A recursive query walks the chains of those who wait for each other; swaps need nothing.
    """
    dialect = undo.dialect
    claims = dialect.each_json("t.before", "undo", "claims")
    undo.make(
        "wanting",
        f"""
        SELECT n.user_id, n.action, 'mail' AS what, n.email <> u.email OR n.action = {RESTORE} AS is_mover,
               v.id AS holder_id
        FROM (
            SELECT t.user_id, t.action, {_target(undo, "email")} AS email
            FROM {{turned}} t JOIN users o ON o.tenant_id = {{t}} AND o.id = t.user_id
            WHERE t.user_id NOT IN (SELECT id FROM {{others}} WHERE kind = 'usr')
        ) n JOIN users u ON u.tenant_id = {{t}} AND u.id = n.user_id
        LEFT JOIN users v ON v.tenant_id = {{t}} AND v.email = n.email AND v.state = 1 AND v.id <> n.user_id
             AND n.action <> {DELETE}
        UNION ALL
        SELECT t.user_id, t.action, 'key', true, c.user_id
        FROM {{turned}} t CROSS JOIN {claims}
        JOIN claims c ON c.tenant_id = {{t}} AND c.source_id = {dialect.json_item("x.value", 0, kind="bigint")}
         AND c.external_id = {dialect.json_item("x.value", 1)} AND c.user_id <> t.user_id
        WHERE t.user_id NOT IN (SELECT id FROM {{others}} WHERE kind = 'usr')
        """,
    )
    undo.index("wanting", "user_id")
    undo.index("wanting", "holder_id")
    undo.make(
        "stuck",
        f"""
        WITH RECURSIVE blocked(user_id, what) AS (
            SELECT w.user_id, w.what FROM {{wanting}} w WHERE w.is_mover AND w.holder_id IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM {{wanting}} h WHERE h.user_id = w.holder_id
                  AND (w.what = 'key' OR h.action = {DELETE} OR (h.what = 'mail' AND h.is_mover)))
            UNION
            SELECT w.user_id, w.what FROM blocked b JOIN {{wanting}} w ON w.holder_id = b.user_id WHERE w.is_mover
        )
        SELECT user_id, max(what) AS code FROM blocked GROUP BY user_id
        """,
    )
    undo.index("stuck", "user_id")


def _target(undo: Undo, column: str) -> str:
    """What a person `o` turned by the run has again: what its event says of before, else the same as today."""
    before = undo.dialect.json_value("t.before", column)
    return f"CASE WHEN t.action = {RESTORE} THEN o.{column} ELSE coalesce({before}, o.{column}) END"


def _find_turning(undo: Undo) -> None:
    targets = ", ".join(f"{_target(undo, column)} AS {column}" for column in COLUMNS)
    olds = ", ".join(f"o.{column} AS old_{column}" for column in COLUMNS)
    key = undo.dialect.json_value("t.after", "external_id")
    former = undo.dialect.json_value("t.before", "external_id")
    undo.make(
        "turning",
        f"""
        SELECT t.user_id, t.kind, t.action, t.before, t.after, {targets}, {olds},
               coalesce({key}, {former}, c.external_id, '') AS external_id
        FROM {{turned}} t JOIN users o ON o.tenant_id = {{t}} AND o.id = t.user_id
        LEFT JOIN (
            SELECT user_id, min(external_id) AS external_id FROM claims WHERE tenant_id = {{t}} AND source_id = {{s}}
            GROUP BY user_id
        ) c ON c.user_id = t.user_id
        WHERE t.user_id NOT IN (SELECT id FROM {{others}} WHERE kind = 'usr')
          AND t.user_id NOT IN (SELECT user_id FROM {{stuck}})
        """,
    )
    undo.index("turning", "user_id")


def _find_places(undo: Undo) -> None:
    """Find memberships to add again, each in a group that still is what it was, and memberships to take away."""
    dialect = undo.dialect
    memberships = dialect.each_json("t.before", "undo", "memberships")
    group, origin = (dialect.json_item("x.value", place, kind="bigint") for place in (0, 1))
    undo.make(
        "places",
        f"""
        SELECT q.user_id, q.group_id, q.origin, q.is_added,
               q.is_added AND (g.id IS NULL OR NOT g.is_main AND EXISTS (
                   SELECT 1 FROM {{others}} x WHERE x.kind = 'grp' AND x.id = q.group_id)) AS is_lost
        FROM (
            SELECT m.user_id, m.group_id, {undo.given.source_id} AS origin, NOT m.was_added AS is_added
            FROM {{turned_moves}} m JOIN {{turning}} t ON t.user_id = m.user_id WHERE t.action = {UPDATE}
            UNION ALL
            SELECT t.user_id, {group}, {origin}, true
            FROM {{turning}} t CROSS JOIN {memberships} WHERE t.action = {RESTORE}
        ) q
        LEFT JOIN groups g ON g.tenant_id = {{t}} AND g.id = q.group_id
        WHERE q.origin = 0 OR EXISTS (
            SELECT 1 FROM sources s WHERE s.tenant_id = {{t}} AND s.id = q.origin AND s.delete_time IS NULL)
        """,
    )
    undo.index("places", "user_id")
