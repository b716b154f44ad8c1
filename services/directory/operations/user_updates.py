"""Change users by hand: their attributes, and out of the register and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.directory.operations.leaving import leave
from services.directory.operations.parties import party_of
from services.directory.operations.tenant_sql import TenantReads, TenantSql
from services.directory.operations.user_views import COLUMNS, UserRow, UserView, user_row
from services.directory.operations.users import PARSERS, get_user, require_free_email
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import EmailTaken, NotFound, OwnedByOtherSource, UserStateError
from services.directory.rules.etags import require_etag
from services.directory.rules.leaving import WayOut
from services.directory.rules.names import USER
from services.directory.rules.ownership import Party, Verdict, over_user
from services.directory.store.events import Actor, append_event
from services.directory.store.session import violates
from services.directory.store.tables import Source, UserState


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
    _write(session, tenant_id, user, {field: values[field] for field in before}, now)
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


def _locked(session: Session, tenant_id: int, user_id: int, etag: str) -> UserRow:
    """Read a user who is not deleted, and hold its row to the end."""
    kept = TenantReads(session, tenant_id).run(_LOCKED, id=user_id).first()
    resource = USER.format(tenant_id, user_id)
    if kept is None:
        raise NotFound(resource=resource)
    user = user_row(kept)
    require_etag(etag, resource=resource, revision=user.revision)
    if user.state == UserState.DELETED:
        raise UserStateError(state="erased" if user.erase_time else "deleted", needed="not deleted")
    return user


_LOCKED: Final = f"SELECT {COLUMNS} FROM users u WHERE u.tenant_id = :t AND u.id = :id{{for_update_of_u}}"


def _require_open(session: Session, tenant_id: int, user: UserRow) -> None:
    verdict = over_user(party_of(session, tenant_id, user.owner_source_id), Party.MANUAL)
    if verdict not in {Verdict.FREE, Verdict.REVERTS}:
        owner = session.get_one(Source, (tenant_id, user.owner_source_id))
        raise OwnedByOtherSource(owner=owner.display_name)


def _write(session: Session, tenant_id: int, user: UserRow, values: Mapping[str, str], now: datetime) -> None:
    """Write the row; two calls at once that take the same mail are told so as one after the other would be."""
    changed = ", ".join(f"{field} = :{field}" for field in values)
    sql = f"UPDATE users SET {changed}, revision = revision + 1, update_time = :now WHERE tenant_id = :t AND id = :id"
    try:
        TenantSql(session, tenant_id, now).run(sql, id=user.id, **values)
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        raise
