"""The reference model says what the import's rules say; and it never loses, repeats or overbooks anybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    PAYROLL,
    a_file,
    a_manual_person,
    a_person,
    a_register,
    a_rejected_row,
    a_skipped_row,
    a_staged_row,
)
from tests.reference import applying, planning
from tests.reference.rules.groups import *  # noqa: F403 - each rule is a test here
from tests.reference.rules.identity import *  # noqa: F403
from tests.reference.rules.leaving import *  # noqa: F403
from tests.reference.rules.limits import *  # noqa: F403
from tests.reference.rules.people import *  # noqa: F403
from tests.reference.rules.several_files import *  # noqa: F403
from tests.reference.values import Deletions, Group, Limit, Limits, Plan, Register, Source, StagedRow


def plan_by_model(register: Register, *rows: StagedRow, **how) -> Plan:
    return planning.plan_import(register, PAYROLL, a_file(*rows), **how)


@pytest.fixture
def plan_of():
    return plan_by_model


@pytest.fixture
def apply_plan():
    return applying.apply_plan


NO_LIMIT = Limit(1_000_000, 100)

IDS = st.sampled_from(["EMPLOYEE-A", "EMPLOYEE-B", "EMPLOYEE-C", "EMPLOYEE-anna", "EMPLOYEE-bo", ""])
MAILS = st.sampled_from([f"{name}@example.org" for name in ("anna", "bo", "cia", "x", "y")])
GROUPS = st.sampled_from(["", "n", "n,s", "s,unknown", None])
ROWS = st.lists(
    st.one_of(
        st.builds(a_staged_row, IDS.filter(bool), email=MAILS, title=st.sampled_from(["", "Boss"]), groups=GROUPS),
        st.builds(a_skipped_row, IDS.filter(bool)),
        st.builds(a_rejected_row, IDS, email=MAILS),
    ),
    max_size=8,
)
REGISTER = a_register(
    a_person("anna", groups=["north", "n"], groups_by_hand=["choir"]),
    a_person("bo"),
    a_manual_person("cia", groups=["north", "n"]),
    seats=4,
    source=Source(account="main", limits=Limits(*[NO_LIMIT] * 7)),
    accounts=("main", "north"),
    groups={"n": "north", "s": "main", "choir": Group("north")},
)


@given(rows=ROWS)
def test_r46_the_totals_add_up(rows):
    counts = plan_by_model(REGISTER, *rows).counts
    parts = counts.created + counts.updated + counts.unchanged + counts.skipped + counts.rejected
    assert counts.rows == parts + counts.merged + counts.deferred


@given(rows=ROWS, deletions=st.sampled_from(Deletions))
def test_r45_the_same_file_again_changes_nothing(rows, deletions):
    after = applying.apply_plan(REGISTER, plan_by_model(REGISTER, *rows, deletions=deletions))
    assert plan_by_model(after, *rows, deletions=deletions).changes == ()


@given(rows=ROWS, deletions=st.sampled_from(Deletions))
def test_r35_the_license_is_never_exceeded_and_mails_stay_unique(rows, deletions):
    after = applying.apply_plan(REGISTER, plan_by_model(REGISTER, *rows, deletions=deletions))
    mails = [user.email for user in after.users.values() if user.active]
    assert len(mails) <= REGISTER.seats_total
    assert len(set(mails)) == len(mails)
