"""Rows that are as they were when they last took full effect need not be sent, for as long as nothing else happened."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from services.directory.operations.accounts import create_account
from services.directory.operations.event_archive import archive_events
from services.directory.operations.groups import create_group
from services.directory.operations.memberships import modify_memberships
from services.directory.operations.sources import set_state
from services.directory.store.tables import Claim, Event, ImportIssue, RunStatus, SourceState
from tests.integration.directory.nights import SOMEBODY, hash_of
from tests.stack.waiting import wait_until


def hashes_of(*people):
    return {hash_of(person) for person in people}


def settled(night):
    """What tonight's run would not have to send; the run is thrown away."""
    run_id = night.open(dry_run=True)
    found = night.settled_hashes(run_id)
    night.plan_again(run_id, "nobody")
    return found


def user_id(night, name):
    with night.store.read(night.tenant_id) as session:
        claim = session.exec(
            select(Claim).where(Claim.tenant_id == night.tenant_id, Claim.external_id == f"EMPLOYEE-{name}")
        ).one()
        return claim.user_id


def touch(night, name):
    """Put a person into a group by hand."""
    with night.store.write(night.tenant_id) as session:
        group = create_group(
            session, night.tenant_id, night.account_id, name, "", actor=SOMEBODY, now=night.imports.clock()
        )
        group_id = group.group.id
    night.apply(night.plan("anna", "bo", "cia"))  # a new group unsettles all rows, so a night passes
    with night.store.write(night.tenant_id) as session:
        modify_memberships(
            session, night.tenant_id, group_id, [user_id(night, name)], [], actor=SOMEBODY, now=night.imports.clock()
        )


def archive_everything(night):
    """Put all events away, as the years do."""

    def is_done():
        with night.store.write(None) as session:
            archive_events(session, before=night.imports.clock() + timedelta(days=1), limit=1000)
        with night.store.read(night.tenant_id) as session:
            return session.exec(select(Event.position).where(Event.tenant_id == night.tenant_id)).first() is None

    wait_until(is_done, every_s=0.01)  # another database of the cluster may hold them back for a moment


def test_rows_are_settled_once_they_took_full_effect(night):
    assert settled(night) == set()
    night.apply(night.plan("anna", "bo", "cia", warned=["bo"], rejected=["cia"]))
    assert settled(night) == hashes_of("anna")


def test_a_dry_run_settles_nothing(night):
    night.plan("anna", dry_run=True)
    assert settled(night) == set()


def test_settled_rows_are_unchanged_and_their_people_stay(night):
    night.apply(night.plan("anna", "bo", "cia", "dag"))
    run = night.plan("anna", "bo", "cia/Cia Ek", settled=["anna", "bo"])
    assert (run.status, {name: run.plan[name] for name in ("rows", "unchanged", "updated", "deleted", "created")}) == (
        RunStatus.PLANNED,
        {"rows": 3, "unchanged": 2, "updated": 1, "deleted": 1, "created": 0},
    )
    assert night.apply(run).status == RunStatus.APPLIED
    assert settled(night) == hashes_of("anna", "bo", "cia/Cia Ek")


def test_who_is_touched_by_hand_is_compared_again(night):
    night.apply(night.plan("anna", "bo", "cia"))
    touch(night, "bo")
    assert settled(night) == hashes_of("anna", "cia")
    night.apply(night.plan("anna", "bo", "cia", settled=["anna", "cia"]))
    assert settled(night) == hashes_of("anna", "bo", "cia")


@pytest.mark.parametrize("what", ["group", "account", "source"])
def test_what_decides_how_rows_are_read_unsettles_all_of_them(night, what):
    night.apply(night.plan("anna", "bo"))
    with night.store.write(night.tenant_id) as session:
        common = {"actor": SOMEBODY, "now": night.imports.clock()}
        if what == "group":
            create_group(session, night.tenant_id, night.account_id, "New", "NEW", **common)
        elif what == "account":
            create_account(session, night.tenant_id, "North", night.account_id, **common)
        else:
            for state in (SourceState.DISABLED, SourceState.ENABLED):
                set_state(session, night.tenant_id, night.source_id, state, **common)
    assert settled(night) == set()
    night.apply(night.plan("anna", "bo"))
    assert settled(night) == hashes_of("anna", "bo")


