"""Change by hand who is in groups and accounts: rows of origin MANUAL, and nothing of what sources made (R38)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlmodel import Session

from services.directory.operations.tenant_sql import TenantReads, TenantSql
from services.directory.operations.user_states import require_active
from services.directory.rules.errors import InvalidArgument, NotFound
from services.directory.rules.names import GROUP, USER
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import MANUAL, UserState

MOST_CHANGES: Final = 1000
MOST_MEMBERS: Final = 1_000_000
"""How many people ReplaceMemberships takes."""

_Pair = tuple[int, int]
"""A group and a user."""


@dataclass(frozen=True)
class MembershipsChanged:
    """People who came into the group by hand, and people who left it by hand.

    `left_users` are those who left and are in no account any more.
    """

    added: int
    removed: int
    left_users: Sequence[int] = ()


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
    and so out of every group of it into which people put the person.
    Errors: InvalidArgument, NotFound, UserStateError.
    """
    _check(add, remove)
    sql = TenantSql(session, tenant_id, now)
    group = _target(sql, group_id)
    _require_users(session, tenant_id, add, remove)
    removed = _remove(sql, group, remove)
    added = join_groups(session, tenant_id, [group_id], add)
    _tell(sql, removed, added, actor)
    return MembershipsChanged(
        added=sum(1 for pair in added if pair[0] == group_id),
        removed=sum(1 for pair in removed if pair[0] == group_id),
        left_users=_without_account(sql, {user_id for _, user_id in removed}),
    )


def replace_memberships(
    session: Session, tenant_id: int, group_id: int, user_ids: Collection[int], *, actor: Actor, now: datetime
) -> MembershipsChanged:
    """Make the people who are in a group by hand exactly these, all or none, and write only what differs.

    Adding and removing mean what they mean to `modify_memberships`. Errors: NotFound, UserStateError.
    """
    sql = TenantSql(session, tenant_id, now)
    group = _target(sql, group_id)
    wanted = sql.ids(user_ids)
    _require_active(sql, wanted)
    by_hand = f"SELECT user_id FROM memberships WHERE tenant_id = :t AND group_id = :g AND origin_source_id = {MANUAL}"
    leaving = sql.run(f"{by_hand} AND user_id NOT IN (SELECT i.id FROM {{each}})", g=group_id, ids=wanted)
    removed = _remove(sql, group, leaving.scalars())
    joining = sql.run(f"SELECT i.id FROM {{each}} WHERE i.id NOT IN ({by_hand})", g=group_id, ids=wanted)
    added = _join(sql, group, joining.scalars())
    _tell(sql, removed, added, actor)
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
    sql = TenantReads(session, tenant_id)
    main_groups = dict(tuple(row) for row in sql.run(_GROUPS_TO_JOIN, ids=sql.ids(group_ids)))
    for group_id in group_ids:
        if group_id not in main_groups:
            raise NotFound(resource=GROUP.format(tenant_id, group_id))
    places = sql.ids([*main_groups, *main_groups.values()])
    return [(row.group_id, row.user_id) for row in sql.run(_JOIN, ids=sql.ids(users), places=places)]


_GROUPS_TO_JOIN: Final = """
    SELECT g.id, a.main_group_id FROM groups g JOIN {each} ON i.id = g.id
    JOIN accounts a ON a.tenant_id = :t AND a.id = g.account_id
    WHERE g.tenant_id = :t{for_key_share_of_g_and_a}
"""
"""Nobody deletes or moves one of them meanwhile."""

_JOIN: Final = f"""
    INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
    SELECT :t, p.id, i.id, {MANUAL} FROM {{each}} CROSS JOIN {{each_place}} WHERE true ORDER BY i.id, p.id
    ON CONFLICT DO NOTHING RETURNING group_id, user_id
"""


def joined_events(pairs: Iterable[_Pair]) -> list[Change]:
    """Make the events of people who joined, one a person; ids of groups, which readers see as names."""
    return _changes("membership.added", pairs)


def removed_events(pairs: Iterable[_Pair]) -> list[Change]:
    """Make the events of people who left, one a person."""
    return _changes("membership.removed", pairs)


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


class _Target(NamedTuple):
    """A group that people come into or leave."""

    id: int
    account_id: int
    is_main: bool
    main_group_id: int
    """That of its account."""


