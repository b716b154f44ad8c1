"""Plans that wait for a person: held, approved, approved without deletions, discarded, expired; and files refused."""

from __future__ import annotations

import grpc
import pytest
from muster.directory.v1 import imports_pb2, sources_pb2
from muster.runtime.errors import failure_of

from tests.builders import a_csv, a_row
from tests.stack.customer import FILE, LEAVE_OUT, Customer, counts_of, outcome_of

pytestmark = pytest.mark.mostly("postgresql")


def people(*numbers: int) -> bytes:
    return a_csv(*(a_row(number) for number in numbers))


def mails_of(*numbers: int) -> set[str]:
    return {f"person{number}@example.org" for number in numbers}


@pytest.fixture
def source_with_ten(customer: Customer) -> str:
    """A source whose first night brought ten people."""
    source = customer.source()
    assert outcome_of(customer.import_file(source, people(*range(1, 11)))) == "applied"
    return source


def test_r8_a_mass_deletion_is_held_and_applied_when_approved(customer, source_with_ten, smtp_sink):
    held = customer.import_file(source_with_ten, people(1, 2, 3, 4))

    assert outcome_of(held) == "held delete_limit"
    assert counts_of(held.plan) == {"rows": 4, "unchanged": 4, "deleted": 6}
    assert counts_of(held.counts) == {"rows": 4, "unchanged": 4}
    assert set(customer.users()) == mails_of(*range(1, 11))
    mail = smtp_sink.wait_for(2, to=customer.report_to)[1]
    assert "delete_limit" in mail.subject
    assert "muster runs approve" in mail.text

    approved = customer.approve(held)
    assert outcome_of(approved) == "applied"
    assert counts_of(approved.counts) == {"rows": 4, "unchanged": 4, "deleted": 6}
    assert set(customer.users()) == mails_of(1, 2, 3, 4)
    assert customer.seats()[1] == 4


def test_r8_deletions_left_out_stay_and_are_held_again_whatever_their_number(customer, source_with_ten):
    held = customer.import_file(source_with_ten, people(1, 2, 3, 4, 11))

    approved = customer.approve(held, deletions=LEAVE_OUT)
    assert outcome_of(approved) == "applied"
    assert counts_of(approved.counts) == {"rows": 5, "created": 1, "unchanged": 4}
    assert set(customer.users()) == mails_of(*range(1, 12))

    again = customer.import_file(source_with_ten, people(*range(1, 10), 11))
    assert outcome_of(again) == "held delete_limit"
    assert counts_of(again.plan) == {"rows": 10, "unchanged": 10, "deleted": 1}


def test_r8_a_discarded_plan_changes_nothing(customer, source_with_ten):
    held = customer.import_file(source_with_ten, people(1))

    assert outcome_of(customer.discard(held)).startswith("discarded")
    assert set(customer.users()) == mails_of(*range(1, 11))
    with pytest.raises(grpc.RpcError) as refused:
        customer.approve(held)
    assert failure_of(refused.value).reason == "RUN_STATE"


def test_r8_a_newer_file_expires_a_held_plan(customer, source_with_ten):
    held = customer.import_file(source_with_ten, people(1))

    assert outcome_of(customer.import_file(source_with_ten, people(*range(1, 12)))) == "applied"

    assert outcome_of(customer.get_run(held.name)).startswith("expired")
    with pytest.raises(grpc.RpcError) as refused:
        customer.approve(held)
    assert failure_of(refused.value).reason == "RUN_STATE"


def test_r8_an_approval_names_the_plan_that_was_shown(customer, source_with_ten):
    held = customer.import_file(source_with_ten, people(1))
    other = imports_pb2.ImportRun(name=held.name, plan_hash="0" * len(held.plan_hash))

    with pytest.raises(grpc.RpcError) as refused:
        customer.approve(other)

    assert failure_of(refused.value).reason == "PLAN_CHANGED"
    assert set(customer.users()) == mails_of(*range(1, 11))


def test_r8_a_change_that_was_not_shown_holds_an_approved_plan_again(customer, source_with_ten):
    held = customer.import_file(source_with_ten, people(1, 2, 11))
    customer.user("By hand meanwhile", "person11@example.org")  # what was a new person is now a takeover

    again = customer.approve(held)
    assert outcome_of(again).startswith("held")
    assert again.plan_hash != held.plan_hash
    assert set(customer.users()) == mails_of(*range(1, 12))

    assert outcome_of(customer.approve(again)) == "applied"
    assert set(customer.users()) == mails_of(1, 2, 11)


def test_r32_few_leavers_are_deleted_without_being_held(customer, source_with_ten):
    run = customer.import_file(source_with_ten, people(*range(1, 10)))

    assert outcome_of(run) == "applied"
    assert counts_of(run.counts) == {"rows": 9, "unchanged": 9, "deleted": 1}
    assert set(customer.users(deleted=True)) == mails_of(10)


TRUNCATED = b'UniqueID,Name,Mail\r\nEMP-0000001,Anna Berg,person1@example.org\r\nEMP-0000002,"Bo Da'
MANY_BAD = a_csv(*(a_row(number, Mail="" if number <= 6 else f"person{number}@example.org") for number in range(1, 11)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty_file"),
        (a_csv(columns=["UniqueID", "Name", "Mail"]), "empty_file"),
        (TRUNCATED, "truncated"),
        (a_csv(a_row(1), columns=["UniqueID", "Name"]), "missing_column:Mail"),
        (a_csv(a_row(1), columns=["UniqueID", "Name", "Mail", "Mail"]), "duplicate_header:Mail"),
        (b"one,two\r\n1,2\r\n", "no_header"),
        (MANY_BAD, "too_many_rejects"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_refused_file_changes_nothing_and_is_reported(customer, source_with_ten, smtp_sink, content, reason):
    before = customer.users()

    run = customer.import_file(source_with_ten, content)

    assert outcome_of(run) == f"refused {reason}"
    assert customer.users() == before
    assert reason in smtp_sink.wait_for(2, to=customer.report_to)[1].subject


def test_r9_a_file_of_mostly_bad_rows_counts_what_was_read(customer):
    run = customer.import_file(customer.source(), MANY_BAD)

    assert outcome_of(run) == "refused too_many_rejects"
    assert run.counts.rows == 10
    assert run.counts.rejected == 6
    assert sorted(customer.rejected(run)) == [(line, "mail_missing") for line in range(2, 8)]


def test_a_disabled_source_is_not_run(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, people(1))
    customer.system.sources.DisableSource(sources_pb2.DisableSourceRequest(name=source))

    with pytest.raises(grpc.RpcError) as refused:
        customer.run(source)

    assert failure_of(refused.value).reason == "SOURCE_STATE"
