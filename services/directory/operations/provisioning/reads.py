"""Read users and groups as a connection sees them (S14)."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, select

from services.directory.operations.provisioning.call import Call
from services.directory.operations.tenant_sql import pairs_of
from services.directory.rules.errors import NotFound
from services.directory.rules.names import GROUP as GROUP_NAME
from services.directory.rules.names import USER as USER_NAME
from services.directory.rules.provisioned import document_of_register
from services.directory.store.provisioning_tables import GROUP, USER
from services.directory.store.statements import moment_of
from services.directory.store.tables import MANUAL, Claim, User, UserState

MEMBERS_A_CHUNK: Final = 5_000


class Management(enum.IntEnum):
    """Who a user belongs to; the numbers are those of the contract's UserManagement."""

    OWN = 1
    MANUAL = 2
    READ_ONLY = 3


@dataclass(frozen=True)
class Reference:
    """A group or a member, with its name."""

    id: int
    display_name: str


@dataclass
class UserView:
    """A user as the connection sees it; `revision` makes its etag."""

    id: int
    document: str
    is_active: bool
    management: Management
    revision: int
    create_time: datetime
    update_time: datetime
    groups: list[Reference] = field(default_factory=list)


@dataclass(frozen=True)
class GroupView:
    """A group's head as the connection sees it."""

    id: int
    document: str
    revision: int
    create_time: datetime
    update_time: datetime


def get_user(call: Call, user_id: int, *, with_groups: bool) -> UserView:
    """Read one user. Errors: NotFound."""
    views = get_users(call, [user_id], with_groups=with_groups)
    if not views:
        raise NotFound(resource=USER_NAME.format(call.tenant_id, user_id))
    return views[user_id]


def get_users(call: Call, user_ids: Iterable[int], *, with_groups: bool) -> dict[int, UserView]:
    """Read those of several users who are there, by id; with as many statements as one."""
    views = _own_users(call, sorted(set(user_ids)), with_groups=with_groups)
    missing = {*user_ids} - {view.id for view in views}
    if missing:
        others = foreign_users(call, missing)
        if with_groups:
            _add_groups(call, others)
        views += others
    return {view.id: view for view in views}


def _own_users(call: Call, user_ids: Sequence[int], *, with_groups: bool) -> list[UserView]:
    """Read the connection's own users among these, in the order asked for."""
    rows = call.run(_OWN_USERS_WITH_GROUPS if with_groups else _OWN_USERS, ids=call.ids(user_ids))
    found = {row[0]: own_view(row) for row in rows}
    return [found[user_id] for user_id in user_ids if user_id in found]


def own_view(row: Any) -> UserView:
    """Write one of the connection's own users, from a row of OWN_USER_COLUMNS, or of those and GROUPS_OF_USER."""
    user_id, document, is_active, revision, create_time, update_time, *gathered = row
    return UserView(
        id=user_id,
        document=document,
        is_active=bool(is_active),
        management=Management.OWN,
        revision=revision,
        create_time=moment_of(create_time),
        update_time=moment_of(update_time),
        groups=_references(gathered[0]) if gathered else [],
    )


OWN_USER_COLUMNS: Final = "r.resource_id, r.document, r.is_active, u.revision, u.create_time, u.update_time"
GROUPS_OF_USER: Final = """(
    SELECT {pairs:g.id, g.display_name} FROM (
        SELECT group_id FROM memberships WHERE tenant_id = :t AND user_id = u.id
        UNION
        SELECT group_id FROM sleeping_memberships WHERE tenant_id = :t AND user_id = u.id
    ) m JOIN groups g ON g.tenant_id = :t AND g.id = m.group_id WHERE g.owner_source_id = :s)"""
"""The connection's groups that a user `u` is in, awake or asleep."""
_OWN_USERS, _OWN_USERS_WITH_GROUPS = (
    f"""
    SELECT {columns} FROM {{each}}
    JOIN provisioned_resources r
      ON r.tenant_id = :t AND r.source_id = :s AND r.kind = {USER} AND r.resource_id = i.id AND NOT r.is_gone
    JOIN users u ON u.tenant_id = :t AND u.id = r.resource_id
    """
    for columns in (OWN_USER_COLUMNS, f"{OWN_USER_COLUMNS}, {GROUPS_OF_USER}")
)


def foreign_users(call: Call, user_ids: Iterable[int]) -> list[UserView]:
    """Read the active manual and otherwise owned users among these, written as SCIM has them."""
    query = select(User).where(
        col(User.tenant_id) == call.tenant_id,
        col(User.id).in_(set(user_ids)),
        col(User.state) == UserState.ACTIVE,
        col(User.owner_source_id) != call.source_id,
    )
    users = list(call.session.exec(query.order_by(col(User.id)).execution_options(populate_existing=True)))
    keys = _unique_ids(call, users)
    return [
        UserView(
            id=user.id,
            document=json.dumps(foreign_document(user, keys.get(user.id, "")), ensure_ascii=False),
            is_active=True,
            management=Management.MANUAL if user.owner_source_id == MANUAL else Management.READ_ONLY,
            revision=user.revision,
            create_time=user.create_time,
            update_time=user.update_time,
        )
        for user in users
    ]


