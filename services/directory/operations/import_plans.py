"""Plan a run on one consistent state of the register, look at the limits, and write what they say to the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlmodel import Session

from services.directory.operations import rejected_rows
from services.directory.operations.import_inputs import limit_input, plan_input
from services.directory.operations.imports import (
    LEASE_S,
    NO_COUNTS,
    NOT_YET_DONE,
    Imports,
    end_run,
    is_at_rest,
    kept_alive,
    locked_run_of,
    require_status,
    run_of,
)
from services.directory.roster import plan_changes
from services.directory.roster.limits import Passed, first_limit_passed, too_many_rejects
from services.directory.roster.plan import make_plan
from services.directory.roster.planner import Plan, PlanInput, Planner
from services.directory.roster.settled_rows import RowsWantedError
from services.directory.roster.space import StageSpace
from services.directory.roster.stage import stage_checksum
from services.directory.store import ids
from services.directory.store.events import NOWHERE, Actor, Cursor, basis
from services.directory.store.session import Lock
from services.directory.store.tables import ImportRun, RunStatus

BASIS_WAIT_S = 10
"""How long a plan waits for writers under way, to begin where none is; then it begins anyhow, to be made again."""


@dataclass(frozen=True)
class Planned:
    """A plan with what the limits say of it, and the place in the events from which on it may be out of date."""

    plan: Plan
    planner: Planner
    given: PlanInput
    refused: Passed | None
    held: Passed | None
    since: Cursor
    settled: int
    """How many rows came as settled."""


class StageLostError(Exception):
    """What was staged is not there any more, or not all of it."""


def plan_run(imports: Imports, tenant_id: int, run_id: int, *, rejected_rows_follow: bool = False) -> ImportRun:
    """Make the run's plan; nothing of the register changes. Errors: RunState.

    A run in which rows came as settled that are needed whole stays in `staging`, for all rows to be staged.

    On SQLite the register stays free for writers meanwhile: the plan is written into the run's own file.
    """
    with imports.store.read(tenant_id) as session:
        run = run_of(session, tenant_id, run_id)
    if run.status == RunStatus.HELD or (is_at_rest(run) and run.status == RunStatus.PLANNED):
        return run
    require_status(run, RunStatus.STAGING, RunStatus.PLANNED)
    space = imports.space(run_id)
    try:
        with kept_alive(imports, tenant_id, run_id):
            planned = _plan_on_a_still_register(imports, space, run)
    except StageLostError:
        return _fail(imports, run)
    except RowsWantedError:
        return _want_all_rows(imports, run)
    if planned.held and not run.plan_only:
        if planned.settled:  # whoever decides may do so when these rows are not settled any more
            return _want_all_rows(imports, run)
        space.make_durable()
    return save_plan(imports, run, planned, rejected_rows_follow=rejected_rows_follow)


def _plan_on_a_still_register(imports: Imports, space: StageSpace, run: ImportRun) -> Planned:
    with imports.store.reading(run.tenant_id).connect() as connection, space.attached(connection):
        with _no_writers(imports, connection, run.tenant_id) as is_still:
            since = basis(Session(bind=connection)) if is_still else NOWHERE
        planned = plan_here(imports, space, connection, run, since=since, leave_deletions_out=False)
        if planned.held:
            plan_changes.keep_as_shown(planned.planner)
        if planned.held or run.plan_only:
            space.index_lines(connection)
        connection.commit()
        return planned


@contextmanager
def _no_writers(imports: Imports, connection: Connection, tenant_id: int) -> Iterator[bool]:
    """Hold the tenant for the moment in which the plan's snapshot is taken: then no older position can appear later.

    On SQLite writers take turns and positions with them, so there is nothing to hold.
    """
    if imports.store.is_sqlite:
        yield True
        return
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    is_still = True
    try:
        raw.execute(f"SET lock_timeout = '{BASIS_WAIT_S}s'".encode())
        raw.execute("SELECT pg_advisory_lock(%s)", (tenant_id,))
    except psycopg.errors.LockNotAvailable:
        is_still = False
    try:
        raw.execute("SET lock_timeout = 0")
        yield is_still
    except BaseException:
        raw.rollback()
        raise
    finally:
        if is_still:
            raw.execute("SELECT pg_advisory_unlock(%s)", (tenant_id,))


def plan_here(
    imports: Imports,
    space: StageSpace,
    connection: Connection,
    run: ImportRun,
    *,
    since: Cursor,
    leave_deletions_out: bool,
    holds_write_lock: bool = False,
) -> Planned:
    """Make the plan on this connection's state of the register. Errors: StageLostError."""
    require_stage(space, connection, run)
    session = Session(bind=connection)
    given = plan_input(session, run, leave_deletions_out=leave_deletions_out, now=imports.clock())
    limits = limit_input(session, run)

    def reserve(name: str, count: int) -> list[int]:
        if holds_write_lock or not imports.store.is_sqlite:
            return ids.reserve_ids(connection, name, count)
        with imports.store.write(None, wait_s=30.0) as other:
            return ids.reserve_ids(other.connection(), name, count)

    planner = Planner(space, connection, given, reserve)
    plan = make_plan(planner)
    refused = too_many_rejects(plan, limits)
    held = None if refused else first_limit_passed(plan, limits)
    return Planned(plan, planner, given, refused, held, since, settled=planner.count("settled"))