def _target(sql: TenantSql, group_id: int) -> _Target:
    found = sql.run(
        "SELECT g.id, g.account_id, g.is_main, a.main_group_id FROM groups g "
        "JOIN accounts a ON a.tenant_id = :t AND a.id = g.account_id WHERE g.tenant_id = :t AND g.id = :g",
        g=group_id,
    ).first()
    if found is None:
        raise NotFound(resource=GROUP.format(sql.tenant_id, group_id))
    return _Target._make(found)


def _require_users(session: Session, tenant_id: int, add: Sequence[int], remove: Sequence[int]) -> None:
    """Only active users can join; any user may be taken out."""
    sql = TenantReads(session, tenant_id)
    found = sql.run(
        "SELECT u.id, u.state FROM users u JOIN {each} ON i.id = u.id WHERE u.tenant_id = :t",
        ids=sql.ids((*add, *remove)),
    )
    states = {row.id: row.state for row in found}
    for user_id in (*add, *remove):
        if user_id not in states:
            raise NotFound(resource=USER.format(tenant_id, user_id))
    for user_id in add:
        require_active(states[user_id])


def _require_active(sql: TenantSql, wanted: Any) -> None:
    """Only active users can join; the first who is none is named."""
    found = sql.run(
        "SELECT i.id, u.state FROM {each} LEFT JOIN users u ON u.tenant_id = :t AND u.id = i.id "
        f"WHERE u.state IS NULL OR u.state <> {int(UserState.ACTIVE)} ORDER BY i.id LIMIT 1",
        ids=wanted,
    ).first()
    if found is None:
        return
    if found.state is None:
        raise NotFound(resource=USER.format(sql.tenant_id, found.id))
    require_active(found.state)


def _remove(sql: TenantSql, group: _Target, user_ids: Iterable[int]) -> list[_Pair]:
    """Take people out of a group; out of a main group is out of all of its account's groups."""
    ids = list(user_ids)
    if not ids:
        return []
    account = "SELECT id FROM groups WHERE tenant_id = :t AND account_id = :account"
    left = sql.run(
        f"DELETE FROM memberships WHERE tenant_id = :t AND group_id IN ({account if group.is_main else ':g'})"
        f" AND user_id IN (SELECT i.id FROM {{each}}) AND origin_source_id = {MANUAL} RETURNING group_id, user_id",
        ids=sql.ids(ids),
        **({"account": group.account_id} if group.is_main else {"g": group.id}),
    )
    return [(group_id, user_id) for group_id, user_id in left]


def _join(sql: TenantSql, group: _Target, user_ids: Collection[int]) -> list[_Pair]:
    """Put any number of people into a group and its account by hand; gives the pairs that are new."""
    pairs: list[_Pair] = []
    for group_id in sorted({group.id, group.main_group_id}) if user_ids else ():
        joined = sql.run(
            "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id) "
            f"SELECT :t, :g, i.id, {MANUAL} FROM {{each}} WHERE true ORDER BY i.id "
            "ON CONFLICT DO NOTHING RETURNING user_id",
            g=group_id,
            ids=sql.ids(user_ids),
        )
        pairs += [(group_id, user_id) for user_id in joined.scalars()]
    return pairs


def _without_account(sql: TenantSql, user_ids: Collection[int]) -> list[int]:
    """Who of these is in no account."""
    if not user_ids:
        return []
    found = sql.run(
        "SELECT i.id FROM {each} WHERE NOT EXISTS (SELECT 1 FROM memberships m "
        "JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id "
        "WHERE m.tenant_id = :t AND m.user_id = i.id AND g.is_main) ORDER BY i.id",
        ids=sql.ids(user_ids),
    )
    return list(found.scalars())


def _tell(sql: TenantSql, removed: Iterable[_Pair], added: Iterable[_Pair], actor: Actor) -> None:
    changes = [*removed_events(removed), *joined_events(added)]
    append_events(sql.session, sql.tenant_id, changes, actor=actor, now=sql.now)


def _changes(kind: str, pairs: Iterable[_Pair]) -> list[Change]:
    by_user: defaultdict[int, list[int]] = defaultdict(list)
    for group_id, user_id in sorted(pairs):
        by_user[user_id].append(group_id)
    side = "before" if kind == "membership.removed" else "after"
    return [Change(kind, ("usr", user_id), **{side: {"groups": groups}}) for user_id, groups in by_user.items()]
