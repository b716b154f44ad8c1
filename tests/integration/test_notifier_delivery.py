"""Mails leave by SMTP or as files; refusals, delays and outages lose none."""

from __future__ import annotations

import asyncio
from email import message_from_bytes, policy

import pytest
from muster.directory.v1 import imports_pb2

from services.notifier.messages import Bundle, Draft, MessageKind, MessageState
from services.notifier.smtp import SmtpTransport
from tests.stack.smtp import DEFERRED, REFUSED, SmtpSink
from tests.unit.notifier.directory_double import a_directory
from tests.unit.notifier.running import Notifier, smtp_settings, to_files

TO = "hr@ingleby.example"
TENANT = "tenants/ten_000017"


class _Sink(SmtpSink):
    """Also answers recipients as the test wants."""

    answers: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.answers = {}

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
def sink():
    with _Sink() as server:
        yield server


@pytest.fixture
def directory():
    with a_directory(TO) as double:
        yield double


@pytest.fixture
def notifier(directory, sink, tmp_path):
    transport = SmtpTransport(smtp_settings(sink.host, sink.port))
    made = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, transport)
    yield made
    made.store.close()


def _queue(notifier, *recipients, number=1, **changes):
    drafts = [
        Draft(
            **{
                "recipient": recipient,
                "kind": MessageKind.REPORT,
                "message_id": f"<{number}.{index}@vendor.example>",
                "subject": "Ärendet",
                "text": "Hej",
                "html": "<p>Hej</p>",
            }
            | changes
        )
        for index, recipient in enumerate(recipients)
    ]
    notifier.store.queue([Bundle(TENANT, f"evt_{number}", "run", drafts)], now=notifier.clock())


def _states(notifier):
    return [(message.state, message.attempts) for message in notifier.messages()]


def test_a_report_arrives_as_text_html_and_attachment(notifier, directory, sink):
    run = directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=1, rejected=1))
    directory.issues[run] = [
        imports_pb2.ImportIssue(
            line=2, key="=EMP", severity=imports_pb2.ISSUE_SEVERITY_REJECTED, code="id_length", column="UniqueID"
        )
    ]
    notifier.follow_until(lambda: [m.state for m in notifier.messages()] == [MessageState.SENT], send=True)
    (mail,) = sink.mails(TO)
    assert mail.sender == "muster@vendor.example"
    assert mail.message["From"] == "Muster <muster@vendor.example>"
    assert mail.message["To"] == TO
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Date"] is not None
    assert mail.message["X-Priority"] is None
    assert mail.message_id.endswith("@vendor.example>")
    assert "1 row rejected" in mail.subject
    assert "Line 2 · '=EMP" in mail.text
    assert "<html lang=" in mail.html
    (attachment,) = mail.message.iter_attachments()
    assert attachment.get_filename() == "rejected-rows.csv"
    assert "2,'=EMP,UniqueID,id_length," in attachment.get_content()


def test_r5_an_urgent_report_says_so_in_its_headers(notifier, directory, sink):
    directory.add_run("no_file", nights_without_file=2)
    notifier.follow_until(lambda: bool(sink.mails(TO)), send=True)
    (mail,) = sink.mails(TO)
    assert (mail.message["X-Priority"], mail.message["Importance"]) == ("1", "high")
    assert "URGENT" in mail.subject


def test_a_refusal_by_the_server_is_final(notifier, sink):
    sink.answer = REFUSED
    _queue(notifier, TO)
    notifier.drain()
    notifier.clock.pass_by(days=1)
    notifier.drain()
    (message,) = notifier.messages()
    assert (message.state, message.attempts) == (MessageState.FAILED, 1)
    assert message.last_error == "550 5.7.1 refused by the test"


def test_a_refused_recipient_does_not_touch_the_others(notifier, sink):
    sink.answers["gone@x.example"] = "550 5.1.1 nobody here"
    sink.answers["full@x.example"] = "452 4.2.2 mailbox full"
    _queue(notifier, "gone@x.example", "full@x.example", TO)
    notifier.drain()
    assert [message.state for message in notifier.messages()] == [
        MessageState.FAILED,
        MessageState.QUEUED,
        MessageState.SENT,
    ]


def test_a_message_put_off_by_the_server_is_sent_later_with_the_same_message_id(notifier, sink):
    sink.answer = DEFERRED
    _queue(notifier, TO)
    notifier.drain()
    notifier.drain()
    assert _states(notifier) == [(MessageState.QUEUED, 1)]
    notifier.clock.pass_by(minutes=1)
    notifier.drain()
    assert _states(notifier) == [(MessageState.QUEUED, 2)]
    sink.answer = "250 OK"
    notifier.clock.pass_by(minutes=1)
    notifier.drain()
    assert _states(notifier) == [(MessageState.QUEUED, 2)]
    notifier.clock.pass_by(minutes=1)
    notifier.drain()
    assert _states(notifier) == [(MessageState.SENT, 3)]
    (mail,) = sink.mails(TO)
    assert mail.message_id == "<1.0@vendor.example>"
    assert mail.subject == "Ärendet"


