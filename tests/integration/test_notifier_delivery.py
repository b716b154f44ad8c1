"""Mails leave by SMTP or as files; refusals, delays and outages lose none."""

from __future__ import annotations

import asyncio
import threading
from email import message_from_bytes, policy

import pytest
from muster.directory.v1 import imports_pb2

from services.notifier.deliver import LinkLaterError, LinkMissingError, ObsoleteError
from services.notifier.marks import LINK
from services.notifier.messages import Bundle, Draft, MessageKind, MessageState
from services.notifier.safe import plain
from services.notifier.smtp import SmtpTransport
from tests.stack.smtp import DEFERRED, REFUSED, SmtpSink
from tests.stack.smtp_faults import DROP, FaultySink, SecureSink, Step, self_signed
from tests.unit.notifier.directory_double import a_directory
from tests.unit.notifier.pages import HOSTILE
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


@pytest.mark.long
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


def test_bounces_go_where_they_are_read(directory, sink, tmp_path):
    settings = smtp_settings(sink.host, sink.port, bounce_address="bounces@vendor.example")
    made = Notifier(f"sqlite:///{tmp_path}/other.db", directory, SmtpTransport(settings))
    _queue(made, TO)
    made.drain()
    made.store.close()
    (mail,) = sink.mails(TO)
    assert (mail.sender, mail.message["From"]) == ("bounces@vendor.example", "Muster <muster@vendor.example>")


@pytest.fixture
def faulty():
    with FaultySink() as server:
        yield server


@pytest.fixture
def careful(directory, faulty, tmp_path):
    """A notifier before a mail server that fails as the test wants."""
    made = Notifier(
        f"sqlite:///{tmp_path}/careful.db",
        directory,
        SmtpTransport(smtp_settings(faulty.host, faulty.port, smtp_timeout_s=0.5)),
    )
    yield made
    made.store.close()


def _once(step, answer):
    """Answer so at the first such step, and go on at all others."""
    answers = {step: [answer]}
    return lambda now, _recipient: answers[now].pop() if answers.get(now) else None


@pytest.mark.parametrize("step", [Step.CONNECTED, Step.SENDER, Step.RECIPIENT])
def test_a_connection_that_is_cut_before_the_mail_leaves_no_doubt(careful, faulty, step):
    faulty.at_step = _once(step, DROP)
    _queue(careful, TO, "b@x.example")
    careful.drain()
    careful.clock.pass_by(seconds=5)
    careful.drain()
    assert [(message.state, message.possible_repeats) for message in careful.messages()] == 2 * [(MessageState.SENT, 0)]
    assert len(faulty.everything()) == 2


@pytest.mark.parametrize(("step", "arrived"), [(Step.DATA, 1), (Step.WHOLE, 2)])
def test_a_connection_that_is_cut_in_the_midst_of_a_mail_leaves_a_doubt_that_is_counted(careful, faulty, step, arrived):
    faulty.at_step = _once(step, DROP)
    _queue(careful, TO, "b@x.example")
    careful.drain()
    assert _states(careful) == [(MessageState.QUEUED, 1), (MessageState.SENT, 1)]  # the other one does not wait
    careful.clock.pass_by(seconds=5)
    careful.drain()
    first = careful.messages()[0]
    assert (first.state, first.attempts, first.possible_repeats) == (MessageState.SENT, 2, 1)
    assert [mail.message_id for mail in faulty.mails(TO)] == arrived * ["<1.0@vendor.example>"]


def test_a_server_that_falls_silent_is_not_waited_for(careful, faulty):
    silent = threading.Event()
    faulty.at_step = lambda step, _: silent.wait(3) and None if step is Step.SENDER else None
    _queue(careful, TO)
    careful.drain()
    silent.set()
    (message,) = careful.messages()
    assert (message.state, message.possible_repeats) == (MessageState.QUEUED, 0)
    faulty.at_step = lambda _step, _recipient: None
    careful.clock.pass_by(minutes=1)
    careful.drain()
    assert _states(careful) == [(MessageState.SENT, 2)]


def test_a_server_that_greylists_gets_each_mail_again_and_takes_it(careful, faulty):
    seen = set()

    def greylist(step, recipient):
        if step is not Step.RECIPIENT or recipient in seen:
            return None
        seen.add(recipient)
        return "451 4.7.1 greylisted, come back"

    faulty.at_step = greylist
    recipients = [f"p{number}@x.example" for number in range(25)]
    _queue(careful, *recipients)
    for _ in range(12):  # of troubles alone it takes ten at a time, and leaves the server alone between
        careful.drain()
        careful.clock.pass_by(minutes=2)
    assert all(message.state == MessageState.SENT for message in careful.messages())
    assert sorted(mail.recipients[0] for mail in faulty.everything()) == sorted(recipients)


