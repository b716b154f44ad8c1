"""Undo the latest applied run of a source: planned and shown first, then done as an apply is, whole or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.engine import Connection
from sqlmodel import Session, col, select

from services.directory.operations.import_plans import write_findings
from services.directory.operations.imports import (
    NO_COUNTS,
    Imports,
    end_run,
    locked_run_of,
    require_status,
    run_of,
    source_of,
    status_word,
    write_run_event,
)
from services.directory.operations.sources import set_state
from services.directory.operations.tenant_sql import TenantSql
from services.directory.roster import undo as roster
from services.directory.roster import undo_changes
from services.directory.roster.plan_changes import describe_fresh, digest_of_changes
from services.directory.roster.space import StageSpace
from services.directory.roster.undo_apply import UndoOrder, apply_undo
from services.directory.rules.errors import (
    DirectoryError,
    FailedPrecondition,
    InvalidArgument,
    LicenseLimitReached,
    RunState,
    UndoExpired,
    UndoLaterFirst,
)
from services.directory.rules.names import IMPORT_RUN
from services.directory.store import ids
from services.directory.store.events import NOWHERE, Actor, basis, has_archived, transaction_id
from services.directory.store.session import Lock
from services.directory.store.tables import ImportRun, License, RunStatus, SourceState

UNDOABLE_FOR: Final = timedelta(days=30)
"""How long after it was applied a run can be undone."""


FORMER_PASSWORDS: Final = """
    SELECT c.user_id FROM credentials c
    LEFT JOIN import_runs r ON r.tenant_id = c.tenant_id AND r.id = c.former_run_id
    WHERE c.tenant_id = :t AND c.former_run_id <> 0 AND (r.id IS NULL OR r.end_time <= :undoable)
