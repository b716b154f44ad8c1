"""One id, one mail: R17 and R19."""

# mypy: allow-untyped-defs, allow-incomplete-defs

from tests.builders import a_person, a_register, a_rejected_row, a_row_of, a_skipped_row, a_staged_row

A = "EMPLOYEE-A"
B = "EMPLOYEE-B"


def test_r17_identical_rows_collapse_into_the_first(plan_of):
    plan = plan_of(a_register(), a_staged_row(A, groups="x"), a_staged_row(A, groups="x"))
    assert (3, "duplicate_identical") in plan.warnings
    assert (plan.counts.created, plan.counts.merged) == (1, 1)


def test_r17_rows_that_differ_only_in_groups_merge_into_the_first_with_all_groups(plan_of):
    register = a_register(groups={"north": "main", "south": "main"})
    plan = plan_of(register, a_staged_row(A, groups="north"), a_staged_row(A, groups="south"))
    assert plan.warnings == [(3, "duplicate_merged")]
    assert plan.changes[0].joins == {"north", "south", "main"}


def test_r17_the_same_groups_in_another_order_are_another_cell(plan_of):
    plan = plan_of(a_register(groups={"n": "main"}), a_staged_row(A, groups="n,n2"), a_staged_row(A, groups="n2,n"))
    assert (3, "duplicate_merged") in plan.warnings


def test_r17_a_row_rejected_for_its_groups_alone_is_no_copy_of_one_that_is_not(plan_of):
    rows = a_staged_row(A), a_rejected_row(A, reason="field_too_long:Groups", display_name="Anna Berg")
    assert plan_of(a_register(), *rows).rejections == dict.fromkeys((2, 3), "duplicate_id")


def test_r17_otherwise_every_row_of_the_id_is_rejected(plan_of):
    rows = a_staged_row(A), a_staged_row(A), a_staged_row(A, title="Boss")
    assert plan_of(a_register(), *rows).rejections == dict.fromkeys((2, 3, 4), "duplicate_id")


def test_r17_duplicate_id_replaces_another_reason_and_a_skip(plan_of):
    rows = a_rejected_row(A), a_staged_row(A, warnings=["phone_national"]), a_skipped_row(A)
    plan = plan_of(a_register(), *rows)
    assert plan.rejections == dict.fromkeys((2, 3, 4), "duplicate_id")
    assert plan.warnings == [(3, "phone_national")]
    assert plan.counts.skipped == 0


def test_r17_a_rejected_first_row_stays_rejected_and_its_copies_merge(plan_of):
    plan = plan_of(a_register(), a_rejected_row(A), a_rejected_row(A))
    assert plan.rejections == {2: "name_missing"}
    assert (plan.counts.rejected, plan.counts.merged) == (1, 1)


def test_r19_the_row_whose_user_has_the_mail_today_keeps_it(plan_of):
    rows = a_row_of("anna"), a_staged_row(B, email="anna@example.org")
    plan = plan_of(a_register(a_person("anna")), *rows)
    assert plan.rejections == {3: "duplicate_mail"}
    assert plan.counts.unchanged == 1


def test_r19_without_such_a_user_all_rows_of_the_mail_are_rejected(plan_of):
    rows = a_staged_row(A, email="x@example.org"), a_staged_row(B, email="x@example.org")
    assert plan_of(a_register(), *rows).rejections == dict.fromkeys((2, 3), "duplicate_mail")


def test_r19_a_rejected_row_with_the_mail_counts_and_keeps_its_own_reason(plan_of):
    rows = a_rejected_row(A, email="x@example.org"), a_staged_row(B, email="x@example.org")
    assert plan_of(a_register(), *rows).rejections == {2: "name_missing", 3: "duplicate_mail"}


def test_r19_a_skipped_row_does_not_count(plan_of):
    rows = a_skipped_row(A, email="x@example.org"), a_staged_row(B, email="x@example.org")
    assert plan_of(a_register(), *rows).rejections == {}