def test_a_server_that_wants_less_is_not_asked_a_thousand_times(careful, faulty):
    faulty.at_step = lambda step, _: "451 4.7.0 too much" if step is Step.SENDER else None
    _queue(careful, *(f"p{number}@x.example" for number in range(50)))
    careful.drain()
    careful.drain()
    assert sum(message.attempts for message in careful.messages()) == 10


def test_one_mail_that_always_breaks_the_connection_holds_up_no_other(careful, faulty):
    faulty.at_step = lambda step, recipient: DROP if step is Step.DATA and recipient == TO else None
    _queue(careful, TO, *(f"p{number}@x.example" for number in range(5)))
    careful.drain()
    assert [message.state for message in careful.messages()] == [MessageState.QUEUED, *5 * [MessageState.SENT]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate for this machine, and the file that one trusts it by."""
    return self_signed(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("way", ["starttls", "tls"])
def test_a_mail_goes_by_tls_with_a_login(directory, tmp_path, authority, way):
    with SecureSink(authority, way=way, username="muster", password="secret") as server:
        settings = smtp_settings(
            "localhost", server.port, smtp_username="muster", smtp_password="secret", smtp_ca_file=authority.certificate
        ).model_copy(update={"smtp_tls": way})
        made = Notifier(f"sqlite:///{tmp_path}/other.db", directory, SmtpTransport(settings))
        _queue(made, TO)
        made.drain()
        (message,) = made.messages()
        made.store.close()
        assert (message.state, message.last_error) == (MessageState.SENT, "")
        assert len(server.mails(TO)) == 1


def test_a_server_that_nobody_vouches_for_gets_nothing(directory, tmp_path, authority):
    with SecureSink(authority, way="tls", username="muster", password="secret") as server:
        settings = smtp_settings("localhost", server.port).model_copy(update={"smtp_tls": "tls"})
        made = Notifier(f"sqlite:///{tmp_path}/other.db", directory, SmtpTransport(settings))
        _queue(made, TO)
        made.drain()
        assert [message.state for message in made.messages()] == [MessageState.QUEUED]
        made.store.close()
        assert server.everything() == []


def _link(answer):
    async def link_of(_message):
        if isinstance(answer, Exception):
            raise answer
        return answer

    return link_of


def _drain_with_link(notifier, answer):
    notifier.link_of = _link(answer)
    notifier.drain()


def test_a_link_is_put_in_when_the_mail_goes_and_kept_nowhere(notifier, sink):
    _queue(notifier, TO, text=f"Open {LINK}", html=f'<a href="{LINK}">Open</a>')
    _drain_with_link(notifier, "https://login.example/?token=abc&x=1")
    (mail,) = sink.mails(TO)
    assert mail.text.rstrip() == "Open https://login.example/?token=abc&x=1"
    assert 'href="https://login.example/?token=abc&amp;x=1"' in mail.html
    (message,) = notifier.messages()
    kept = notifier.store.get(TENANT, message.key)
    assert "token" not in f"{kept.text} {kept.html} {kept.last_error}"


@pytest.mark.parametrize(
    ("trouble", "state"),
    [
        (ObsoleteError("revoked"), MessageState.OBSOLETE),
        (LinkMissingError("no accept_url"), MessageState.FAILED),
        (LinkLaterError("down"), MessageState.QUEUED),
    ],
)
def test_a_mail_whose_link_cannot_be_had_does_not_go_and_holds_up_no_other(notifier, sink, trouble, state):
    _queue(notifier, TO, text=f"Open {LINK}")
    _drain_with_link(notifier, trouble)
    (message,) = notifier.messages()
    assert (message.state, message.last_error) == (state, str(trouble))
    _queue(notifier, "b@x.example", number=2)
    _drain_with_link(notifier, "")
    assert [len(sink.mails(to)) for to in (TO, "b@x.example")] == [0, 1]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_value_can_add_a_header_or_a_part(notifier, sink, number):
    _queue(notifier, TO, subject=plain(f"[X] {HOSTILE[number]}"), text=HOSTILE[number], html="<p>x</p>")
    notifier.drain()
    (mail,) = sink.mails(TO)
    assert mail.message["Bcc"] is None
    assert mail.recipients == (TO,)
    assert [part.get_content_type() for part in mail.message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