def foreign_document(user: User, external_id: str) -> dict[str, Any]:
    """Write a user that this connection has not described as SCIM has it."""
    columns = ("display_name", "title", "phone", "secondary_phone")
    fields = {column: str(getattr(user, column)) for column in columns}
    return document_of_register(email=user.email, external_id=external_id, fields=fields)


def _add_groups(call: Call, views: Sequence[UserView]) -> None:
    """Add the connection's groups that the users are in, awake or asleep."""
    if not views:
        return
    by_id = {view.id: view for view in views}
    for user_id, gathered in call.run(_GROUPS_OF_USERS, ids=call.ids(by_id)):
        by_id[user_id].groups = _references(gathered)


_GROUPS_OF_USERS: Final = (
    f"SELECT u.id, {GROUPS_OF_USER} FROM {{each}} JOIN users u ON u.tenant_id = :t AND u.id = i.id"
)


def _references(gathered: str | None) -> list[Reference]:
    """Read groups from what GROUPS_OF_USER gave, in the order of their creation."""
    return [Reference(*pair) for pair in sorted(pairs_of(gathered))]


def get_group(call: Call, group_id: int) -> GroupView:
    """Read one group's head. Errors: NotFound."""
    views = groups_of(call, [group_id])
    if not views:
        raise NotFound(resource=GROUP_NAME.format(call.tenant_id, group_id))
    return views[0]


def groups_of(call: Call, group_ids: Sequence[int]) -> list[GroupView]:
    """Read the connection's groups among these, in the order asked for."""
    rows = call.run(_OWN_GROUPS, ids=call.ids(group_ids))
    found = {
        group_id: GroupView(
            id=group_id,
            document=document,
            revision=revision,
            create_time=moment_of(create_time),
            update_time=moment_of(update_time),
        )
        for group_id, document, revision, create_time, update_time in rows
    }
    return [found[group_id] for group_id in group_ids if group_id in found]


_OWN_GROUPS: Final = f"""
    SELECT r.resource_id, r.document, g.revision, g.create_time, coalesce(g.update_time, g.create_time) FROM {{each}}
    JOIN provisioned_resources r
      ON r.tenant_id = :t AND r.source_id = :s AND r.kind = {GROUP} AND r.resource_id = i.id AND NOT r.is_gone
    JOIN groups g ON g.tenant_id = :t AND g.id = r.resource_id
"""


def members(call: Call, group_id: int, *, after: int = 0) -> Iterator[list[Reference]]:
    """Yield the members whom the connection may manage (S14), 5,000 at a time, in order of the users' creation.

    Those only who were created after the user `after`.
    """
    while True:
        rows = call.run(
            MANAGED_MEMBERS.format(what="m.user_id, u.display_name", condition="AND m.user_id > :after")
            + f" ORDER BY m.user_id LIMIT {MEMBERS_A_CHUNK}",
            g=group_id,
            after=after,
        ).all()
        if rows:
            yield [Reference(user_id, display_name) for user_id, display_name in rows]
        if len(rows) < MEMBERS_A_CHUNK:
            return
        after = rows[-1][0]


MANAGED_MEMBERS: Final = """
    SELECT DISTINCT {what} FROM (
        SELECT user_id, origin_source_id FROM memberships WHERE tenant_id = :t AND group_id = :g
        UNION ALL
        SELECT user_id, origin_source_id FROM sleeping_memberships WHERE tenant_id = :t AND group_id = :g
    ) m JOIN users u ON u.tenant_id = :t AND u.id = m.user_id
    WHERE (m.origin_source_id = :s OR u.owner_source_id = :s) {condition}
"""
"""Members of the group `:g` whom the connection owns or added; never manual users (S14)."""


def _unique_ids(call: Call, users: Sequence[User]) -> Mapping[int, str]:
    """The UniqueIDs of file-owned users: their externalId for every connection (S14)."""
    owners = {user.id: user.owner_source_id for user in users if user.owner_source_id != MANUAL}
    if not owners:
        return {}
    query = select(Claim.user_id, Claim.source_id, Claim.external_id).where(
        col(Claim.tenant_id) == call.tenant_id, col(Claim.user_id).in_(owners)
    )
    return {
        user_id: external_id
        for user_id, source_id, external_id in call.session.exec(query)
        if owners[user_id] == source_id
    }
