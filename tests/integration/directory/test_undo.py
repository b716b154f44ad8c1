"""Undo of a source's latest applied run: the exact inverse, shown first, without those whom somebody changed since."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlmodel import select

from services.directory.operations import memberships
from services.directory.operations.group_changes import delete_group
from services.directory.operations.groups import create_group
from services.directory.operations.housekeeping import Housekeeper
from services.directory.operations.leaving import leave
from services.directory.operations.licenses import update_license
from services.directory.operations.passwords import set_password
from services.directory.operations.returning import restore_user
from services.directory.operations.sources import set_state
from services.directory.operations.user_updates import update_user
from services.directory.operations.users import NewUser, create_user
from services.directory.rules.errors import LicenseLimitReached, RunState, UndoExpired, UndoLaterFirst
from services.directory.rules.leaving import WayOut
from services.directory.rules.passwords import NewPassword
from services.directory.store.events import MEMORY
from services.directory.store.people_tables import Credential
from services.directory.store.seal import Seal
from services.directory.store.tables import Event, RunStatus, Source, SourceState, Tenant, User
from tests.integration.directory.nights import SOMEBODY
from tests.integration.directory.undoing import (
    changes,
    left_out,
    plan_undo,
    require_as_before,
    require_no_problems,
    snapshot,
    undo,
)

pytestmark = pytest.mark.mostly("postgresql")


def by_hand(night, work, *args, pick=lambda answer: None, **more):
    """Do an operation; answers what `pick` finds in its answer."""
    with night.store.write(night.tenant_id) as session:
        return pick(work(session, night.tenant_id, *args, **more, actor=SOMEBODY, now=night.imports.clock()))


def a_group(night, name, external_id=""):
    return by_hand(night, create_group, night.account_id, name, external_id, pick=lambda view: view.group.id)


def a_manual_user(night, name, *groups):
    new = NewUser(night.account_id, name, f"{name}@example.org", group_ids=groups)
    return by_hand(night, create_user, new, pick=lambda view: view.user.id)


def put_into(night, group_id, *user_ids):
    by_hand(night, memberships.modify_memberships, group_id, user_ids, [])


def user_of(night, email):
    with night.store.read(night.tenant_id) as session:
        return session.exec(select(User).where(User.tenant_id == night.tenant_id, User.email == email)).one().id


def rename(night, user_id, name):
    by_hand(night, update_user, user_id, {"display_name": name}, etag="")


def source_of(night):
    with night.store.read(night.tenant_id) as session:
        return session.get(Source, (night.tenant_id, night.source_id))


def enable(night):
    by_hand(night, set_state, night.source_id, SourceState.ENABLED)


def settings(night, **values):
    with night.store.write(night.tenant_id) as session:
        source = session.get(Source, (night.tenant_id, night.source_id))
        for name, value in values.items():
            setattr(source, name, value)


def approve(night, run):
    return night.apply(run)


@pytest.fixture
def town(night, clock):
    """A register with a bit of everything, and the night that changes all of it."""
    settings(night, create_unknown_groups=True, automatic_invitations=True)
    with night.store.write(night.tenant_id) as session:
        session.get_one(Tenant, night.tenant_id).accept_url = "https://example.org/accept"
    crew = a_group(night, "Crew", "CREW")
    choir = a_group(night, "Choir")
    max_id = a_manual_user(night, "max", choir)
    by_hand(night, set_password, max_id, NewPassword("long enough", "old-hash"))
    night.apply(night.plan("anna+CREW", "bo/Bo Ek+CREW", "cia", "dan+CREW", "eva", "fia"))
    enable(night)
    put_into(night, choir, user_of(night, "bo@example.org"), user_of(night, "dan@example.org"))
    clock.tick(timedelta(days=1))
    approve(night, night.plan("anna+CREW", "bo/Bo Ek+CREW", "cia", "dan+CREW", "fia"))  # eva leaves
    night.crew, night.choir, night.max_id = crew, choir, max_id
    clock.tick(timedelta(days=1))
    return night


NEXT = ("anna@bo+", "bo@anna/Bo Ek+CREW", "cia/Cia Alm+CREW,NEW", "eva+CREW", "max+CREW", "gun+NEW", "hal")
"""Mails swapped, a group left, a name changed and groups joined, back, taken over, created; dan and fia deleted."""


def test_what_is_undone_is_as_it_was(town):
    before = snapshot(town)
    run = approve(town, town.plan(*NEXT))
    assert run.status == RunStatus.APPLIED, run.message
    assert (run.counts["created"], run.counts["deleted"], run.counts["restored"]) == (2, 2, 1)
    by_hand(town, set_password, town.max_id, NewPassword("another one", "new-hash"))
    done = undo(town, run)
    assert done.status == RunStatus.APPLIED, (done.reason, done.message)
    assert left_out(town, done) == []
    require_as_before(before, snapshot(town))
    require_no_problems(town)


def test_an_undo_is_shown_before_it_is_done_and_is_a_run_of_its_own(town):
    run = approve(town, town.plan(*NEXT))
    after = snapshot(town)
    planned = plan_undo(town, run)
    assert planned.status == RunStatus.PLANNED
    assert snapshot(town) == after
    shown = [
        (2, "EMPLOYEE-anna"),
        (2, "EMPLOYEE-bo"),
        (2, "EMPLOYEE-cia"),
        (2, "EMPLOYEE-max"),
        (4, "EMPLOYEE-eva"),
        (4, "EMPLOYEE-gun"),
        (4, "EMPLOYEE-hal"),
        (5, "EMPLOYEE-dan"),
        (5, "EMPLOYEE-fia"),
    ]
    assert changes(town, planned) == shown
    assert plan_undo(town, run).id == planned.id
    done = approve(town, planned)
    assert changes(town, done) == shown
    assert (done.counts["deleted"], done.counts["restored"], done.counts["updated"]) == (3, 2, 6)
    undone = town.read(run)
    assert (undone.status, undone.undone_by_run_id) == (RunStatus.UNDONE, done.id)
    assert len(changes(town, undone)) == len(shown)
    with pytest.raises(RunState):
        plan_undo(town, undone)


def test_after_an_undo_the_source_waits_for_its_go_ahead(town, clock):
    first = source_of(town).last_applied_run_id
    run = approve(town, town.plan(*NEXT))
    undo(town, run)
    source = source_of(town)
    assert (source.state, source.last_applied_run_id) == (SourceState.TRIAL, first)
    assert town.plan(*NEXT).plan_only
    assert not town.settled_hashes(town.open())
    enable(town)
    clock.tick(timedelta(hours=1))
    before = snapshot(town)
    gun = user_of(town, "gun@example.org")
    again = approve(town, town.plan(*NEXT))
    assert (again.counts["created"], again.counts["restored"]) == (0, 3)  # R34
    assert user_of(town, "gun@example.org") == gun
    undo(town, again)
    require_as_before(before, snapshot(town))


def test_whoever_was_changed_since_is_left_out_and_named(town):
    before = snapshot(town)
    run = approve(town, town.plan(*NEXT))
    cia, dan, gun = (user_of(town, f"{name}@example.org") for name in ("cia", "dan", "gun"))
    rename(town, cia, "Cia Berg")
    put_into(town, town.choir, gun)
    by_hand(town, restore_user, dan)
    since = snapshot(town)
    done = undo(town, run)
    named = left_out(town, done)
    assert ("EMPLOYEE-cia", "") in named
    assert ("EMPLOYEE-gun", "") in named
    assert since.users[cia] == snapshot(town).users[cia]
    assert since.users[gun] == snapshot(town).users[gun]
    rest = snapshot(town).without({cia, gun, *(snapshot(town).users.keys() - before.users.keys())})
    assert rest.users == before.without({cia}).users
    require_no_problems(town)


def test_whose_mail_somebody_else_has_by_now_is_left_out_with_all_who_wait_for_it(town):
    run = approve(town, town.plan("anna@zoe+CREW", "bo@anna/Bo Ek+CREW", "cia@bo", "dan+CREW", "fia@fay"))
    newcomer = a_manual_user(town, "cia")
    done = undo(town, run)
    assert left_out(town, done) == [(f"EMPLOYEE-{name}", "Mail") for name in ("anna", "bo", "cia")]
    assert snapshot(town).users[newcomer]["email"] == "cia@example.org"


def test_a_group_that_is_gone_takes_nobody_back(town):
    run = approve(town, town.plan("anna+CREW", "bo/Bo Ek+CREW", "cia"))
    by_hand(town, delete_group, town.choir, etag="")
    done = undo(town, run)
    assert left_out(town, done) == [("EMPLOYEE-dan", "Groups")]
    require_no_problems(town)


def test_an_undo_without_the_seats_for_it_is_refused_whole(town):
    run = approve(town, town.plan("anna+CREW", "bo/Bo Ek+CREW", "cia"))
    planned = plan_undo(town, run)
    used = snapshot(town).seats_used
    by_hand(town, update_license, used + 1, "")
    before = snapshot(town)
    with pytest.raises(LicenseLimitReached, match="2 seats are needed"):
        plan_undo(town, run)
    refused = approve(town, planned)
    assert (refused.status, refused.reason) == (RunStatus.REFUSED, "seats_missing")
    assert snapshot(town) == before
    by_hand(town, update_license, used + 2, "")
    assert undo(town, run).status == RunStatus.APPLIED


def test_runs_are_undone_one_after_the_other_the_latest_first(town, clock):
    before = snapshot(town)
    first = approve(town, town.plan(*NEXT))
    clock.tick(timedelta(days=1))
    between = snapshot(town)
    second = approve(town, town.plan("anna@bo+CREW", "bo@anna/Bo Ek", "eva", "gun"))
    with pytest.raises(UndoLaterFirst):
        plan_undo(town, first)
    undo(town, second)
    require_as_before(between, snapshot(town))
    undo(town, first)
    require_as_before(before, snapshot(town))
    require_no_problems(town)


def test_after_thirty_days_a_run_is_undone_no_more(town, clock):
    run = approve(town, town.plan(*NEXT))
    planned = plan_undo(town, run)
    clock.tick(timedelta(days=30))
    with pytest.raises(UndoExpired, match="30 days"):
        plan_undo(town, run)
    with pytest.raises(UndoExpired):
        approve(town, planned)


def test_what_was_not_shown_is_shown_before_it_is_done(town):
    run = approve(town, town.plan(*NEXT))
    blocker = a_manual_user(town, "fia")
    planned = plan_undo(town, run)
    assert (5, "EMPLOYEE-fia") not in changes(town, planned)
    by_hand(town, leave, [blocker], WayOut.BY_HAND)
    held = approve(town, planned)
    assert (held.status, held.reason) == (RunStatus.HELD, "plan_changed")
    assert (5, "EMPLOYEE-fia") in changes(town, held)
    assert approve(town, held).status == RunStatus.APPLIED


def test_who_was_missing_in_the_file_is_missing_as_often_as_before(town):
    settings(town, grace_nights=3)
    approve(town, town.plan("bo/Bo Ek+CREW", "cia", "dan+CREW", "fia"))
    before = snapshot(town)
    run = approve(town, town.plan("anna+CREW", "bo/Bo Ek+CREW", "dan+CREW", "fia"))
    assert snapshot(town).claims != before.claims
    undo(town, run)
    require_as_before(before, snapshot(town))


def test_the_password_that_a_takeover_ends_stands_in_no_event(town):
    run = approve(town, town.plan(*NEXT))
    with town.store.read(town.tenant_id) as session:
        told = [event for event in session.exec(select(Event)).all() if event.run_id == run.id]
    assert any(MEMORY in (event.before or {}) for event in told)
    assert "hash" not in repr([(event.before, event.after) for event in told])


def test_the_password_of_before_a_takeover_is_forgotten_when_nothing_can_be_undone(town, clock):
    run = approve(town, town.plan(*NEXT))
    housekeeper = Housekeeper(town.imports, Seal(b"s" * 32), timedelta(days=730))

    def is_kept():
        with town.store.read(town.tenant_id) as session:
            return bool(session.get_one(Credential, (town.tenant_id, town.max_id)).former_hash)

    clock.tick(timedelta(days=29))
    housekeeper.purge()
    assert is_kept()
    clock.tick(timedelta(days=1))
    housekeeper.purge()
    assert not is_kept()
    assert town.read(run).status == RunStatus.APPLIED
