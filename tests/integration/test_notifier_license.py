"""Who is warned, and when, that people get no seat (S5): with a directory that a test sets, and with the real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from muster.directory.v1 import licenses_pb2

from services.directory.rules.grants import Grant
from services.directory.store.session import Store
from services.notifier.marks import unmarked
from services.notifier.messages import MessageKind, MessageState
from tests.integration.directory.connection import connect
from tests.integration.directory.serving import Office, ServedDirectory, refused
from tests.unit.notifier.directory_double import TENANT, a_directory
from tests.unit.notifier.running import Notifier, to_files

REPORT_TO = "it@ingleby.example"


@pytest.fixture
def directory():
    with a_directory(REPORT_TO) as double:
        yield double


@pytest.fixture
def start(tmp_path):
    """Make a notifier on a directory."""
    made = []

    def start_notifier(directory):
        made.append(Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(tmp_path / "mail")))
        return made[-1]

    yield start_notifier
    for notifier in made:
        notifier.store.close()


def _follow_all(notifier, directory):
    notifier.follow_until(lambda: notifier.store.cursor() == str(len(directory.events)))
    return notifier.messages()


def _body(notifier, message):
    return unmarked(notifier.store.get(message.tenant, message.key).text)


def test_the_first_refusal_is_told_at_once_with_the_name(start, directory):
    notifier = start(directory)
    directory.license.seats_used = 10
    directory.refuse("ada@ingleby.example")
    (message,) = _follow_all(notifier, directory)
    assert (message.kind, message.recipient, message.state) == (MessageKind.LICENSE, REPORT_TO, MessageState.QUEUED)
    assert message.about == f"{TENANT}/license"
    assert message.subject == "[Ingleby Council] 1 person has no seat: 10 of 10 seats are taken"
    assert "  - ada@ingleby.example\n" in _body(notifier, message)


def test_a_cycle_of_many_refusals_sends_few_mails(start, directory):
    notifier = start(directory)
    directory.license.seats_used = 10

    def refuse_up_to(number):
        while len(directory.refusals) < number:
            directory.refuse(f"user{len(directory.refusals)}@ingleby.example")
        return _follow_all(notifier, directory)

    assert len(refuse_up_to(1)) == 1
    assert len(refuse_up_to(9)) == 1
    assert len(refuse_up_to(99)) == 2
    messages = refuse_up_to(120)
    assert len(messages) == 3
    assert len({message.message_id for message in messages}) == 3
    assert "  - user9@ingleby.example\n  and " in _body(notifier, messages[-1])


def test_an_event_of_the_past_whose_people_have_seats_now_is_passed_over(start, directory):
    notifier = start(directory)
    directory.refuse("ada@ingleby.example")
    directory.refusals.clear()
    assert _follow_all(notifier, directory) == []


def test_without_addresses_nobody_is_warned_and_the_stream_goes_on(start, directory):
    notifier = start(directory)
    directory.source.report_to[:] = []
    directory.refuse("ada@ingleby.example")
    directory.add_run("applied")
    assert _follow_all(notifier, directory) == []


@pytest.mark.parametrize(
    ("of_source", "of_tenant", "said"),
    [("sv", "en", "saknar plats"), ("", "sv", "saknar plats"), ("en", "sv", "no seat")],
)
def test_the_language_is_the_sources_else_the_tenants(start, directory, of_source, of_tenant, said):
    notifier = start(directory)
    directory.source.language, directory.tenant.language = of_source, of_tenant
    directory.refuse("ada@ingleby.example")
    (message,) = _follow_all(notifier, directory)
    assert said in message.subject


def test_a_warning_and_a_report_wait_for_a_directory_in_trouble_in_their_order(start, directory):
    notifier = start(directory)
    directory.failing["ListRefusals"] = grpc.StatusCode.UNAVAILABLE
    directory.refuse("ada@ingleby.example")
    directory.add_run("no_file")

    def recovers():
        if directory.calls.count("WatchEvents") > 3:
            directory.failing.clear()
        return len(notifier.messages()) == 2

    notifier.follow_until(recovers)
    assert [message.kind for message in notifier.messages()] == [MessageKind.LICENSE, MessageKind.NO_FILE]


def test_a_warning_that_cannot_be_made_is_a_failed_message_of_its_kind(start, directory):
    notifier = start(directory)
    directory.source.report_to[:] = ["a@x.example", "b@x.example"]
    directory.failing["GetTenant"] = grpc.StatusCode.NOT_FOUND
    directory.refuse("ada@ingleby.example")
    messages = _follow_all(notifier, directory)
    assert [(message.recipient, message.state, message.kind) for message in messages] == [
        ("a@x.example", MessageState.FAILED, MessageKind.LICENSE),
        ("b@x.example", MessageState.FAILED, MessageKind.LICENSE),
    ]
    assert messages[0].subject == "A warning about seats could not be made"


@dataclass
class Served:
    """The real directory, as the notifier reaches it."""

    directory: ServedDirectory
    token: str

    @property
    def address(self) -> str:
        return self.directory.target


@pytest.fixture
def served(databases, tmp_path) -> Iterator[Served]:
    url = databases.make("sqlite")
    store = Store(url)
    directory = ServedDirectory(store, tmp_path / "stages")
    yield Served(directory, directory.token(Grant.NOTIFIER))
    directory.stop()
    store.close()
    databases.drop(url)


def test_s5_whom_the_real_directory_refuses_its_administrators_hear_of_once_per_shortage(start, served):
    office = Office(served.directory.caller(Grant.SUPPORT), seats=1)
    connection = connect(served.directory, office, report_to=[REPORT_TO], language="sv")
    connection.create("ada@ingleby.example")
    for user_name in ("bo@ingleby.example", "cia@ingleby.example", "bo@ingleby.example"):
        with refused("LICENSE_LIMIT_REACHED"):
            connection.create(user_name)
    notifier = start(served)

    def warnings():  # besides the notices that the license is full
        return [message for message in notifier.messages(office.name) if "saknar plats" in message.subject]

    notifier.follow_until(lambda: bool(warnings()))
    (message,) = warnings()
    assert (message.kind, message.about, message.recipient) == (MessageKind.LICENSE, office.license, REPORT_TO)
    assert message.subject.endswith("2 personer saknar plats: 1 av 1 platser är upptagna")
    text = _body(notifier, message)
    assert "  - bo@ingleby.example\n  - cia@ingleby.example\n" in text
    assert f"muster license set --tenant {office.name} --seats 3" in text

    request = licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=3)
    office.support.licenses.UpdateLicense(request)
    for user_name in ("bo@ingleby.example", "cia@ingleby.example"):
        connection.create(user_name)
    with refused("LICENSE_LIMIT_REACHED"):
        connection.create("disa@ingleby.example")

    notifier.follow_until(lambda: len(warnings()) > 1)
    _, later = warnings()
    assert "  - disa@ingleby.example\n" in _body(notifier, later)
    assert later.message_id != message.message_id