"""
"""Whose password of before a takeover is kept, though the takeover can no longer be undone."""


def forget_former_passwords(session: Session, tenant_id: int, *, now: datetime) -> int:
    """Forget passwords that no undo makes valid again; answers how many."""
    forget = (
        "UPDATE credentials SET former_hash = '', former_set_time = NULL, former_run_id = 0"
        f" WHERE tenant_id = :t AND user_id IN ({FORMER_PASSWORDS})"
    )
    values = {"t": tenant_id, "undoable": now - UNDOABLE_FOR}
    return int(TenantSql(session, tenant_id, now).query(forget, values).rowcount)


def plan_undo(imports: Imports, tenant_id: int, run_id: int, *, actor: Actor) -> ImportRun:
    """Plan the undo of a run; again plans the same one again. Nothing of the register changes.

    Raises:
        NotFound, RunState: there is no such run, or it is not applied, or an undo itself.
        UndoLaterFirst, UndoExpired: it is not the latest, or too old.
        LicenseLimitReached: the people who would come back need more seats than there are.
        FailedPrecondition: its source was detached.
    """
    with imports.store.read(tenant_id) as session:
        undone = run_of(session, tenant_id, run_id)
        require_undoable(imports, session, undone)
        planned_id = _planned(session, undone)
    space = imports.space(planned_id or _open(imports, undone))
    try:
        return _plan(imports, space, undone, actor)
    except DirectoryError:
        _forget(imports, undone, space)
        raise


def require_undoable(imports: Imports, session: Session, run: ImportRun) -> None:
    """Refuse a run that cannot be undone. Errors: RunState, UndoLaterFirst, UndoExpired, FailedPrecondition."""
    if run.status != RunStatus.APPLIED or run.undoes_run_id:
        raise RunState(status="an undo" if run.undoes_run_id else status_word(run))
    source = source_of(session, run.tenant_id, run.source_id)
    if source.last_applied_run_id != run.id:
        raise UndoLaterFirst(import_run=IMPORT_RUN.format(run.tenant_id, source.last_applied_run_id))
    since = (run.plan_xid, run.plan_position)
    is_late = run.end_time is None or run.end_time + UNDOABLE_FOR <= imports.clock()
    if is_late or since == NOWHERE or has_archived(session, run.tenant_id, since):
        raise UndoExpired(import_run=IMPORT_RUN.format(run.tenant_id, run.id), days=UNDOABLE_FOR.days)
    if source.delete_time is not None or roster.was_detached(session.connection(), source.tenant_id, source.id, since):
        raise FailedPrecondition("the source was detached since: its people are not its own", why="source_detached")


def _planned(session: Session, undone: ImportRun) -> int:
    """Find the undo of the run that is planned or held already; 0 without one."""
    query = select(ImportRun.id).where(
        col(ImportRun.tenant_id) == undone.tenant_id,
        col(ImportRun.source_id) == undone.source_id,
        col(ImportRun.undoes_run_id) == undone.id,
        col(ImportRun.status).in_([RunStatus.PLANNED, RunStatus.HELD]),
    )
    return session.exec(query.order_by(col(ImportRun.id).desc()).limit(1)).first() or 0


def _plan(imports: Imports, space: StageSpace, undone: ImportRun, actor: Actor) -> ImportRun:
    tenant_id = undone.tenant_id
    with imports.store.reading(tenant_id).connect() as connection, space.attached(connection):
        undo = _undo(space, connection, undone)
        counts = roster.plan_undo(undo)
        undo_changes.keep_as_shown(undo)
        plan_hash = digest_of_changes(undo.dialect, connection, space.name("changes"))
        seats = _require_seats(Session(bind=connection), tenant_id, counts)
        connection.commit()
    space.make_durable()
    engine = imports.store.writing(tenant_id, lock=Lock.NONE, wait_s=30.0)
    with engine.connect() as connection, space.attached(connection), connection.begin():
        session = Session(bind=connection)
        require_undoable(imports, session, locked_run_of(session, tenant_id, undone.id))
        run = locked_run_of(session, tenant_id, space.run_id)
        require_status(run, RunStatus.PLANNED, RunStatus.HELD)
        run.plan, run.plan_hash = {**NO_COUNTS, **counts}, plan_hash
        run.seats_total, run.seats_used = seats.seats_total, seats.seats_used
        session.add(run)
        write_findings(imports, session, run)
        end_run(imports, session, run, RunStatus.PLANNED, reason="", message="", actor=actor)
        session.flush()
        session.refresh(run)
        session.expunge_all()
    return run


def _open(imports: Imports, undone: ImportRun) -> int:
    """Open a run that undoes another; without a plan it is nothing yet."""
    now = imports.clock()
    with imports.store.write(undone.tenant_id) as session:
        run = ImportRun(
            tenant_id=undone.tenant_id,
            id=ids.next_id(session, "import_run"),
            source_id=undone.source_id,
            status=RunStatus.PLANNED,
            undoes_run_id=undone.id,
            counts=dict(NO_COUNTS),
            active_until=now,
            create_time=now,
        )
        session.add(run)
        return run.id


def _forget(imports: Imports, undone: ImportRun, space: StageSpace) -> None:
    """Take a run away again that never got a plan."""
    with imports.store.write(undone.tenant_id) as session:
        run = locked_run_of(session, undone.tenant_id, space.run_id)
        if run.plan is not None:
            return
        session.delete(run)
    space.drop()


def _undo(space: StageSpace, connection: Connection, undone: ImportRun) -> roster.Undo:
    given = roster.UndoInput(
        tenant_id=undone.tenant_id,
        source_id=undone.source_id,
        run_id=undone.id,
        events=(undone.applied_xid, undone.applied_position),
        basis=(undone.plan_xid, undone.plan_position),
    )
    return roster.Undo(space, connection, given)


def _require_seats(session: Session, tenant_id: int, counts: dict[str, int]) -> License:
    """Refuse an undo whole when whom it brings back would have no seat (R35). Errors: LicenseLimitReached."""
    license_ = session.exec(select(License).where(License.tenant_id == tenant_id)).one()
    needed = counts["restored"] - counts["deleted"]
    if needed > 0 and license_.seats_used + needed > license_.seats_total:
        raise LicenseLimitReached(seats_total=license_.seats_total, seats_used=license_.seats_used, seats_needed=needed)
    return license_


def start_undo(imports: Imports, session: Session, run: ImportRun, *, leave_deletions_out: bool, actor: Actor) -> None:
    """Let a planned undo begin, by whom. Errors: InvalidArgument, UndoLaterFirst, UndoExpired, FailedPrecondition."""
    if leave_deletions_out:
        raise InvalidArgument([("deletions", "an undo is done whole: leave it empty, or say APPLY")])
    require_undoable(imports, session, locked_run_of(session, run.tenant_id, run.undoes_run_id))
    run.approved_by = actor.name


def undo_here(imports: Imports, space: StageSpace, session: Session, run: ImportRun) -> ImportRun:
    """Do a planned undo in the caller's transaction, which holds the tenant: applied, held or refused.

    It is planned again. What was not shown is held, to be looked at again; fewer people than were shown are put back
    without a word but their warnings, as the undo leaves out whom somebody has changed since.
    """
    connection = session.connection()
    undone = locked_run_of(session, run.tenant_id, run.undoes_run_id)
    actor = Actor(run.approved_by)
    shown = space.has(connection, "shown")
    try:
        require_undoable(imports, session, undone)
        undo = _undo(space, connection, undone)
        counts = roster.plan_undo(undo)
        _require_seats(session, run.tenant_id, counts)
    except LicenseLimitReached as error:
        end_run(imports, session, run, RunStatus.REFUSED, reason="seats_missing", message=error.message, actor=actor)
        return _read(session, run)
    except DirectoryError as error:
        end_run(imports, session, run, RunStatus.REFUSED, reason="undo_impossible", message=error.message, actor=actor)
        return _read(session, run)
    plan_hash = digest_of_changes(undo.dialect, connection, space.name("changes"))
    is_new = plan_hash != run.plan_hash
    fresh = undo_changes.changes_not_shown(undo) if is_new and shown else []
    run.plan, run.plan_hash = {**NO_COUNTS, **counts}, plan_hash
    write_findings(imports, session, run)
    if is_new and (fresh or not shown):
        undo_changes.keep_as_shown(undo)
        message = f"Not shown when it was approved, so look at it again: {describe_fresh(fresh)}."
        end_run(imports, session, run, RunStatus.HELD, reason="plan_changed", message=message, actor=actor)
        return _read(session, run)
    _write(imports, session, undo, run, counts)
    _settle(imports, session, run, undone, counts)
    run.plan_xid, run.plan_position = basis(session)
    return _read(session, run)


def _write(imports: Imports, session: Session, undo: roster.Undo, run: ImportRun, counts: dict[str, int]) -> None:
    session.flush()
    connection = session.connection()
    run.applied_xid, run.applied_position = transaction_id(session), basis(session)[1]
    order = UndoOrder(
        run_id=run.id,
        actor=Actor(run.approved_by),
        now=imports.clock(),
        counts=counts,
        reserve_ids=lambda name, count: ids.reserve_ids(connection, name, count),
    )
    apply_undo(undo, order)


def _settle(imports: Imports, session: Session, run: ImportRun, undone: ImportRun, counts: dict[str, int]) -> None:
    """Bring both runs to rest; the source looks back to the run before, and is in trial until the next go-ahead."""
    actor, now = Actor(run.approved_by), imports.clock()
    undone.status, undone.undone_by_run_id = RunStatus.UNDONE, run.id
    undone.revision += 1
    session.add(undone)
    write_run_event(session, undone, "run.undone", actor=actor, now=now)
    session.flush()
    source = source_of(session, run.tenant_id, run.source_id)
    source.last_applied_run_id = _applied_before(session, undone)
    session.add(source)
    session.flush()
    if source.state in {SourceState.ENABLED, SourceState.PAUSED}:
        set_state(session, run.tenant_id, source.id, SourceState.TRIAL, actor=actor, now=now)
    license_ = session.get(License, run.tenant_id, populate_existing=True)
    assert license_ is not None
    run.seats_total, run.seats_used = license_.seats_total, license_.seats_used
    run.counts = {**NO_COUNTS, **counts}
    end_run(imports, session, run, RunStatus.APPLIED, reason="", message="", actor=actor)


def _applied_before(session: Session, undone: ImportRun) -> int:
    """Find the source's newest run that is applied still; 0 without one."""
    query = select(ImportRun.id).where(
        col(ImportRun.tenant_id) == undone.tenant_id,
        col(ImportRun.source_id) == undone.source_id,
        col(ImportRun.status) == RunStatus.APPLIED,
        col(ImportRun.undoes_run_id) == 0,
    )
    in_order = (col(ImportRun.applied_xid).desc(), col(ImportRun.applied_position).desc())
    return session.exec(query.order_by(*in_order).limit(1)).first() or 0


def _read(session: Session, run: ImportRun) -> ImportRun:
    session.flush()
    session.refresh(run)
    session.expunge_all()
    return run