def test_a_row_that_has_not_been_seen_well_since_a_hand_touched_its_user_is_not_settled(night):
    """Otherwise the row of the night before last would come back, and what was changed by hand meanwhile would stay."""
    night.apply(night.plan("anna", "bo", "cia"))
    touch(night, "bo")
    night.apply(night.plan("anna", "bo/Bad", "cia", rejected=["bo/Bad"], settled=["anna", "cia"]))
    assert settled(night) == hashes_of("anna", "cia")


def test_a_row_is_not_settled_by_a_hash_whose_time_is_in_the_archive(night):
    """Otherwise, when bo's old name comes back, the name of the night between would stay."""
    night.apply(night.plan("anna", "bo"))
    archive_everything(night)  # what the apply itself has written is of no account
    assert settled(night) == hashes_of("anna", "bo")
    touch(night, "bo")
    archive_everything(night)
    assert settled(night) == set()
    night.apply(night.plan("anna", "bo/Bo Ek", warned=["bo/Bo Ek"]))
    assert settled(night) == hashes_of("anna")


@pytest.mark.parametrize(
    ("people", "spared"),
    [
        (("anna", "bo/Never Seen"), ["anna", "bo/Never Seen"]),
        (("anna", "anna/Another Anna", "bo"), ["anna", "bo"]),
    ],
)
def test_what_does_not_fit_wants_all_rows_and_is_then_planned(night, people, spared):
    night.apply(night.plan("anna", "bo"))
    run = night.plan(*people, settled=spared)
    assert (run.status, run.plan) == (RunStatus.STAGING, None)
    whole = night.plan_again(run.id, *people)
    assert whole.status == RunStatus.PLANNED
    assert night.apply(whole).status == RunStatus.APPLIED


def test_rows_that_a_hand_touches_before_the_plan_are_wanted(night):
    night.apply(night.plan("anna", "bo", "cia"))
    run_id = night.open()
    spared = night.settled_hashes(run_id)
    assert spared == hashes_of("anna", "bo", "cia")
    with night.store.write(night.tenant_id) as session:
        create_group(
            session, night.tenant_id, night.account_id, "New", "NEW", actor=SOMEBODY, now=night.imports.clock()
        )
    assert night.plan_again(run_id, "anna", "bo", "cia", settled=["anna", "bo", "cia"]).status == RunStatus.STAGING
    assert night.plan_again(run_id, "anna", "bo", "cia").status == RunStatus.PLANNED


def test_a_plan_overtaken_before_its_apply_wants_all_rows(night):
    night.apply(night.plan("anna", "bo"))
    run = night.plan("anna", "bo", "cia", settled=["anna", "bo"])
    night.start(run)
    with night.store.write(night.tenant_id) as session:
        create_group(
            session, night.tenant_id, night.account_id, "New", "NEW", actor=SOMEBODY, now=night.imports.clock()
        )
    again = night.apply(run)
    assert (again.status, again.counts["created"]) == (RunStatus.STAGING, 0)
    assert night.apply(night.plan_again(run.id, "anna", "bo", "cia")).counts["created"] == 1


def test_a_plan_that_is_to_be_held_has_all_its_rows(night):
    night.apply(night.plan(*"abcdefgh"))
    run = night.plan("a", settled=["a"])
    assert run.status == RunStatus.STAGING
    held = night.plan_again(run.id, "a")
    assert (held.status, held.reason) == (RunStatus.HELD, "delete_limit")
    assert night.apply(held, leave_deletions_out=True).status == RunStatus.APPLIED


def test_r19_a_new_row_with_the_mail_of_a_settled_one_is_rejected(night):
    night.apply(night.plan("anna", "bo"))
    run = night.plan("anna", "bo", "cia@anna", settled=["anna", "bo"])
    assert {name: run.plan[name] for name in ("rows", "unchanged", "rejected", "created")} == {
        "rows": 3,
        "unchanged": 2,
        "rejected": 1,
        "created": 0,
    }
    with night.store.read(night.tenant_id) as session:
        issues = session.exec(select(ImportIssue).where(ImportIssue.run_id == run.id)).all()
    assert [(issue.line, issue.code) for issue in issues] == [(4, "duplicate_mail")]
