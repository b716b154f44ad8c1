"""Create and read users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.directory.operations.licenses import take_seat
from services.directory.operations.memberships import join_groups, joined_events
from services.directory.operations.user_views import UserView, user_views
from services.directory.rules import contact, text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import EmailTaken, NotFound
from services.directory.rules.names import ACCOUNT, USER
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.provisioning_tables import USER as USER_KIND
from services.directory.store.session import violates
from services.directory.store.statements import Statement
from services.directory.store.tables import MANUAL, UserState

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
    main_group_id = _account_and_free_email(session, tenant_id, new.account_id, values["email"])
    user_id = _insert(session, tenant_id, values, now)
    take_seat(session, tenant_id, actor=actor, now=now)
    joined = join_groups(session, tenant_id, [main_group_id, *new.group_ids], [user_id])
    created = Change("user.created", ("usr", user_id), after={name: value for name, value in values.items() if value})
    append_events(session, tenant_id, [created, *joined_events(joined)], actor=actor, now=now)
    return user_views(session, tenant_id, [user_id])[user_id]


def get_user(session: Session, tenant_id: int, user_id: int) -> UserView:
    """Read one user, a deleted one too, with all that its connection has said of it. Errors: NotFound."""
    view = get_users(session, tenant_id, [user_id])[0]
    if view.user.owner_source_id != MANUAL:
        said = _DOCUMENT.run(session, t=tenant_id, s=view.user.owner_source_id, id=user_id).first()
        view.scim_document = said.document if said else ""
    return view


_DOCUMENT: Final = Statement(f"""
    SELECT document FROM provisioned_resources
    WHERE tenant_id = :t AND source_id = :s AND kind = {USER_KIND} AND resource_id = :id
""")


def get_users(session: Session, tenant_id: int, user_ids: Sequence[int]) -> list[UserView]:
    """Read users in the order asked for, deleted ones too. Errors: NotFound for the first that is missing."""
    views = user_views(session, tenant_id, user_ids)
    for user_id in user_ids:
        if user_id not in views:
            raise NotFound(resource=USER.format(tenant_id, user_id))
    return [views[user_id] for user_id in user_ids]


def _checked(new: NewUser) -> dict[str, str]:
    checks = FieldChecks()
    values = {field: checks.parse(field, parser, getattr(new, field)) for field, parser in PARSERS.items()}
    checks.end()
    return values


def require_free_email(session: Session, tenant_id: int, email: str) -> None:
    """Require that no active user has this mail address. Errors: EmailTaken."""
    if _FREE_EMAIL.run(session, t=tenant_id, email=email).scalar_one():
        raise EmailTaken


_IS_TAKEN: Final = (
    f"EXISTS (SELECT 1 FROM users WHERE tenant_id = :t AND email = :email AND state = {UserState.ACTIVE})"
)

_FREE_EMAIL: Final = Statement(f"SELECT {_IS_TAKEN}")

_ACCOUNT_AND_FREE_EMAIL: Final = Statement(f"""
    SELECT (SELECT main_group_id FROM accounts WHERE tenant_id = :t AND id = :account) AS main_group_id,
     {_IS_TAKEN} AS is_taken
""")


def _account_and_free_email(session: Session, tenant_id: int, account_id: int, email: str) -> int:
    """Give an account's main group, and require that the mail is free. Errors: NotFound, EmailTaken."""
    found = _ACCOUNT_AND_FREE_EMAIL.run(session, t=tenant_id, account=account_id, email=email).one()
    if found.main_group_id is None:
        raise NotFound(resource=ACCOUNT.format(tenant_id, account_id))
    if found.is_taken:
        raise EmailTaken
    return int(found.main_group_id)


def _insert(session: Session, tenant_id: int, values: Mapping[str, str], now: datetime) -> int:
    """Write the user's row; two calls at once that take the same mail are told so as one after the other would be."""
    user_id = ids.next_id(session, "user")
    try:
        _INSERT.run(session, t=tenant_id, id=user_id, now=now, **values)
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        raise
    return user_id


_INSERT: Final = Statement(f"""
    INSERT INTO users (tenant_id, id, create_time, update_time, {", ".join(PARSERS)})
    VALUES (:t, :id, :now, :now, {", ".join(f":{field}" for field in PARSERS)})
""")
