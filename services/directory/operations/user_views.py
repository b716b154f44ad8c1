"""Read users with what is kept beside them: two statements of fixed text, however many users they are.

Every read of a user takes this way, and every write that answers with one: it is short for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlmodel import Session

from services.directory.operations.tenant_sql import TenantReads
from services.directory.store.people_tables import InvitationState
from services.directory.store.provisioning_tables import USER
from services.directory.store.statements import moment


@dataclass(frozen=True)
class Place:
    """A group or an account that a user is in."""

    id: int
    display_name: str


class UserRow(NamedTuple):
    """A user as it is kept; see tables.User."""

    tenant_id: int
    id: int
    email: str
    display_name: str
    title: str
    phone: str
    secondary_phone: str
    owner_source_id: int
    state: int
    password_reset_required: bool
    revision: int
    create_time: datetime
    update_time: datetime
    leave_time: datetime | None
    erase_time: datetime | None


class Invited(NamedTuple):
    """How far the newest invitation of a user is, and until when it is open."""

    state: InvitationState
    expire_time: datetime


@dataclass
class UserView:
    """A user with what is kept beside it."""

    user: UserRow
    external_id: str = ""
    owner_display_name: str = ""
    groups: list[Place] = field(default_factory=list)
    accounts: list[Place] = field(default_factory=list)
    invitation: Invited | None = None
    """The newest one."""
    scim_document: str = ""
    """What the owner, a connection, has said of the user, as JSON; read with single users only."""


def user_views(session: Session, tenant_id: int, user_ids: Sequence[int]) -> dict[int, UserView]:
    """Read users by their ids; one that is none is left out."""
    session.flush()
    sql = TenantReads(session, tenant_id)
    ids = sql.ids(user_ids)
    views = {row.id: _view(row) for row in sql.run(PEOPLE, ids=ids)}
    for user_id, group_id, group_name, is_main, account_id, account_name in sql.run(_PLACES, ids=ids) if views else ():
        if is_main:
            views[user_id].accounts.append(Place(account_id, account_name))
        else:
            views[user_id].groups.append(Place(group_id, group_name))
    return views


COLUMNS: Final = ", ".join(f"u.{name}" for name in UserRow._fields)

# `+ 0`: right after a first night PostgreSQL has no statistics, and would read all claims of the source for each user.
PEOPLE: Final = f"""
    SELECT {COLUMNS}, v.state AS invitation_state, v.expire_time AS invitation_expire_time,
     coalesce(s.display_name, '') AS owner_display_name, coalesce(c.external_id, p.external_id, '') AS external_id
    FROM users u JOIN {{each}} ON i.id = u.id
    LEFT JOIN invitations v ON v.tenant_id = :t AND v.id = (
        SELECT max(newest.id) FROM invitations newest WHERE newest.tenant_id = :t AND newest.user_id = u.id)
    LEFT JOIN sources s ON s.tenant_id = :t AND s.id = u.owner_source_id
    LEFT JOIN claims c ON c.tenant_id = :t AND c.user_id = u.id AND c.source_id + 0 = s.id
    LEFT JOIN provisioned_resources p ON p.tenant_id = :t AND p.source_id = s.id
     AND p.kind = {USER} AND p.resource_id = u.id
    WHERE u.tenant_id = :t
"""

_PLACES: Final = """
    SELECT DISTINCT m.user_id, g.id, g.display_name, g.is_main, a.id, a.display_name
    FROM memberships m JOIN {each} ON i.id = m.user_id
    JOIN groups g ON g.tenant_id = :t AND g.id = m.group_id
    JOIN accounts a ON a.tenant_id = :t AND a.id = g.account_id
    WHERE m.tenant_id = :t ORDER BY g.id
"""


def _view(row: Any) -> UserView:
    expire_time = moment(row.invitation_expire_time)
    return UserView(
        user_row(row),
        external_id=row.external_id,
        owner_display_name=row.owner_display_name,
        invitation=Invited(InvitationState(row.invitation_state), expire_time) if expire_time is not None else None,
    )


def user_row(row: Any) -> UserRow:
    """Make a user of a row that begins with COLUMNS."""
    *facts, created, updated, left, erased = row[: len(UserRow._fields)]
    return UserRow._make([*facts, moment(created), moment(updated), moment(left), moment(erased)])
