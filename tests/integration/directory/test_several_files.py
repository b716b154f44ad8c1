"""One person in two files of a tenant, and under a new UniqueID: night after night, and undone (R28, R41)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from services.directory.operations import import_inputs, import_reads
from services.directory.roster import settled_rows
from services.directory.store import ids
from services.directory.store.tables import RunStatus, Source, SourceState, User
from tests.integration.directory.nights import hash_of
from tests.integration.directory.undoing import require_as_before, require_no_problems, snapshot, undo

pytestmark = pytest.mark.mostly("postgresql")


@pytest.fixture
def files(night, clock):
    """A night's source, which is first in position, and another file of the tenant behind it."""
    with night.store.write(night.tenant_id) as session:
        school_id = ids.next_id(session, "source")
        session.add(
            Source(
                tenant_id=night.tenant_id,
                id=school_id,
                display_name="school",
                state=SourceState.ENABLED,
                account_id=night.account_id,
                position=2,
                create_time=clock(),
            )
        )
    return Files(night, clock, school_id)


class Files:
    """Nights of two files."""

    def __init__(self, night, clock, school_id):
        self.night, self.clock = night, clock
        self.source_ids = {"office": night.source_id, "school": school_id}

    def plan(self, name, *people, **rows):
        self.clock.tick(timedelta(hours=1))
        self.night.source_id = self.source_ids[name]
        return self.night.plan(*people, **rows)

    def apply(self, name, *people, **rows):
        run = self.night.apply(self.plan(name, *people, **rows))
        assert run.status == RunStatus.APPLIED, (run.reason, run.message)
        return run

    def settled(self, name):
        """The rows that a file need not send tonight."""
        with self.night.store.read(self.night.tenant_id) as session:
            source = session.get_one(Source, (self.night.tenant_id, self.source_ids[name]))
            last = import_inputs.last_apply_of(session, source)
            pages = settled_rows.settled_hashes(session.connection(), source.tenant_id, source.id, last)
            joined = b"".join(pages)
        return {joined[place : place + 16] for place in range(0, len(joined), 16)}

    def user(self, email):
        with self.night.store.read(self.night.tenant_id) as session:
            query = select(User).where(User.tenant_id == self.night.tenant_id, User.email == email, User.state == 1)
            return session.exec(query).one()

    def warnings(self, run):
        with self.night.store.read(self.night.tenant_id) as session:
            found = import_reads.list_issues(
                session, self.night.tenant_id, run.id, severity=2, after_number=0, limit=100
            )
            return [issue.code for issue in found]


def test_a_change_by_the_first_file_is_told_by_the_second_though_its_row_was_settled(files):
    files.apply("office", "anna", "bo")
    files.apply("school", "anna", "bo")
    files.apply("office", "anna/Anna Berg", "bo")
    assert files.settled("school") == {hash_of("bo")}
    run = files.apply("school", "anna", "bo")
    assert files.warnings(run) == ["claim_differs:Name"]
    assert (run.counts["unchanged"], files.user("anna@example.org").display_name) == (2, "Anna Berg")


def test_who_leaves_the_first_file_is_what_the_second_one_says(files):
    files.apply("office", "anna/Anna Berg", "bo")
    files.apply("school", "anna", "cia")
    assert files.apply("office", "bo").counts["claims_dropped"] == 1
    assert files.user("anna@example.org").owner_source_id == files.source_ids["school"]
    assert files.settled("school") == {hash_of("cia")}
    run = files.apply("school", "anna", "cia")
    assert (run.counts["updated"], files.user("anna@example.org").display_name) == (1, "anna")
    assert files.apply("school", "cia").counts["deleted"] == 1
    back = files.apply("office", "bo", "anna")
    assert (back.counts["restored"], back.counts["created"]) == (1, 0)
    require_no_problems(files.night)


@pytest.mark.parametrize(
    ("name", "people", "count"),
    [
        ("office", ["annabel@anna/anna", "bo", "dan"], "rekeyed"),
        ("school", ["anna+", "bo/Bo Ek", "cia"], "updated"),
        ("office", ["bo", "dan"], "claims_dropped"),
    ],
    ids=["a new id", "a second claim", "a claim that ends"],
)
def test_what_becomes_of_claims_is_undone(files, name, people, count):
    files.apply("office", "anna/anna+", "bo", "dan")
    files.apply("school", "anna", "cia")
    before = snapshot(files.night)
    run = files.apply(name, *people)
    assert run.counts[count] > 0
    require_no_problems(files.night)
    done = undo(files.night, run)
    assert done.status == RunStatus.APPLIED, (done.reason, done.message)
    require_as_before(before, snapshot(files.night))
    require_no_problems(files.night)
