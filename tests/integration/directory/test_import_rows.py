"""A planned file is shown row by row: what each row means, whether it is fine, and what is wrong with it."""

from __future__ import annotations

import pytest
from muster.directory.v1 import imports_pb2 as pb

from services.directory.rules import names
from services.directory.store.tables import RunStatus
from tests.integration.directory.nights import SEATS, Night
from tests.integration.directory.serving import refused

pytestmark = pytest.mark.mostly("postgresql")

GREEN, YELLOW, RED = (pb.RowVerdict.Value(f"ROW_VERDICT_{word}") for word in ("GREEN", "YELLOW", "RED"))


@pytest.fixture
def night(store, directory):
    """A tenant's nights on the served directory's stages."""
    return Night(store, directory.stages, directory.clock)


@pytest.fixture
def shown(night, support):
    """Reads rows as the panel does: (line, verdict, outcome)."""

    def show(run, verdict=0, page_size=100):
        request = pb.ListImportRowsRequest(
            import_run=names.IMPORT_RUN.format(night.tenant_id, run.id), verdict=verdict, page_size=page_size
        )
        rows = []
        while True:
            page = support.imports.ListImportRows(request)
            rows += page.rows
            if not request.page_token:
                show.totals = (page.totals.green, page.totals.yellow, page.totals.red)
            if not page.next_page_token:
                return rows
            assert len(page.rows) == page_size
            request.page_token = page.next_page_token

    return show


def words(rows):
    return [
        (
            row.line,
            pb.RowVerdict.Name(row.verdict).rpartition("_")[2].lower(),
            pb.RowOutcome.Name(row.outcome).rpartition("_")[2].lower(),
        )
        for row in rows
    ]


EVERYBODY = ["anna", "bo/Bo Ek", "cia", "dan", "eva", "cia@fia", "gun@hal", "hal"]


@pytest.fixture
def planned(night):
    """Two are in the register; of the file one is the same, one changes, others are new, warned or rejected."""
    night.apply(night.plan("anna", "bo"))
    return night.plan(*EVERYBODY, warned=["dan"], rejected=["eva"], dry_run=True)


def test_each_row_says_what_it_means_and_whether_it_is_fine(planned, shown):
    assert words(shown(planned)) == [
        (2, "green", "unchanged"),
        (3, "green", "updated"),
        (4, "red", "rejected"),  # cia: the id of two rows that differ
        (5, "yellow", "created"),
        (6, "red", "rejected"),
        (7, "red", "rejected"),
        (8, "red", "rejected"),  # the mail of two rows
        (9, "red", "rejected"),
    ]
    assert shown.totals == (2, 1, 5)


def test_a_row_has_its_key_its_issues_and_what_it_changes(planned, shown):
    rows = {row.line: row for row in shown(planned)}
    assert (rows[3].key, [(field.field, field.after) for field in rows[3].change.fields]) == (
        "EMPLOYEE-bo",
        [("display_name", "Bo Ek")],
    )
    assert not rows[2].HasField("change")
    assert [(issue.code, issue.severity) for issue in rows[5].issues] == [("phone_national", 2)]
    assert rows[5].change.action == pb.CHANGE_ACTION_CREATE
    assert [(issue.code, issue.column, issue.masked_value) for issue in rows[8].issues] == [
        ("duplicate_mail", "Mail", "h***@e***.org")
    ]


def test_rows_come_page_by_page_and_by_verdict(planned, shown):
    lines = {0: [*range(2, 10)], GREEN: [2, 3], YELLOW: [5], RED: [4, 6, 7, 8, 9]}
    for page_size in (1, 2):
        for verdict, expected in lines.items():
            assert [row.line for row in shown(planned, verdict, page_size)] == expected


def test_rows_and_counts_agree(planned, shown):
    outcomes = [outcome for _, _, outcome in words(shown(planned))]
    counted = {word: planned.plan[word] for word in ("created", "updated", "unchanged", "skipped", "rejected")}
    assert counted == {word: outcomes.count(word) for word in counted}


def test_rows_that_travelled_as_hashes_are_shown_with_their_keys(night, shown):
    night.apply(night.plan("anna", "bo"))
    run = night.plan("anna", "bo", "cia", settled=["anna", "bo"], dry_run=True)
    rows = shown(run, page_size=2)
    assert [(row.line, row.key) for row in rows] == [(2, "EMPLOYEE-anna"), (3, "EMPLOYEE-bo"), (4, "EMPLOYEE-cia")]
    assert words(rows)[0] == (2, "green", "unchanged")
    assert shown.totals == (3, 0, 0)


def test_whoever_gets_no_seat_is_deferred(night, shown):
    people = [f"person{number}" for number in range(SEATS + 1)]
    run = night.plan(*people, dry_run=True)
    assert words(shown(run, YELLOW)) == [(SEATS + 2, "yellow", "deferred")]


def test_a_held_file_s_rows_can_be_looked_at(night, shown):
    night.apply(night.plan(*"abcdefgh"))
    held = night.plan("a", "i")
    assert held.status == RunStatus.HELD
    assert [outcome for _, _, outcome in words(shown(held))] == ["unchanged", "created"]


def test_rows_of_an_applied_run_are_gone(night, shown):
    run = night.apply(night.plan("anna"))
    with refused("RUN_STATE"):
        shown(run)


def test_rows_of_a_plan_that_a_newer_one_replaced_are_gone(night, shown):
    run = night.plan("anna", dry_run=True)
    night.imports.space(run.id).drop()
    with refused("RUN_STATE"):
        shown(run)
