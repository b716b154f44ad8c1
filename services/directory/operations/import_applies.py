"""Apply runs: approve, plan again under the tenant's lock, and write, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from muster.runtime.telemetry import fault_of
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from services.directory.operations.import_inputs import plan_input
from services.directory.operations.import_plans import (
    Planned,
    StageLostError,
    is_whole,
    keep_surroundings,
    plan_here,
    require_stage,
    stage_again,
    write_findings,
    write_plan,
)
from services.directory.operations.import_undo import start_undo, undo_here
from services.directory.operations.imports import (
    LEASE_S,
    NO_COUNTS,
    Imports,
    end_run,
    locked_run_of,
    source_of,
    status_word,
    write_run_event,
)
from services.directory.operations.tenants import get_tenant
from services.directory.roster import plan_changes
from services.directory.roster.applier import ApplyInput
from services.directory.roster.apply import apply_plan
from services.directory.roster.planner import PlanInput
from services.directory.roster.space import StageSpace
from services.directory.roster.stage import has_settled_rows
from services.directory.roster.statistics import refresh_statistics
from services.directory.rules.errors import PlanChanged, RunState, SourceStateError
from services.directory.rules.names import IMPORT_RUN
from services.directory.store import ids
from services.directory.store.events import NOWHERE, Actor, basis, has_changed, transaction_id
from services.directory.store.session import Lock
from services.directory.store.tables import ImportRun, License, RunStatus, SourceState

log = structlog.get_logger()

APPLY_WAIT_S = 120
"""How long an apply waits for writers under way before it leaves its turn to the next round."""


def start_apply(
    imports: Imports, tenant_id: int, run_id: int, *, plan_hash: str, leave_deletions_out: bool, actor: Actor
) -> ImportRun:
    """Move a planned run, or a held one that is hereby approved, to `applying`; the worker does the rest.

    The same call again, while it is applying or applied, changes nothing; another decision on the deletions is refused.

    Raises:
        PlanChanged: `plan_hash` is not the hash of what was shown.
        RunState: the run cannot be applied: it only plans, or is at rest otherwise.
        SourceStateError: the source is not enabled.
        UndoLaterFirst, UndoExpired: it is an undo, and too late.
    """
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        is_same = run.plan_hash == plan_hash and run.deletions_left_out == leave_deletions_out
        if run.status in {RunStatus.APPLYING, RunStatus.APPLIED} and is_same:
            session.expunge(run)
            return run
        if run.plan_only or run.status not in {RunStatus.PLANNED, RunStatus.HELD}:
            raise RunState(status=status_word(run))
        if run.plan_hash != plan_hash:
            raise PlanChanged(plan_hash=run.plan_hash)
        source = source_of(session, tenant_id, run.source_id)
        if run.undoes_run_id:
            start_undo(imports, session, run, leave_deletions_out=leave_deletions_out, actor=actor)
        elif source.state != SourceState.ENABLED:
            raise SourceStateError("the source is not enabled", state=SourceState(source.state).name.lower())
        if run.status == RunStatus.HELD:
            run.approved, run.approved_by = True, actor.name
            run.deletions_left_out = leave_deletions_out
            write_run_event(session, run, "run.approved", actor=actor, now=imports.clock())
        run.status = RunStatus.APPLYING
        run.active_until = imports.clock() + timedelta(seconds=LEASE_S)
        run.revision += 1
        session.add(run)
        session.flush()
        session.refresh(run)
        session.expunge(run)
    return run


def apply_run(imports: Imports, tenant_id: int, run_id: int) -> None:
    """Apply one run, whole or not at all; without effect when it is no longer `applying`.

    A lost database leaves the run `applying` for the next round; any other fault ends it `failed`, nothing changed.
    """
    space = imports.space(run_id)
    name = IMPORT_RUN.format(tenant_id, run_id)
    try:
        with _apply_transaction(imports, space, tenant_id) as connection:
            run = _apply(imports, space, connection, tenant_id, run_id)
    except StageLostError:
        _end_failed(imports, tenant_id, run_id, reason="stage_lost", message="The staged rows were lost.")
        return
    except OperationalError as error:
        log.warning("import.apply_postponed", run=name, error=type(error.orig).__name__)
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must end, and say so
        log.error("import.apply_failed", run=name, **fault_of(error))
        _end_failed(imports, tenant_id, run_id, reason="internal", message="The directory met a fault.")
        return
    finally:
        imports.progress.forget(run_id)
    if run is None:
        return
    if run.status == RunStatus.STAGING:
        return  # its importer may be staging again by now
    if run.status == RunStatus.HELD:
        space.make_durable()
        return
    space.drop()
    refresh_statistics(space, run.counts)


@contextmanager
def _apply_transaction(imports: Imports, space: StageSpace, tenant_id: int) -> Iterator[Connection]:
    """One transaction that holds the tenant alone, committed at the end."""
    engine = imports.store.writing(tenant_id, lock=Lock.EXCLUSIVE, wait_s=APPLY_WAIT_S)
    with engine.connect() as connection, space.attached(connection), connection.begin():
        yield connection


def _apply(
    imports: Imports, space: StageSpace, connection: Connection, tenant_id: int, run_id: int
) -> ImportRun | None:
    """Do it in the caller's transaction; answers the run: applied, held, to be staged again; or None: nothing to do."""
    session = Session(bind=connection)
    run = locked_run_of(session, tenant_id, run_id)
    if run.status != RunStatus.APPLYING:
        return None
    assert run.plan is not None
    if run.undoes_run_id:
        return undo_here(imports, space, session, run)
    require_stage(space, connection, run)
    stands = not has_changed(session, tenant_id, (run.plan_xid, run.plan_position)) and is_whole(space, connection, run)
    if not stands and has_settled_rows(space, connection):
        stage_again(imports, session, run)
        session.flush()
        session.refresh(run)
        session.expunge_all()
        return run
    if run.deletions_left_out or not stands:
        planned = _plan_again(imports, space, connection, run, leave_deletions_out=run.deletions_left_out)
        if _must_be_held(imports, session, run, planned):
            session.flush()
            session.refresh(run)
            session.expunge_all()
            return run
        given, counts = planned.given, planned.plan.counts
        if not run.deletions_left_out:  # else the plan stays as it was approved, deletions and all
            run.plan = {**NO_COUNTS, **counts}
        keep_surroundings(run, planned.plan)
        write_findings(imports, session, run)
    else:
        given = plan_input(session, run, leave_deletions_out=False, now=imports.clock())
        counts = run.plan
    run.applied_xid, run.applied_position = transaction_id(session), basis(session)[1]
    _write(imports, space, connection, run, given=given, counts=counts)
    _settle(imports, session, run, counts)
    run.plan_xid, run.plan_position = basis(session)  # what it wrote itself is not newer
    session.flush()
    session.refresh(run)
    session.expunge_all()
    return run


