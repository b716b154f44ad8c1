"""A night from end to end: a CSV on an SFTP server becomes users, memberships and a report mail."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.builders import a_csv, a_row
from tests.stack.customer import FILE, Customer, counts_of, outcome_of

pytestmark = pytest.mark.mostly("postgresql")


def test_a_csv_by_sftp_becomes_users_groups_and_a_report(customer, sftp_folder, smtp_sink):
    akron = customer.group("Akron", account=customer.account("School"), group_id="AKRON")
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(a_row(1, Groups="AKRON", Title="Teacher"), a_row(2), a_row(3, Mail="")))

    run = customer.run(source)

    assert outcome_of(run) == "applied"
    assert counts_of(run.counts) == {"rows": 3, "created": 2, "rejected": 1}
    assert customer.rejected(run) == [(4, "mail_missing")]
    users = customer.users()
    assert set(users) == {"person1@example.org", "person2@example.org"}
    teacher = users["person1@example.org"]
    assert (teacher.title, teacher.external_id, teacher.owner) == ("Teacher", "EMP-0000001", source)
    assert list(teacher.account_display_names) == ["School"]
    assert customer.members(akron) == {"person1@example.org"}
    assert customer.seats()[1] == 2
    (mail,) = smtp_sink.wait_for(1, to=customer.report_to)
    assert "mail_missing" in mail.text
    assert "EMP-0000003" in mail.text
    assert mail.html


def test_the_second_night_follows_leavers_movers_and_changed_people(customer, sftp_folder, smtp_sink):
    north = customer.group("North", account=customer.account("North"), group_id="N")
    south = customer.group("South", account=customer.account("South"), group_id="S")
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(*(a_row(number, Groups="N") for number in range(1, 11))))
    first = customer.run(source)
    before = customer.users()

    stay = [a_row(number, Groups="N") for number in range(1, 7)]
    moved, renamed = a_row(7, Groups="S"), a_row(8, Groups="N", Mail="new8@example.org")
    sftp_folder.put(FILE, a_csv(*stay, moved, renamed, a_row(11, Groups="S")))
    second = customer.run(source)

    assert counts_of(first.counts) == {"rows": 10, "created": 10}
    assert outcome_of(second) == "applied"
    assert counts_of(second.counts) == {"rows": 9, "created": 1, "updated": 2, "unchanged": 6, "deleted": 2}
    users = customer.users()
    assert "person9@example.org" not in users
    assert users["new8@example.org"].name == before["person8@example.org"].name
    assert set(customer.users(deleted=True)) == {"person9@example.org", "person10@example.org"}
    assert customer.members(south) == {"person7@example.org", "person11@example.org"}
    assert customer.members(north) == {f"person{number}@example.org" for number in range(1, 7)} | {"new8@example.org"}
    assert list(users["person7@example.org"].account_display_names) == ["South"]
    assert customer.seats()[1] == 9
    assert len(smtp_sink.wait_for(2, to=customer.report_to)) == 2


def test_the_same_file_again_changes_nothing(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(a_row(1), a_row(2)))
    customer.run(source)
    before = customer.users()

    again = customer.run(source)

    assert (outcome_of(again), counts_of(again.counts)) == ("unchanged", {"rows": 2, "unchanged": 2})
    assert customer.users() == before


def test_a_manual_user_is_taken_over_and_other_manual_users_are_left_alone(customer, sftp_folder):
    by_hand = customer.group("Crisis staff")
    person = customer.user("Anna by hand", "person1@example.org", groups=[by_hand])
    customer.user("Guest", "guest@example.org")
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(a_row(1, Name="Anna Berg")))

    run = customer.run(source)

    assert counts_of(run.counts) == {"rows": 1, "updated": 1, "taken_over": 1}
    assert customer.warnings(run) == [(2, "taken_over")]
    users = customer.users()
    taken = users["person1@example.org"]
    assert (taken.name, taken.display_name, taken.owner) == (person.name, "Anna Berg", source)
    assert taken.password_reset_required
    assert customer.members(by_hand) == {"person1@example.org"}
    assert users["guest@example.org"].owner == ""


def test_a_trial_plans_and_reports_and_writes_only_after_the_go_ahead(customer, sftp_folder, smtp_sink):
    source = customer.source(sftp_folder, enabled=False)
    sftp_folder.put(FILE, a_csv(a_row(1), a_row(2)))

    trial = customer.run(source)
    assert outcome_of(trial) == "planned"
    assert counts_of(trial.plan) == {"rows": 2, "created": 2}
    assert counts_of(trial.counts) == {"rows": 2}
    assert customer.users() == {}
    assert customer.seats()[1] == 0
    smtp_sink.wait_for(1, to=customer.report_to)

    customer.enable(source)
    assert outcome_of(customer.run(source)) == "applied"
    assert len(customer.users()) == 2


def test_a_dry_run_plans_and_writes_and_mails_nothing(customer, sftp_folder, smtp_sink):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(a_row(1)))

    dry = customer.run(source, dry_run=True)
    assert outcome_of(dry) == "planned"
    assert customer.users() == {}

    customer.run(source)  # its report comes after the dry run's would have come
    (mail,) = smtp_sink.wait_for(1, to=customer.report_to)
    assert "1" in mail.text


def test_a_file_by_hand_takes_the_nightly_path(customer, smtp_sink):
    source = customer.source()

    run = customer.import_file(source, a_csv(a_row(1), a_row(2, UniqueID="short")))

    assert outcome_of(run) == "applied"
    assert counts_of(run.counts) == {"rows": 2, "created": 1, "rejected": 1}
    assert customer.rejected(run) == [(3, "id_length")]
    assert run.file.file_name == FILE
    smtp_sink.wait_for(1, to=customer.report_to)


def test_r35_people_without_a_seat_are_deferred_and_come_when_seats_are_bought(customer, sftp_folder, smtp_sink):
    customer.set_seats(2)
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(a_row(1), a_row(2), a_row(3), a_row(4)))

    first = customer.run(source)
    assert counts_of(first.counts) == {"rows": 4, "created": 2, "deferred": 2}
    assert customer.warnings(first) == [(4, "deferred_license"), (5, "deferred_license")]
    assert customer.seats() == (2, 2)
    smtp_sink.wait_for(1, to=customer.report_to)

    customer.set_seats(10)
    second = customer.run(source)
    assert counts_of(second.counts) == {"rows": 4, "created": 2, "unchanged": 2}
    assert customer.seats() == (10, 4)


def test_r44_two_runs_of_one_tenant_take_turns(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, a_csv(*(a_row(number) for number in range(1, 51))))

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(customer.run, [source, source]))

    assert {outcome_of(run) for run in runs} in ({"applied"}, {"applied", "unchanged"})  # the second asks early or late
    assert sorted(run.counts.created for run in runs) == [0, 50]
    assert customer.seats()[1] == 50


def test_two_tenants_at_once_do_not_see_each_other(system, sftp_server):
    customers = [Customer(system), Customer(system)]
    folders = [sftp_server.make_folder(), sftp_server.make_folder()]
    sources = [customer.source(folder) for customer, folder in zip(customers, folders, strict=True)]
    for folder in folders:
        folder.put(FILE, a_csv(*(a_row(number) for number in range(1, 301))))

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(Customer.run, customers, sources))

    assert [outcome_of(run) for run in runs] == ["applied", "applied"]
    for customer, source in zip(customers, sources, strict=True):
        users = customer.users()
        assert len(users) == 300
        assert {user.owner for user in users.values()} == {source}
        assert all(user.name.startswith(customer.tenant + "/") for user in users.values())
