"""What surrounds a plan: who can be reached after it, and whether its people look as they used to."""

from __future__ import annotations

import pytest
from sqlmodel import select

from services.directory.operations.groups import create_group
from services.directory.operations.memberships import modify_memberships
from services.directory.store.tables import Claim, ImportRun, RunStatus, Source
from tests.integration.directory.nights import SOMEBODY

CREW = [f"p{number}" for number in range(24)]


def people(pattern, *, of=CREW):
    """Write each person by a pattern: `{0}:{1}` is a person with a phone."""
    return [pattern.format(name, number) for number, name in enumerate(of, start=1)]


def group(night, group_id):
    with night.store.write(night.tenant_id) as session:
        made = create_group(
            session,
            night.tenant_id,
            night.account_id,
            group_id.capitalize(),
            group_id,
            actor=SOMEBODY,
            now=night.imports.clock(),
        )
        return made.group.id


def put_in_by_hand(night, group_id, name):
    with night.store.write(night.tenant_id) as session:
        claim = select(Claim.user_id).where(Claim.tenant_id == night.tenant_id, Claim.external_id == f"EMPLOYEE-{name}")
        user = session.exec(claim).one()
        modify_memberships(session, night.tenant_id, group_id, [user], [], actor=SOMEBODY, now=night.imports.clock())


def set_limits(night, **limits):
    with night.store.write(night.tenant_id) as session:
        session.get(Source, (night.tenant_id, night.source_id)).limits = limits


def test_a_run_says_who_lost_their_only_phone_and_which_groups_are_out_of_reach(night):
    crew, staff = group(night, "CREW"), group(night, "STAFF")
    first = night.apply(night.plan("anna:1+CREW", "bo:2+CREW,STAFF", "cia:3+STAFF", "dag+STAFF", "eva:5+STAFF"))
    assert (first.reach["came_without_phone"], first.reach["lost_phone"], first.reach["groups"]) == (1, 0, [])
    set_limits(night, delete={"floor": 5})
    run = night.apply(night.plan("anna:+CREW", "bo:2+CREW,STAFF", "dag:4+STAFF", "eva:5+STAFF", "fia"))
    assert {key: run.reach[key] for key in ("lost_phone", "gained_phone", "came_without_phone", "groups_below")} == {
        "lost_phone": 1,
        "gained_phone": 1,
        "came_without_phone": 1,
        "groups_below": 1,
    }
    assert run.reach["groups"] == [{"group_id": crew, "display_name": "Crew", "before": 2, "after": 1}]
    assert staff, "STAFF lost cia and gained dag's phone"


def test_who_stays_in_a_group_by_hand_is_still_reached_there(night):
    crew = group(night, "CREW")
    night.apply(night.plan("anna:1+CREW", "bo:2+CREW", "cia:3+"))
    put_in_by_hand(night, crew, "anna")
    run = night.apply(night.plan("anna:1+", "bo:2+CREW", "cia:3+"))
    assert (run.counts["updated"], run.reach["groups_below"]) == (1, 0)
    run = night.apply(night.plan("anna:1+", "bo:2+", "cia:3+CREW"))
    assert run.reach["groups_below"] == 0, "cia has taken the place of bo"
    run = night.apply(night.plan("anna:1+", "bo:2+", "cia:3+"))
    assert [(each["before"], each["after"]) for each in run.reach["groups"]] == [(2, 1)]


@pytest.mark.parametrize("size", [2, 15, 16, 17, 64, 70])
def test_groups_of_any_size_that_nobody_is_left_to_reach_in_are_named_and_others_are_not(night, size):
    emptied, thinned = group(night, "EMPTIED"), group(night, "THINNED")
    leaving, staying = [f"leaves{number}" for number in range(size)], [f"stays{number}" for number in range(20)]
    before = [f"{name}:{number}+EMPTIED,THINNED" for number, name in enumerate(leaving, start=1)]
    others = [f"{name}:{size + number}+THINNED" for number, name in enumerate(staying, start=1)]
    night.apply(night.plan(*before, *others, "last:999+EMPTIED"))
    set_limits(night, membership={"floor": size})
    run = night.apply(night.plan(*(person.partition("+")[0] + "+" for person in before), *others, "last:999+EMPTIED"))
    found = [(each["group_id"], each["before"], each["after"]) for each in run.reach["groups"]]
    assert found == [(emptied, size + 1, 1)]
    assert thinned != emptied


