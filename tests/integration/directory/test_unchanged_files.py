"""R5: the last applied file again ends its run at the beginning, unless the normal path had something to do or say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from services.directory.operations.groups import create_group
from services.directory.operations.licenses import update_license
from services.directory.operations.sources import update_source
from services.directory.operations.unchanged_files import STALE_AFTER
from services.directory.operations.user_updates import delete_user, update_user
from services.directory.operations.users import NewUser, create_user
from services.directory.store.tables import (
    Claim,
    Event,
    ImportIssue,
    ImportRun,
    License,
    RunStatus,
    Source,
    User,
    UserState,
)
from tests.integration.directory.nights import SOMEBODY

pytestmark = pytest.mark.mostly("postgresql")


def user_id(night, name):
    with night.store.read(night.tenant_id) as session:
        found = select(Claim.user_id).where(Claim.tenant_id == night.tenant_id, Claim.external_id == f"EMPLOYEE-{name}")
        return session.exec(found).one()


def test_r5_the_last_applied_file_again_ends_unchanged_and_stages_nothing(night):
    night.apply(night.plan("anna", "bo"))
    run = night.find_unchanged("anna", "bo")
    assert (run.status, run.reason, run.plan) == (RunStatus.UNCHANGED, "", None)
    assert {key: count for key, count in run.counts.items() if count} == {"rows": 2, "unchanged": 2}
    assert (run.file["file_name"], run.seats_used, night.staged(run)) == ("users.csv", 2, False)
    with night.store.read(night.tenant_id) as session:
        told = session.exec(select(Event.kind).where(Event.run_id == run.id).order_by(Event.position)).all()
    assert told == ["run.created", "run.unchanged"]
    assert night.find_unchanged("anna", "bo").status == RunStatus.UNCHANGED, "and once more"


def test_r5_another_file_and_another_way_to_read_it_take_the_normal_path(night):
    night.apply(night.plan("anna", "bo"))
    assert night.find_unchanged("anna") is None
    assert night.find_unchanged("anna", "bo", reading="02") is None
    night.apply(night.plan("anna", "bo", "cecilia"))
    assert night.find_unchanged("anna", "bo") is None, "it is not the last applied file any more"


def happens(night, what):
    """Something that somebody does between two nights."""
    with night.store.write(night.tenant_id) as session:
        common = {"actor": SOMEBODY, "now": night.imports.clock()}
        if what == "a seat is bought":
            update_license(session, night.tenant_id, 101, "", **common)
        elif what == "somebody is added by hand":
            new = NewUser(account_id=night.account_id, display_name="Hand", email="hand@example.org")
            create_user(session, night.tenant_id, new, **common)
        elif what == "somebody is changed by hand":
            update_user(session, night.tenant_id, user_id(night, "bo"), {"title": "Boss"}, etag="", **common)
        elif what == "somebody is deleted by hand":
            delete_user(session, night.tenant_id, user_id(night, "bo"), etag="", **common)
        elif what == "a Group ID is set":
            create_group(session, night.tenant_id, night.account_id, "Crew", "CREW", **common)
        elif what == "a setting is changed":
            settings = {"grace_nights": 1}
            update_source(session, night.tenant_id, night.source_id, settings, None, etag="", seal=None, **common)
        elif what == "the run is undone":
            source = session.get(Source, (night.tenant_id, night.source_id))
            session.get(ImportRun, (night.tenant_id, source.last_applied_run_id)).status = RunStatus.UNDONE


@pytest.mark.parametrize("what", ["a seat is bought", "somebody is added by hand"])
def test_r5_what_is_none_of_the_files_business_leaves_it_unchanged(night, what):
    night.apply(night.plan("anna", "bo"))
    happens(night, what)
    assert night.find_unchanged("anna", "bo").status == RunStatus.UNCHANGED


@pytest.mark.parametrize(
    "what",
    [
        "somebody is changed by hand",
        "somebody is deleted by hand",
        "a Group ID is set",
        "a setting is changed",
        "the run is undone",
    ],
)
def test_r5_drift_and_new_settings_take_the_normal_path(night, what):
    night.apply(night.plan("anna", "bo"))
    happens(night, what)
    assert night.find_unchanged("anna", "bo") is None


def test_r5_who_was_deleted_by_hand_is_back_the_next_night_though_the_file_did_not_change(night):
    night.apply(night.plan("anna", "bo"))
    gone = user_id(night, "bo")
    happens(night, "somebody is deleted by hand")
    assert night.find_unchanged("anna", "bo") is None
    night.apply(night.plan("anna", "bo"))
    with night.store.read(night.tenant_id) as session:
        assert session.get(User, (night.tenant_id, gone)).state == UserState.ACTIVE


@pytest.mark.parametrize("said", ["warned", "rejected"])
def test_r5_a_file_with_something_to_say_about_is_read_every_night(night, said):
    night.apply(night.plan("anna", "bo", **{said: ["bo"]}))
    assert night.find_unchanged("anna", "bo") is None


def test_r5_what_a_files_columns_are_called_is_said_again_without_reading_it(night):
    said = ["unknown_column:Office", "header_alias"]
    night.apply(night.plan("anna", "bo", noticed=said))
    run = night.find_unchanged("anna", "bo")
    assert run.status == RunStatus.UNCHANGED
    with night.store.read(night.tenant_id) as session:
        issues = session.exec(
            select(ImportIssue).where(ImportIssue.run_id == run.id).order_by(ImportIssue.number)
        ).all()
    assert sorted(issue.code for issue in issues) == sorted(said)
    assert night.find_unchanged("anna", "bo").status == RunStatus.UNCHANGED, "and once more"


def test_r5_deferred_people_are_tried_every_night(night):
    with night.store.write(night.tenant_id) as session:
        session.get(License, night.tenant_id).seats_total = 1
    assert night.apply(night.plan("anna", "bo")).counts["deferred"] == 1
    assert night.find_unchanged("anna", "bo") is None


def test_r8_deletions_left_out_are_held_again_by_the_same_file(night):
    night.apply(night.plan(*"abcdefgh"))
    night.apply(night.plan("a"), leave_deletions_out=True)
    assert night.find_unchanged("a") is None
    again = night.plan("a")
    assert (again.status, again.reason, again.plan["deleted"]) == (RunStatus.HELD, "delete_limit", 7)


def test_r6_an_export_that_has_grown_stale_is_read_so_that_it_is_warned_about(night, clock):
    run_id = night.open()
    night.apply(night.plan_again(run_id, "anna", newest_timestamp=clock()))
    clock.tick(STALE_AFTER)
    assert night.find_unchanged("anna").newest_timestamp is not None
    clock.tick(timedelta(seconds=1))
    assert night.find_unchanged("anna") is None


def test_r8_the_last_applied_file_again_expires_a_plan_that_was_held_meanwhile(night):
    night.apply(night.plan(*"abcdefgh"))
    held = night.plan("a")
    assert night.find_unchanged(*"abcdefgh").status == RunStatus.UNCHANGED
    assert night.read(held).status == RunStatus.EXPIRED


def test_r44_while_another_run_is_active_nothing_is_recorded(night):
    night.apply(night.plan("anna"))
    night.open()
    assert night.find_unchanged("anna") is None
