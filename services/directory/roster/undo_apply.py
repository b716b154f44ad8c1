"""Write the plan of an undo to the register in the caller's transaction: the exact inverse of what its run wrote.

Order: delete whom the run created, park changed mails, update, restore, memberships, groups, events, seats; deletes
free mails and seats first, as in an apply.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.directory.roster.plan_changes import DELETE, RESTORE, UPDATE
from services.directory.roster.planner import ReserveIds
from services.directory.roster.run_events import COLUMNS, RunEvents, differences
from services.directory.roster.stage_sql import StageSql
from services.directory.roster.undo import Undo
from services.directory.rules.leaving import LEAVING, WayOut
from services.directory.store.events import Actor
from services.directory.store.people_tables import OPEN_INVITATIONS, InvitationState
from services.directory.store.seats import change_seats
from services.directory.store.tables import UserState

_WAY_OUT: Final = WayOut.NOT_IN_FILE


@dataclass(frozen=True)
class UndoOrder:
    """Who undoes, by which run, and when."""

    run_id: int
    actor: Actor
    now: datetime
    counts: dict[str, int]
    reserve_ids: ReserveIds


class UndoWriter(StageSql):
    """Writes one undo; `:now` stands for its time."""

    def __init__(self, undo: Undo, order: UndoOrder) -> None:
        words = undo.words | {"run": order.run_id}
        super().__init__(undo.space, undo.connection, words, {"now": order.now})
        self.undo = undo
        self.order = order
        self.events = RunEvents(self.connection, self.dialect, self.words, order.actor, order.now, order.reserve_ids)

    def those(self, condition: str) -> str:
        """The ids of people who are put back, of whom a condition on `turning` holds."""
        return f"(SELECT user_id FROM {{turning}} WHERE {condition})"

    def remembered(self, *path: str, kind: str) -> str:
        """What the run's event of a person `c` remembers for its undo."""
        return self.dialect.json_value("c.before", "undo", *path, kind=kind)


def apply_undo(undo: Undo, order: UndoOrder) -> None:
    """Put everything back that stands in the plan; the caller holds the tenant's lock and commits."""
    writer = UndoWriter(undo, order)
    _delete(writer)
    _update(writer)
    _restore(writer)
    _put_former_keys_back(writer)
    _move(writer)
    _forget_counts(writer)
    _delete_groups(writer)
    _write_events(writer)
    change_seats(
        undo.connection,
        undo.given.tenant_id,
        order.counts["restored"] - order.counts["deleted"],
        actor=order.actor,
        now=order.now,
        run_id=order.run_id,
    )


def _delete(writer: UndoWriter) -> None:
    """Whom the run created leaves as if the file had never had them (R34); whom it restored is gone again as before."""
    _delete_events(writer)
    created, returned = "kind = 'user.created'", "kind = 'user.restored'"
    writer.run(
        f"""
        INSERT INTO former_claims (tenant_id, source_id, external_id, user_id, end_time)
        SELECT tenant_id, source_id, external_id, user_id, :now FROM claims
        WHERE tenant_id = {{t}} AND user_id IN {writer.those(created)}
        ON CONFLICT (tenant_id, source_id, external_id, user_id) DO UPDATE SET end_time = excluded.end_time
        """
    )
    everybody = writer.those(f"action = {DELETE}")
    for table in ("memberships", "sleeping_memberships", "claims"):
        writer.run(f"DELETE FROM {table} WHERE tenant_id = {{t}} AND user_id IN {everybody}")
    writer.run(
        f"UPDATE invitations SET state = {InvitationState.REVOKED}, end_time = :now, revision = revision + 1 "
        f"WHERE tenant_id = {{t}} AND state IN {OPEN_INVITATIONS} AND user_id IN {everybody}"
    )
    writer.run(
        f"UPDATE users SET state = {LEAVING[_WAY_OUT].state}, way_out = {_WAY_OUT}, leave_time = :now,"
        f" update_time = :now, revision = revision + 1 WHERE tenant_id = {{t}} AND id IN {writer.those(created)}"
    )
    writer.run(
        f"""
        UPDATE users SET {_values()}, state = {UserState.DELETED}, update_time = :now, revision = revision + 1,
            owner_source_id = {writer.remembered("owner", kind="bigint")},
            way_out = {writer.remembered("way_out", kind="bigint")},
            leave_time = {writer.remembered("leave_time", kind="moment")}
        FROM {{turning}} c WHERE users.tenant_id = {{t}} AND users.id = c.user_id AND c.{returned}
        """
    )


