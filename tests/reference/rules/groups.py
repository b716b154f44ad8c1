"""Groups and accounts: R23 and R37 to R40."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from dataclasses import replace

import pytest

from tests.builders import IDENTITY_PROVIDER, PAYROLL, a_person, a_register, a_rejected_row, a_row_of, a_staged_row
from tests.reference.values import MANUAL, Group, Membership, Source

A = "EMPLOYEE-A"
B = "EMPLOYEE-B"


def test_r37_groups_of_several_accounts_mean_each_of_these_accounts(plan_of):
    register = a_register(accounts=("main", "north", "south"), groups={"n": "north", "s": "south"})
    plan = plan_of(register, a_staged_row(A, groups="n,s"))
    assert plan.changes[0].joins == {"n", "s", "north", "south"}


def test_r37_an_unknown_group_is_warned_about_and_never_rejects(plan_of):
    plan = plan_of(a_register(), a_staged_row(A, groups="x,y"))
    assert plan.warnings == [(2, "unknown_group:x"), (2, "unknown_group:y")]
    assert plan.changes[0].joins == {"main"}


def test_r37_an_unknown_group_is_created_in_the_linked_account_where_the_source_says_so(plan_of, apply_plan):
    register = a_register(source=Source(account="main", creates_unknown_groups=True))
    plan = plan_of(register, a_staged_row(A, groups="x"), a_staged_row(B, groups="x"))
    after = apply_plan(register, plan)
    assert plan.warnings == []
    assert [group for group in after.groups.values() if not group.is_main] == [Group("main", "x", PAYROLL)]
    assert len(after.memberships) == 4


def test_r37_no_group_is_created_for_a_row_that_is_rejected_or_deferred(plan_of):
    register = a_register(source=Source(account="main", creates_unknown_groups=True), seats=0)
    plan = plan_of(register, a_staged_row(A, groups="x"), a_rejected_row(B, groups="y"))
    assert plan.new_groups == {}
    assert plan.warnings == [(2, "deferred_license")]


@pytest.mark.parametrize("creates", [False, True])
def test_r37_no_group_is_created_under_a_longer_id_than_a_group_id_may_be(plan_of, apply_plan, creates):
    longest, too_long = "x" * 256, "".join(map(chr, range(0x4E00, 0x4E00 + 3_000)))  # too long for an index, too
    register = a_register(groups={longest: "main"}, source=Source(account="main", creates_unknown_groups=creates))
    plan = plan_of(register, a_staged_row(A, groups=f"{longest},{too_long}"))
    assert plan.warnings == [(2, f"unknown_group:{too_long}")]
    assert {entry.group for entry in apply_plan(register, plan).memberships} == {"main", longest}


def test_r37_without_a_linked_account_no_group_is_created(plan_of):
    register = a_register(source=Source(account=None, creates_unknown_groups=True))
    plan = plan_of(register, a_staged_row(A, groups="x"))
    assert plan.warnings == [(2, "no_account"), (2, "unknown_group:x")]


def test_r38_the_import_removes_only_memberships_that_it_made(plan_of):
    register = a_register(
        a_person("anna", groups=["main", "n"], groups_by_hand=["s"]), groups={"n": "main", "s": "main"}
    )
    plan = plan_of(register, a_row_of("anna", groups=""))
    assert plan.changes[0].leaves == {"n"}
    assert plan.counts.updated == 1


def test_r39_a_group_without_group_id_is_ignored(plan_of):
    register = a_register(a_person("anna", groups=["main", "choir"]), groups={"choir": Group("main")})
    assert plan_of(register, a_row_of("anna", groups="")).changes == ()


@pytest.mark.parametrize(("by_hand", "leaves"), [([], {"n", "north"}), (["choir"], {"n"}), (["north"], {"n"})])
def test_r39_a_hand_made_membership_keeps_its_user_in_that_account(plan_of, by_hand, leaves):
    register = a_register(
        a_person("anna", groups=["n", "north"], groups_by_hand=by_hand),
        accounts=("main", "north"),
        groups={"n": "north", "choir": Group("north")},
    )
    plan = plan_of(register, a_row_of("anna", groups=""))
    assert plan.changes[0].leaves == leaves
    assert plan.changes[0].joins == {"main"}


def test_r38_who_is_in_a_group_by_hand_too_neither_joins_nor_leaves_it_by_the_file(plan_of, apply_plan):
    register = a_register(
        a_person("anna", groups=["a", "main"], groups_by_hand=["a", "b"]), groups={"a": "main", "b": "main"}
    )
    plan = plan_of(register, a_row_of("anna", groups="b"))
    (change,) = plan.changes
    assert (change.joins, change.leaves) == (set(), set())
    assert (change.was_in, change.stays_in) == ({"b"}, {"a"})
    assert plan.counts.updated == 1
    after = apply_plan(register, plan)
    assert {entry for entry in after.memberships if entry.group != "main"} == {
        Membership("anna", "a", MANUAL),
        Membership("anna", "b", MANUAL),
        Membership("anna", "b", PAYROLL),
    }


def test_r8_who_stays_in_a_group_by_hand_does_not_count_as_leaving_it(plan_of):
    people = [a_person(f"person{number}", groups=["a", "main"], groups_by_hand=["a"]) for number in range(12)]
    register = a_register(*people, groups={"a": "main"})
    rows = [a_row_of(f"person{number}", groups="", line=number + 2) for number in range(12)]
    assert plan_of(register, *rows).status == "planned"
    alone = replace(register, memberships=frozenset(e for e in register.memberships if e.origin != MANUAL))
    assert plan_of(alone, *rows).reason == "membership_limit"


def test_r40_no_groups_means_the_linked_account_only(plan_of, apply_plan):
    register = a_register(a_person("anna", groups=["n", "north"]), accounts=("main", "north"), groups={"n": "north"})
    after = apply_plan(register, plan_of(register, a_row_of("anna", groups="")))
    assert after.memberships == {Membership("anna", "main", PAYROLL)}


def test_r40_without_a_linked_account_it_means_no_account_and_a_warning(plan_of):
    plan = plan_of(a_register(source=Source(account=None)), a_staged_row(A), a_staged_row(B, groups=None))
    assert plan.warnings == [(2, "no_account"), (3, "no_account")]
    assert plan.counts.created == 2


def test_r23_an_absent_groups_column_leaves_memberships_alone(plan_of):
    register = a_register(a_person("anna", groups=["n", "north"]), accounts=("main", "north"), groups={"n": "north"})
    assert plan_of(register, a_row_of("anna", groups=None)).changes == ()


def test_r40_an_absent_groups_column_puts_who_is_in_no_account_into_the_linked_one(plan_of):
    register = a_register(a_person("anna", groups=[], groups_by_hand=["main"]))
    assert plan_of(register, a_row_of("anna", groups=None)).changes[0].was_in == {"main"}


@pytest.mark.parametrize("creates", [False, True])
def test_s8_a_group_id_that_waits_to_be_released_is_unknown_to_a_file(plan_of, creates):
    register = replace(
        a_register(source=Source(account="main", creates_unknown_groups=creates)), reserved_group_ids=frozenset("x")
    )
    plan = plan_of(register, a_staged_row(A, groups="x"))
    assert plan.warnings == [(2, "unknown_group:x")]
    assert plan.changes[0].joins == {"main"}
    assert plan.new_groups == {}


@pytest.mark.parametrize("creates", [False, True])
def test_a_group_that_an_identity_provider_syncs_is_unknown_to_a_file(plan_of, creates):
    register = a_register(
        source=Source(account="main", creates_unknown_groups=creates),
        groups={"x": Group("main", "x", IDENTITY_PROVIDER)},
    )
    plan = plan_of(register, a_staged_row(A, groups="x"))
    assert plan.warnings == [(2, "unknown_group:x")]
    assert plan.changes[0].joins == {"main"}
    assert plan.new_groups == {}