def test_a_held_plan_says_whom_it_would_leave_out_of_reach_and_the_run_what_it_did(night):
    group(night, "CREW")
    night.apply(night.plan("anna:1+CREW", "bo:2+CREW", "cia:3+CREW", "dag:4+CREW"))
    set_limits(night, delete={"floor": 1})
    held = night.plan("anna:1+CREW")
    assert (held.status, held.reach["groups_below"]) == (RunStatus.HELD, 2), "the group and the account's main group"
    applied = night.apply(held, leave_deletions_out=True)
    assert (applied.status, applied.reach["groups_below"]) == (RunStatus.APPLIED, 0)


def test_phones_that_are_suddenly_empty_hold_the_plan(night):
    night.apply(night.plan(*people("{0}:{1}")))
    run = night.plan(*people("{0}:"))
    assert (run.status, run.reason) == (RunStatus.HELD, "shape_alarm")
    assert run.message == "0 of 24 people would have a TelephoneNumber, where 24 usually have one."
    assert run.shape["columns"]["TelephoneNumber"] == 0


def test_a_column_that_was_never_filled_and_one_that_empties_a_little_alarm_nobody(night):
    night.apply(night.plan(*people("{0}:{1}", of=CREW[:14]), *CREW[14:]))
    run = night.plan(*people("{0}:{1}", of=CREW[:8]), *people("{0}:", of=CREW[8:]))
    assert run.status == RunStatus.PLANNED, "6 of 14 phones"
    assert night.apply(run).shape["columns"] == {
        "Title": 0,
        "TelephoneNumber": 8,
        "SecondaryTelephoneNumber": 0,
    }


def test_what_is_lost_a_little_every_night_is_noticed_too(night):
    night.apply(night.plan(*people("{0}:{1}")))
    for left in (18, 13):
        run = night.plan(*people("{0}:{1}", of=CREW[:left]), *people("{0}:", of=CREW[left:]))
        assert night.apply(run).status == RunStatus.APPLIED
    run = night.plan(*people("{0}:{1}", of=CREW[:11]), *people("{0}:", of=CREW[11:]))
    assert (run.status, run.reason) == (RunStatus.HELD, "shape_alarm"), "13 of 24 are gone by now"
    assert night.apply(run).status == RunStatus.APPLIED
    again = night.plan(*people("{0}:{1}", of=CREW[:10]), *people("{0}:", of=CREW[10:]))
    assert again.status == RunStatus.PLANNED, "somebody approved that there are fewer"


def test_another_mail_domain_holds_the_plan_after_the_limits_of_r8(night):
    night.apply(night.plan(*CREW))
    run = night.plan(*people("{0}@alder.net"))
    assert (run.status, run.reason) == (RunStatus.HELD, "mail_change_limit")
    assert "0 of 24 people would have a mail address at example.org, where 24 usually do." in run.message
    set_limits(night, mail_change={"floor": 100})
    run = night.plan(*people("{0}@alder.net"))
    assert (run.reason, run.shape["domains"]) == ("shape_alarm", {"alder.net": 24})


def test_a_group_that_deletions_empty_holds_the_plan_though_few_of_all_are_deleted(night):
    group(night, "CREW")
    rest = [f"r{number}" for number in range(60)]
    night.apply(night.plan(*people("{0}+CREW", of=CREW[:12]), *rest))
    run = night.plan(CREW[0] + "+CREW", *rest)
    assert (run.status, run.reason) == (RunStatus.HELD, "shape_alarm"), "11 of 72 people, but 11 of the crew's 12"
    assert run.message == 'The group "Crew" would shrink from 12 people to 1.'
    assert run.shape["groups"][0]["after"] == 1


def test_the_shape_alarms_figures_are_settings(night):
    night.apply(night.plan(*people("{0}:{1}")))
    set_limits(night, shape={"floor": 24})
    assert night.plan(*people("{0}:"), dry_run=True).reason == ""
    set_limits(night, shape={"floor": 0, "percent": 4})
    run = night.plan(*people("{0}:{1}", of=CREW[:23]), CREW[23] + ":")
    assert (run.status, run.reason) == (RunStatus.HELD, "shape_alarm")


@pytest.mark.parametrize("is_undone", [False, True])
def test_the_first_applied_run_and_those_undone_since_are_no_measure(night, is_undone):
    if is_undone:
        run = night.apply(night.plan(*people("{0}:{1}")))
        with night.store.write(night.tenant_id) as session:
            session.get(ImportRun, (night.tenant_id, run.id)).status = RunStatus.UNDONE
            session.get(Source, (night.tenant_id, night.source_id)).last_applied_run_id = 0
    assert night.plan(*people("{0}:")).status == RunStatus.PLANNED
