"""Part a source from all that it keeps (S12): users, groups, memberships, keys, open runs."""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from services.directory.operations.imports import Imports, end_run
from services.directory.operations.leaving import leave
from services.directory.operations.schedule import reschedule
from services.directory.operations.sources import locked_source
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules.leaving import WayOut
from services.directory.rules.names import SOURCE
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import MANUAL, ImportRun, RunStatus, Source, SourceState, UserState

MANUAL_WORD: Final = "manual"
"""How events name the owner of what people did by hand."""

_OPEN: Final = (RunStatus.STAGING, RunStatus.PLANNED, RunStatus.HELD, RunStatus.APPLYING)


class DetachedUsers(enum.IntEnum):
    """What becomes of the users of a source that is detached; the numbers are those of the contract."""

    KEEP_AS_MANUAL = 1
    DELETE = 2


@dataclass(frozen=True)
class Detached:
    """The source, which owns nothing now, and how many users, groups and keys it parted from."""

    source: Source
    users: int
    groups: int
    keys: int


def detach_source(
    session: Session,
    imports: Imports,
    tenant_id: int,
    source_id: int,
    users: DetachedUsers,
    *,
    actor: Actor,
    now: datetime,
) -> Detached:
    """Let a source go from all that it keeps, and disable it for good; nothing happens when it was detached before.

    Its active users become manual, with their passwords and in their groups by hand, or are deleted; whom another file
    has, too, passes to that file (R41). The dormant ones, whom nothing can wake any more, are deleted. The number of
    statements is the same however many there are. Errors: NotFound.
    """
    source = locked_source(session, tenant_id, source_id)
    before = SourceState(source.state).name.lower()
    if source.detach_time is not None:
        return Detached(source, users=0, groups=0, keys=0)
    detached = part(session, imports, source, users, actor=actor, now=now)
    source.state, source.last_applied_run_id, source.guard_trip_time = SourceState.DISABLED, 0, None
    source.detach_time = now
    reschedule(source, after=now)
    source.revision += 1
    session.flush()
    after = {
        "state": "disabled",
        "users_are": "kept" if users is DetachedUsers.KEEP_AS_MANUAL else "deleted",
        "user_count": detached.users,
        "group_count": detached.groups,
        "key_count": detached.keys,
    }
    change = Change("source.detached", ("src", source_id), before={"state": before}, after=after)
    append_events(session, tenant_id, [change], actor=actor, now=now)
    return detached


def part(
    session: Session, imports: Imports, source: Source, users: DetachedUsers, *, actor: Actor, now: datetime
) -> Detached:
    """Take everything from a source whose row the caller holds, with the events of people, groups and keys."""
    sql = TenantSql(session, source.tenant_id, now)
    _discard_open_runs(session, imports, source, actor=actor)
    changes, passed = _pass_users(sql, source, users)
    left = leave(session, source.tenant_id, _still_owned(sql, source), WayOut.DETACHED, actor=actor, now=now)
    sql.run(
        "UPDATE users SET owner_source_id = 0, revision = revision + 1 WHERE tenant_id = :t AND owner_source_id = :s",
        s=source.id,
    )
    changes += _part_memberships(sql, source, users)
    for statement in _FORGET:
        sql.run(statement, s=source.id)
    groups = _free_groups(sql, source)
    keys = sql.run(
        "UPDATE api_keys SET is_revoked = true WHERE tenant_id = :t AND source_id = :s AND NOT is_revoked"
        " RETURNING key_id",
        s=source.id,
    ).scalars()
    revoked = [Change("key.revoked", ("src", source.id), after={"key_id": key_id}) for key_id in sorted(keys)]
    append_events(session, source.tenant_id, [*changes, *groups, *revoked], actor=actor, now=now)
    session.expire_all()
    session.refresh(source)
    return Detached(source, users=passed + len(left), groups=len(groups), keys=len(revoked))


_FORGET: Final = (
    "DELETE FROM claims WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM former_claims WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM provisioned_resources WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM license_refusals WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM pending_departures WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM guard_counts WHERE tenant_id = :t AND source_id = :s",
    "DELETE FROM sleeping_memberships WHERE tenant_id = :t AND origin_source_id = :s",
    "UPDATE reserved_group_ids SET source_id = 0 WHERE tenant_id = :t AND source_id = :s",
)
"""What a source keeps beside users and groups, and what nobody needs once it is detached."""


