"""Fetching from a customer's own server: logins, host keys, files that are absent, under way, or too large."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.builders import a_csv, a_row
from tests.stack.customer import FILE, outcome_of, status_of
from tests.stack.service import Service
from tests.stack.waiting import wait_until

pytestmark = pytest.mark.mostly("postgresql")

A_FILE = a_csv(a_row(1))


@pytest.fixture
def customer(customer_on_sqlite):
    return customer_on_sqlite


@pytest.mark.parametrize("login", ["password", "ed25519", "rsa", "ecdsa"])
def test_the_file_is_fetched_by_password_or_key(customer, sftp_folder, login):
    source = customer.source(sftp_folder, login=login)
    sftp_folder.put(FILE, A_FILE)

    assert outcome_of(customer.run(source)) == "applied"


@pytest.mark.long
def test_any_of_the_servers_host_keys_may_be_the_pinned_one(customer, sftp_folder):
    source = customer.source(sftp_folder, host_key=sftp_folder.server.host_keys[1])
    sftp_folder.put(FILE, A_FILE)

    assert outcome_of(customer.run(source)) == "applied"


def test_another_host_key_than_the_pinned_one_refuses_the_run(customer, sftp_folder, smtp_sink):
    source = customer.source(sftp_folder, host_key=customer.system.credentials.drop_host_key)
    sftp_folder.put(FILE, A_FILE)

    run = customer.run(source)

    assert outcome_of(run) == "refused host_key_changed"
    assert customer.users() == {}
    (mail,) = smtp_sink.wait_for(1, to=customer.report_to)
    assert "host_key_changed" in mail.subject


def test_without_a_pinned_host_key_the_run_is_refused(customer, sftp_folder):
    source = customer.source(sftp_folder, host_key="")
    sftp_folder.put(FILE, A_FILE)

    assert outcome_of(customer.run(source)) == "refused host_key_missing"


def test_a_wrong_login_fails_the_run(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, A_FILE)
    customer.change_source(source, "sftp.username", sftp={"username": "nobody"})

    assert outcome_of(customer.run(source)) == "failed login_failed"


def test_a_server_that_does_not_answer_fails_the_run(customer, sftp_folder):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        closed_port = reserved.getsockname()[1]
    source = customer.source(sftp_folder)
    customer.change_source(source, "sftp.port", sftp={"port": closed_port})

    assert outcome_of(customer.run(source)) == "failed connection_failed"


def test_r5_a_missing_file_is_reported_and_urgent_from_the_second_night_on(customer, sftp_folder, smtp_sink):
    source = customer.source(sftp_folder)

    runs = [customer.run(source), customer.run(source)]

    assert [outcome_of(run) for run in runs] == ["no_file", "no_file"]
    assert [run.nights_without_file for run in runs] == [1, 2]
    mails = smtp_sink.wait_for(2, to=customer.report_to)
    assert [mail.message["Importance"] for mail in mails] == [None, "high"]


def test_r1_a_file_beside_its_upload_under_way_is_not_fetched(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, A_FILE)
    sftp_folder.put(f"{FILE}.tmp", b"half of a new")

    assert outcome_of(customer.run(source)) == "refused unstable_file"
    assert customer.users() == {}

    sftp_folder.remove(f"{FILE}.tmp")
    assert outcome_of(customer.run(source)) == "applied"


def test_r1_a_file_whose_upload_ends_meanwhile_is_fetched_whole(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, A_FILE, age_s=None)
    unstable_before = customer.system.log_of(Service.IMPORTER).count("sftp.unstable")

    with ThreadPoolExecutor(1) as thread:
        with _growing(sftp_folder):
            night = thread.submit(customer.run, source)
            wait_until(
                lambda: customer.system.log_of(Service.IMPORTER).count("sftp.unstable") > unstable_before,
                what="the importer to see two different files",
            )
        run = night.result(60)

    assert outcome_of(run) == "applied"
    assert run.file.size_bytes == sftp_folder.stat(FILE).st_size
    assert len(customer.users()) == run.counts.rows > 1


def test_r1_a_file_that_never_stops_growing_is_refused(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, A_FILE, age_s=None)

    with _growing(sftp_folder):
        run = customer.run(source)

    assert outcome_of(run) == "refused unstable_file"
    assert customer.users() == {}


@contextmanager
def _growing(folder):
    ended = threading.Event()

    def grow():
        number = 2
        while not ended.wait(0.1):
            folder.append(FILE, b"EMP-%07d,Bo Dahl,person%d@example.org\r\n" % (number, number))
            number += 1

    with ThreadPoolExecutor(1) as thread:
        growth = thread.submit(grow)
        try:
            yield
        finally:
            ended.set()
            growth.result(10)


def test_r7_a_file_over_the_sources_size_is_refused_by_its_stat(customer, sftp_folder):
    source = customer.source(sftp_folder, max_file_bytes=2_000)
    sftp_folder.put(FILE, a_csv(*(a_row(number) for number in range(1, 101))))

    assert outcome_of(customer.run(source)) == "refused too_large"


def test_a_file_is_deleted_after_it_was_applied_and_only_then(customer, sftp_folder):
    source = customer.source(sftp_folder, delete_after_processing=True)

    sftp_folder.put(FILE, b"")
    assert status_of(customer.run(source)) == "refused"
    assert sftp_folder.names() == [FILE]

    sftp_folder.put(FILE, A_FILE)
    assert status_of(customer.run(source)) == "applied"
    assert sftp_folder.names() == []


def test_nothing_of_a_file_is_left_in_the_importers_folder(customer, sftp_folder):
    source = customer.source(sftp_folder)
    sftp_folder.put(FILE, A_FILE)
    customer.run(source)

    assert list((customer.system.folder / "incoming").iterdir()) == []
