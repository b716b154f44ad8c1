"""Create, change and read tenants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from services.directory.rules import text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import TENANT
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.statements import Statement
from services.directory.store.tables import Account, Group, License, Tenant


@dataclass(frozen=True)
class NewTenant:
    """What CreateTenant is given, as it was sent."""

    display_name: str
    seats_total: int
    accept_url: str = ""
    language: str = ""


def create_tenant(session: Session, new: NewTenant, *, actor: Actor, now: datetime) -> Tenant:
    """Make a tenant, its main account with its main group, and its license. Errors: InvalidArgument."""
    checks = FieldChecks()
    display_name = checks.parse("display_name", text.parse_display_name, new.display_name)
    accept_url = checks.parse("accept_url", text.parse_web_address, new.accept_url)
    language = checks.parse("language", text.parse_language, new.language) or "en"
    if new.seats_total < 0:
        checks.refuse("seats_total", "must be at least 0")
    checks.end()
    tenant = Tenant(
        id=ids.next_id(session, "tenant"),
        display_name=display_name,
        accept_url=accept_url,
        language=language,
        main_account_id=ids.next_id(session, "account"),
        create_time=now,
    )
    session.add(tenant)
    session.flush()
    session.add(License(tenant_id=tenant.id, seats_total=new.seats_total))
    add_account(session, tenant.id, account_id=tenant.main_account_id, display_name=display_name, now=now)
    append_event(
        session,
        tenant.id,
        kind="tenant.created",
        resource=("ten", tenant.id),
        actor=actor,
        now=now,
        after={"display_name": display_name, "language": language, "seats_total": new.seats_total},
    )
    return tenant


def update_tenant(
    session: Session, tenant_id: int, changes: Mapping[str, str], *, etag: str, actor: Actor, now: datetime
) -> Tenant:
    """Change the fields given: display_name, accept_url, language. Errors: InvalidArgument, NotFound, StaleEtag."""
    checks = FieldChecks()
    parsers = {
        "display_name": text.parse_display_name,
        "accept_url": text.parse_web_address,
        "language": text.parse_language,
    }
    values = {field: checks.parse(f"tenant.{field}", parsers[field], value) for field, value in changes.items()}
    if values.get("language") == "":
        values["language"] = "en"
    checks.end()
    tenant = locked_tenant(session, tenant_id)
    require_etag(etag, resource=TENANT.format(tenant_id), revision=tenant.revision)
    before = {field: getattr(tenant, field) for field, value in values.items() if getattr(tenant, field) != value}
    if before:
        after = {field: values[field] for field in before}
        for field, value in after.items():
            setattr(tenant, field, value)
        tenant.revision += 1
        session.flush()
        append_event(
            session,
            tenant_id,
            kind="tenant.updated",
            resource=("ten", tenant_id),
            actor=actor,
            now=now,
            before=before,
            after=after,
        )
    return tenant


def add_account(
    session: Session, tenant_id: int, *, account_id: int, display_name: str, now: datetime, parent_id: int = 0
) -> Account:
    """Write an account and its main group; the event is the caller's."""
    account = Account(
        tenant_id=tenant_id,
        id=account_id,
        parent_id=parent_id,
        display_name=display_name,
        main_group_id=ids.next_id(session, "group"),
        create_time=now,
    )
    session.add(account)
    session.flush()
    session.add(
        Group(
            tenant_id=tenant_id,
            id=account.main_group_id,
            account_id=account_id,
            display_name=display_name,
            is_main=True,
            create_time=now,
        )
    )
    session.flush()
    return account


def get_tenant(session: Session, tenant_id: int) -> Tenant:
    """Read one tenant. Errors: NotFound."""
    tenant = session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound(resource=TENANT.format(tenant_id))
    return tenant


def locked_tenant(session: Session, tenant_id: int) -> Tenant:
    """Read one tenant to change it. Errors: NotFound."""
    tenant = session.get(Tenant, tenant_id, with_for_update={"key_share": True}, populate_existing=True)
    if tenant is None:
        raise NotFound(resource=TENANT.format(tenant_id))
    return tenant


def require_living(session: Session, tenant_id: int) -> None:
    """Refuse to write in a tenant that is none or was deleted. Errors: NotFound."""
    living_later(session, tenant_id)()


def living_later(session: Session, tenant_id: int) -> Callable[[], None]:
    """Ask as `require_living` does, and give what refuses later: the answer comes with the next statement's."""
    found = _LIVING.send_on(session.connection(), {"t": tenant_id})

    def require() -> None:
        if found().first() is None:
            raise NotFound(resource=TENANT.format(tenant_id))

    return require


_LIVING: Final = Statement("SELECT 1 FROM tenants WHERE id = :t AND delete_time IS NULL")
"""Asked for by every write."""


def list_tenants(session: Session, *, after_id: int, limit: int, show_deleted: bool = False) -> list[Tenant]:
    """Read tenants in order of creation, past `after_id`; deleted ones on request."""
    query = select(Tenant).where(col(Tenant.id) > after_id)
    if not show_deleted:
        query = query.where(col(Tenant.delete_time).is_(None))
    return list(session.exec(query.order_by(col(Tenant.id)).limit(limit)))
