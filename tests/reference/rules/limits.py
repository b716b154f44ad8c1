"""What holds or refuses a plan, and what a decision does: R6, R8 and R9."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.builders import a_manual_person, a_person, a_register, a_rejected_row, a_row_of, a_staged_row, people
from tests.reference.values import Deletions, FileFacts, Source

B = "EMPLOYEE-B"
NEW = "EMPLOYEE-NEW"
YESTERDAY = datetime(2026, 3, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(("owned", "leavers", "held"), [(20, 4, False), (19, 4, True), (9, 3, False)])
def test_r8_deletions_are_held_above_the_floor_and_the_percentage(plan_of, owned, leavers, held):
    rows = [a_row_of(f"p{number}") for number in range(leavers, owned)]
    plan = plan_of(a_register(*people(owned)), *rows)
    assert (plan.status, plan.reason) == (("held", "delete_limit") if held else ("planned", ""))


@pytest.mark.parametrize(("changed", "held"), [(3, False), (4, True)])
def test_r8_mail_changes_are_held(plan_of, changed, held):
    rows = [a_row_of(f"p{n}", **({"email": f"new{n}@example.org"} if n < changed else {})) for n in range(10)]
    assert plan_of(a_register(*people(10)), *rows).reason == ("mail_change_limit" if held else "")


@pytest.mark.parametrize(("applied_runs", "reason"), [(0, ""), (1, "takeover_limit")])
def test_r8_takeovers_are_held_but_not_on_the_first_applied_run(plan_of, applied_runs, reason):
    manual = [a_manual_person(f"p{number}") for number in range(4)]
    register = a_register(*manual, source=Source(account="main", applied_runs=applied_runs))
    assert plan_of(register, *[a_row_of(f"p{number}") for number in range(4)]).reason == reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (a_row_of("anna"), "admin_takeover"),
        (a_row_of("bo"), ""),  # whom nobody signs in as
        (a_row_of("cia"), ""),  # whom the source owns already
    ],
)
def test_r8_taking_an_administrator_over_is_held_on_the_first_applied_run_too(plan_of, row, reason):
    register = a_register(a_manual_person("anna"), a_manual_person("bo"), a_person("cia"))
    mails = {register.users[name].email for name in ("anna", "cia")}
    assert plan_of(replace(register, administrators=frozenset(mails)), row).reason == reason


@pytest.mark.parametrize(("applied_runs", "reason"), [(0, ""), (1, "create_limit")])
def test_r8_creations_are_held_but_not_on_the_first_applied_run(plan_of, applied_runs, reason):
    register = a_register(source=Source(account="main", applied_runs=applied_runs))
    assert plan_of(register, *[a_staged_row(f"EMPLOYEE-{number}") for number in range(101)]).reason == reason


@pytest.mark.parametrize(("leavers", "reason"), [(10, ""), (11, "membership_limit")])
def test_r8_emptying_a_group_is_held(plan_of, leavers, reason):
    register = a_register(*people(20, groups=["main", "n"]), groups={"n": "main"})
    rows = [a_row_of(f"p{number}", groups="" if number < leavers else "n") for number in range(20)]
    assert plan_of(register, *rows).reason == reason


def test_r8_the_first_passed_limit_is_the_reason(plan_of):
    rows = [a_row_of(f"p{number}", email=f"new{number}@example.org") for number in range(4)]
    assert plan_of(a_register(*people(9)), *rows).reason == "delete_limit"


def test_r8_without_its_deletions_a_plan_deletes_nobody_and_the_next_one_is_held(plan_of, apply_plan):
    register = a_register(a_person("anna"), a_person("bo"))
    plan = plan_of(register, a_row_of("bo"), deletions=Deletions.LEAVE_OUT)
    register = apply_plan(register, plan)
    assert register.users["anna"].active
    again = plan_of(register, a_row_of("bo"))
    assert (again.status, again.reason, again.counts.deleted) == ("held", "delete_limit", 1)


def test_r8_the_very_same_file_holds_the_deletions_left_out_again(plan_of, apply_plan):
    register = a_register(a_person("anna"), a_person("bo"))
    register = apply_plan(register, plan_of(register, a_row_of("bo"), deletions=Deletions.LEAVE_OUT))
    assert plan_of(register, a_row_of("bo")).reason == "delete_limit"


def test_r8_the_very_same_file_holds_them_again_when_their_grace_ended_with_it(plan_of, apply_plan):
    register = a_register(
        a_person("anna", missed_files=1), a_person("bo"), source=Source(account="main", grace_nights=1)
    )
    register = apply_plan(register, plan_of(register, a_row_of("bo"), deletions=Deletions.LEAVE_OUT))
    assert plan_of(register, a_row_of("bo")).reason == "delete_limit"


def test_r8_who_is_left_out_keeps_the_mail(plan_of):
    register = a_register(a_person("anna"))
    plan = plan_of(register, a_staged_row(NEW, email="anna@example.org"), deletions=Deletions.LEAVE_OUT)
    assert plan.rejections == {2: "mail_taken"}
    assert plan.changes == ()


def test_r8_who_comes_back_is_no_longer_left_out(plan_of, apply_plan):
    register = a_register(a_person("anna", deletion_left_out=True))
    register = apply_plan(register, plan_of(register, a_row_of("anna")))
    plan = plan_of(register, a_staged_row(B))
    assert (plan.status, plan.counts.deleted) == ("planned", 1)


def test_r6_a_file_older_than_the_last_applied_one_is_held_before_any_other_reason(plan_of):
    source = Source(account="main", applied_runs=1, last_timestamp=YESTERDAY)
    older = FileFacts(newest_timestamp=YESTERDAY - timedelta(seconds=1))
    register = a_register(*people(9), source=source)
    assert plan_of(register, a_row_of("p0"), file=older).reason == "older_than_last"
    assert plan_of(register, a_row_of("p0"), file=FileFacts(newest_timestamp=YESTERDAY)).reason == "delete_limit"


@pytest.mark.parametrize(("bad", "good", "status"), [(5, 0, "planned"), (6, 6, "planned"), (7, 6, "refused")])
def test_r9_too_many_rejected_rows_refuse_the_file(plan_of, bad, good, status):
    rows = [a_rejected_row(f"EMPLOYEE-BAD-{number}") for number in range(bad)]
    rows += [a_staged_row(f"EMPLOYEE-GOOD-{number}") for number in range(good)]
    assert plan_of(a_register(), *rows).status == status


def test_r8_many_rekeyed_people_hold_the_plan_before_takeovers_do(plan_of):
    manual = [a_manual_person(f"m{number}") for number in range(4)]
    register = a_register(*people(9), *manual, source=Source(account="main", applied_runs=1))
    renamed = [replace(a_row_of(f"p{number}"), external_id=f"RENAMED-{number:04}") for number in range(9)]
    takeovers = [a_row_of(f"m{number}") for number in range(4)]
    stay = [a_row_of(f"p{number}") for number in range(9)]
    assert plan_of(register, *renamed[:4], *stay[4:], *takeovers).reason == "rekey_limit"
    assert plan_of(register, *renamed[:3], *stay[3:]).status == "planned"
