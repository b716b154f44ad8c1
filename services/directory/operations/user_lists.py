"""Find a tenant's users: by state, filter, account and group, in any order, a keyset page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy import select as columns
from sqlmodel import Session, col

from services.directory.operations.accounts import require_account
from services.directory.operations.groups import require_group
from services.directory.operations.scope import WHOLE_TENANT, Scope
from services.directory.operations.user_filters import UserFilters
from services.directory.operations.user_views import UserView, user_views
from services.directory.rules import contact
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.filters import Filter, check_size
from services.directory.store.tables import Membership, User, UserState

Place = tuple[str, int]
"""Where a user stands: the value that users are ordered by, and the user's id among equals."""

FIRST: Final[Place] = ("", -1)
"""Before the first user, in whatever order."""


@dataclass(frozen=True)
class UserQuery:
    """Which users, in which order (`order_by`: an attribute, and ` desc` behind it; empty: by creation)."""

    states: Sequence[UserState] = (UserState.ACTIVE,)
    email: str = ""
    filter: Filter | None = None
    account_id: int = 0
    group_id: int = 0
    order_by: str = ""
    scope: Scope = WHOLE_TENANT


@dataclass(frozen=True)
class FoundUser:
    """One user of a page, and where it stands."""

    view: UserView
    place: Place


def list_users(
    session: Session, tenant_id: int, wanted: UserQuery, *, after: Place = FIRST, limit: int
) -> list[FoundUser]:
    """Read users past a place; a handful of statements, however many they are.

    Errors: InvalidArgument (order_by), InvalidFilter, NotFound (account or group).
    """
    filters = UserFilters(tenant_id, is_sqlite=session.get_bind().dialect.name == "sqlite")
    where = [col(User.tenant_id) == tenant_id, *_conditions(session, tenant_id, wanted, filters)]
    name, is_descending = _order_of(wanted.order_by)
    if not name:
        query = columns(col(User.id)).where(*where, col(User.id) > after[1]).order_by(col(User.id)).limit(limit)
        found = list(session.connection().execute(query).scalars())
        views = user_views(session, tenant_id, found)
        return [FoundUser(views[user_id], ("", user_id)) for user_id in found]
    value = filters.order(name)
    if after != FIRST:
        where.append(_beyond(value, after, is_descending=is_descending))
    order = value.desc() if is_descending else value.asc()
    ordered = columns(col(User.id), value).where(*where).order_by(order, col(User.id)).limit(limit)
    places = [(str(text), user_id) for user_id, text in session.connection().execute(ordered)]
    views = user_views(session, tenant_id, [user_id for _, user_id in places])
    return [FoundUser(views[place[1]], place) for place in places]


def _conditions(session: Session, tenant_id: int, wanted: UserQuery, filters: UserFilters) -> list[ColumnElement[bool]]:
    conditions = [_is_in_states(wanted.states), wanted.scope.holds_user(col(User.id))]
    if wanted.email:
        conditions.append(col(User.email) == contact.comparable_email(wanted.email))
    if wanted.filter is not None:
        check_size(wanted.filter)
        conditions.append(filters.condition(wanted.filter))
    groups = []
    if wanted.account_id:
        groups.append(require_account(session, tenant_id, wanted.account_id).main_group_id)
    if wanted.group_id:
        groups.append(require_group(session, tenant_id, wanted.group_id).id)
    for group_id in groups:
        members = columns(col(Membership.user_id)).where(
            col(Membership.tenant_id) == tenant_id, col(Membership.group_id) == group_id
        )
        conditions.append(col(User.id).in_(members))
    return conditions


def _is_in_states(states: Sequence[UserState]) -> ColumnElement[bool]:
    """Say `state = 1` as the index on mails does, so that it is used."""
    if list(states) == [UserState.ACTIVE]:
        return col(User.state) == UserState.ACTIVE
    return col(User.state).in_(states)


def _order_of(order_by: str) -> tuple[str, bool]:
    words = order_by.split()
    if len(words) > 2 or (len(words) == 2 and words[1] not in {"asc", "desc"}):
        raise InvalidArgument([("order_by", "must be an attribute, and desc behind it for the other direction")])
    return (words[0] if words else ""), words[1:] == ["desc"]


def _beyond(value: Any, place: Place, *, is_descending: bool) -> ColumnElement[bool]:
    """Among equals users stand in order of creation, in both directions."""
    text, user_id = place
    further = value < text if is_descending else value > text
    return or_(further, and_(value == text, col(User.id) > user_id))
