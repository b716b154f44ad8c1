"""One person in several files of a tenant, and what a file may touch: R41."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from dataclasses import replace

import pytest

from tests.builders import PAYROLL, a_manual_person, a_person, a_register, a_row_of, a_staged_row
from tests.reference.values import MANUAL, Action, Claim, FormerClaim, Group, Membership, Source

SCHOOL = "school"
ANNA = "EMPLOYEE-anna"


def anna_of_school(*others, first=PAYROLL, **values):
    """A register with somebody whom the school's file has, and not the one that is planned."""
    register = a_register(
        a_person("anna", source=SCHOOL, groups=["north", "n"], **values),
        *others,
        accounts=("main", "north"),
        groups={"n": "north", "s": "main"},
        seats=1 + len(others),
    )
    return in_order(register, first)


def in_order(register, first):
    """The register with one of the two files first in position."""
    places = {name: 1 if name == first else 2 for name in register.sources}
    return replace(
        register,
        sources={name: replace(source, position=places[name]) for name, source in register.sources.items()},
    )


def anna_of_both(*others, first=PAYROLL, owner=PAYROLL, **values):
    """A register with somebody whom both files have."""
    register = anna_of_school(*others, first=first, **values)
    return replace(
        register,
        users={**register.users, "anna": replace(register.users["anna"], owner=owner)},
        claims={**register.claims, (PAYROLL, ANNA): Claim("anna")},
        memberships=register.memberships | {Membership("anna", group, PAYROLL) for group in ("main", "s")},
    )


def test_r41_the_same_id_and_mail_in_another_file_is_a_second_claim_and_takes_no_seat(plan_of, apply_plan):
    register = anna_of_school(first=SCHOOL)
    plan = plan_of(register, a_row_of("anna", groups="s"))
    after = apply_plan(register, plan)
    assert plan.actions == {"anna": Action.UPDATE}
    assert (plan.counts.updated, plan.counts.created, plan.counts.rejected, plan.warnings) == (1, 0, 0, [])
    assert set(after.claims) == {(SCHOOL, ANNA), (PAYROLL, ANNA)}
    assert after.users["anna"].owner == SCHOOL
    assert after.memberships - register.memberships == {
        Membership("anna", "s", PAYROLL),
        Membership("anna", "main", PAYROLL),
    }


def test_r41_a_row_that_only_adds_a_claim_is_a_change(plan_of):
    register = anna_of_school(first=SCHOOL)
    register = replace(register, memberships=register.memberships | {Membership("anna", "main", PAYROLL)})
    assert plan_of(register, a_row_of("anna")).counts.updated == 1


def test_r41_another_id_with_the_mail_is_somebody_elses(plan_of):
    plan = plan_of(anna_of_school(), a_staged_row("EMPLOYEE-OTHER", email="anna@example.org", display_name="Anna"))
    assert plan.rejections == {2: "owned_by_other_source"}


def test_r41_another_mail_under_the_id_is_another_person(plan_of):
    register = replace(anna_of_school(), seats_total=2)
    plan = plan_of(register, a_row_of("anna", email="other@example.org"))
    assert plan.actions == {ANNA: Action.CREATE}


def test_r41_attributes_come_from_the_first_file_in_position_order(plan_of, apply_plan):
    row = a_row_of("anna", title="Boss")
    behind, before = anna_of_school(first=SCHOOL), anna_of_school(first=PAYROLL)
    after = apply_plan(before, plan_of(before, row))
    assert (after.users["anna"].title, after.users["anna"].owner) == ("Boss", PAYROLL)
    plan = plan_of(behind, row)
    after = apply_plan(behind, plan)
    assert plan.warnings == [(2, "claim_differs:Title")]
    assert (after.users["anna"].title, after.users["anna"].owner) == ("", SCHOOL)


def test_r41_a_later_file_tells_of_every_column_that_differs_and_changes_none(plan_of):
    register = anna_of_both(first=SCHOOL, owner=SCHOOL, phone="+46701234567")
    row = a_row_of("anna", email="x@example.org", display_name="Bo", phone="", secondary_phone="+46701234567")
    plan = plan_of(register, row)
    columns = ("Mail", "Name", "SecondaryTelephoneNumber", "TelephoneNumber")
    assert plan.warnings == [(2, f"claim_differs:{column}") for column in columns]
    assert (plan.changes, plan.counts.unchanged) == ((), 1)


def test_r41_a_column_that_a_later_file_does_not_have_does_not_differ(plan_of):
    register = anna_of_both(first=SCHOOL, owner=SCHOOL, title="Boss", phone="+46701234567")
    plan = plan_of(register, a_row_of("anna", title=None, phone=None, secondary_phone=None))
    assert plan.warnings == []


def test_r41_after_a_change_of_order_the_first_file_owns_the_person(plan_of, apply_plan):
    register = anna_of_both(first=PAYROLL, owner=SCHOOL)
    plan = plan_of(register, a_row_of("anna", groups="s"))
    assert plan.counts.updated == 1
    assert apply_plan(register, plan).users["anna"].owner == PAYROLL


