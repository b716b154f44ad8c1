"""Change by hand who is in groups and accounts: rows of origin MANUAL, and nothing of what sources made (R38)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from services.directory.operations.groups import require_group
from services.directory.rules.errors import InvalidArgument, NotFound
from services.directory.rules.names import GROUP, USER
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import MANUAL, Account, Group, Membership, User, UserState

MOST_CHANGES = 1000
_Pair = tuple[int, int]
"""A group and a user."""


@dataclass(frozen=True)
class MembershipsChanged:
    """People who came into the group by hand, and people who left it by hand."""

    added: int
    removed: int


def modify_memberships(
    session: Session,
    tenant_id: int,
    group_id: int,
    add: Sequence[int],
    remove: Sequence[int],
    *,
    actor: Actor,
    now: datetime,
) -> MembershipsChanged:
    """Add and remove people, all or none.

    Adding also puts a person into the group's account. Removing from a main group takes the person out of the account
    and so out of every group of it into which people put the person. Errors: InvalidArgument, NotFound.
    """
    _check(add, remove)
    group = require_group(session, tenant_id, group_id)
    _require_users(session, tenant_id, add, remove)
    removed = _remove(session, tenant_id, group, remove)
    added = join_groups(session, tenant_id, [group_id], add)
    append_events(
        session,
        tenant_id,
        [*_changes("membership.removed", removed), *_changes("membership.added", added)],
        actor=actor,
        now=now,
    )
    return MembershipsChanged(
        added=sum(1 for pair in added if pair[0] == group_id),
        removed=sum(1 for pair in removed if pair[0] == group_id),
    )


def join_groups(session: Session, tenant_id: int, group_ids: Sequence[int], user_ids: Iterable[int]) -> list[_Pair]:
    """Put each user into each group, and into the groups' accounts, by hand; gives the pairs that are new.

    Errors: NotFound for a group.
    """
    users = sorted(set(user_ids))  # one order for all writers, so that two of them cannot wait for each other
    if not users or not group_ids:
        return []
    query = (
        select(Group.id, Account.main_group_id)
        .join(Account, (col(Account.tenant_id) == tenant_id) & (col(Account.id) == col(Group.account_id)))
        .where(col(Group.tenant_id) == tenant_id, col(Group.id).in_(set(group_ids)))
    )
    main_groups = dict(session.exec(query).all())
    for group_id in group_ids:
        if group_id not in main_groups:
            raise NotFound(resource=GROUP.format(tenant_id, group_id))
    targets = sorted({*main_groups, *main_groups.values()})
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    table: Any = Membership
    statement = dialect.insert(table).on_conflict_do_nothing().returning(table.group_id, table.user_id)
    rows = [
        {"tenant_id": tenant_id, "group_id": group_id, "user_id": user_id, "origin_source_id": MANUAL}
        for user_id in users
        for group_id in targets
    ]
    return [(group_id, user_id) for group_id, user_id in session.connection().execute(statement, rows)]


def joined_events(pairs: Iterable[_Pair]) -> list[Change]:
    """Make the events of people who joined, one a person; ids of groups, which readers see as names."""
    return _changes("membership.added", pairs)


def _check(add: Sequence[int], remove: Sequence[int]) -> None:
    violations = [
        (field, f"at most {MOST_CHANGES} users a call")
        for field, user_ids in (("add", add), ("remove", remove))
        if len(user_ids) > MOST_CHANGES
    ]
    if set(add) & set(remove):
        violations.append(("remove", "the same user is to be added"))
    if violations:
        raise InvalidArgument(violations)


def _require_users(session: Session, tenant_id: int, add: Sequence[int], remove: Sequence[int]) -> None:
    """Only active users can join; any user may be taken out."""
    query = select(User.id, User.state).where(col(User.tenant_id) == tenant_id, col(User.id).in_({*add, *remove}))
    states = dict(session.exec(query).all())
    for user_id in add:
        if states.get(user_id) != UserState.ACTIVE:
            raise NotFound(resource=USER.format(tenant_id, user_id))
    for user_id in remove:
        if user_id not in states:
            raise NotFound(resource=USER.format(tenant_id, user_id))


def _remove(session: Session, tenant_id: int, group: Group, user_ids: Sequence[int]) -> list[_Pair]:
    if not user_ids:
        return []
    groups: Any = [group.id]
    if group.is_main:
        groups = select(Group.id).where(col(Group.tenant_id) == tenant_id, col(Group.account_id) == group.account_id)
    table: Any = Membership
    statement = (
        delete(table)
        .where(
            table.tenant_id == tenant_id,
            table.group_id.in_(groups),
            table.user_id.in_(set(user_ids)),
            table.origin_source_id == MANUAL,
        )
        .returning(table.group_id, table.user_id)
    )
    return [(group_id, user_id) for group_id, user_id in session.connection().execute(statement)]


def _changes(kind: str, pairs: Iterable[_Pair]) -> list[Change]:
    by_user: defaultdict[int, list[int]] = defaultdict(list)
    for group_id, user_id in sorted(pairs):
        by_user[user_id].append(group_id)
    side = "before" if kind == "membership.removed" else "after"
    return [Change(kind, ("usr", user_id), **{side: {"groups": groups}}) for user_id, groups in by_user.items()]
