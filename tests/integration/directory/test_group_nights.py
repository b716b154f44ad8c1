"""Nights after a group was changed by hand: the file did not change, and what was changed takes effect."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from sqlmodel import col, select

from services.directory.operations import group_changes, group_moves, import_reads, memberships
from services.directory.operations.accounts import create_account
from services.directory.operations.group_moves import MovedMembers
from services.directory.operations.groups import create_group, get_group
from services.directory.rules.errors import GroupIdTaken
from services.directory.store.tables import MANUAL, Account, Claim, Event, ImportIssue, Membership, RunStatus, Source
from tests.integration.directory.nights import SOMEBODY, hash_of
from tests.integration.directory.undoing import plan_undo

FILE = ("anna+CREW", "bo+CREW", "cia")


@dataclass(frozen=True)
class Places:
    """The main groups of the main account, to which the file is linked, and of a school below it; and the school."""

    main: int
    school: int
    school_account: int


@pytest.fixture
def places(night):
    with night.store.write(night.tenant_id) as session:
        common = {"actor": SOMEBODY, "now": night.imports.clock()}
        school = create_account(session, night.tenant_id, "School", night.account_id, **common).account
        main = session.get_one(Account, (night.tenant_id, night.account_id))
        return Places(main.main_group_id, school.main_group_id, school.id)


def by_hand(night, operation, *arguments, **named):
    """Let an administrator do something."""
    with night.store.write(night.tenant_id) as session:
        operation(session, night.tenant_id, *arguments, **named, actor=SOMEBODY, now=night.imports.clock())


def crew(night, account_id, group_id="CREW"):
    with night.store.write(night.tenant_id) as session:
        common = {"actor": SOMEBODY, "now": night.imports.clock()}
        return create_group(session, night.tenant_id, account_id, "Crew", group_id, **common).group.id


def change(night, group_id, external_id):
    by_hand(night, group_changes.update_group, group_id, {"group_external_id": external_id}, etag="")


def nightly(night, *people):
    """One more night; rows that are settled travel by their hashes, as an importer sends them."""
    run_id = night.open()
    known = night.settled_hashes(run_id)
    run = night.plan_again(run_id, *people, settled=[person for person in people if hash_of(person) in known])
    return night.apply(run)


def members(night, group_id):
    """Who is in a group, and whether a source put each there."""
    with night.store.read(night.tenant_id) as session:
        rows = session.exec(
            select(Claim.external_id, Membership.origin_source_id)
            .join(Membership, (col(Membership.tenant_id) == night.tenant_id) & (Membership.user_id == Claim.user_id))
            .where(Claim.tenant_id == night.tenant_id, Membership.group_id == group_id)
        ).all()
    return {(name.removeprefix("EMPLOYEE-"), "hand" if origin == MANUAL else "file") for name, origin in rows}


def warnings(night, run):
    with night.store.read(night.tenant_id) as session:
        issues = session.exec(
            select(ImportIssue).where(ImportIssue.tenant_id == night.tenant_id, ImportIssue.run_id == run.id)
        ).all()
    return {(issue.line, issue.code, issue.message.partition(";")[0]) for issue in issues}


def figures(run):
    return {name: run.counts[name] for name in ("unchanged", "updated") if run.counts[name]}


def kinds(night, run):
    with night.store.read(night.tenant_id) as session:
        return set(session.exec(select(Event.kind).where(Event.tenant_id == night.tenant_id, Event.run_id == run.id)))


def test_a_group_id_set_after_a_night_takes_effect_the_next_though_the_file_is_the_same(night):
    group = crew(night, night.account_id, "")
    run = night.apply(night.plan(*FILE))
    assert {code for _, code, _ in warnings(night, run)} == {"unknown_group:CREW"}
    change(night, group, "CREW")
    run = nightly(night, *FILE)
    assert members(night, group) == {("anna", "file"), ("bo", "file")}
    assert (figures(run), warnings(night, run)) == ({"updated": 2, "unchanged": 1}, set())


def test_a_group_that_the_file_made_gets_no_group_id_of_another_group(night):
    with night.store.write(night.tenant_id) as session:
        session.get_one(Source, (night.tenant_id, night.source_id)).create_unknown_groups = True
    crew(night, night.account_id, "TAKEN")
    night.apply(night.plan(*FILE))
    with night.store.read(night.tenant_id) as session:
        made = session.exec(select(Event.resource_id).where(Event.kind == "group.created")).all()[-1]
        assert get_group(session, night.tenant_id, made).group.external_id == "CREW"
    with pytest.raises(GroupIdTaken):
        change(night, made, "TAKEN")


def test_r42_without_its_group_id_a_files_group_is_manual_and_the_next_night_knows_it_no_more(night, places):
    group = crew(night, places.school_account)
    night.apply(night.plan(*FILE))
    night.apply(night.plan(*FILE))
    change(night, group, "")
    everyone = {("anna", "hand"), ("bo", "hand")}
    assert members(night, group) == everyone
    run = nightly(night, "anna+CREW", "bo+", "cia")
    assert {(line, code) for line, code, _ in warnings(night, run)} == {(2, "unknown_group:CREW")}
    assert members(night, group) == everyone
    # R39: a hand-made membership keeps its user in that account; and what follows from the file is in the linked one.
    assert members(night, places.school) == everyone
    assert ("anna", "file") in members(night, places.main)


def test_r43_after_a_move_the_file_adds_to_the_new_account_and_changes_nothing_else(night, places):
    group = crew(night, night.account_id)
    night.apply(night.plan(*FILE))
    by_hand(night, group_moves.move_group, group, places.school_account, MovedMembers.ADD, etag="")
    run = nightly(night, *FILE)
    assert (figures(run), kinds(night, run) & {"membership.added", "membership.removed"}) == ({"unchanged": 3}, set())
    run = nightly(night, "anna+CREW", "bo+", "cia+CREW")
    assert members(night, group) == {("anna", "file"), ("cia", "file")}
    assert members(night, places.school) == {("anna", "file"), ("cia", "file")}
    assert members(night, places.main) == {("anna", "hand"), ("bo", "hand"), ("bo", "file")}


def test_r43_whom_a_move_removed_the_file_adds_again_in_the_new_account(night, places):
    group = crew(night, night.account_id)
    night.apply(night.plan(*FILE))
    by_hand(night, group_moves.move_group, group, places.school_account, MovedMembers.REMOVE, etag="")
    assert members(night, group) == set()
    assert members(night, places.main) == {("anna", "hand"), ("bo", "hand"), ("cia", "file")}
    nightly(night, *FILE)
    assert members(night, group) == members(night, places.school) == {("anna", "file"), ("bo", "file")}


def test_s8_a_group_id_is_unknown_to_a_file_that_creates_groups_until_it_is_released(night, places):
    with night.store.write(night.tenant_id) as session:
        session.get_one(Source, (night.tenant_id, night.source_id)).create_unknown_groups = True
    group = crew(night, places.school_account)
    night.apply(night.plan(*FILE))
    by_hand(night, group_changes.delete_group, group, etag="")
    assert members(night, places.school) == {("anna", "hand"), ("bo", "hand")}
    run = nightly(night, *FILE)
    told = "An administrator deleted the group with this Group ID"
    assert warnings(night, run) == {(line, "unknown_group:CREW", told) for line in (2, 3)}
    assert members(night, places.main) == {(name, "file") for name in ("anna", "bo", "cia")}
    assert members(night, places.school) == {("anna", "hand"), ("bo", "hand")}
    by_hand(night, group_changes.release_group_id, "CREW")
    run = nightly(night, *FILE)
    assert warnings(night, run) == set()
    with night.store.read(night.tenant_id) as session:
        last = session.exec(
            select(Event.resource_id).where(Event.tenant_id == night.tenant_id, Event.kind == "group.created")
        ).all()[-1]
        assert get_group(session, night.tenant_id, last).member_count == 2


def moves(night, run):
    """What a run says of groups: UniqueID, how many are joined, left, and are all the same to the person."""
    found = import_reads.list_changes(night.imports, night.tenant_id, run.id, action=0, after=(-1, 0), limit=1000)
    places = {change.external_id.removeprefix("EMPLOYEE-"): change.places for change in found}
    return {name: (len(each.added), len(each.removed), len(each.kept)) for name, each in sorted(places.items())}


def user_ids(night):
    with night.store.read(night.tenant_id) as session:
        claims = session.exec(select(Claim.external_id, Claim.user_id).where(Claim.tenant_id == night.tenant_id))
        return {name.removeprefix("EMPLOYEE-"): user_id for name, user_id in claims}


def test_r38_a_plan_its_run_and_its_undo_say_who_truly_joins_and_leaves(night):
    group = crew(night, night.account_id)
    night.apply(night.plan("anna+CREW", "bo+", "cia+"))
    people = user_ids(night)
    by_hand(night, memberships.modify_memberships, group, [people["anna"], people["bo"]], [])
    planned = night.plan("anna+", "bo+CREW", "cia+CREW")
    assert moves(night, planned) == {"anna": (0, 0, 1), "bo": (0, 0, 1), "cia": (1, 0, 0)}
    applied = night.apply(planned)
    assert members(night, group) == {("anna", "hand"), ("bo", "hand"), ("bo", "file"), ("cia", "file")}
    assert moves(night, applied) == {"anna": (0, 0, 1), "bo": (0, 0, 1), "cia": (1, 0, 0)}
    undone = plan_undo(night, applied)
    assert moves(night, undone) == {"anna": (0, 0, 1), "bo": (0, 0, 1), "cia": (0, 1, 0)}
    night.apply(undone)
    assert members(night, group) == {("anna", "hand"), ("bo", "hand"), ("anna", "file")}


def test_r8_who_would_leave_a_group_only_since_a_plan_was_shown_holds_it_again(night):
    with night.store.write(night.tenant_id) as session:
        session.get_one(Source, (night.tenant_id, night.source_id)).limits = {"membership": {"floor": 0, "percent": 0}}
    group = crew(night, night.account_id)
    night.apply(night.plan("anna+CREW", "bo+CREW"))
    anna = [user_ids(night)["anna"]]
    by_hand(night, memberships.modify_memberships, group, anna, [])
    held = night.plan("anna+", "bo+")
    assert (held.status, held.reason) == (RunStatus.HELD, "membership_limit")
    assert moves(night, held) == {"anna": (0, 0, 1), "bo": (0, 1, 0)}
    by_hand(night, memberships.modify_memberships, group, [], anna)
    again = night.apply(held)
    assert (again.status, "anna" in again.message) == (RunStatus.HELD, True)
    assert moves(night, again) == {"anna": (0, 1, 0), "bo": (0, 1, 0)}
    assert night.apply(again).status == RunStatus.APPLIED
