"""Write a plan to the register in the caller's transaction: every change, its event, the seats; all or nothing.

Order: delete, park changed mails, update, create, groups, memberships, events. Deletes free mails and seats first;
parking lets mails be swapped and passed along under a unique index (R31).
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from services.directory.roster import apply_events, invitations, restore, settled_rows, undo_memory
from services.directory.roster.applier import Applier, ApplyInput
from services.directory.roster.space import StageSpace
from services.directory.rules.leaving import LEAVING, WayOut
from services.directory.store.events import MEMORY, Actor
from services.directory.store.people_tables import OPEN_INVITATIONS, InvitationState
from services.directory.store.seats import change_seats

_WAY_OUT = WayOut.NOT_IN_FILE


def apply_plan(space: StageSpace, connection: Connection, order: ApplyInput) -> None:
    """Write the plan whose tables stand beside the stage; the caller holds the tenant's lock and commits."""
    applier = Applier(space, connection, order)
    applier.dialect.tune_sorts(connection)
    undo_memory.remember(applier)
    done = _delete(applier)
    order.progress(done)
    _drop_claims(applier)
    done += _update(applier)
    order.progress(done)
    done += _create(applier)
    order.progress(done)
    _create_groups(applier)
    _move(applier)
    _remember_missed(applier)
    settled_rows.remember_effective(applier)
    apply_events.write_events(applier)
    if order.invites:
        invitations.invite_created(applier)
    change_seats(
        connection,
        order.given.tenant_id,
        _seats_taken(order.counts),
        actor=Actor(source_id=order.given.source_id),
        now=order.now,
        run_id=order.run_id,
    )


def _seats_taken(counts: dict[str, int]) -> int:
    return counts["created"] + counts["restored"] - counts["deleted"]


def _delete(applier: Applier) -> int:
    """R32: out as the table in rules/leaving.py says; the row and its history stay."""
    if not applier.order.counts["deleted"]:
        return 0
    applier.add_events(
        "user.deleted",
        "{changes} c LEFT JOIN ("
        "SELECT m.user_id, " + applier.dialect.id_list("m.group_id") + " AS groups FROM ("
        "SELECT DISTINCT user_id, group_id FROM memberships WHERE tenant_id = {t} "
        "AND user_id IN (SELECT user_id FROM {changes} WHERE action = 4) ORDER BY user_id, group_id) m "
        "GROUP BY m.user_id) g ON g.user_id = c.user_id " + undo_memory.joined() + " WHERE c.action = 4",
        before=apply_events.person(
            applier, groups=applier.dialect.as_json("coalesce(g.groups, '[]')"), **{MEMORY: undo_memory.memory(applier)}
        ),
        order="c.user_id",
    )
    applier.run(
        """
        INSERT INTO former_claims (tenant_id, source_id, external_id, user_id, end_time)
        SELECT tenant_id, source_id, external_id, user_id, :now FROM claims
        WHERE tenant_id = {t} AND user_id IN (SELECT user_id FROM {changes} WHERE action = 4)
        ON CONFLICT (tenant_id, source_id, external_id, user_id) DO UPDATE SET end_time = excluded.end_time
        """
    )
    for table in ("memberships", "sleeping_memberships", "claims"):  # all fates of this way out are END
        applier.run(
            f"DELETE FROM {table} WHERE tenant_id = {{t}} "
            "AND user_id IN (SELECT user_id FROM {changes} WHERE action = 4)"
        )
    applier.run(
        f"UPDATE invitations SET state = {InvitationState.REVOKED}, end_time = :now, revision = revision + 1 "
        f"WHERE tenant_id = {{t}} AND state IN {OPEN_INVITATIONS} "
        "AND user_id IN (SELECT user_id FROM {changes} WHERE action = 4)"
    )
    return applier.run(
        f"UPDATE users SET state = {LEAVING[_WAY_OUT].state}, way_out = {_WAY_OUT}, leave_time = :now, "
        "update_time = :now, revision = revision + 1 WHERE tenant_id = {t} "
        "AND id IN (SELECT user_id FROM {changes} WHERE action = 4)"
    )


def _drop_claims(applier: Applier) -> None:
    """R41: who left this file and not another one goes on under that one's claim; this one's key is remembered."""
    if not applier.order.counts.get("claims_dropped"):
        return
    those = "tenant_id = {t} AND source_id = {s} AND user_id IN (SELECT user_id FROM {changes} WHERE action = 7)"
    applier.run(
        f"""
        INSERT INTO former_claims (tenant_id, source_id, external_id, user_id, end_time)
        SELECT tenant_id, source_id, external_id, user_id, :now FROM claims WHERE {those}
        ON CONFLICT (tenant_id, source_id, external_id, user_id) DO UPDATE SET end_time = excluded.end_time
        """
    )
    applier.run(f"DELETE FROM claims WHERE {those}")


