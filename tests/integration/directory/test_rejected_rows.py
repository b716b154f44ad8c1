"""Rejected rows are kept sealed, for thirty days, to be mended, and for nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from muster.directory.v1 import imports_pb2, users_pb2
from sqlalchemy import text

from cli.pages import every
from services.directory.api.import_messages import issue_values
from services.directory.operations import import_endings, import_plans, rejected_rows
from services.directory.operations.erasure import erase_people
from services.directory.operations.housekeeping import Housekeeper
from services.directory.operations.imports import LEASE_S
from services.directory.operations.rejected_rows import KEPT_FOR, MOST_ROWS
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument, RunState, TenantBusy
from services.directory.store.seal import Seal
from services.directory.store.tables import RunStatus
from tests.integration.directory.nights import SOMEBODY, Night
from tests.integration.directory.serving import SEAL_KEY

pytestmark = pytest.mark.mostly("postgresql")

SEAL = Seal(SEAL_KEY)
FORM = {
    "encoding": "utf-8",
    "delimiter": ";",
    "columns": ["UniqueID", "Name", "Mail"],
    "header": ["UniqueID", "Name", "Mail"],
    "column_places": [0, 1, 2],
    "byte_order_mark": False,
    "line_end": "\n",
    "all_quoted": False,
    "separator_line": False,
}
REMARK = "line {}: name_missing."


class Bench:
    """A night whose importer brings rejected rows."""

    def __init__(self, night):
        self.night = night

    def plan(self, *people, rejected=(), dry_run=False):
        """Plan a file, of which rejected rows follow."""
        night = self.night
        run_id = night.plan_again(night.open(dry_run=dry_run), *people, rejected=rejected).id
        with night.store.write(night.tenant_id) as session:  # as if the importer had said so from the start
            run = import_plans.run_of(session, night.tenant_id, run_id)
            run.file = {**run.file, **FORM}
            rejected_rows.expect_rows(run, now=night.imports.clock())
            session.add(run)
        return night.read(run_of(run_id))

    def bring(self, run, rows, *, is_last=True):
        """Bring rows: line → cells."""
        listed = [
            imports_pb2.RejectedRow(line=line, cells=[cell.encode() for cell in cells]) for line, cells in rows.items()
        ]
        rejected_rows.keep_rows(
            self.night.imports,
            SEAL,
            self.night.tenant_id,
            run.id,
            imports_pb2.RejectedRows(rows=listed),
            is_last=is_last,
        )

    def download(self, run):
        chunks = rejected_rows.download(self.night.imports, SEAL, self.night.tenant_id, run.id)
        return b"".join(chunks).decode().splitlines()

    def kept(self):
        with self.night.store.read(self.night.tenant_id) as session:
            sql = "SELECT sealed FROM rejected_rows WHERE tenant_id = :t ORDER BY run_id, first_line"
            return list(session.connection().execute(text(sql), {"t": self.night.tenant_id}).scalars())


def run_of(run_id):
    """Something that has a run's id."""
    return SimpleNamespace(id=run_id)


@pytest.fixture
def bench(night):
    return Bench(night)


def test_rejected_rows_come_back_in_file_order_with_what_is_wrong(bench):
    run = bench.plan("anna", "bo", "cia", rejected=["anna", "cia"])
    bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]}, is_last=False)
    bench.bring(run, {4: ["EMP-CIA", "=1+1", "cia@x"]})
    assert bench.download(run) == [
        "UniqueID;Name;Mail;Muster",
        f"EMP-ANNA;;anna@x;{REMARK.format(2)}",
        f"EMP-CIA;'=1+1;cia@x;{REMARK.format(4)}",
    ]


def test_they_are_sealed_and_open_only_in_their_place(bench):
    run = bench.plan("anna", "bo", rejected=["anna"])
    bench.bring(run, {2: ["EMP-ANNA", "Anna", "anna@x"]})
    (sealed,) = bench.kept()
    assert b"ANNA" not in sealed
    assert b"anna" not in sealed
    with bench.night.store.write(bench.night.tenant_id) as session:
        sql = "UPDATE rejected_rows SET first_line = 1 WHERE tenant_id = :t"
        session.connection().execute(text(sql), {"t": bench.night.tenant_id})
    with pytest.raises(Exception, match=r"^$"):  # InvalidTag says nothing
        bench.download(run)


