"""End a run without applying it: its file cannot be used, or somebody decided against it, or a newer file came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, delete, select

from services.directory.operations.imports import (
    NO_COUNTS,
    Imports,
    end_run,
    is_at_rest,
    locked_run_of,
    require_status,
    source_of,
    status_word,
)
from services.directory.rules.errors import RunState
from services.directory.store.events import Actor
from services.directory.store.tables import ImportIssue, ImportRun, RunStatus, Source


def refuse_run(
    imports: Imports,
    tenant_id: int,
    run_id: int,
    *,
    status: RunStatus,
    reason: str,
    message: str,
    counts: Mapping[str, int],
    file: dict[str, Any],
    issues: list[ImportIssue],
    actor: Actor,
) -> ImportRun:
    """End a run whose file cannot be used: refused, no_file or failed; the same call again changes nothing."""
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if run.status == status:
            session.expunge(run)
            return run
        require_status(run, RunStatus.STAGING, RunStatus.PLANNED)
        source = source_of(session, tenant_id, run.source_id)
        if status == RunStatus.NO_FILE:
            source.nights_without_file += 1
            run.nights_without_file = source.nights_without_file
            session.add(source)
        run.counts = {**NO_COUNTS, **counts}
        run.plan = dict(run.counts)
        run.file = {**run.file, **file}
        if issues:
            session.connection().execute(
                delete(ImportIssue).where(col(ImportIssue.tenant_id) == tenant_id, col(ImportIssue.run_id) == run_id)
            )
            session.add_all(issues)
        end_run(imports, session, run, status, reason=reason, message=message, actor=actor)
        session.flush()
        session.refresh(run)
        session.expunge(run)
    imports.space(run_id).drop()
    return run


def discard_run(imports: Imports, tenant_id: int, run_id: int, *, actor: Actor) -> ImportRun:
    """Decide against a held or planned run; again changes nothing."""
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if run.status != RunStatus.DISCARDED:
            if run.status not in {RunStatus.HELD, RunStatus.PLANNED} or not is_at_rest(run):
                raise RunState(status=status_word(run))
            end_run(imports, session, run, RunStatus.DISCARDED, reason=run.reason, message="Discarded.", actor=actor)
            session.flush()
        session.refresh(run)
        session.expunge(run)
    imports.space(run_id).drop()
    return run


def expire_held(imports: Imports, session: Session, source: Source) -> None:
    """End the source's held runs in the caller's transaction: a newer file is there to be decided on (R8)."""
    held = session.exec(
        select(ImportRun)
        .where(
            ImportRun.tenant_id == source.tenant_id,
            ImportRun.source_id == source.id,
            ImportRun.status == RunStatus.HELD,
        )
        .order_by(col(ImportRun.id))
        .with_for_update()
    ).all()
    for older in held:
        end_run(
            imports,
            session,
            older,
            RunStatus.EXPIRED,
            reason=older.reason,
            message="A newer file came before anyone decided.",
            actor=Actor(source_id=source.id),
        )
