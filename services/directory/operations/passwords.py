"""Set people's passwords, by invitations and by links that are mailed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session, col, select

from services.directory.operations.tenants import get_tenant
from services.directory.rules import links
from services.directory.rules.contact import comparable_email
from services.directory.rules.errors import AcceptUrlMissing, LinkInvalid, NotFound
from services.directory.rules.names import USER
from services.directory.rules.passwords import NewPassword, refuse_mail_as_password
from services.directory.rules.tokens import PASSWORD_LINK, Derived
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.people_tables import Credential
from services.directory.store.tables import User, UserState

LINK_VALID_FOR: Final = timedelta(hours=24)


def set_password(
    session: Session,
    tenant_id: int,
    user_id: int,
    password: NewPassword,
    *,
    field: str = "password",
    actor: Actor,
    now: datetime,
) -> User:
    """Set an active user's password; links to choose another end, and so do its wrong tries and R27's mark.

    `field` is what the request calls it. Errors: InvalidArgument (it is the mail address), NotFound.
    """
    user = _locked_user(session, tenant_id, user_id)
    refuse_mail_as_password(password.text, user.email, field=field)
    kept = _credential(session, tenant_id, user_id)
    kept.password_hash, kept.set_time = password.hash, now
    kept.failures, kept.locked_until = 0, None
    kept.reset_expire_time = None
    if user.password_reset_required:
        user.password_reset_required = False
        user.revision += 1
        user.update_time = now
    session.flush()
    append_event(session, tenant_id, kind="user.password_set", resource=("usr", user_id), actor=actor, now=now)
    return user


def request_reset(session: Session, tenant_id: int, email: str, *, actor: Actor, now: datetime) -> None:
    """Begin a new link for the active user with this mail, which ends an older one; nothing when there is none."""
    user_id = find_user(session, tenant_id, email)
    if user_id is None:
        ids.next_id(session, "event")  # something is written here, too, so that time does not tell
        return
    _locked_user(session, tenant_id, user_id)
    _begin_link(session, tenant_id, user_id, now)
    append_event(
        session, tenant_id, kind="user.password_reset_requested", resource=("usr", user_id), actor=actor, now=now
    )


@dataclass(frozen=True)
class PasswordLink:
    """Where a user chooses a password, and until when."""

    url: str
    expire_time: datetime


def mint_link(session: Session, tenant_id: int, user_id: int, *, pepper: bytes, now: datetime) -> PasswordLink:
    """Write the link of the newest request, the same each time; without one whose time runs, begin one.

    Errors: NotFound, AcceptUrlMissing.
    """
    accept_url = get_tenant(session, tenant_id).accept_url
    if not accept_url:
        raise AcceptUrlMissing
    _locked_user(session, tenant_id, user_id)
    kept = _credential(session, tenant_id, user_id)
    if kept.reset_expire_time is None or kept.reset_expire_time <= now:
        kept = _begin_link(session, tenant_id, user_id, now)
    assert kept.reset_expire_time is not None
    token = PASSWORD_LINK.write(tenant_id, user_id, kept.reset_generation, pepper=pepper)
    return PasswordLink(links.with_token(accept_url, token), kept.reset_expire_time)


def reset_password(session: Session, link: Derived, password: NewPassword, *, actor: Actor, now: datetime) -> User:
    """Set the password that somebody chose by a link, which ends. Errors: InvalidArgument, LinkInvalid."""
    kept = session.get(Credential, (link.tenant_id, link.number))
    if kept is None or kept.reset_generation != link.generation:
        raise LinkInvalid
    if kept.reset_expire_time is None or kept.reset_expire_time <= now:
        raise LinkInvalid
    try:
        return set_password(session, link.tenant_id, link.number, password, field="new_password", actor=actor, now=now)
    except NotFound:  # the user has left since
        raise LinkInvalid from None


def find_user(session: Session, tenant_id: int, email: str) -> int | None:
    """Find the active user with this mail, in whatever form it is written."""
    return session.exec(
        select(User.id).where(
            col(User.tenant_id) == tenant_id,
            col(User.email) == comparable_email(email),
            col(User.state) == UserState.ACTIVE,
        )
    ).first()


def _locked_user(session: Session, tenant_id: int, user_id: int) -> User:
    user = session.get(User, (tenant_id, user_id), with_for_update=True)
    if user is None or user.state != UserState.ACTIVE:
        raise NotFound(resource=USER.format(tenant_id, user_id))
    return user


def _credential(session: Session, tenant_id: int, user_id: int) -> Credential:
    """Give the user's row, a new one the first time; the user's own row must be locked."""
    kept = session.get(Credential, (tenant_id, user_id))
    if kept is None:
        kept = Credential(tenant_id=tenant_id, user_id=user_id)
        session.add(kept)
        session.flush()
    return kept


def _begin_link(session: Session, tenant_id: int, user_id: int, now: datetime) -> Credential:
    kept = _credential(session, tenant_id, user_id)
    kept.reset_generation += 1
    kept.reset_expire_time = now + LINK_VALID_FOR
    session.flush()
    return kept