def test_r41_who_leaves_one_file_stays_by_the_other_with_its_groups(plan_of, apply_plan):
    register = anna_of_both(owner=PAYROLL)
    plan = plan_of(register)
    after = apply_plan(register, plan)
    assert plan.actions == {"anna": Action.DROP_CLAIM}
    assert (plan.counts.deleted, plan.counts.claims_dropped) == (0, 1)
    assert (after.users["anna"].active, after.users["anna"].owner) == (True, SCHOOL)
    assert set(after.claims) == {(SCHOOL, ANNA)}
    assert {entry.group for entry in after.memberships if entry.user == "anna"} == {"north", "n"}


def test_r41_a_claim_that_ends_waits_for_its_own_grace(plan_of, apply_plan):
    register = anna_of_both()
    source = replace(register.sources[PAYROLL], grace_nights=1)
    register = replace(register, sources={**register.sources, PAYROLL: source})
    plan = plan_of(register)
    assert plan.changes == ()
    assert plan_of(apply_plan(register, plan)).actions == {"anna": Action.DROP_CLAIM}


def test_r41_who_left_the_last_file_comes_back_by_either(plan_of, apply_plan):
    register = anna_of_both()
    register = apply_plan(register, plan_of(register))
    # The school's file, too, has lost her since.
    register = replace(
        register,
        users={**register.users, "anna": replace(register.users["anna"], active=False)},
        claims={},
        former_claims={**register.former_claims, (SCHOOL, ANNA): FormerClaim("anna")},
        memberships=frozenset(),
    )
    plan = plan_of(register, a_row_of("anna"))
    assert plan.actions == {"anna": Action.RESTORE}
    assert apply_plan(register, plan).users["anna"].owner == PAYROLL


def test_r41_a_mail_that_somebody_keeps_by_another_file_is_not_free(plan_of):
    row = a_staged_row("EMPLOYEE-OTHER", email="anna@example.org", display_name="Olga")
    plan = plan_of(anna_of_both(), row)
    assert plan.rejections == {2: "owned_by_other_source"}
    assert plan.actions == {"anna": Action.DROP_CLAIM}


def test_r41_a_new_id_that_the_other_file_has_already_is_the_same_person(plan_of, apply_plan):
    register = anna_of_both(first=SCHOOL, owner=SCHOOL)
    register = replace(register, claims={(SCHOOL, "EMPLOYEE-NEW"): Claim("anna"), (PAYROLL, ANNA): Claim("anna")})
    plan = plan_of(register, a_staged_row("EMPLOYEE-NEW", email="anna@example.org", display_name="Olga", groups="s"))
    assert plan.actions == {"anna": Action.REKEY}
    assert plan.warnings == [(2, "claim_differs:Name"), (2, "rekeyed")]
    after = apply_plan(register, plan)
    assert (after.claims[PAYROLL, "EMPLOYEE-NEW"], after.users["anna"].display_name) == (Claim("anna"), "Anna")


def test_r41_a_second_claim_is_no_reason_to_keep_a_manual_user(plan_of):
    register = anna_of_school(a_manual_person("bo"))
    plan = plan_of(register, a_row_of("anna"), a_staged_row("EMPLOYEE-B", email="bo@example.org"))
    assert plan.actions == {"anna": Action.UPDATE, "bo": Action.TAKE_OVER}


@pytest.mark.parametrize("linked", ["north", "main", None])
def test_r41_a_file_touches_only_groups_in_its_linked_account_and_below(plan_of, linked):
    register = a_register(
        a_manual_person("bo"),
        source=Source(account=linked),
        accounts=("main", "north", "attic"),
        groups={"s": "main", "n": "north", "a": "attic"},
    )
    register = replace(register, parents={"attic": "north"})
    plan = plan_of(register, a_staged_row("EMPLOYEE-A", groups="s,n,a"))
    (change,) = plan.changes
    if linked == "north":
        assert plan.warnings == [(2, "group_out_of_scope:s")]
        assert change.joins == {"n", "a", "north", "attic"}
    else:
        assert plan.warnings == []
        assert change.joins == {"s", "n", "a", "main", "north", "attic"}


def test_r41_a_row_with_groups_out_of_scope_only_is_in_the_linked_account(plan_of):
    register = a_register(source=Source(account="north"), accounts=("main", "north"), groups={"s": "main"})
    plan = plan_of(register, a_staged_row("EMPLOYEE-A", groups="s"))
    assert plan.changes[0].joins == {"north"}


def test_r41_memberships_by_hand_stay_when_a_claim_ends(plan_of, apply_plan):
    register = anna_of_both()
    choir = {"choir": Group("main")}
    by_hand = {Membership("anna", "choir", MANUAL)}
    register = replace(register, groups={**register.groups, **choir}, memberships=register.memberships | by_hand)
    after = apply_plan(register, plan_of(register))
    assert {entry.group for entry in after.memberships} == {"north", "n", "choir", "main"}
