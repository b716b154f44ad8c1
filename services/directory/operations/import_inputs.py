"""Read what a plan depends on beside its rows: the source's settings, the license, its last applied runs."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from services.directory.operations.imports import run_of, source_of
from services.directory.roster.limits import LimitInput, shape_limit
from services.directory.roster.planner import LastApply, PlanInput
from services.directory.roster.shape import LOOK_BACK, Shape, shape_of
from services.directory.rules.leaving import RESTORABLE_FOR
from services.directory.store.events import NOWHERE, has_archived
from services.directory.store.tables import Account, ImportRun, License, RunStatus, Source, SourceKind


def plan_input(session: Session, run: ImportRun, *, leave_deletions_out: bool, now: datetime) -> PlanInput:
    """Read what the plan depends on: the source's settings, the license, the linked account."""
    source = source_of(session, run.tenant_id, run.source_id)
    account = session.get(Account, (run.tenant_id, source.account_id)) if source.account_id else None
    sources = _sources_in_order(session, run.tenant_id)
    files = tuple(other.id for other in sources if other.kind == SourceKind.SFTP)
    license_ = session.exec(select(License).where(License.tenant_id == run.tenant_id)).one()
    return PlanInput(
        tenant_id=run.tenant_id,
        source_id=run.source_id,
        linked_account_id=account.id if account else 0,
        linked_group_id=account.main_group_id if account else 0,
        create_unknown_groups=source.create_unknown_groups,
        keep_primary_phone=source.keep_primary_phone,
        keep_secondary_phone=source.keep_secondary_phone,
        has_secondary_phone_column="SecondaryTelephoneNumber" in run.file.get("columns", []),
        skip_means_freeze=source.skip_means_freeze,
        grace_nights=source.grace_nights,
        seats_total=license_.seats_total,
        seats_used=license_.seats_used,
        leave_deletions_out=leave_deletions_out,
        restorable_since=now - RESTORABLE_FOR,
        last_apply=last_apply_of(session, source),
        earlier_files=files[: files.index(source.id)],
        later_files=files[files.index(source.id) + 1 :],
        has_connections=any(other.kind == SourceKind.SCIM for other in sources),
        shape_limit=shape_limit(source.limits),
    )


def _sources_in_order(session: Session, tenant_id: int) -> list[Source]:
    query = select(Source).where(col(Source.tenant_id) == tenant_id, col(Source.delete_time).is_(None))
    return list(session.exec(query.order_by(col(Source.position), col(Source.id))))


def last_apply_of(session: Session, source: Source) -> LastApply | None:
    """Say from where on an event is newer than the source's last apply."""
    run = _last_applied(session, source)
    if run is None or (run.plan_xid, run.plan_position) == NOWHERE:
        return None
    since = (run.plan_xid, run.plan_position)
    return None if has_archived(session, source.tenant_id, since) else LastApply(run.id, since)


def _last_applied(session: Session, source: Source) -> ImportRun | None:
    return run_of(session, source.tenant_id, source.last_applied_run_id) if source.last_applied_run_id else None


def limit_input(session: Session, run: ImportRun) -> LimitInput:
    """Read what the limits look at beside the plan (R6, R8)."""
    source = source_of(session, run.tenant_id, run.source_id)
    last = _last_applied(session, source)
    return LimitInput(
        limits=source.limits,
        is_first_applied=last is None,
        newest_timestamp=run.newest_timestamp,
        last_applied_timestamp=last.newest_timestamp if last else None,
        recent_shapes=_recent_shapes(session, source),
    )


def _recent_shapes(session: Session, source: Source) -> list[Shape]:
    """Read the shapes of the source's last applied runs, back to one that was approved: that one is right."""
    query = select(ImportRun.shape, ImportRun.approved).where(
        col(ImportRun.tenant_id) == source.tenant_id,
        col(ImportRun.source_id) == source.id,
        col(ImportRun.status) == RunStatus.APPLIED,
        col(ImportRun.undoes_run_id) == 0,
    )
    shapes = []
    for kept, was_approved in session.exec(query.order_by(col(ImportRun.id).desc()).limit(LOOK_BACK)):
        if kept is not None:
            shapes.append(shape_of(kept))
        if was_approved:
            break
    return shapes