def test_bringing_the_same_rows_again_changes_nothing(bench):
    run = bench.plan("anna", "bo", "cia", rejected=["anna", "bo"])
    for cells in (["old", "old", "old"], ["EMP-ANNA", "", "anna@x"]):
        bench.bring(run, {2: cells}, is_last=False)
        bench.bring(run, {3: ["EMP-BO", "", "bo@x"]}, is_last=False)
    assert [line.partition(";")[0] for line in bench_lines(bench, run)] == ["EMP-ANNA", "EMP-BO"]


def bench_lines(bench, run):
    bench.bring(run, {})
    return bench.download(run)[1:]


def test_whoever_downloads_while_rows_are_on_their_way_waits_for_them(bench):
    run = bench.plan("anna", "bo", rejected=["anna"])
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]})

    bench.night.imports = replace(bench.night.imports, wait=wait)
    assert len(bench.download(run)) == 2
    assert len(waits) == 2


def test_an_importer_that_died_is_not_waited_for_longer_than_its_lease(bench, clock):
    run = bench.plan("anna", "bo", "cia", rejected=["anna", "bo"], dry_run=True)
    bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]}, is_last=False)
    clock.tick(timedelta(seconds=LEASE_S + 1))
    assert bench.download(run)[1:] == [f"EMP-ANNA;;anna@x;{REMARK.format(2)}", f";;;{REMARK.format(3)}"]
    with pytest.raises(RunState):  # it comes back too late
        bench.bring(run, {3: ["EMP-BO", "", "bo@x"]})


def test_a_run_that_nobody_waits_for_takes_no_rows(night):
    run = night.plan("anna", rejected=["anna"], dry_run=True)
    with pytest.raises(RunState):
        Bench(night).bring(run, {2: ["EMP-ANNA", "", ""]})


def test_the_plan_says_that_rows_are_on_their_way_only_when_it_rejects_some(night):
    waiting = []
    for rejected in ([], ["anna"]):
        run_id = night.plan("anna", "bo", rejected=rejected, dry_run=True).id
        with night.store.write(night.tenant_id) as session:  # planned once more, as after a lost answer
            run = import_plans.run_of(session, night.tenant_id, run_id)
            run.status, run.end_time = RunStatus.STAGING, None
            session.add(run)
        run = import_plans.plan_run(night.imports, night.tenant_id, run_id, rejected_rows_follow=True)
        waiting.append(rejected_rows.is_waiting(run, now=night.imports.clock()))
    assert waiting == [False, True]


@pytest.mark.parametrize("lines", [[3, 2], [2, 2], list(range(2, MOST_ROWS + 3))])
def test_rows_out_of_order_or_too_many_at_once_are_refused(bench, lines):
    run = bench.plan("anna", "bo", rejected=["anna"])
    listed = [imports_pb2.RejectedRow(line=line) for line in lines]
    with pytest.raises(InvalidArgument):
        rejected_rows.keep_rows(
            bench.night.imports,
            SEAL,
            bench.night.tenant_id,
            run.id,
            imports_pb2.RejectedRows(rows=listed),
            is_last=False,
        )


def test_a_run_without_rejected_rows_has_nothing_to_download(bench):
    with pytest.raises(RunState, match="no row was rejected"):
        bench.download(bench.plan("anna", dry_run=True) and bench.night.plan("anna", dry_run=True))


def test_an_applied_run_s_rows_can_be_downloaded(bench):
    run = bench.plan("anna", "bo", rejected=["anna"])
    bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]})
    assert bench.night.apply(run).status == RunStatus.APPLIED
    assert len(bench.download(run)) == 2