def _update(writer: UndoWriter) -> None:
    """Give people the values, owner and keys of before; who was taken over has the old password, too (R27)."""
    taken_over = "kind = 'user.taken_over'"
    writer.run(
        "UPDATE users SET email = '#' || id WHERE tenant_id = {t} AND id IN "
        + writer.those(f"action = {UPDATE} AND email <> old_email")
    )
    writer.run(
        f"""
        UPDATE users SET {_values()}, update_time = :now, revision = revision + 1
        FROM {{turning}} c WHERE users.tenant_id = {{t}} AND users.id = c.user_id AND c.action = {UPDATE}
        """
    )
    writer.run(
        f"""
        UPDATE users SET owner_source_id = {writer.remembered("owner", kind="bigint")},
            password_reset_required = {writer.remembered("reset", kind="bigint")} = 1
        FROM {{turning}} c WHERE users.tenant_id = {{t}} AND users.id = c.user_id AND c.action = {UPDATE}
        """
    )
    claims = writer.dialect.each_json("c.before", "undo", "claims")
    source = writer.dialect.json_item("x.value", 0, kind="bigint")
    writer.run(
        f"""
        DELETE FROM claims WHERE tenant_id = {{t}} AND user_id IN {writer.those(f"action = {UPDATE}")}
          AND (user_id, source_id, external_id) NOT IN (
              SELECT c.user_id, {source}, {writer.dialect.json_item("x.value", 1)}
              FROM {{turning}} c CROSS JOIN {claims} WHERE c.action = {UPDATE})
        """
    )
    writer.run(
        f"""
        UPDATE credentials SET password_hash = former_hash, set_time = former_set_time, former_hash = '',
            former_set_time = NULL, former_run_id = 0, reset_expire_time = NULL, failures = 0, locked_until = NULL
        WHERE tenant_id = {{t}} AND former_run_id = {writer.undo.given.run_id} AND user_id IN {writer.those(taken_over)}
        """
    )


def _restore(writer: UndoWriter) -> None:
    """Let whom the run deleted be as if they had never left: with every key, and invitations that were open.

    Keys that the run took from others come back the same way.
    """
    dialect = writer.dialect
    claims = dialect.each_json("c.before", "undo", "claims")
    source, key, missed, left_out = (
        dialect.json_item("x.value", place, kind=kind)
        for place, kind in enumerate(("bigint", "text", "bigint", "bigint"))
    )
    writer.run(
        f"UPDATE users SET state = {UserState.ACTIVE}, way_out = 0, leave_time = NULL, update_time = :now,"
        f" revision = revision + 1 WHERE tenant_id = {{t}} AND id IN {writer.those(f'action = {RESTORE}')}"
    )
    writer.run(
        f"""
        INSERT INTO claims (tenant_id, source_id, external_id, user_id, missed_files, deletion_left_out)
        SELECT {{t}}, q.source_id, q.external_id, q.user_id, q.missed_files, q.left_out = 1 FROM (
            SELECT {source} AS source_id, {key} AS external_id, c.user_id, {missed} AS missed_files,
                   {left_out} AS left_out
            FROM {{turning}} c CROSS JOIN {claims} WHERE c.action IN ({UPDATE}, {RESTORE})
        ) q JOIN sources s ON s.tenant_id = {{t}} AND s.id = q.source_id AND s.delete_time IS NULL
        ORDER BY q.source_id, q.external_id
        ON CONFLICT (tenant_id, source_id, external_id) DO NOTHING
        """
    )
    invitations = dialect.each_json("c.before", "undo", "invitations")
    number, state = (dialect.json_item("x.value", place, kind="bigint") for place in (0, 1))
    writer.run(
        f"""
        UPDATE invitations SET state = q.state, end_time = NULL, revision = revision + 1 FROM (
            SELECT {number} AS id, {state} AS state
            FROM {{turning}} c CROSS JOIN {invitations} WHERE c.action = {RESTORE}
        ) q WHERE invitations.tenant_id = {{t}} AND invitations.id = q.id
        """
    )


def _put_former_keys_back(writer: UndoWriter) -> None:
    """Let sources remember of everybody, but of whom the run created, the keys that they remembered before (R34)."""
    dialect = writer.dialect
    source, key, end_time = (
        dialect.json_item("x.value", place, kind=kind) for place, kind in enumerate(("bigint", "text", "moment"))
    )
    known = "kind <> 'user.created'"
    writer.run(f"DELETE FROM former_claims WHERE tenant_id = {{t}} AND user_id IN {writer.those(known)}")
    writer.run(
        f"""
        INSERT INTO former_claims (tenant_id, source_id, external_id, user_id, end_time)
        SELECT {{t}}, {source}, {key}, c.user_id, {end_time}
        FROM {{turning}} c CROSS JOIN {dialect.each_json("c.before", "undo", "former")} WHERE c.{known}
        """
    )


