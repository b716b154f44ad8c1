"""Create, change, read and delete administrators; vendor support's belong to tenant 0, which has no events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from services.directory.operations.accounts import require_account
from services.directory.rules import contact, text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import AdministratorExists, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import ACCOUNT, format_administrator
from services.directory.rules.passwords import NewPassword
from services.directory.store import ids
from services.directory.store.administrator_tables import Administrator, AdministratorSession, Role
from services.directory.store.events import Actor, append_event
from services.directory.store.session import violates

log = structlog.get_logger()


@dataclass(frozen=True)
class NewAdministrator:
    """What CreateAdministrator is given, as it was sent; `account_id` 0: the whole tenant."""

    account_id: int
    email: str
    display_name: str


def create_administrator(
    session: Session, tenant_id: int, new: NewAdministrator, password: NewPassword, *, actor: Actor, now: datetime
) -> Administrator:
    """Make an administrator (tenant 0: vendor support's) with a password that was made for it.

    Errors: InvalidArgument, NotFound (account), AdministratorExists.
    """
    checks = FieldChecks()
    email = checks.parse("email", contact.parse_email, new.email)
    display_name = checks.parse("display_name", text.parse_title, new.display_name)
    checks.end()
    if new.account_id:
        require_account(session, tenant_id, new.account_id)
    administrator = Administrator(
        tenant_id=tenant_id,
        id=ids.next_id(session, "administrator"),
        account_id=new.account_id,
        role=_role(tenant_id, new.account_id),
        email=email,
        display_name=display_name,
        password_hash=password.hash,
        create_time=now,
    )
    session.add(administrator)
    _flush(session)
    after: dict[str, Any] = {"role": Role(administrator.role).name.lower()}
    if new.account_id:
        after["account"] = ACCOUNT.format(tenant_id, new.account_id)
    tell(session, administrator, "administrator.created", actor=actor, now=now, after=after)
    return administrator


def get_administrator(session: Session, tenant_id: int, administrator_id: int) -> Administrator:
    """Read one. Errors: NotFound."""
    administrator = session.get(Administrator, (tenant_id, administrator_id))
    if administrator is None:
        raise NotFound(resource=format_administrator(tenant_id, administrator_id))
    return administrator


def list_administrators(session: Session, tenant_id: int, *, after_id: int, limit: int) -> list[Administrator]:
    """Read a tenant's administrators (tenant 0: vendor support's) in order of creation, past `after_id`."""
    query = select(Administrator).where(col(Administrator.tenant_id) == tenant_id, col(Administrator.id) > after_id)
    return list(session.exec(query.order_by(col(Administrator.id)).limit(limit)))


def update_administrator(
    session: Session,
    tenant_id: int,
    administrator_id: int,
    changes: Mapping[str, str],
    *,
    etag: str,
    actor: Actor,
    now: datetime,
) -> Administrator:
    """Change `email` or `display_name`. Errors: InvalidArgument, NotFound, StaleEtag, AdministratorExists."""
    checks = FieldChecks()
    parsers = {"email": contact.parse_email, "display_name": text.parse_title}
    values = {field: checks.parse(f"administrator.{field}", parsers[field], value) for field, value in changes.items()}
    checks.end()
    administrator = _locked(session, tenant_id, administrator_id)
    name = format_administrator(tenant_id, administrator_id)
    require_etag(etag, resource=name, revision=administrator.revision)
    changed = [field for field, value in values.items() if getattr(administrator, field) != value]
    if changed:
        for field in changed:
            setattr(administrator, field, values[field])
        administrator.revision += 1
        _flush(session)
        tell(session, administrator, "administrator.updated", actor=actor, now=now, after={"changed": sorted(changed)})
    return administrator


def delete_administrator(
    session: Session, tenant_id: int, administrator_id: int, *, actor: Actor, now: datetime
) -> None:
    """Remove an administrator, and end its sessions. Errors: NotFound."""
    administrator = _locked(session, tenant_id, administrator_id)
    end_sessions(session, administrator)
    tell(session, administrator, "administrator.deleted", actor=actor, now=now)
    session.delete(administrator)
    session.flush()


def reset_password(
    session: Session,
    tenant_id: int,
    administrator_id: int,
    password: NewPassword,
    *,
    actor: Actor,
    now: datetime,
) -> Administrator:
    """Give an administrator a password that was made for it; its sessions, codes and wrong tries end.

    Errors: NotFound.
    """
    administrator = _locked(session, tenant_id, administrator_id)
    administrator.is_totp_on, administrator.sealed_totp_secret = False, None
    give_password(session, administrator, password, told="reset", actor=actor, now=now)
    return administrator


def give_password(
    session: Session, administrator: Administrator, password: NewPassword, *, told: str, actor: Actor, now: datetime
) -> None:
    """Keep a new password, and end what the old one opened; the event says that it was `told`."""
    administrator.password_hash = password.hash
    administrator.failures, administrator.locked_until = 0, None
    administrator.revision += 1
    end_sessions(session, administrator)
    tell(session, administrator, "administrator.updated", actor=actor, now=now, after={"password": told})


def end_sessions(session: Session, administrator: Administrator) -> None:
    """End all sessions of an administrator."""
    session.connection().execute(
        delete(AdministratorSession).where(
            col(AdministratorSession.tenant_id) == administrator.tenant_id,
            col(AdministratorSession.administrator_id) == administrator.id,
        )
    )


def tell(
    session: Session,
    administrator: Administrator,
    kind: str,
    *,
    actor: Actor,
    now: datetime,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write an event that names nobody and holds no secret; of vendor support's administrators, a log line."""
    session.flush()
    if not administrator.tenant_id:
        log.info(kind, administrator=format_administrator(0, administrator.id), actor=actor.name)
        return
    append_event(
        session,
        administrator.tenant_id,
        kind=kind,
        resource=("adm", administrator.id),
        actor=actor,
        now=now,
        after=after,
    )


def _role(tenant_id: int, account_id: int) -> Role:
    if account_id:
        return Role.ACCOUNT
    return Role.TENANT if tenant_id else Role.SUPPORT


def _locked(session: Session, tenant_id: int, administrator_id: int) -> Administrator:
    administrator = session.get(Administrator, (tenant_id, administrator_id), with_for_update=True)
    if administrator is None:
        raise NotFound(resource=format_administrator(tenant_id, administrator_id))
    return administrator


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        if violates(error, "administrators_by_email", "administrators.email"):
            raise AdministratorExists from None
        raise