def test_rows_of_a_file_that_cannot_be_used_are_kept_before_it_is_refused(night):
    bench, run_id = Bench(night), night.open()
    run = night.read(run_of(run_id))
    bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]}, is_last=False)
    add_issues(night, run_id, 1, [2])
    import_endings.refuse_run(
        night.imports,
        night.tenant_id,
        run_id,
        status=RunStatus.REFUSED,
        reason="truncated",
        message="",
        counts={"rows": 1, "rejected": 1},
        file=FORM,
        issues=[],
        actor=SOMEBODY,
    )
    assert bench.download(run)[1:] == ["EMP-ANNA;;anna@x;line 2: name_missing."]


def add_issues(night, run_id, first, lines):
    issue = imports_pb2.ImportIssue(severity=imports_pb2.ISSUE_SEVERITY_REJECTED, code="name_missing")
    issues = [{**issue_values(issue), "line": line} for line in lines]
    rejected_rows.add_issues(night.imports, night.tenant_id, run_id, first, issues)


@pytest.mark.mostly("sqlite")
@pytest.mark.parametrize(("pages", "size"), [(3, 700), pytest.param(10, 10_000, marks=pytest.mark.long)])
def test_no_number_of_issues_is_too_many_to_show(night, support, pages, size):
    run_id = night.open()
    for first in (*range(1, pages * size, size), (pages - 1) * size + 1):  # the last answer was lost
        add_issues(night, run_id, first, range(first + 1, first + size + 1))
    request = imports_pb2.ListImportIssuesRequest(
        import_run=names.IMPORT_RUN.format(night.tenant_id, run_id), page_size=1000
    )
    seen = [issue.line for issue in every(support.imports.ListImportIssues, request, "issues")]
    assert seen == list(range(2, pages * size + 2))


def test_issues_are_added_only_to_a_run_that_is_under_way(night):
    run = night.plan("anna", dry_run=True)
    with pytest.raises(RunState):
        add_issues(night, run.id, 1, [2])


def test_rows_are_gone_after_thirty_days(bench, clock):
    run = bench.plan("anna", "bo", rejected=["anna"])
    bench.bring(run, {2: ["EMP-ANNA", "", "anna@x"]})
    keeper = Housekeeper(bench.night.imports, SEAL, timedelta(days=730))
    clock.tick(KEPT_FOR - timedelta(minutes=1))
    keeper.purge()
    assert len(bench.kept()) == 1
    clock.tick(timedelta(minutes=2))
    assert keeper.purge().rejected_rows_deleted > 0
    assert bench.kept() == []
    with pytest.raises(RunState, match="are gone"):
        bench.download(run)


def test_erasure_reaches_rejected_rows_and_leaves_others_alone(store, directory, support):
    night = Night(store, directory.stages, directory.clock)
    bench = Bench(night)
    night.apply(night.plan("anna", "bo"))
    run = bench.plan("anna", "bo", "cia", rejected=["anna", "bo", "cia"], dry_run=True)
    bench.bring(
        run,
        {
            2: ["'EMPLOYEE-anna", "Anna", "no mail"],
            3: ["EMPLOYEE-bo", "Bo", "bo@example.org"],
            4: ["?", "Anna again", " ANNA@Example.org "],
        },
    )
    anna = next(user.name for user in users_of(support, night) if user.email == "anna@example.org")
    document = support.users.ExportUser(users_pb2.ExportUserRequest(name=anna)).document.decode()
    assert "Anna again" in document
    assert "Bo" not in document
    support.users.EraseUser(users_pb2.EraseUserRequest(name=anna))
    assert [line.split(";")[0] for line in bench.download(run)[1:]] == ["", "EMPLOYEE-bo", ""]


def users_of(support, night):
    request = users_pb2.ListUsersRequest(tenant=names.TENANT.format(night.tenant_id))
    return support.users.ListUsers(request).users


def test_erasure_waits_while_rejected_rows_are_on_their_way(bench):
    night, now = bench.night, bench.night.imports.clock()
    run = bench.plan("anna", "bo", rejected=["bo"], dry_run=True)
    with pytest.raises(TenantBusy), night.store.write(night.tenant_id) as session:
        erase_people(session, night.imports, SEAL, night.tenant_id, [1], actor=SOMEBODY, now=now)
    bench.bring(run, {})
    with night.store.write(night.tenant_id) as session:
        erase_people(session, night.imports, SEAL, night.tenant_id, [1], actor=SOMEBODY, now=now)
