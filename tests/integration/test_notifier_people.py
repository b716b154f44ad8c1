"""What is written to people, to whom, in which order, and what is left of it once they are erased."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from muster.directory.v1 import imports_pb2, users_pb2

from services.notifier.marks import LINK, unmarked
from services.notifier.messages import MessageKind, MessageState
from tests.unit.notifier.directory_double import SOURCE, TENANT, a_directory
from tests.unit.notifier.running import START, Notifier, to_files

REPORT_TO = "hr@ingleby.example"
RUN = f"{TENANT}/importRuns/run_000001"


@pytest.fixture
def directory():
    with a_directory(REPORT_TO) as double:
        yield double


@pytest.fixture
def notifier(directory, tmp_path):
    made = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(tmp_path / "mail"))
    yield made
    made.store.close()


def _follow_all(notifier, directory):
    notifier.follow_until(lambda: notifier.store.cursor() == str(len(directory.events)))
    return notifier.messages()


def _body(notifier, message):
    return unmarked(notifier.store.get(message.tenant, message.key).text)


def test_r36_an_invitation_has_its_person_its_tenant_and_a_place_for_its_link(notifier, directory):
    ada = directory.add_user("ada@x.example", display_name="Ada Byron")
    invitation = f"{TENANT}/invitations/inv_000001"
    directory.add_event("invitation.created", invitation, user=ada)
    directory.add_event("invitation.resent", invitation, user=ada)
    first, again = _follow_all(notifier, directory)
    assert (first.kind, first.recipient, first.about) == (MessageKind.INVITATION, "ada@x.example", invitation)
    assert first.subject == "[Ingleby Council] Choose your password"
    assert again.subject == "[Ingleby Council] Reminder: choose your password"
    text = _body(notifier, first)
    assert "Hello Ada Byron," in text
    assert f"Choose a password:\n  {LINK}" in text
    assert "works until 2026-03-30" in text
    assert first.message_id != again.message_id


def test_r27_who_was_taken_over_by_a_file_is_told_to_log_in_again_and_by_scim_is_not(notifier, directory):
    ada, bo = (directory.add_user(f"{name}@x.example", owner=SOURCE) for name in ("ada", "bo"))
    directory.add_event("user.taken_over", ada, actor=SOURCE, import_run=RUN)
    directory.add_event("user.taken_over", bo, actor=SOURCE)
    (message,) = _follow_all(notifier, directory)
    assert (message.kind, message.recipient) == (MessageKind.LOGIN_AGAIN, "ada@x.example")
    assert "Your old password no longer works" in _body(notifier, message)
    assert "(Staff file)" in _body(notifier, message)


def test_r36_a_changed_mail_is_told_to_both_addresses_and_neither_learns_the_other(notifier, directory):
    ada = directory.add_user("ada.byron@x.example")
    directory.change_mail(ada, "lovelace@y.example")
    directory.add_event("user.updated", ada, before={"title": "Cook"}, title="Teacher")
    directory.add_event("user.updated", ada, before={"email": "Lovelace@y.example"}, email="lovelace@y.example")
    old, new = _follow_all(notifier, directory)
    assert [(message.kind, message.recipient) for message in (old, new)] == [
        (MessageKind.MAIL_CHANGED, "ada.byron@x.example"),
        (MessageKind.MAIL_CHANGED, "lovelace@y.example"),
    ]
    assert "Address now: l***@y***.example" in _body(notifier, old)
    assert "lovelace" not in _body(notifier, old)
    assert "Address before: a***@x***.example" in _body(notifier, new)
    assert "ada.byron" not in _body(notifier, new)


def test_a_forgotten_password_goes_before_a_report_and_a_report_before_invitations(notifier, directory, tmp_path):
    ada = directory.add_user("ada@x.example")
    directory.change_mail(ada, "b@x.example")
    for number in range(3):
        directory.add_event("invitation.created", f"{TENANT}/invitations/inv_{number}", user=ada)
    directory.add_run("applied")
    directory.add_event("user.password_reset_requested", ada)
    _follow_all(notifier, directory)
    lease = timedelta(minutes=5)
    turns = [notifier.store.take_turns((), wanted=1, now=START, lease=lease)[0].kind for _ in range(7)]
    assert turns == [MessageKind.PASSWORD_RESET, MessageKind.REPORT, *2 * [MessageKind.MAIL_CHANGED],
                     *3 * [MessageKind.INVITATION]]  # fmt: skip


@pytest.mark.parametrize("state", [users_pb2.USER_STATE_DELETED, users_pb2.USER_STATE_DORMANT])
def test_nobody_is_written_to_who_has_left(notifier, directory, state):
    ada = directory.add_user("ada@x.example", state=state)
    directory.add_event("invitation.created", f"{TENANT}/invitations/inv_1", user=ada)
    directory.add_event("user.taken_over", ada, import_run=RUN)
    assert _follow_all(notifier, directory) == []


def test_an_event_that_is_read_too_late_is_not_worth_a_letter(notifier, directory):
    ada = directory.add_user("ada@x.example")
    directory.add_event("user.password_reset_requested", ada)
    notifier.clock.pass_by(hours=25)
    assert _follow_all(notifier, directory) == []


def test_a_thousand_invitations_cost_few_calls_and_few_transactions(notifier, directory):
    for number in range(1_000):
        user = directory.add_user(f"p{number}@x.example")
        directory.add_event("invitation.created", f"{TENANT}/invitations/inv_{number}", user=user)
    assert len(_follow_all(notifier, directory)) == 1_000
    assert directory.calls.count("BatchGetUsers") < 60
    assert directory.calls.count("GetUser") < 60
    assert directory.calls.count("GetTenant") < 60


def test_the_language_is_the_owners_else_the_tenants(notifier, directory):
    directory.source.language = "sv"
    ada = directory.add_user("ada@x.example", owner=SOURCE)
    bo = directory.add_user("bo@x.example")
    directory.add_event("invitation.created", f"{TENANT}/invitations/inv_1", user=ada)
    directory.add_event("invitation.created", f"{TENANT}/invitations/inv_2", user=bo)
    assert ["lösenord" in message.subject for message in _follow_all(notifier, directory)] == [True, False]


def test_one_person_who_cannot_be_read_blocks_no_other(notifier, directory):
    bo = directory.add_user("bo@x.example")
    directory.add_event("invitation.created", f"{TENANT}/invitations/inv_1", user=f"{TENANT}/users/usr_gone")
    directory.add_event("invitation.created", f"{TENANT}/invitations/inv_2", user=bo)
    failed, queued = _follow_all(notifier, directory)
    assert (failed.kind, failed.state, failed.subject) == (
        MessageKind.INVITATION,
        MessageState.FAILED,
        "An invitation could not be made",
    )
    assert (queued.recipient, queued.state) == ("bo@x.example", MessageState.QUEUED)


def test_a_directory_in_trouble_delays_letters_and_loses_none(notifier, directory):
    ada = directory.add_user("ada@x.example")
    directory.failing["GetTenant"] = grpc.StatusCode.UNAVAILABLE
    directory.change_mail(ada, "b@x.example")

    def recovers():
        if directory.calls.count("WatchEvents") > 2:
            directory.failing.clear()
        return len(notifier.messages()) == 2

    notifier.follow_until(recovers)


def test_who_is_erased_is_gone_from_letters_and_reports(notifier, directory):
    ada, bo = (directory.add_user(f"{name}@x.example", display_name=name.title()) for name in ("ada", "bo"))
    run = directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=1, created=1))
    directory.changes[run] = [
        imports_pb2.ImportChange(action=imports_pb2.CHANGE_ACTION_CREATE, display_name="Ada", user=ada)
    ]
    other = directory.add_run("applied")
    for user in (ada, bo):
        directory.add_event("invitation.created", f"{TENANT}/invitations/inv_{user[-1]}", user=user)
    _follow_all(notifier, directory)
    notifier.drain()
    assert all("Ada" in _body(notifier, message) for message in notifier.messages() if message.about == run)
    directory.add_event("user.erased", ada)
    messages = _follow_all(notifier, directory)
    assert len(messages) == 4
    texts = {message.about: (message.recipient, bool(_body(notifier, message))) for message in messages}
    assert texts == {
        run: (REPORT_TO, True),
        other: (REPORT_TO, True),
        f"{TENANT}/invitations/inv_1": ("", False),
        f"{TENANT}/invitations/inv_2": ("bo@x.example", True),
    }
    for message in notifier.messages():
        kept = notifier.store.get(message.tenant, message.key)
        assert "ada" not in f"{kept.recipient} {kept.subject} {kept.text} {kept.html}".casefold()
