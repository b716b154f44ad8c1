"""Create and read users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from services.directory.operations.accounts import require_account
from services.directory.operations.licenses import take_seat
from services.directory.operations.memberships import join_groups, joined_events
from services.directory.operations.user_views import UserView, user_views
from services.directory.rules import contact, text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import EmailTaken, NotFound
from services.directory.rules.names import USER
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.provisioning_tables import USER as USER_KIND
from services.directory.store.provisioning_tables import ProvisionedResource
from services.directory.store.session import violates
from services.directory.store.tables import MANUAL, User, UserState

PARSERS: Final = {
    "display_name": text.parse_display_name,
    "email": contact.parse_email,
    "title": text.parse_title,
    "phone": contact.parse_phone,
    "secondary_phone": contact.parse_phone,
}
"""What people write of a user, and how it is read."""


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


def create_user(session: Session, tenant_id: int, new: NewUser, *, actor: Actor, now: datetime) -> UserView:
    """Make a manual user, take a seat, join the account and the groups.

    Errors: InvalidArgument, NotFound (account or group), EmailTaken, LicenseLimitReached.
    """
    values = _checked(new)
    account = require_account(session, tenant_id, new.account_id)
    require_free_email(session, tenant_id, values["email"])
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
    take_seat(session, tenant_id, actor=actor, now=now)
    joined = join_groups(session, tenant_id, [account.main_group_id, *new.group_ids], [user.id])
    created = Change("user.created", ("usr", user.id), after={name: value for name, value in values.items() if value})
    append_events(session, tenant_id, [created, *joined_events(joined)], actor=actor, now=now)
    return user_views(session, tenant_id, [user])[0]


def get_user(session: Session, tenant_id: int, user_id: int) -> UserView:
    """Read one user, a deleted one too, with all that its connection has said of it. Errors: NotFound."""
    view = get_users(session, tenant_id, [user_id])[0]
    if view.user.owner_source_id != MANUAL:
        said = select(ProvisionedResource.document).where(
            col(ProvisionedResource.tenant_id) == tenant_id,
            col(ProvisionedResource.source_id) == view.user.owner_source_id,
            col(ProvisionedResource.kind) == USER_KIND,
            col(ProvisionedResource.resource_id) == user_id,
        )
        view.scim_document = session.exec(said).first() or ""
    return view


def get_users(session: Session, tenant_id: int, user_ids: Sequence[int]) -> list[UserView]:
    """Read users in the order asked for, deleted ones too. Errors: NotFound for the first that is missing."""
    query = select(User).where(col(User.tenant_id) == tenant_id, col(User.id).in_(set(user_ids)))
    found = {user.id: user for user in session.exec(query.execution_options(populate_existing=True))}
    for user_id in user_ids:
        if user_id not in found:
            raise NotFound(resource=USER.format(tenant_id, user_id))
    views = {view.user.id: view for view in user_views(session, tenant_id, list(found.values()))}
    return [views[user_id] for user_id in user_ids]


def _checked(new: NewUser) -> dict[str, str]:
    checks = FieldChecks()
    values = {field: checks.parse(field, parser, getattr(new, field)) for field, parser in PARSERS.items()}
    checks.end()
    return values


def require_free_email(session: Session, tenant_id: int, email: str) -> None:
    """Require that no active user has this mail address. Errors: EmailTaken."""
    query = select(User.id).where(
        col(User.tenant_id) == tenant_id, col(User.email) == email, col(User.state) == UserState.ACTIVE
    )
    if session.exec(query).first() is not None:
        raise EmailTaken