def _move(writer: UndoWriter) -> None:
    """Take away the memberships that the run made, and make those that it took away."""
    writer.run(
        """
        DELETE FROM memberships WHERE tenant_id = {t} AND origin_source_id = {s}
          AND (group_id, user_id) IN (SELECT group_id, user_id FROM {places} WHERE NOT is_added)
        """
    )
    writer.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT {t}, group_id, user_id, origin FROM {places} WHERE is_added AND NOT is_lost ORDER BY group_id, user_id
        ON CONFLICT DO NOTHING
        """
    )


def _forget_counts(writer: UndoWriter) -> None:
    """Count missing people as before the run (R32); and no row is settled by a run that never was (R5)."""
    dialect = writer.dialect
    missed = dialect.json_value("e.before", "missed_files", kind="bigint")
    left_out = dialect.json_value("e.before", "left_out", kind="bigint")
    writer.run(
        f"""
        UPDATE claims SET missed_files = q.missed_files, deletion_left_out = q.left_out = 1 FROM (
            SELECT e.resource_id AS user_id, {missed} AS missed_files, {left_out} AS left_out
            FROM events e WHERE {{done}} AND e.kind = 'user.missed'
        ) q WHERE claims.tenant_id = {{t}} AND claims.source_id = {{s}} AND claims.user_id = q.user_id
        """
    )
    writer.run("UPDATE claims SET row_hash = NULL WHERE tenant_id = {t} AND source_id = {s} AND row_hash IS NOT NULL")


def _delete_groups(writer: UndoWriter) -> None:
    """Delete the groups that the run created (R37), unless somebody is in them or has changed them since."""
    writer.make(
        "fixed_groups",
        """
        SELECT g.id, g.display_name, g.external_id FROM events e JOIN groups g
            ON g.tenant_id = e.tenant_id AND g.id = e.resource_id
        WHERE {done} AND e.kind = 'group.created'
          AND g.id NOT IN (SELECT id FROM {others} WHERE kind = 'grp')
          AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.tenant_id = {t} AND m.group_id = g.id)
          AND NOT EXISTS (SELECT 1 FROM sleeping_memberships m WHERE m.tenant_id = {t} AND m.group_id = g.id)
        """,
    )
    writer.events.add(
        "group.deleted",
        "grp",
        "c.id",
        "{fixed_groups} c",
        before=writer.dialect.json_of(display_name="c.display_name", group_external_id="c.external_id"),
        order="c.id",
    )
    writer.run("DELETE FROM groups WHERE tenant_id = {t} AND id IN (SELECT id FROM {fixed_groups})")


def _delete_events(writer: UndoWriter) -> None:
    """Tell of deletions while the groups of these people are still known."""
    groups = writer.dialect.id_list("m.group_id")
    person = {column: f"nullif(c.old_{column}, '')" for column in COLUMNS} | {"external_id": "c.external_id"}
    writer.events.add(
        "user.deleted",
        "usr",
        "c.user_id",
        f"""{{turning}} c LEFT JOIN (
            SELECT m.user_id, {groups} AS groups FROM (
                SELECT DISTINCT user_id, group_id FROM memberships
                WHERE tenant_id = {{t}} AND user_id IN {writer.those(f"action = {DELETE}")} ORDER BY user_id, group_id
            ) m GROUP BY m.user_id
        ) g ON g.user_id = c.user_id WHERE c.action = {DELETE}""",
        before=writer.dialect.json_of(**person, groups=writer.dialect.as_json("coalesce(g.groups, '[]')")),
        order="c.user_id",
    )


def _write_events(writer: UndoWriter) -> None:
    dialect = writer.dialect
    taken_over = "c.user_id IN (SELECT user_id FROM {turning} WHERE kind = 'user.taken_over')"
    taken_over = taken_over.format(**writer.words)
    before, after = differences()
    before["external_id"] = f"CASE WHEN {taken_over} THEN c.external_id END"
    after["owner"] = f"CASE WHEN {taken_over} THEN 'manual' END"
    writer.events.add(
        "user.updated",
        "usr",
        "c.user_id",
        f"{{changes}} c WHERE c.action = {UPDATE}",
        before=dialect.json_of(**before),
        after=dialect.json_of(**after),
        order="c.line",
    )
    writer.events.add(
        "user.restored",
        "usr",
        "c.user_id",
        f"{{changes}} c WHERE c.action = {RESTORE}",
        after=dialect.json_of(external_id="c.external_id"),
        order="c.line",
    )
    writer.events.add_moves()


def _values() -> str:
    return ", ".join(f"{column} = c.{column}" for column in COLUMNS)
