"""Create and read groups, and read who is in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from services.directory.operations.scope import WHOLE_TENANT, Scope
from services.directory.rules import text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import GroupIdReserved, GroupIdTaken, NotFound
from services.directory.rules.names import ACCOUNT, GROUP
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.people_tables import ReservedGroupId
from services.directory.store.session import violates
from services.directory.store.tables import MANUAL, Account, Group, Membership, User


@dataclass(frozen=True)
class GroupView:
    """A group and how many people are in it."""

    group: Group
    member_count: int


@dataclass(frozen=True)
class Member:
    """A person in a group, and who put the person there: sources in order of their creation, and MANUAL for people."""

    user_id: int
    email: str
    origins: Sequence[int]


def create_group(
    session: Session,
    tenant_id: int,
    account_id: int,
    display_name: str,
    group_external_id: str,
    *,
    actor: Actor,
    now: datetime,
) -> GroupView:
    """Make a manual group, or a synced one if it has a Group ID.

    Errors: InvalidArgument, NotFound, GroupIdTaken, GroupIdReserved.
    """
    checks = FieldChecks()
    name = checks.parse("display_name", text.parse_display_name, display_name)
    external_id = checks.parse("group_external_id", text.parse_group_external_id, group_external_id)
    checks.end()
    lasting_account(session, tenant_id, account_id)
    group = Group(
        tenant_id=tenant_id,
        id=ids.next_id(session, "group"),
        account_id=account_id,
        display_name=name,
        external_id=external_id,
        create_time=now,
    )
    session.add(group)
    settle_group_id(session, group)
    after = {"display_name": name, "group_external_id": external_id, "account": ACCOUNT.format(tenant_id, account_id)}
    append_event(
        session,
        tenant_id,
        kind="group.created",
        resource=("grp", group.id),
        actor=actor,
        now=now,
        after={field: value for field, value in after.items() if value},
    )
    return GroupView(group, member_count=0)


def get_group(session: Session, tenant_id: int, group_id: int) -> GroupView:
    """Read one group. Errors: NotFound."""
    group = require_group(session, tenant_id, group_id)
    return GroupView(group, member_counts(session, tenant_id, [group_id]).get(group_id, 0))


def list_groups(
    session: Session, tenant_id: int, *, scope: Scope = WHOLE_TENANT, after_id: int, limit: int
) -> list[GroupView]:
    """Read groups within a scope in order of creation, past `after_id`, main groups included."""
    query = select(Group).where(
        col(Group.tenant_id) == tenant_id, col(Group.id) > after_id, scope.holds_account(col(Group.account_id))
    )
    groups = list(session.exec(query.order_by(col(Group.id)).limit(limit)))
    counts = member_counts(session, tenant_id, [group.id for group in groups])
    return [GroupView(group, counts.get(group.id, 0)) for group in groups]


def list_members(session: Session, tenant_id: int, group_id: int, *, after_id: int, limit: int) -> list[Member]:
    """Read the people of a group, each once, in order of the users' creation, past `after_id`. Errors: NotFound."""
    require_group(session, tenant_id, group_id)
    in_group = (col(Membership.tenant_id) == tenant_id, col(Membership.group_id) == group_id)
    query = (
        select(Membership.user_id, User.email)
        .where(
            *in_group,
            col(Membership.user_id) > after_id,
            col(User.tenant_id) == tenant_id,
            col(User.id) == col(Membership.user_id),
        )
        .distinct()
        .order_by(col(Membership.user_id))
        .limit(limit)
    )
    people = session.exec(query).all()
    if not people:
        return []
    page = col(Membership.user_id).between(people[0][0], people[-1][0])
    origins: defaultdict[int, list[int]] = defaultdict(list)
    for user_id, origin in session.exec(select(Membership.user_id, Membership.origin_source_id).where(*in_group, page)):
        origins[user_id].append(origin)
    return [Member(user_id, email, sorted(origins[user_id])) for user_id, email in people]


def require_group(session: Session, tenant_id: int, group_id: int) -> Group:
    """Read one group's row. Errors: NotFound."""
    group = session.get(Group, (tenant_id, group_id))
    if group is None:
        raise NotFound(resource=GROUP.format(tenant_id, group_id))
    return group


def lasting_account(session: Session, tenant_id: int, account_id: int) -> Account:
    """Read an account that nobody deletes before this transaction ends. Errors: NotFound."""
    account = session.get(Account, (tenant_id, account_id), with_for_update={"read": True, "key_share": True})
    if account is None:
        raise NotFound(resource=ACCOUNT.format(tenant_id, account_id))
    return account


def is_synced(group: Group) -> bool:
    """Say whether a sync sees the group: it has a Group ID, or a connection made it without one."""
    return group.external_id is not None or group.owner_source_id != MANUAL


def settle_group_id(session: Session, group: Group) -> None:
    """Write a new or changed group; its Group ID must be free. Errors: GroupIdTaken, GroupIdReserved."""
    external_id = group.external_id
    try:
        session.flush()
    except IntegrityError as error:
        if violates(error, "groups_by_external_id", "groups.external_id"):
            raise GroupIdTaken(group_external_id=external_id or "") from None
        raise
    require_unreserved(session, group.tenant_id, external_id)  # a deletion that the write waited for has reserved it


def require_unreserved(session: Session, tenant_id: int, external_id: str | None) -> None:
    """Refuse a Group ID that waits to be released (S8). Errors: GroupIdReserved."""
    if external_id is not None and session.get(ReservedGroupId, (tenant_id, external_id)) is not None:
        raise GroupIdReserved(group_external_id=external_id)


def member_counts(session: Session, tenant_id: int, group_ids: Sequence[int]) -> dict[int, int]:
    """Count the people of each group, each person once; empty groups are left out."""
    query = (
        select(Membership.group_id, func.count(func.distinct(col(Membership.user_id))))
        .where(col(Membership.tenant_id) == tenant_id, col(Membership.group_id).in_(group_ids))
        .group_by(col(Membership.group_id))
    )
    return dict(session.exec(query).all()) if group_ids else {}
