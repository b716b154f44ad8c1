"""Who is who, what changes, and who gets a seat: R21 to R23, R26 to R31 and R35."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from dataclasses import replace

import pytest

from tests.builders import (
    IDENTITY_PROVIDER,
    PAYROLL,
    a_manual_person,
    a_person,
    a_register,
    a_rejected_row,
    a_row_of,
    a_staged_row,
)
from tests.reference.values import MANUAL, Action, Claim, Deletions, FileFacts, FormerClaim, Group, Membership, Source

A = "EMPLOYEE-A"
B = "EMPLOYEE-B"
NEW = "EMPLOYEE-NEW"


def test_r22_a_secondary_phone_that_is_not_in_the_file_is_removed(plan_of):
    register = a_register(a_person("anna", secondary_phone="+46701234567"))
    for row, file in (
        (a_row_of("anna", secondary_phone=""), FileFacts()),
        (a_row_of("anna", secondary_phone=None), FileFacts(has_secondary_phone_column=False)),
    ):
        assert plan_of(register, row, file=file).changes[0].fields == {"secondary_phone": ("+46701234567", "")}


def test_r22_a_secondary_phone_stays_where_the_source_keeps_it(plan_of):
    source = Source(account="main", keep_secondary_phone=True)
    register = a_register(a_person("anna", secondary_phone="+46701234567"), source=source)
    assert plan_of(register, a_row_of("anna", secondary_phone="")).changes == ()
    file = FileFacts(has_secondary_phone_column=False)
    assert plan_of(register, a_row_of("anna", secondary_phone=None), file=file).changes == ()


def test_r21_an_unusable_secondary_phone_leaves_the_old_one(plan_of):
    register = a_register(a_person("anna", secondary_phone="+46701234567"))
    assert plan_of(register, a_row_of("anna", secondary_phone=None)).changes == ()


def test_r22_an_empty_primary_cell_clears_and_an_absent_column_does_not(plan_of):
    register = a_register(a_person("anna", phone="+46701234567"))
    assert plan_of(register, a_row_of("anna", phone="")).changes[0].fields == {"phone": ("+46701234567", "")}
    assert plan_of(register, a_row_of("anna", phone=None)).changes == ()


def test_r22_an_empty_primary_cell_does_not_clear_where_the_source_keeps_the_phone(plan_of):
    source = Source(account="main", keep_primary_phone=True)
    register = a_register(a_person("anna", phone="+46701234567"), source=source)
    assert plan_of(register, a_row_of("anna", phone="")).changes == ()


def test_r23_an_absent_title_leaves_the_field_alone_and_an_empty_one_clears_it(plan_of):
    register = a_register(a_person("anna", title="Boss"))
    assert plan_of(register, a_row_of("anna", title=None)).changes == ()
    assert plan_of(register, a_row_of("anna", title="")).changes[0].fields == {"title": ("Boss", "")}


@pytest.mark.parametrize("bo", [a_manual_person("bo"), a_person("bo", source="school")], ids=["manual", "other source"])
def test_r26_a_known_id_cannot_move_to_another_active_persons_mail(plan_of, bo):
    plan = plan_of(a_register(a_person("anna"), bo), a_row_of("anna", email="bo@example.org", title="Boss"))
    assert plan.rejections == {2: "mail_taken"}
    assert plan.changes == ()


def test_r26_a_known_id_may_have_the_mail_of_somebody_who_left(plan_of):
    register = a_register(a_person("anna"), a_person("bo"))
    plan = plan_of(register, a_row_of("anna", email="bo@example.org"))
    assert plan.actions == {"bo": Action.DELETE, "anna": Action.UPDATE}


def test_r27_a_manual_user_is_taken_over_and_keeps_the_manual_groups(plan_of, apply_plan):
    register = a_register(a_manual_person("bo", groups=["main", "choir"]), groups={"choir": Group("main")})
    plan = plan_of(register, a_staged_row(A, email="bo@example.org", display_name="Bo Dahl"))
    after = apply_plan(register, plan)
    assert plan.warnings == [(2, "taken_over")]
    assert (plan.counts.updated, plan.counts.taken_over) == (1, 1)
    assert after.users["bo"].owner == PAYROLL
    assert after.users["bo"].password_reset_required
    assert after.users["bo"].display_name == "Bo Dahl"
    assert after.claims[PAYROLL, A].user == "bo"
    assert Membership("bo", "choir", MANUAL) in after.memberships


def test_r28_an_unknown_id_with_the_mail_of_somebody_who_left_is_a_new_user(plan_of):
    register = a_register(a_person("anna"))
    plan = plan_of(register, a_staged_row(NEW, email="anna@example.org"))
    assert plan.actions == {"anna": Action.DELETE, NEW: Action.CREATE}
    assert plan.warnings == [(2, "mail_reused")]


def test_r28_a_new_id_with_the_name_and_mail_of_somebody_who_left_is_the_same_user(plan_of, apply_plan):
    register = a_register(
        a_person("anna", display_name="Anna Groß", groups=["main", "n"], groups_by_hand=["main", "choir"]),
        groups={"n": "main", "choir": Group("main")},
    )
    plan = plan_of(register, a_staged_row(NEW, email="anna@example.org", display_name="ANNA GROSS", groups="n"))
    after = apply_plan(register, plan)
    assert plan.actions == {"anna": Action.REKEY}
    assert plan.warnings == [(2, "rekeyed")]
    assert (plan.counts.updated, plan.counts.rekeyed, plan.counts.created, plan.counts.deleted) == (1, 1, 0, 0)
    assert after.claims == {(PAYROLL, NEW): Claim("anna")}
    assert after.memberships == register.memberships
    assert (after.users["anna"].display_name, after.users["anna"].password_reset_required) == ("ANNA GROSS", False)


@pytest.mark.parametrize("new_id", ["00EMP 1234567", "emp1234567", "EMP 1234567"])
def test_r28_an_id_that_differs_in_case_spaces_or_leading_zeros_is_the_same_user(plan_of, new_id):
    register = a_register(a_person("anna", external_id="0EMP1234567"))
    row = a_staged_row(new_id, email="anna@example.org", display_name="Anna Married")
    assert plan_of(register, row).actions == {"anna": Action.REKEY}


def test_r28_nobody_is_rekeyed_whose_own_row_is_rejected(plan_of):
    rows = a_rejected_row("EMPLOYEE-anna", email="x@example.org"), a_row_of("anna")
    rows = rows[0], replace(rows[1], external_id=NEW, digest=b"of another person"[:16])
    assert plan_of(a_register(a_person("anna")), *rows).rejections == {2: "name_missing", 3: "mail_taken"}


def test_r28_a_rekey_is_no_deletion_that_could_be_left_out_and_needs_no_grace(plan_of, apply_plan):
    register = a_register(a_person("anna", missed_files=1), source=Source(account="main", grace_nights=5))
    row = replace(a_row_of("anna"), external_id=NEW)
    plan = plan_of(register, row, deletions=Deletions.LEAVE_OUT)
    assert apply_plan(register, plan).claims == {(PAYROLL, NEW): Claim("anna")}


def test_r28_a_restore_comes_before_a_rekey(plan_of):
    register = a_former_person("anna", a_person("bo"))
    plan = plan_of(register, a_row_of("anna", email="bo@example.org", display_name="Bo"))
    assert plan.actions == {"anna": Action.RESTORE, "bo": Action.DELETE}
    assert (2, "mail_reused") in plan.warnings


def test_r28_grace_does_not_protect_whose_mail_an_unknown_id_takes_over(plan_of):
    register = a_register(a_person("anna"), source=Source(account="main", grace_nights=5))
    plan = plan_of(register, a_staged_row(NEW, email="anna@example.org"))
    assert plan.actions["anna"] is Action.DELETE


def test_r28_the_mail_of_a_user_deleted_earlier_is_free(plan_of, apply_plan):
    register = a_register(a_person("anna"))
    register = apply_plan(register, plan_of(register, a_staged_row(B)))
    plan = plan_of(register, a_staged_row(B), a_staged_row(NEW, email="anna@example.org"))
    assert plan.warnings == []
    assert plan.actions == {NEW: Action.CREATE}


def test_r29_the_mail_of_another_sources_user_is_not_to_be_had(plan_of):
    plan = plan_of(a_register(a_person("bo", source="school")), a_staged_row(A, email="bo@example.org"))
    assert plan.rejections == {2: "owned_by_other_source"}


def test_r29_a_dormant_user_of_a_connection_keeps_the_mail(plan_of):
    asleep = a_person("bo", source=IDENTITY_PROVIDER, external_id="", groups=())
    register = a_register(replace(asleep, user=replace(asleep.user, active=False, dormant=True)))
    plan = plan_of(register, a_staged_row(A, email="bo@example.org"))
    assert plan.rejections == {2: "owned_by_other_source"}


def test_r30_where_the_id_is_the_mail_a_changed_mail_is_a_new_user(plan_of):
    person = a_person("anna", external_id="anna@example.org")
    row = a_staged_row("anna.berg@example.org", email="anna.berg@example.org", display_name=person.user.display_name)
    plan = plan_of(a_register(person), row)
    assert plan.actions == {"anna": Action.DELETE, "anna.berg@example.org": Action.CREATE}
    assert plan.rejections == {}


def test_r31_a_mail_change_under_the_same_id_keeps_the_user(plan_of):
    plan = plan_of(a_register(a_person("anna")), a_row_of("anna", email="a.berg@example.org"))
    assert plan.actions == {"anna": Action.UPDATE}


def test_r31_mails_may_be_swapped_within_one_file(plan_of, apply_plan):
    register = a_register(a_person("anna"), a_person("bo"))
    plan = plan_of(register, a_row_of("anna", email="bo@example.org"), a_row_of("bo", email="anna@example.org"))
    after = apply_plan(register, plan)
    assert plan.rejections == {}
    assert (after.users["anna"].email, after.users["bo"].email) == ("bo@example.org", "anna@example.org")


def test_r31_a_chain_moves_when_its_end_is_free_and_stays_when_it_is_not(plan_of):
    register = a_register(a_person("anna"), a_person("bo"), a_manual_person("cia"))
    anna = a_row_of("anna", email="bo@example.org")
    newcomer = a_staged_row(NEW, email="anna@example.org")
    free = plan_of(register, anna, a_row_of("bo", email="new@example.org"), newcomer)
    taken = plan_of(register, anna, a_row_of("bo", email="cia@example.org"), newcomer)
    assert free.rejections == {}
    assert taken.rejections == dict.fromkeys((2, 3, 4), "mail_taken")


def test_r35_deletions_free_seats_and_the_first_newcomers_sit_down(plan_of):
    register = a_register(a_person("anna"), a_person("bo"), seats=2)
    plan = plan_of(register, a_row_of("bo"), a_staged_row(A), a_staged_row(B, groups="unknown"))
    assert plan.actions == {"anna": Action.DELETE, A: Action.CREATE}
    assert (4, "deferred_license") in plan.warnings
    assert (plan.counts.created, plan.counts.deferred) == (1, 1)


def test_r35_more_users_than_seats_defer_every_newcomer_and_nothing_else(plan_of):
    register = a_register(a_person("anna"), a_manual_person("bo"), seats=1)
    rows = a_row_of("anna", title="Boss"), a_staged_row(A, email="bo@example.org"), a_staged_row(B)
    plan = plan_of(register, *rows)
    assert plan.actions == {"anna": Action.UPDATE, "bo": Action.TAKE_OVER}
    assert plan.counts.deferred == 1


def test_r34_an_id_that_returns_is_the_same_user_with_the_files_values_and_groups_only(plan_of, apply_plan):
    anna = a_person("anna", title="Boss", groups_by_hand=["choir"])
    register = a_register(anna, groups={"choir": Group("main"), "north": "main"})
    register = apply_plan(register, plan_of(register, a_staged_row(B)))
    back = a_row_of("anna", email="a.berg@example.org", title="", groups="north")
    plan = plan_of(register, a_staged_row(B), back)
    after = apply_plan(register, plan)
    assert plan.actions == {"anna": Action.RESTORE}
    assert plan.warnings == [(3, "restored")]
    assert (plan.counts.updated, plan.counts.restored, plan.counts.created) == (1, 1, 0)
    assert (after.users["anna"].active, after.users["anna"].email) == (True, "a.berg@example.org")
    assert after.claims[PAYROLL, "EMPLOYEE-anna"].user == "anna"
    assert after.former_claims == {}
    assert {entry.group for entry in after.memberships if entry.user == "anna"} == {"main", "north"}


@pytest.mark.parametrize(("days", "action"), [(89, Action.RESTORE), (90, Action.CREATE)])
def test_r34_after_90_days_a_returning_id_is_somebody_new(plan_of, days, action):
    plan = plan_of(a_former_person("anna", days_ago=days), a_row_of("anna"))
    assert [change.action for change in plan.changes] == [action]


def test_r34_a_returning_id_needs_a_seat_in_its_place_in_the_file(plan_of):
    register = replace(a_former_person("anna"), seats_total=1)
    plan = plan_of(register, a_row_of("anna"), a_staged_row(A))
    assert plan.actions == {"anna": Action.RESTORE}
    plan = plan_of(register, a_staged_row(A), a_row_of("anna"))
    assert plan.actions == {A: Action.CREATE}
    assert (plan.warnings, plan.counts.deferred) == ([(3, "deferred_license")], 1)


def test_r34_a_returning_id_does_not_get_a_mail_that_somebody_has(plan_of):
    register = a_former_person("anna", a_person("bo", source="school"))
    plan = plan_of(register, a_row_of("anna", email="bo@example.org"))
    assert plan.rejections == {2: "owned_by_other_source"}


def test_r34_a_takeover_comes_before_a_restore(plan_of):
    plan = plan_of(a_former_person("anna", a_manual_person("bo")), a_row_of("anna", email="bo@example.org"))
    assert plan.actions == {"bo": Action.TAKE_OVER}


def a_former_person(name, *others, days_ago=0):
    """A register with people, and with one whom the file does not have any more."""
    register = a_register(a_person(name), *others)
    return replace(
        register,
        users={**register.users, name: replace(register.users[name], active=False)},
        claims={key: claim for key, claim in register.claims.items() if claim.user != name},
        former_claims={(PAYROLL, f"EMPLOYEE-{name}"): FormerClaim(name, days_ago)},
        memberships=frozenset(entry for entry in register.memberships if entry.user != name),
    )
