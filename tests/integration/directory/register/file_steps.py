"""Steps of the file: nights in which a few of its rows have changed."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule
from muster.directory.v1 import imports_pb2

from tests.builders import a_file, a_rejected_row, a_skipped_row, a_staged_row
from tests.integration.directory.register.steps import MAILS, NAMES, TITLES, Steps
from tests.integration.directory.register.world import PAYROLL
from tests.reference.by_file import apply_night, plan_night
from tests.reference.values import Deletions, Plan

KEYS = st.sampled_from([f"EMPLOYEE-{number}" for number in range(5)])
CELLS = st.none() | st.lists(st.sampled_from(["g1", "g2", "g3", "g9"]), max_size=2, unique=True).map(tuple)
ACCEPTED = st.builds(a_staged_row, KEYS, email=MAILS, display_name=NAMES, title=TITLES | st.none(), groups=CELLS)
OTHERS = st.one_of(st.none(), st.builds(a_skipped_row, KEYS, email=MAILS), st.builds(a_rejected_row, KEYS, email=MAILS))
NEWS = st.lists(st.tuples(KEYS, ACCEPTED | ACCEPTED | OTHERS), max_size=3)
DECISIONS = st.sampled_from(["apply", "apply", "leave out", "discard"])
STATUS = imports_pb2.ImportRunStatus


class FileSteps(Steps):
    """What the nights do."""

    @rule(news=NEWS, decision=DECISIONS, spares_settled=st.booleans())
    def night(self, news, decision, spares_settled):
        type(self).done += 1
        for key, row in news:
            self.file.pop(key, None)
            if row is not None:
                self.file[row.external_id] = row
        rows = a_file(*self.file.values())
        run = self.world.files.plan(rows, spares_settled=spares_settled)
        plan = plan_night(self.tenant, PAYROLL, rows, self.world.now)
        word = STATUS.Name(run.status).removeprefix("IMPORT_RUN_STATUS_").lower()
        assert (word, run.reason) == (plan.status, plan.reason)
        assert counts_of(run.plan) == vars(plan.counts)
        if plan.status == "held" and decision == "discard":
            self.world.files.discard(run)
        elif plan.status != "refused":
            leave_out = plan.status == "held" and decision == "leave out"
            if leave_out:
                plan = plan_night(self.tenant, PAYROLL, rows, self.world.now, deletions=Deletions.LEAVE_OUT)
            self.live_through(run, plan, leave_out=leave_out)
        self.compare()

    def live_through(self, run: imports_pb2.ImportRun, plan: Plan, *, leave_out: bool) -> None:
        """Apply to both."""
        run = self.world.files.apply(run, leave_out=leave_out)
        assert run.status == STATUS.IMPORT_RUN_STATUS_APPLIED, run
        assert counts_of(run.counts) == vars(plan.counts)
        self.tenant = self.tenant.copy()
        apply_night(self.tenant, plan, self.world.now)
        self.world.find_newcomers(self.tenant)


def counts_of(counts: imports_pb2.ImportCounts) -> dict[str, int]:
    """The figures that the model has, too."""
    fields = ("rows", "created", "updated", "taken_over", "restored", "unchanged", "skipped", "rejected", "merged")
    return {name: getattr(counts, name) for name in (*fields, "rekeyed", "deferred", "deleted", "claims_dropped")}
