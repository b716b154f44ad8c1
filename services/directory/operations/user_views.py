"""Read users with what is kept beside them: a few statements of fixed text, however many users they are.

GetUser spends most of its time on SQLAlchemy's building of expressions, so these are built once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlmodel import Session

from services.directory.operations.invitations import newest_invitations
from services.directory.operations.tenant_sql import TenantReads
from services.directory.store.people_tables import Invitation
from services.directory.store.provisioning_tables import USER
from services.directory.store.tables import MANUAL, User


@dataclass(frozen=True)
class Place:
    """A group or an account that a user is in."""

    id: int
    display_name: str


@dataclass
class UserView:
    """A user with what is kept beside it."""

    user: User
    external_id: str = ""
    owner_display_name: str = ""
    groups: list[Place] = field(default_factory=list)
    accounts: list[Place] = field(default_factory=list)
    invitation: Invitation | None = None
    """The newest one."""
    scim_document: str = ""
    """What the owner, a connection, has said of the user, as JSON; read with single users only."""


def user_views(session: Session, tenant_id: int, users: Sequence[User]) -> list[UserView]:
    """Fetch what is kept beside the users, in their order."""
    views = {user.id: UserView(user) for user in users}
    if views:
        sql = TenantReads(session, tenant_id)
        _add_places(sql, views)
        _add_owners(sql, views)
        for invitation in newest_invitations(session, tenant_id, views):
            views[invitation.user_id].invitation = invitation
    return list(views.values())


_PLACES: Final = """
    SELECT DISTINCT m.user_id, g.id, g.display_name, g.is_main, a.id, a.display_name
    FROM memberships m JOIN {each} ON i.id = m.user_id
    JOIN groups g ON g.tenant_id = :t AND g.id = m.group_id
    JOIN accounts a ON a.tenant_id = :t AND a.id = g.account_id
    WHERE m.tenant_id = :t ORDER BY g.id
"""


def _add_places(sql: TenantReads, views: dict[int, UserView]) -> None:
    rows = sql.run(_PLACES, ids=sql.ids(views))
    for user_id, group_id, group_name, is_main, account_id, account_name in rows:
        if is_main:
            views[user_id].accounts.append(Place(account_id, account_name))
        else:
            views[user_id].groups.append(Place(group_id, group_name))


_OWNERS: Final = f"""
    SELECT u.id, s.display_name, coalesce(c.external_id, p.external_id, '')
    FROM users u JOIN {{each}} ON i.id = u.id
    JOIN sources s ON s.tenant_id = :t AND s.id = u.owner_source_id
    LEFT JOIN claims c ON c.tenant_id = :t AND c.user_id = u.id AND c.source_id = u.owner_source_id
    LEFT JOIN provisioned_resources p ON p.tenant_id = :t AND p.source_id = u.owner_source_id
     AND p.kind = {USER} AND p.resource_id = u.id
    WHERE u.tenant_id = :t
"""


def _add_owners(sql: TenantReads, views: dict[int, UserView]) -> None:
    owned = [user_id for user_id, view in views.items() if view.user.owner_source_id != MANUAL]
    if not owned:
        return
    for user_id, source_name, external_id in sql.run(_OWNERS, ids=sql.ids(owned)):
        views[user_id].owner_display_name = source_name
        views[user_id].external_id = external_id