def require_stage(space: StageSpace, connection: Connection, run: ImportRun) -> None:
    """StageLostError unless everything that was staged is there: an unlogged table is empty after a crash."""
    if not space.exists(connection) or stage_checksum(space, connection) != run.staged_checksum:
        raise StageLostError


def is_whole(space: StageSpace, connection: Connection, run: ImportRun) -> bool:
    """Say whether the plan's list of changes is as long as its counts say; a crash empties it, too."""
    assert run.plan is not None
    if not space.has_plan(connection):
        return False
    found = connection.execute(text(f"SELECT count(*) FROM {space.name('changes')}")).scalar_one()
    counts = {**NO_COUNTS, **run.plan}
    return int(found) == sum(counts[name] for name in ("created", "updated", "deleted", "claims_dropped"))


def save_plan(imports: Imports, run: ImportRun, planned: Planned, *, rejected_rows_follow: bool = False) -> ImportRun:
    """Write the plan's figures and findings to the register's run, which comes to rest or waits to be applied."""
    space = imports.space(run.id)
    engine = imports.store.writing(run.tenant_id, lock=Lock.NONE, wait_s=30.0)
    with engine.connect() as connection, space.attached(connection), connection.begin():
        session = Session(bind=connection)
        kept = locked_run_of(session, run.tenant_id, run.id)
        require_status(kept, RunStatus.STAGING, RunStatus.PLANNED)
        if rejected_rows_follow and planned.plan.counts["rejected"]:
            rejected_rows.expect_rows(kept, now=imports.clock())
        write_plan(imports, session, kept, planned)
        session.flush()
        session.refresh(kept)
        session.expunge_all()
    if planned.refused:
        space.drop()
    return kept


def write_plan(imports: Imports, session: Session, run: ImportRun, planned: Planned) -> None:
    """Write what a plan means for its run, in the caller's transaction; the stage must be attached."""
    plan = planned.plan
    run.plan, run.plan_hash = {**NO_COUNTS, **plan.counts}, plan.hash
    run.plan_xid, run.plan_position = planned.since
    keep_surroundings(run, plan)
    run.seats_total, run.seats_used = planned.given.seats_total, planned.given.seats_used
    run.counts = {**run.plan, **dict.fromkeys(NOT_YET_DONE, 0)}
    write_findings(imports, session, run)
    actor = Actor(source_id=run.source_id)
    passed = planned.refused or planned.held
    reason, message = (passed.reason, passed.message) if passed else ("", "")
    if planned.refused:
        run.plan = dict(run.counts)  # R46: a refused run counts what was read
        end_run(imports, session, run, RunStatus.REFUSED, reason=reason, message=message, actor=actor)
    elif run.plan_only:
        end_run(imports, session, run, RunStatus.PLANNED, reason=reason, message=message, actor=actor)
    elif planned.held:
        end_run(imports, session, run, RunStatus.HELD, reason=reason, message=message, actor=actor)
    else:
        run.status, run.reason, run.message = RunStatus.PLANNED, "", ""
        run.active_until = imports.clock() + timedelta(seconds=LEASE_S)
        run.revision += 1
        session.add(run)


def keep_surroundings(run: ImportRun, plan: Plan) -> None:
    """Keep with the run whom its plan lets be reached, and what its people look like."""
    run.reach, run.shape = plan.reach.kept(), plan.shapes.kept()


def write_findings(imports: Imports, session: Session, run: ImportRun) -> None:
    """Copy the plan's findings into the register, numbered by line, rejections before warnings."""
    session.flush()
    connection = session.connection()
    key = {"t": run.tenant_id, "r": run.id}
    connection.execute(text("DELETE FROM import_issues WHERE tenant_id = :t AND run_id = :r"), key)
    connection.execute(
        text(f"""
        INSERT INTO import_issues (tenant_id, run_id, number, line, row_key, severity, code, column_name, masked_value,
            message)
        SELECT :t, :r, row_number() OVER (ORDER BY line, severity, code), line, row_key, severity, code, column_name,
            masked_value, message
        FROM {imports.space(run.id).name("findings")}
        """),
        key,
    )


def _want_all_rows(imports: Imports, run: ImportRun) -> ImportRun:
    """Let the importer stage all rows of the run's file, whose plan is forgotten."""
    with imports.store.write(run.tenant_id) as session:
        kept = locked_run_of(session, run.tenant_id, run.id)
        require_status(kept, RunStatus.STAGING, RunStatus.PLANNED)
        stage_again(imports, session, kept)
        session.flush()
        session.refresh(kept)
        session.expunge(kept)
    return kept


def stage_again(imports: Imports, session: Session, run: ImportRun) -> None:
    """Bring the run back to `staging`, in the caller's transaction; the next rows take the place of its stage."""
    run.status, run.plan, run.plan_hash = RunStatus.STAGING, None, ""
    run.counts = dict(NO_COUNTS)
    run.active_until = imports.clock() + timedelta(seconds=LEASE_S)
    run.revision += 1
    session.add(run)


def _fail(imports: Imports, run: ImportRun) -> ImportRun:
    with imports.store.write(run.tenant_id) as session:
        kept = locked_run_of(session, run.tenant_id, run.id)
        end_run(
            imports,
            session,
            kept,
            RunStatus.FAILED,
            reason="stage_lost",
            message="The staged rows were lost before they could be planned; nothing was changed. Run it again.",
            actor=Actor(source_id=run.source_id),
        )
        session.flush()
        session.expunge(kept)
    imports.space(run.id).drop()
    return kept