def _plan_again(
    imports: Imports, space: StageSpace, connection: Connection, run: ImportRun, *, leave_deletions_out: bool
) -> Planned:
    """Plan under the tenant's lock; whatever comes later makes the plan anew."""
    return plan_here(
        imports,
        space,
        connection,
        run,
        since=NOWHERE,
        leave_deletions_out=leave_deletions_out,
        holds_write_lock=True,
    )


def _must_be_held(imports: Imports, session: Session, run: ImportRun, planned: Planned) -> bool:
    """Say whether the plan made again may not be applied; then the run is at rest again, with the new plan to look at.

    An approved plan may only hold what was shown (R8); one that nobody had to approve must still pass the limits (R44).
    """
    space = planned.planner.space
    if not run.approved:
        if planned.refused is None and planned.held is None:
            return False
        plan_changes.keep_as_shown(planned.planner)
        space.index_lines(session.connection())
        write_plan(imports, session, run, planned)
        return True
    fresh = plan_changes.changes_not_shown(planned.planner)
    if not fresh:
        return False
    if run.deletions_left_out:  # the decision is to be made anew, on all that the file means
        planner = planned.planner
        planned = _plan_again(imports, planner.space, planner.connection, run, leave_deletions_out=False)
    plan_changes.keep_as_shown(planned.planner)
    space.index_lines(session.connection())
    run.plan = {**NO_COUNTS, **planned.plan.counts}
    keep_surroundings(run, planned.plan)
    run.seats_total, run.seats_used = planned.given.seats_total, planned.given.seats_used
    run.plan_hash = planned.plan.hash
    run.plan_xid, run.plan_position = planned.since
    run.approved = run.deletions_left_out = False
    write_findings(imports, session, run)
    end_run(
        imports,
        session,
        run,
        RunStatus.HELD,
        reason=planned.held.reason if planned.held else run.reason,
        message=f"Not shown when it was approved, so look at it again: {plan_changes.describe_fresh(fresh)}.",
        actor=Actor(source_id=run.source_id),
    )
    return True


def _write(
    imports: Imports,
    space: StageSpace,
    connection: Connection,
    run: ImportRun,
    *,
    given: PlanInput,
    counts: dict[str, int],
) -> None:
    apply_plan(
        space,
        connection,
        ApplyInput(
            given=given,
            run_id=run.id,
            now=imports.clock(),
            counts=counts,
            reserve_ids=lambda name, count: ids.reserve_ids(connection, name, count),
            progress=lambda rows: imports.progress.tell(run.id, rows),
            invites=_invites(Session(bind=connection), run),
        ),
    )


def _invites(session: Session, run: ImportRun) -> bool:
    """Say whether new people are invited: their source asks for it, and there is a page to accept on (R36)."""
    source = source_of(session, run.tenant_id, run.source_id)
    return source.automatic_invitations and bool(get_tenant(session, run.tenant_id).accept_url)


def _settle(imports: Imports, session: Session, run: ImportRun, counts: dict[str, int]) -> None:
    """Bring the applied run to rest: its counts, the seats after it, and what the source remembers of it."""
    source = source_of(session, run.tenant_id, run.source_id)
    source.last_applied_run_id = run.id
    session.add(source)
    license_ = session.get(License, run.tenant_id, populate_existing=True)
    assert license_ is not None
    run.seats_total, run.seats_used = license_.seats_total, license_.seats_used
    run.counts = {**NO_COUNTS, **counts}
    end_run(
        imports,
        session,
        run,
        RunStatus.APPLIED,
        reason="",
        message="",
        actor=Actor(source_id=run.source_id),
    )


def _end_failed(imports: Imports, tenant_id: int, run_id: int, *, reason: str, message: str) -> None:
    with imports.store.write(tenant_id, wait_s=30.0) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if run.status != RunStatus.APPLYING:
            return
        end_run(
            imports,
            session,
            run,
            RunStatus.FAILED,
            reason=reason,
            message=f"{message} Nothing was changed.",
            actor=Actor(source_id=run.source_id),
        )
    imports.space(run_id).drop()