def test_a_message_that_is_put_off_for_days_is_given_up(notifier, sink):
    sink.answer = DEFERRED
    _queue(notifier, TO)
    notifier.drain()
    notifier.clock.pass_by(days=5)
    notifier.drain()
    (message,) = notifier.messages()
    assert message.state == MessageState.FAILED
    assert message.last_error == "given up after 5 days: 451 4.3.0 try again later"


def test_a_server_that_is_down_is_left_alone_for_a_while_and_nothing_is_lost(notifier, sink):
    sink.go_away()
    _queue(notifier, TO, "b@x.example", "c@x.example")
    notifier.drain()
    assert _states(notifier) == [(MessageState.QUEUED, 1), (MessageState.QUEUED, 0), (MessageState.QUEUED, 0)]
    notifier.drain()  # its time has not come
    assert _states(notifier)[0] == (MessageState.QUEUED, 1)
    for _ in range(60):  # an hour
        notifier.clock.pass_by(minutes=1)
        notifier.drain()
    assert all(message.state == MessageState.QUEUED for message in notifier.messages())
    sink.come_back()
    notifier.clock.pass_by(minutes=5)
    notifier.drain()
    assert all(message.state == MessageState.SENT for message in notifier.messages())
    assert len(sink.mails(TO)) == 1


def test_a_login_that_is_refused_costs_no_message(notifier, directory, sink, tmp_path):
    transport = SmtpTransport(smtp_settings(sink.host, sink.port, smtp_username="u", smtp_password="p"))
    made = Notifier(f"sqlite:///{tmp_path}/other.db", directory, transport)
    _queue(made, TO)
    made.drain()
    (message,) = made.messages()
    made.store.close()
    assert message.state == MessageState.QUEUED
    assert message.last_error
    assert sink.mails(TO) == []


def test_a_server_without_starttls_gets_nothing_in_the_open(notifier, directory, sink, tmp_path):
    settings = smtp_settings(sink.host, sink.port).model_copy(update={"smtp_tls": "starttls"})
    made = Notifier(f"sqlite:///{tmp_path}/other.db", directory, SmtpTransport(settings))
    _queue(made, TO)
    made.drain()
    assert [message.state for message in made.messages()] == [MessageState.QUEUED]
    made.store.close()
    assert sink.mails(TO) == []


@pytest.mark.parametrize("recipient", ["a@x.example\r\nBcc: b@x.example", "not an address", "a@b@c", "<>", "a@", ""])
def test_an_address_that_is_none_fails_alone_and_adds_no_header(notifier, sink, recipient):
    _queue(notifier, recipient, TO)
    notifier.drain()
    assert [message.state for message in notifier.messages()] == [MessageState.FAILED, MessageState.SENT]
    assert sink.mails("b@x.example") == []


def test_an_attempt_under_way_ends_before_the_outbox_does(notifier, sink):
    _queue(notifier, *(f"p{number}@x.example" for number in range(30)))

    async def stop_in_the_middle():
        outbox = asyncio.create_task(notifier._make_outbox().run())
        await asyncio.to_thread(sink.wait_for, 1, to="p3@x.example")
        outbox.cancel()
        await asyncio.gather(outbox, return_exceptions=True)

    asyncio.run(stop_in_the_middle())
    notifier.drain()
    assert [len(sink.mails(f"p{number}@x.example")) for number in range(30)] == [1] * 30


def test_without_smtp_a_mail_is_a_file_that_any_mail_client_reads(directory, tmp_path):
    folder = tmp_path / "mail"
    notifier = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(folder))
    directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=1, created=1))
    notifier.follow_until(lambda: [m.state for m in notifier.messages()] == [MessageState.SENT], send=True)
    (file,) = folder.iterdir()
    mail = message_from_bytes(file.read_bytes(), policy=policy.default)
    (message,) = notifier.messages()
    notifier.store.close()
    assert file.name == message.message_id.strip("<>").partition("@")[0] + ".eml"
    assert mail["Message-ID"] == message.message_id
    assert "1 new, 0 changed, 0 deleted" in mail["Subject"]
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert text.get_content().startswith("The register has been updated.")
    assert html is not None


def test_a_repeat_replaces_its_file(directory, tmp_path):
    folder = tmp_path / "mail"
    notifier = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(folder))
    _queue(notifier, TO)
    notifier.drain()
    key = notifier.messages()[0].key
    assert notifier.store.queue_again(TENANT, key, now=notifier.clock()) is not None  # as if killed before the mark
    notifier.drain()
    notifier.store.close()
    assert [path.name for path in folder.iterdir()] == ["1.0.eml"]


def test_a_disk_that_takes_nothing_loses_nothing(directory, tmp_path):
    in_the_way = tmp_path / "mail"
    in_the_way.write_text("a file where the folder should be")
    notifier = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(in_the_way))
    _queue(notifier, TO)
    notifier.drain()
    assert _states(notifier) == [(MessageState.QUEUED, 1)]
    in_the_way.unlink()
    notifier.clock.pass_by(minutes=1)
    notifier.drain()
    assert _states(notifier) == [(MessageState.SENT, 2)]
    notifier.store.close()
