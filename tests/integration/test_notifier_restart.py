"""The notifier as a process: killed at any moment it neither loses nor repeats a report, and it ends when told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from muster.runtime.client import wait_until_serving

from tests.stack.smtp import SmtpSink
from tests.stack.waiting import wait_until
from tests.unit.notifier.directory_double import NOTIFIER_TOKEN, a_directory

TO = "hr@ingleby.example"


@pytest.fixture
def directory():
    with a_directory(TO) as double:
        yield double


@pytest.fixture
def sink():
    with SmtpSink() as server:
        yield server


@pytest.fixture
def start(directory, sink, tmp_path):
    """Start the notifier on the same store as before; gives the process and where it answers."""
    started = []

    def start_process(**settings):
        environment = {
            **os.environ,
            "NOTIFIER_DIRECTORY": directory.address,
            "NOTIFIER_TOKEN": NOTIFIER_TOKEN,
            "NOTIFIER_DATABASE_URL": f"sqlite:///{tmp_path}/notifier.db",
            "NOTIFIER_SENDER": "muster@vendor.example",
            "NOTIFIER_SMTP_HOST": sink.host,
            "NOTIFIER_SMTP_PORT": str(sink.port),
            "NOTIFIER_SMTP_TLS": "none",
            "NOTIFIER_SMTP_TIMEOUT_S": "2",  # what a killed one had begun is tried again after 5 s
            "NOTIFIER_EXIT_WITH_STDIN": "true",
            **settings,
        }
        with (tmp_path / "notifier.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.notifier.app"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["listening"]

    yield start_process
    for process in started:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            pipe.close()


def test_a_notifier_that_is_killed_neither_loses_nor_repeats_a_report(start, directory, sink):
    process, address = start()
    wait_until_serving(address, timeout_s=20)
    directory.add_run("applied")
    sink.wait_for(1, to=TO)
    for round_number in range(3):
        for _ in range(20):
            directory.add_run("applied")
        sink.wait_for(1 + 20 * round_number + 3, to=TO)
        process.kill()
        process.wait()
        directory.add_run("held", reason="delete_limit")  # while nobody listens
        process, _ = start()
        wait_until(lambda: len({mail.message_id for mail in sink.mails(TO)}) == len(directory.runs))
    identifiers = [mail.message_id for mail in sink.mails(TO)]
    # SMTP's own ambiguity: a kill between the server's yes and our note repeats that mail, recognisably.
    assert len(identifiers) - len(set(identifiers)) <= 3


@pytest.mark.long
def test_reports_wait_while_the_mail_server_and_the_directory_are_away(start, directory, sink):
    sink.go_away()
    directory.add_run("applied")
    process, _ = start()
    wait_until(lambda: "GetLicense" in directory.calls)
    process.kill()
    process.wait()
    directory.go_away()
    _, address = start()
    wait_until_serving(address, timeout_s=20)
    directory.come_back()
    directory.add_run("held", reason="delete_limit")
    sink.come_back()
    mails = sink.wait_for(2, to=TO)
    assert len({mail.message_id for mail in mails}) == 2


@pytest.mark.parametrize("way", ["sigterm", "sigint", "stdin"])
def test_it_ends_cleanly_when_told_to(start, way):
    process, address = start()
    wait_until_serving(address, timeout_s=20)
    if way == "stdin":
        process.stdin.close()
    else:
        process.send_signal(signal.SIGTERM if way == "sigterm" else signal.SIGINT)
    assert process.wait(timeout=10) == 0


def test_it_names_the_setting_that_is_missing():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFIER_")}
    ended = subprocess.run(
        [sys.executable, "-m", "services.notifier.app"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2
    assert "NOTIFIER_TOKEN: Field required" in ended.stderr
    assert "NOTIFIER_DIRECTORY" in ended.stderr
    assert "Traceback" not in ended.stderr
