"""What a plan says of rows: each issue has its line, its column, and a value of that column that names nobody."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import literal_column, select

from services.directory.operations import import_reads
from services.directory.roster.plan_findings import masked
from services.directory.store.tables import RunStatus
from services.importer import issues
from tests.integration.directory.test_undo import a_group, a_manual_user, settings


def issues_of(night, run):
    with night.store.read(night.tenant_id) as session:
        found = import_reads.list_issues(session, night.tenant_id, run.id, severity=0, after_number=0, limit=100)
    return [(issue.line, issue.code, issue.column_name, issue.masked_value) for issue in found]


def test_what_a_plan_finds_is_told_with_line_column_and_a_masked_value(night, clock):
    a_group(night, "Akron", "AKRON")
    a_manual_user(night, "max")
    night.apply(night.plan("anna", "bo", "cia", "dan"))
    clock.tick(timedelta(days=1))
    settings(night, account_id=0)

    people = "anna", "anna/Berg", "bo@cia", "cia", "eva@dan", "max", "max+AKRON", "fia+ACRON,AKRON"
    plan = night.plan(*people, dry_run=True)

    assert issues_of(night, plan) == [
        (2, "duplicate_id", "UniqueID", "E***"),
        (3, "duplicate_id", "UniqueID", "E***"),
        (4, "duplicate_mail", "Mail", "c***@e***.org"),
        (6, "mail_reused", "Mail", "d***@e***.org"),
        (6, "no_account", "Groups", ""),
        (7, "taken_over", "Mail", "m***@e***.org"),
        (8, "duplicate_merged", "Groups", "A***"),
        (9, "unknown_group:ACRON", "Groups", "A***"),
    ]


def test_r8_a_plan_that_empties_a_group_names_it(night, clock):
    a_group(night, "Crew", "CREW")
    names = [f"p{number}" for number in range(12)]
    night.apply(night.plan(*(f"{name}+CREW" for name in names)))
    clock.tick(timedelta(days=1))

    held = night.plan(*(f"{name}+" for name in names[:11]), f"{names[11]}+CREW")

    assert (held.status, held.reason) == (RunStatus.HELD, "membership_limit")
    assert '11 of 12 people would leave the group "Crew".' in held.message


def test_the_plan_masks_a_value_as_the_importer_does(store):
    values = "", "E", "EMPLOYEE-7", "a@b.se", "anna.berg@mail.example.org", "a.b@xn--fn-bka.example", "Åsa", "50%_@x.se"
    query = select(*(literal_column(masked(f"'{value}'")) for value in values))
    with store.engine.connect() as connection:
        found = list(connection.execute(query).one())

    assert found == [issues.masked(value) for value in values]
