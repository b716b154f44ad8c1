"""Change users by hand: their attributes, and out of the register and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.directory.operations.leaving import leave
from services.directory.operations.parties import party_of
from services.directory.operations.user_views import UserView
from services.directory.operations.users import PARSERS, get_user, require_free_email
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import EmailTaken, NotFound, OwnedByOtherSource, UserStateError
from services.directory.rules.etags import require_etag
from services.directory.rules.leaving import WayOut
from services.directory.rules.names import USER
from services.directory.rules.ownership import Party, Verdict, over_user
from services.directory.store.events import Actor, append_event
from services.directory.store.session import violates
from services.directory.store.tables import Source, User, UserState


def update_user(
    session: Session,
    tenant_id: int,
    user_id: int,
    changes: Mapping[str, str],
    *,
    etag: str,
    actor: Actor,
    now: datetime,
) -> UserView:
    """Write the attributes given; what is as it was writes nothing.

    Of a source's user they stay until the source's next sync: its event makes the next night look at the user again.
    Errors: InvalidArgument, NotFound, StaleEtag, UserStateError (deleted), EmailTaken.
    """
    user = _locked(session, tenant_id, user_id, etag)
    checks = FieldChecks()
    values = {field: checks.parse(f"user.{field}", PARSERS[field], value) for field, value in changes.items()}
    checks.end()
    _require_open(session, tenant_id, user)
    before = {field: getattr(user, field) for field, value in values.items() if getattr(user, field) != value}
    if not before:
        return get_user(session, tenant_id, user_id)
    if "email" in before and user.state == UserState.ACTIVE:
        require_free_email(session, tenant_id, values["email"])
    for field in before:
        setattr(user, field, values[field])
    user.revision += 1
    user.update_time = now
    _flush(session)
    after: dict[str, Any] = {field: values[field] for field in before}
    append_event(
        session,
        tenant_id,
        kind="user.updated",
        resource=("usr", user_id),
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
    return get_user(session, tenant_id, user_id)


def delete_user(session: Session, tenant_id: int, user_id: int, *, etag: str, actor: Actor, now: datetime) -> UserView:
    """Take a user out by hand. Errors: NotFound, StaleEtag, UserStateError (deleted)."""
    _locked(session, tenant_id, user_id, etag)
    leave(session, tenant_id, [user_id], WayOut.BY_HAND, actor=actor, now=now)
    return get_user(session, tenant_id, user_id)


def _locked(session: Session, tenant_id: int, user_id: int, etag: str) -> User:
    """Read a user who is not deleted, and hold its row to the end."""
    lock = {"key_share": True}
    user = session.get(User, (tenant_id, user_id), with_for_update=lock, populate_existing=True)
    resource = USER.format(tenant_id, user_id)
    if user is None:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=user.revision)
    if user.state == UserState.DELETED:
        raise UserStateError(state="erased" if user.erase_time else "deleted", needed="not deleted")
    return user


def _require_open(session: Session, tenant_id: int, user: User) -> None:
    verdict = over_user(party_of(session, tenant_id, user.owner_source_id), Party.MANUAL)
    if verdict not in {Verdict.FREE, Verdict.REVERTS}:
        owner = session.get_one(Source, (tenant_id, user.owner_source_id))
        raise OwnedByOtherSource(owner=owner.display_name)


def _flush(session: Session) -> None:
    """Two calls at once that take the same mail are told so as one after the other would be."""
    try:
        session.flush()
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        raise