def _discard_open_runs(session: Session, imports: Imports, source: Source, *, actor: Actor) -> None:
    """End the runs under way and those that somebody was to decide; their stages are swept."""
    query = select(ImportRun).where(
        col(ImportRun.tenant_id) == source.tenant_id,
        col(ImportRun.source_id) == source.id,
        col(ImportRun.status).in_(_OPEN),
    )
    for run in session.exec(query.order_by(col(ImportRun.id)).with_for_update()).all():
        message = "The source was detached; nothing was changed."
        end_run(imports, session, run, RunStatus.DISCARDED, reason=run.reason, message=message, actor=actor)
    session.flush()


def _pass_users(sql: TenantSql, source: Source, users: DetachedUsers) -> tuple[list[Change], int]:
    """Give the users another owner: a file that has them, too, and unless all are to be deleted, nobody."""
    sql.run("SELECT id FROM users WHERE tenant_id = :t AND owner_source_id = :s ORDER BY id{for_update}", s=source.id)
    heir = """(
        SELECT c.source_id FROM claims c JOIN sources o ON o.tenant_id = c.tenant_id AND o.id = c.source_id
        WHERE c.tenant_id = :t AND c.user_id = users.id AND c.source_id <> :s AND o.delete_time IS NULL
        ORDER BY o.position, o.id LIMIT 1)"""
    condition = f"{heir} IS NOT NULL" if users is DetachedUsers.DELETE else "true"
    passed = sql.run(
        f"""
        UPDATE users SET owner_source_id = coalesce({heir}, {MANUAL}), update_time = :now, revision = revision + 1
        WHERE tenant_id = :t AND owner_source_id = :s AND state = {UserState.ACTIVE} AND {condition}
        RETURNING id, owner_source_id
        """,
        s=source.id,
    ).all()
    before = {"owner": SOURCE.format(sql.tenant_id, source.id)}
    changes = [
        Change("user.updated", ("usr", user_id), before=before, after={"owner": _owner_word(sql.tenant_id, owner_id)})
        for user_id, owner_id in sorted(passed)
    ]
    return changes, len(passed)


def _still_owned(sql: TenantSql, source: Source) -> list[int]:
    found = sql.run(
        "SELECT id FROM users WHERE tenant_id = :t AND owner_source_id = :s"
        f" AND state IN ({UserState.ACTIVE}, {UserState.DORMANT})",
        s=source.id,
    )
    return list(found.scalars())


def _part_memberships(sql: TenantSql, source: Source, users: DetachedUsers) -> list[Change]:
    """Make the source's memberships hand-made, none twice; or end them, with the events of those who stay elsewhere."""
    gone: Iterable[tuple[int, int]] = ()
    if users is DetachedUsers.KEEP_AS_MANUAL:
        sql.run(
            f"""
            INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
            SELECT tenant_id, group_id, user_id, {MANUAL} FROM memberships
            WHERE tenant_id = :t AND origin_source_id = :s ORDER BY group_id, user_id
            ON CONFLICT DO NOTHING
            """,
            s=source.id,
        )
    else:
        gone = sql.run(
            """
            SELECT m.user_id, m.group_id FROM memberships m
            WHERE m.tenant_id = :t AND m.origin_source_id = :s AND NOT EXISTS (
                SELECT 1 FROM memberships o WHERE o.tenant_id = :t AND o.group_id = m.group_id
                  AND o.user_id = m.user_id AND o.origin_source_id <> :s)
            ORDER BY m.user_id, m.group_id
            """,
            s=source.id,
        ).all()
    sql.run("DELETE FROM memberships WHERE tenant_id = :t AND origin_source_id = :s", s=source.id)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for user_id, group_id in gone:
        groups[user_id].append(group_id)
    return [
        Change("membership.removed", ("usr", user_id), before={"groups": their}) for user_id, their in groups.items()
    ]


def _free_groups(sql: TenantSql, source: Source) -> list[Change]:
    """Let people keep the source's groups; Group IDs stay, so that another source can feed them."""
    freed = sql.run(
        f"UPDATE groups SET owner_source_id = {MANUAL}, update_time = :now, revision = revision + 1"
        " WHERE tenant_id = :t AND owner_source_id = :s RETURNING id",
        s=source.id,
    ).scalars()
    before = {"owner": SOURCE.format(sql.tenant_id, source.id)}
    return [
        Change("group.updated", ("grp", group_id), before=before, after={"owner": MANUAL_WORD})
        for group_id in sorted(freed)
    ]


def _owner_word(tenant_id: int, owner_id: int) -> str:
    return SOURCE.format(tenant_id, owner_id) if owner_id != MANUAL else MANUAL_WORD