def _update(applier: Applier) -> int:
    applier.run(
        "UPDATE users SET email = '#' || id WHERE tenant_id = {t} "
        "AND id IN (SELECT user_id FROM {changes} WHERE action IN (2, 3, 6) AND email <> old_email)"
    )
    updated = applier.run(
        """
        UPDATE users SET email = c.email, display_name = c.display_name, title = c.title, phone = c.phone,
            secondary_phone = c.secondary_phone, update_time = :now, revision = revision + 1,
            owner_source_id = c.owner_source_id, state = 1, way_out = 0, leave_time = NULL,
            password_reset_required = CASE WHEN c.action = 3 THEN true ELSE password_reset_required END
        FROM {changes} c WHERE users.tenant_id = {t} AND users.id = c.user_id AND c.action IN (2, 3, 5, 6, 7)
        """
    )
    if applier.order.counts["rekeyed"]:
        applier.run(
            """
            UPDATE claims SET external_id = c.external_id, row_hash = NULL FROM {changes} c
            WHERE claims.tenant_id = {t} AND claims.source_id = {s} AND claims.user_id = c.user_id AND c.action = 6
            """
        )
    if updated:
        _claim(applier, "action <> 1")
        restore.forget_former_claims(applier)
    return updated


def _create(applier: Applier) -> int:
    if not applier.order.counts["created"]:
        return 0
    created = applier.run(
        """
        INSERT INTO users (tenant_id, id, email, display_name, title, phone, secondary_phone, owner_source_id, state,
            password_reset_required, revision, create_time, update_time)
        SELECT {t}, user_id, email, display_name, title, phone, secondary_phone, {s}, 1, false, 1, :now, :now
        FROM {changes} WHERE action = 1 ORDER BY user_id
        """
    )
    _claim(applier, "action = 1")
    return created


def _claim(applier: Applier, condition: str) -> None:
    applier.run(
        f"""
        INSERT INTO claims (tenant_id, source_id, external_id, user_id, missed_files, deletion_left_out, row_hash)
        SELECT {{t}}, {{s}}, c.external_id, c.user_id, 0, false, e.row_hash
        FROM {{changes}} c LEFT JOIN {{effective}} e ON e.user_id = c.user_id
        WHERE c.adds_claim AND c.{condition} ORDER BY c.external_id
        """
    )


def _create_groups(applier: Applier) -> None:
    """R37's `create`: groups nobody made yet, in the linked account, named by their Group ID."""
    made = applier.run(
        """
        INSERT INTO groups (tenant_id, id, account_id, display_name, external_id, is_main, owner_source_id, revision,
            create_time)
        SELECT {t}, id, {linked_account}, external_id, external_id, false, {s}, 1, :now FROM {new_groups}
        """
    )
    if made:
        applier.add_group_events()


def _move(applier: Applier) -> None:
    """End and begin memberships, person by person: the index by user and what its key refers to stay at hand so."""
    applier.run(
        """
        DELETE FROM memberships WHERE tenant_id = {t} AND origin_source_id = {s}
          AND (group_id, user_id) IN (SELECT group_id, user_id FROM {moves} WHERE NOT is_added)
        """
    )
    applier.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT {t}, group_id, user_id, {s} FROM {moves} WHERE is_added ORDER BY user_id, group_id
        """
    )


def _remember_missed(applier: Applier) -> None:
    """R32's grace counts files without the user; R8 remembers whose deletion was left out."""
    given = applier.order.given
    if not (given.grace_nights or given.leave_deletions_out or undo_memory.has_missed_anybody(applier)):
        return
    undo_memory.remember_missed(applier)
    if given.grace_nights:
        applier.run(
            """
            UPDATE claims SET missed_files = missed_files + 1 WHERE tenant_id = {t} AND source_id = {s}
              AND NOT EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = claims.user_id)
              AND (NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = claims.user_id)
                   OR EXISTS (SELECT 1 FROM {left_out} l WHERE l.user_id = claims.user_id))
            """
        )
    applier.run(
        """
        UPDATE claims SET missed_files = 0, deletion_left_out = false WHERE tenant_id = {t} AND source_id = {s}
          AND (missed_files > 0 OR deletion_left_out) AND user_id IN (SELECT user_id FROM {people})
        """
    )
    if given.leave_deletions_out:
        applier.run(
            """
            UPDATE claims SET deletion_left_out = true WHERE tenant_id = {t} AND source_id = {s}
              AND user_id IN (SELECT user_id FROM {left_out})
            """
        )
