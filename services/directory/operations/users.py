"""Create and read users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlalchemy import select as columns
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from services.directory.operations.accounts import require_account
from services.directory.operations.licenses import take_seat
from services.directory.operations.memberships import join_groups, joined_events
from services.directory.rules import contact, text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import EmailTaken, NotFound
from services.directory.rules.names import USER
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.provisioning_tables import USER as USER_KIND
from services.directory.store.provisioning_tables import ProvisionedResource
from services.directory.store.session import violates
from services.directory.store.tables import MANUAL, Account, Claim, Group, Membership, Source, User, UserState


@dataclass(frozen=True)
class NewUser:
    """What CreateUser is given, as it was sent; ids are the tenant's."""

    account_id: int
    display_name: str
    email: str
    title: str = ""
    phone: str = ""
    secondary_phone: str = ""
    group_ids: Sequence[int] = ()


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


def create_user(session: Session, tenant_id: int, new: NewUser, *, actor: Actor, now: datetime) -> UserView:
    """Make a manual user, take a seat, join the account and the groups.

    Errors: InvalidArgument, NotFound (account or group), EmailTaken, LicenseLimitReached.
    """
    values = _checked(new)
    account = require_account(session, tenant_id, new.account_id)
    _require_free_email(session, tenant_id, values["email"])
    take_seat(session, tenant_id)
    user = User(
        tenant_id=tenant_id,
        id=ids.next_id(session, "user"),
        owner_source_id=MANUAL,
        create_time=now,
        update_time=now,
        display_name=values["display_name"],
        email=values["email"],
        title=values["title"],
        phone=values["phone"],
        secondary_phone=values["secondary_phone"],
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        raise
    joined = join_groups(session, tenant_id, [account.main_group_id, *new.group_ids], [user.id])
    created = Change("user.created", ("usr", user.id), after={name: value for name, value in values.items() if value})
    append_events(session, tenant_id, [created, *joined_events(joined)], actor=actor, now=now)
    return _views(session, tenant_id, [user])[0]


def get_users(session: Session, tenant_id: int, user_ids: Sequence[int]) -> list[UserView]:
    """Read users in the order asked for, deleted ones too. Errors: NotFound for the first that is missing."""
    query = select(User).where(col(User.tenant_id) == tenant_id, col(User.id).in_(set(user_ids)))
    found = {user.id: user for user in session.exec(query)}
    for user_id in user_ids:
        if user_id not in found:
            raise NotFound(resource=USER.format(tenant_id, user_id))
    views = {view.user.id: view for view in _views(session, tenant_id, list(found.values()))}
    return [views[user_id] for user_id in user_ids]


def list_users(
    session: Session, tenant_id: int, *, email: str, states: Sequence[UserState], after_id: int, limit: int
) -> list[UserView]:
    """Read users in order of creation, past `after_id`; `email` (empty: any) is compared in the register's form."""
    query = select(User).where(col(User.tenant_id) == tenant_id, col(User.id) > after_id, _is_in_states(states))
    if email:
        query = query.where(col(User.email) == contact.comparable_email(email))
    users = list(session.exec(query.order_by(col(User.id)).limit(limit)))
    return _views(session, tenant_id, users)


def _is_in_states(states: Sequence[UserState]) -> ColumnElement[bool]:
    """Say `state = 1` as the index on mails does, so that it is used."""
    if list(states) == [UserState.ACTIVE]:
        return col(User.state) == UserState.ACTIVE
    return col(User.state).in_(states)


def _checked(new: NewUser) -> dict[str, str]:
    checks = FieldChecks()
    values = {
        "display_name": checks.parse("display_name", text.parse_display_name, new.display_name),
        "email": checks.parse("email", contact.parse_email, new.email),
        "title": checks.parse("title", text.parse_title, new.title),
        "phone": checks.parse("phone", contact.parse_phone, new.phone),
        "secondary_phone": checks.parse("secondary_phone", contact.parse_phone, new.secondary_phone),
    }
    checks.end()
    return values


def _require_free_email(session: Session, tenant_id: int, email: str) -> None:
    query = select(User.id).where(
        col(User.tenant_id) == tenant_id, col(User.email) == email, col(User.state) == UserState.ACTIVE
    )
    if session.exec(query).first() is not None:
        raise EmailTaken


def _views(session: Session, tenant_id: int, users: Sequence[User]) -> list[UserView]:
    """Fetch what is kept beside the users: a few statements, however many they are."""
    views = {user.id: UserView(user) for user in users}
    if views:
        _add_places(session, tenant_id, views)
        _add_owners(session, tenant_id, views)
    return list(views.values())


def _add_places(session: Session, tenant_id: int, views: dict[int, UserView]) -> None:
    query = (
        columns(  # SQLModel's select is typed for four columns
            col(Membership.user_id),
            col(Group.id),
            col(Group.display_name),
            col(Group.is_main),
            col(Account.id),
            col(Account.display_name),
        )
        .join(Group, (col(Group.tenant_id) == tenant_id) & (col(Group.id) == col(Membership.group_id)))
        .join(Account, (col(Account.tenant_id) == tenant_id) & (col(Account.id) == col(Group.account_id)))
        .where(col(Membership.tenant_id) == tenant_id, col(Membership.user_id).in_(views))
        .distinct()
        .order_by(col(Group.id))
    )
    for user_id, group_id, group_name, is_main, account_id, account_name in session.connection().execute(query):
        if is_main:
            views[user_id].accounts.append(Place(account_id, account_name))
        else:
            views[user_id].groups.append(Place(group_id, group_name))


def _add_owners(session: Session, tenant_id: int, views: dict[int, UserView]) -> None:
    by_owner: defaultdict[int, list[UserView]] = defaultdict(list)
    for view in views.values():
        if view.user.owner_source_id != MANUAL:
            by_owner[view.user.owner_source_id].append(view)
    if not by_owner:
        return
    sources = select(Source.id, Source.display_name).where(
        col(Source.tenant_id) == tenant_id, col(Source.id).in_(by_owner)
    )
    for source_id, display_name in session.exec(sources):
        for view in by_owner[source_id]:
            view.owner_display_name = display_name
    claims = select(Claim.user_id, Claim.source_id, Claim.external_id).where(
        col(Claim.tenant_id) == tenant_id, col(Claim.user_id).in_(views)
    )
    said = select(
        ProvisionedResource.resource_id, ProvisionedResource.source_id, ProvisionedResource.external_id
    ).where(
        col(ProvisionedResource.tenant_id) == tenant_id,
        col(ProvisionedResource.source_id).in_(by_owner),
        col(ProvisionedResource.kind) == USER_KIND,
        col(ProvisionedResource.resource_id).in_(views),
    )
    for user_id, source_id, external_id in [*session.exec(claims), *session.exec(said)]:
        if views[user_id].user.owner_source_id == source_id:
            views[user_id].external_id = external_id
