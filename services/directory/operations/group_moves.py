"""Move a group to another account of the tenant, with the people in it or without them (R43, S11)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from services.directory.operations.group_changes import end_memberships, keep_in_account, locked_group, touch
from services.directory.operations.groups import GroupView, get_group, lasting_account
from services.directory.operations.memberships import joined_events
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules.errors import FailedPrecondition
from services.directory.rules.names import ACCOUNT
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import Account, Group


class MovedMembers(enum.IntEnum):
    """What happens to the people in a group that moves; the numbers are those of the contract."""

    ADD = 1
    REMOVE = 2


@dataclass(frozen=True)
class MovedGroup:
    """A group after its move, how many people joined the new account, and how many left the group."""

    group: GroupView
    added: int = 0
    left: int = 0


def move_group(
    session: Session,
    tenant_id: int,
    group_id: int,
    account_id: int,
    members: MovedMembers,
    *,
    etag: str,
    actor: Actor,
    now: datetime,
) -> MovedGroup:
    """Put a group into another account; the old one keeps the people until they are taken out by hand.

    Nobody becomes dormant by it: S7 looks at what a connection does. Errors: NotFound, StaleEtag, FailedPrecondition.
    """
    group = locked_group(session, tenant_id, group_id, etag)
    account = lasting_account(session, tenant_id, account_id)
    if group.account_id == account_id:
        raise FailedPrecondition("the group is in this account already", why="same_account")
    sql = TenantSql(session, tenant_id, now)
    keep_in_account(sql, group, is_moved=True)
    people = _join(sql, group, account) if members is MovedMembers.ADD else end_memberships(sql, group_id)
    before = {"account": ACCOUNT.format(tenant_id, group.account_id)}
    group.account_id = account_id
    touch(group, now)
    session.flush()
    after = {"account": ACCOUNT.format(tenant_id, account_id), "members": members.name.lower()}
    moved = Change("group.moved", ("grp", group_id), before=before, after=after)
    append_events(session, tenant_id, [moved, *people], actor=actor, now=now)
    view = get_group(session, tenant_id, group_id)
    if members is MovedMembers.ADD:
        return MovedGroup(view, added=len(people))
    return MovedGroup(view, left=len(people))


def _join(sql: TenantSql, group: Group, account: Account) -> list[Change]:
    """Put everyone of a group into an account, by whomever put into the group; gives events of those new to it."""
    bound = {"g": group.id, "main": account.main_group_id}
    known = sql.run("SELECT user_id FROM memberships WHERE tenant_id = :t AND group_id = :main", **bound)
    there = set(known.scalars())
    joined = sql.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT :t, :main, user_id, origin_source_id FROM memberships WHERE tenant_id = :t AND group_id = :g
        ORDER BY user_id, origin_source_id ON CONFLICT DO NOTHING RETURNING user_id
        """,
        **bound,
    )
    new = set(joined.scalars()) - there
    sql.run(
        """
        INSERT INTO sleeping_memberships (tenant_id, group_id, user_id, origin_source_id, until)
        SELECT :t, :main, user_id, origin_source_id, until FROM sleeping_memberships
        WHERE tenant_id = :t AND group_id = :g ORDER BY user_id, origin_source_id ON CONFLICT DO NOTHING
        """,
        **bound,
    )
    return joined_events((account.main_group_id, user_id) for user_id in new)
