"""Delete a tenant: nobody of it gets in and nothing of it runs from now on; its rows are wiped later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from services.directory.operations.imports import write_run_event
from services.directory.operations.tenants import locked_tenant
from services.directory.rules.etags import require_etag
from services.directory.rules.names import TENANT
from services.directory.store.administrator_tables import AdministratorSession
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.provisioning_tables import ApiKey
from services.directory.store.tables import ImportRun, RunStatus, Source, SourceState, Tenant


def delete_tenant(session: Session, tenant_id: int, *, etag: str, actor: Actor, now: datetime) -> Tenant:
    """End a tenant; nothing happens when it is ended already. Errors: NotFound, StaleEtag.

    Whoever applies a run holds the tenant alone, so none is half done: those that wait are discarded.
    """
    tenant = locked_tenant(session, tenant_id)
    if tenant.delete_time is not None:
        return tenant
    require_etag(etag, resource=TENANT.format(tenant_id), revision=tenant.revision)
    tenant.delete_time = now
    tenant.revision += 1
    session.flush()
    changes = [*_disable_sources(session, tenant_id), *_revoke_keys(session, tenant_id)]
    signed_in = delete(AdministratorSession).where(col(AdministratorSession.tenant_id) == tenant_id)
    session.connection().execute(signed_in)
    _discard_runs(session, tenant_id, actor=actor, now=now)
    deleted = Change("tenant.deleted", ("ten", tenant_id), before={"display_name": tenant.display_name})
    append_events(session, tenant_id, [*changes, deleted], actor=actor, now=now)
    return tenant


def _disable_sources(session: Session, tenant_id: int) -> list[Change]:
    """Let no run of a source start, and nobody in at its drop."""
    query = select(Source).where(col(Source.tenant_id) == tenant_id, col(Source.delete_time).is_(None))
    changes = []
    for source in session.exec(query.order_by(col(Source.id)).with_for_update()):
        source.drop_password_sha256 = None
        if source.state != SourceState.DISABLED:
            before = SourceState(source.state).name.lower()
            source.state = SourceState.DISABLED
            source.revision += 1
            changes.append(
                Change("source.disabled", ("src", source.id), before={"state": before}, after={"state": "disabled"})
            )
    session.flush()
    return changes


def _revoke_keys(session: Session, tenant_id: int) -> list[Change]:
    table: Any = ApiKey
    statement = update(table).where(table.tenant_id == tenant_id, table.is_revoked.is_(False)).values(is_revoked=True)
    revoked = session.connection().execute(statement.returning(table.source_id, table.key_id))
    return [
        Change("key.revoked", ("src", source_id), after={"key_id": key_id}) for source_id, key_id in sorted(revoked)
    ]


def _discard_runs(session: Session, tenant_id: int, *, actor: Actor, now: datetime) -> None:
    open_states = (RunStatus.STAGING, RunStatus.PLANNED, RunStatus.HELD, RunStatus.APPLYING)
    query = select(ImportRun).where(col(ImportRun.tenant_id) == tenant_id, col(ImportRun.status).in_(open_states))
    for run in session.exec(query.order_by(col(ImportRun.id)).with_for_update()):
        run.status, run.message = RunStatus.DISCARDED, "The tenant was deleted."
        run.end_time = now
        run.revision += 1
        session.flush()
        write_run_event(session, run, "run.discarded", actor=actor, now=now)
