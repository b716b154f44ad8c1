"""What is left of runs: stages that nobody needs go, and a stage that was lost is never applied as if it were whole."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from muster.directory.v1 import imports_pb2
from sqlalchemy import text
from sqlmodel import select

from services.directory.operations import import_applies, import_plans, imports
from services.directory.operations.import_stages import PLANNED_KEPT_FOR, sweep_stages
from services.directory.operations.replay import Attempt
from services.directory.operations.tenants import NewTenant, create_tenant
from services.directory.roster.stage import stage_rows
from services.directory.rules.errors import RunState
from services.directory.store import ids
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.tables import Event, ImportRun, License, RunStatus, Source, SourceState
from services.importer.row_block import Row, import_block

SOMEBODY = Actor("somebody")


class Night:
    """One tenant with one enabled source, and runs of it without a server in between."""

    def __init__(self, store, folder, clock):
        self.imports = imports.Imports(store, folder, clock=clock)
        self.store = store
        with store.write(None) as session:
            tenant = create_tenant(session, NewTenant("Alder", 100), actor=SOMEBODY, now=clock())
            self.tenant_id, account_id = tenant.id, tenant.main_account_id
        with store.write(self.tenant_id) as session:
            self.source_id = ids.next_id(session, "source")
            session.add(
                Source(
                    tenant_id=self.tenant_id,
                    id=self.source_id,
                    display_name="file",
                    state=SourceState.ENABLED,
                    account_id=account_id,
                    create_time=clock(),
                )
            )

    def plan(self, *people, dry_run=False):
        opened = []
        imports.create_run(
            self.imports,
            Seal(b"s" * 32),
            self.tenant_id,
            self.source_id,
            dry_run=dry_run,
            actor=SOMEBODY,
            attempt=Attempt("test", "", b""),
            answer=lambda run: (opened.append(run.id), imports_pb2.CreateImportRunResponse())[1],
        )
        rows = [
            Row(
                line,
                imports_pb2.ROW_DISPOSITION_ACCEPTED,
                external_id=f"EMPLOYEE-{name}",
                email=f"{name}@example.org",
                display_name=name,
                title=None,
                phone=None,
                secondary_phone=None,
                group_external_ids=None,
                digest=name.encode().ljust(16),
            )
            for line, name in enumerate(people, start=2)
        ]
        checksum = zlib.crc32("".join(f"{row.external_id}\n" for row in rows).encode())
        end = imports_pb2.ImportEnd(row_count=len(rows), checksum=checksum)
        space = self.imports.space(opened[0])
        staged = stage_rows(space, [import_block(rows, [])], lambda: end)
        imports.finish_staging(self.imports, self.tenant_id, opened[0], staged, file={}, newest_timestamp=None)
        return import_plans.plan_run(self.imports, self.tenant_id, opened[0])

    def start(self, run, *, leave_deletions_out=False):
        return import_applies.start_apply(
            self.imports,
            self.tenant_id,
            run.id,
            plan_hash=run.plan_hash,
            leave_deletions_out=leave_deletions_out,
            actor=SOMEBODY,
        )

    def apply(self, run, **decision):
        self.start(run, **decision)
        import_applies.apply_run(self.imports, self.tenant_id, run.id)
        return self.read(run)

    def read(self, run):
        with self.store.read() as session:
            return session.get(ImportRun, (self.tenant_id, run.id))

    def staged(self, run):
        space = self.imports.space(run.id)
        if self.store.is_sqlite:
            return space.file.exists()
        with self.store.engine.connect() as connection:
            return space.exists(connection)

    def in_stage(self, run, statement):
        space = self.imports.space(run.id)
        with self.store.engine.connect() as connection, space.attached(connection):
            connection.execute(text(statement.format(**space.names)))
            connection.commit()


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self):
        self._now = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)

    def __call__(self):
        return self._now

    def tick(self, by):
        self._now += by


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def night(store, tmp_path, clock):
    return Night(store, tmp_path, clock)


@pytest.mark.parametrize("table", ["rows", "changes"])
def test_a_stage_that_a_crash_has_emptied_is_never_applied_as_if_it_were_whole(night, table):
    run = night.plan("anna", "bo")
    night.in_stage(run, f"DELETE FROM {{{table}}}")
    run = night.apply(run)
    with night.store.read() as session:
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
        for ended in [threads.submit(import_applies._interrupt, night.imports, run) for _ in range(8)]:
            ended.result()
    with night.store.read() as session:
        events = session.exec(select(Event).where(Event.run_id == run.id)).all()
    assert [event.kind for event in events] == ["run.failed"]
