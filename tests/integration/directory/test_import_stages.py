"""What is left of runs: stages that nobody needs go, and a stage that was lost is never applied as if it were whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlmodel import select

from services.directory.operations import apply_worker, imports
from services.directory.operations.import_stages import PLANNED_KEPT_FOR, sweep_stages
from services.directory.operations.users import NewUser, create_user
from services.directory.rules.errors import RunState
from services.directory.store import ids
from services.directory.store.tables import Event, ImportRun, License, RunStatus
from tests.integration.directory.nights import SOMEBODY


@pytest.mark.parametrize("table", ["rows", "changes"])
def test_a_stage_that_a_crash_has_emptied_is_never_applied_as_if_it_were_whole(night, table):
    run = night.plan("anna", "bo")
    night.in_stage(run, f"DELETE FROM {{{table}}}")
    run = night.apply(run)
    with night.store.read(night.tenant_id) as session:
        seats_used = session.get(License, night.tenant_id).seats_used
    if table == "rows":
        assert (run.status, run.reason, seats_used) == (RunStatus.FAILED, "stage_lost", 0)
    else:  # the rows are whole, so the plan is made again
        assert (run.status, run.counts["created"], seats_used) == (RunStatus.APPLIED, 2, 2)


def test_an_applied_run_leaves_no_stage(night):
    assert not night.staged(night.apply(night.plan("anna")))


def test_a_newer_plan_takes_the_place_of_an_older_dry_run(night):
    older, newer = night.plan("anna", dry_run=True), night.plan("bo", dry_run=True)
    sweep_stages(night.imports)
    assert [night.staged(older), night.staged(newer)] == [False, True]


def test_a_dry_run_can_be_looked_at_for_a_week(night, clock):
    run = night.plan("anna", dry_run=True)
    clock.tick(PLANNED_KEPT_FOR + timedelta(minutes=1))
    sweep_stages(night.imports)
    assert not night.staged(run)


def test_a_held_plan_keeps_its_stage_until_a_newer_file_expires_it(night):
    night.apply(night.plan(*"abcdefgh"))
    held = night.plan("a")
    sweep_stages(night.imports)
    assert (held.status, night.staged(held)) == (RunStatus.HELD, True)
    night.plan("a", "b")
    sweep_stages(night.imports)
    assert (night.read(held).status, night.staged(held)) == (RunStatus.EXPIRED, False)


def test_r8_of_two_decisions_on_the_deletions_only_the_first_counts(night):
    night.apply(night.plan(*"abcdefgh"))
    held = night.plan("a")
    night.start(held, leave_deletions_out=True)
    with pytest.raises(RunState):
        night.start(held, leave_deletions_out=False)
    assert night.start(held, leave_deletions_out=True).status == RunStatus.APPLYING


def test_a_run_whose_importer_is_gone_ends_once_though_two_find_it(night, clock):
    """Found in a night on PostgreSQL: the worker and the next run both ended it, and its report came twice."""
    with night.store.write(night.tenant_id) as session:
        run = ImportRun(
            tenant_id=night.tenant_id,
            id=ids.next_id(session, "import_run"),
            source_id=night.source_id,
            counts=dict(imports.NO_COUNTS),
            active_until=clock() - timedelta(seconds=1),
            create_time=clock(),
        )
        session.add(run)
        session.flush()
        session.expunge(run)
    with ThreadPoolExecutor(8) as threads:
        for ended in [threads.submit(apply_worker._interrupt, night.imports, run) for _ in range(8)]:
            ended.result()
    with night.store.read(night.tenant_id) as session:
        events = session.exec(select(Event).where(Event.run_id == run.id)).all()
    assert [event.kind for event in events] == ["run.failed"]


def test_r8_a_plan_held_again_after_it_was_approved_without_deletions_shows_them_again(night):
    """Else its counts say that nobody would be deleted, and the plain approval deletes all the same."""
    night.apply(night.plan(*"abcdefgh"))
    held = night.plan("x", "y")
    with night.store.write(night.tenant_id) as session:
        new = NewUser(account_id=night.account_id, display_name="Y", email="y@example.org")
        create_user(session, night.tenant_id, new, actor=SOMEBODY, now=night.imports.clock())
    again = night.apply(held, leave_deletions_out=True)
    assert (again.status, again.reason, again.plan["deleted"], again.plan["taken_over"]) == (
        RunStatus.HELD,
        "delete_limit",
        8,
        1,
    )
    assert again.seats_used == 9
    done = night.apply(again, leave_deletions_out=True)
    assert (done.status, done.counts["deleted"], done.counts["taken_over"]) == (RunStatus.APPLIED, 0, 1)
