"""Who is held, skipped, absent or deleted: R24, R32 and R33."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from tests.builders import (
    PAYROLL,
    a_manual_person,
    a_person,
    a_register,
    a_rejected_row,
    a_row_of,
    a_skipped_row,
    a_staged_row,
)
from tests.reference.values import Action, Group, Source

A = "EMPLOYEE-A"
B = "EMPLOYEE-B"
NEW = "EMPLOYEE-NEW"


def test_a_rejected_row_holds_the_user_of_its_id(plan_of):
    plan = plan_of(a_register(a_person("anna")), a_rejected_row("EMPLOYEE-anna", email=""))
    assert plan.changes == ()


def test_a_rejected_row_without_a_known_id_holds_the_user_of_its_mail(plan_of):
    plan = plan_of(a_register(a_person("anna")), a_rejected_row("", email="anna@example.org"))
    assert plan.changes == ()


def test_a_rejected_row_does_not_hold_by_mail_who_has_an_accepted_row(plan_of):
    rows = a_row_of("anna", title="Boss"), a_rejected_row("", email="anna@example.org")
    assert plan_of(a_register(a_person("anna")), *rows).actions == {"anna": Action.UPDATE}


def test_r19_an_unknown_id_cannot_have_a_held_users_mail(plan_of):
    rows = a_rejected_row("EMPLOYEE-anna", email=""), a_staged_row(NEW, email="anna@example.org")
    plan = plan_of(a_register(a_person("anna")), *rows)
    assert plan.rejections[3] == "mail_taken"


def test_r24_a_skipped_user_counts_as_absent(plan_of):
    plan = plan_of(a_register(a_person("anna")), a_skipped_row("EMPLOYEE-anna"))
    assert plan.actions == {"anna": Action.DELETE}
    assert plan.counts.skipped == 1


def test_r24_a_skipped_user_is_frozen_where_the_source_says_so(plan_of):
    register = a_register(a_person("anna"), source=Source(account="main", skip_freezes=True))
    assert plan_of(register, a_skipped_row("EMPLOYEE-anna")).changes == ()


def test_r32_who_is_not_in_the_file_is_deleted_and_leaves_every_group(plan_of, apply_plan):
    register = a_register(a_person("anna", groups_by_hand=["choir"]), groups={"choir": Group("main")})
    after = apply_plan(register, plan_of(register, a_staged_row(B)))
    assert not after.users["anna"].active
    assert {entry.user for entry in after.memberships} == {B}
    assert (PAYROLL, "EMPLOYEE-anna") not in after.claims


def test_r32_with_a_grace_of_one_it_happens_on_the_second_file_without_the_user(plan_of, apply_plan):
    register = a_register(a_person("anna"), source=Source(account="main", grace_nights=1))
    deletions = []
    for _ in range(2):
        plan = plan_of(register, a_staged_row(B))
        deletions.append(plan.counts.deleted)
        register = apply_plan(register, plan)
    assert deletions == [0, 1]


def test_r32_who_comes_back_has_the_whole_grace_again(plan_of, apply_plan):
    register = a_register(a_person("anna", missed_files=3), source=Source(account="main", grace_nights=3))
    plan = plan_of(register, a_row_of("anna"))
    assert plan.counts.unchanged == 1
    assert apply_plan(register, plan).claims[PAYROLL, "EMPLOYEE-anna"].missed_files == 0


def test_r32_a_file_whose_row_cannot_be_used_is_no_file_without_the_user(plan_of, apply_plan):
    register = a_register(a_person("anna"), a_manual_person("bo"), source=Source(account="main", grace_nights=1))
    plan = plan_of(register, a_row_of("anna", email="bo@example.org"))
    assert plan.rejections == {2: "mail_taken"}
    assert apply_plan(register, plan).claims[PAYROLL, "EMPLOYEE-anna"].missed_files == 0


def test_r33_manual_users_who_are_not_in_the_file_are_untouched(plan_of):
    assert plan_of(a_register(a_manual_person("bo")), a_staged_row(A)).counts.deleted == 0


def test_r33_users_of_another_source_are_untouched(plan_of):
    assert plan_of(a_register(a_person("bo", source="school")), a_staged_row(A)).counts.deleted == 0
