"""Which run is reported to whom, and what of the directory's figures the report carries."""

from __future__ import annotations

from datetime import UTC, datetime

import grpc
import pytest
from muster.directory.v1 import imports_pb2, sources_pb2

from services.notifier import report
from services.notifier.marks import unmarked
from services.notifier.messages import Bundle, MessageKind, MessageState
from tests.unit.notifier.directory_double import a_directory
from tests.unit.notifier.running import Notifier, to_files

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
REPORT_TO = "hr@ingleby.example"
UPDATE, CREATE, DELETE = (
    imports_pb2.CHANGE_ACTION_UPDATE,
    imports_pb2.CHANGE_ACTION_CREATE,
    imports_pb2.CHANGE_ACTION_DELETE,
)


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


@pytest.mark.parametrize("status", ["applied", "held", "refused", "no_file", "failed"])
def test_every_outcome_that_wants_attention_is_reported(notifier, directory, status):
    run = directory.add_run(status)
    (message,) = _follow_all(notifier, directory)
    assert message.recipient == REPORT_TO
    assert message.about == run
    assert message.state == MessageState.QUEUED
    assert message.kind == (MessageKind.NO_FILE if status == "no_file" else MessageKind.REPORT)


@pytest.mark.parametrize("status", ["discarded", "expired", "applying", "staging"])
def test_a_run_that_somebody_ended_or_that_is_under_way_is_not_reported(notifier, directory, status):
    directory.add_run(status)
    assert _follow_all(notifier, directory) == []


def test_a_plan_is_reported_in_trial_and_not_after_a_dry_run_nor_on_its_way_to_be_applied(notifier, directory):
    directory.add_run("planned", plan_only=False)
    directory.add_run("planned", plan_only=True)
    assert _follow_all(notifier, directory) == []
    directory.source.state = sources_pb2.SOURCE_STATE_TRIAL
    directory.add_run("planned", plan_only=True, plan=imports_pb2.ImportCounts(rows=3, created=3))
    (message,) = _follow_all(notifier, directory)
    assert message.subject == "[Ingleby Council] Trial: Staff file was checked"


def test_each_address_gets_a_message_of_its_own_once(notifier, directory):
    directory.source.report_to[:] = ["a@x.example", "b@x.example", "A@x.example"]
    directory.add_run("applied")
    messages = _follow_all(notifier, directory)
    assert len({message.message_id for message in messages}) == 2
    assert sorted(message.recipient.casefold() for message in messages) == ["a@x.example", "b@x.example"]


def test_without_addresses_nothing_is_mailed_and_the_stream_goes_on(notifier, directory):
    directory.source.report_to[:] = []
    directory.add_run("applied")
    assert _follow_all(notifier, directory) == []


def test_the_report_carries_counts_people_issues_and_seats(notifier, directory):
    counts = imports_pb2.ImportCounts(rows=9, created=2, updated=1, unchanged=3, rejected=1, deferred=2, deleted=1)
    run = directory.add_run("applied", counts=counts, seats_total=10, seats_used=10)
    directory.license.seats_used = 10
    directory.changes[run] = [
        imports_pb2.ImportChange(action=CREATE, display_name="Ada Byron", groups_added=["g"]),
        imports_pb2.ImportChange(
            action=UPDATE,
            display_name="Bo Ek",
            fields=[imports_pb2.FieldChange(field="phone")],
            groups_removed=["g"],
            groups_kept=["h", "i"],
        ),
        imports_pb2.ImportChange(action=DELETE, display_name="Cia Dahl", groups_removed=["g"]),
    ]
    directory.issues[run] = [
        imports_pb2.ImportIssue(
            line=7, key="EMP-0000007", severity=imports_pb2.ISSUE_SEVERITY_REJECTED, code="mail_invalid", column="Mail"
        ),
        imports_pb2.ImportIssue(line=3, severity=imports_pb2.ISSUE_SEVERITY_WARNING, code="phone_national"),
    ]
    (message,) = _follow_all(notifier, directory)
    text = _body(notifier, message)
    assert message.subject.endswith("2 new, 1 changed, 1 deleted, 1 row rejected, 2 seats short")
    assert "New users (2)\n  - Ada Byron (joins 1 group)\n  and 1 more" in text
    assert "  - Bo Ek (phone, leaves 1 group, stays in 2 groups)" in text
    assert "Deleted users (1)\n  - Cia Dahl\n" in text
    assert "Line 7 · EMP-0000007 · Mail" in text
    assert "1 × phone_national" in text
    assert "Seats: 10 of 10 taken, 0 left" in text


def test_a_held_run_shows_its_plan_and_the_limit_of_its_source(notifier, directory):
    directory.source.limits.delete.floor = 3
    directory.source.limits.delete.percent = 20
    plan = imports_pb2.ImportCounts(rows=50, unchanged=50, deleted=40)
    counts = imports_pb2.ImportCounts(rows=50, unchanged=50)
    run = directory.add_run("held", reason="delete_limit", plan=plan, counts=counts)
    (message,) = _follow_all(notifier, directory)
    text = _body(notifier, message)
    assert "40 people would be deleted." in text
    assert "more than 3 and more than 20\N{NO-BREAK SPACE}%." in text
    assert f"muster runs approve {run} --without-deletions" in text


def test_a_held_run_that_was_decided_before_it_was_reported_says_so(notifier, directory):
    run = directory.add_run("held", reason="delete_limit", plan=imports_pb2.ImportCounts(rows=5, deleted=40))
    directory.runs[run].status = imports_pb2.IMPORT_RUN_STATUS_APPLIED
    directory.runs[run].reason = ""
    (message,) = _follow_all(notifier, directory)
    text = _body(notifier, message)
    assert "(delete_limit)" in message.subject
    assert "The plan deletes more people than the limit allows." in text
    assert "the run is now “applied”" in text
    assert "muster runs approve" not in text


def test_r8_deletions_left_out_of_an_applied_run_are_told(notifier, directory):
    plan = imports_pb2.ImportCounts(rows=50, unchanged=50, deleted=40)
    counts = imports_pb2.ImportCounts(rows=50, unchanged=50)
    directory.add_run("applied", plan=plan, counts=counts, deletions_left_out=True)
    (message,) = _follow_all(notifier, directory)
    assert "Nobody was deleted, as decided" in _body(notifier, message)


@pytest.mark.parametrize(
    ("of_source", "of_tenant", "said"),
    [("sv", "en", "avvisades"), ("", "sv", "avvisades"), ("en", "sv", "refused"), ("", "", "refused")],
)
def test_the_language_is_the_sources_else_the_tenants(notifier, directory, of_source, of_tenant, said):
    directory.source.language, directory.tenant.language = of_source, of_tenant
    directory.add_run("refused", reason="empty_file")
    (message,) = _follow_all(notifier, directory)
    assert said in message.subject


def test_many_issues_are_read_page_by_page(notifier, directory):
    run = directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=5_000, rejected=2_500, unchanged=2_500))
    directory.issues[run] = [
        imports_pb2.ImportIssue(
            line=line, key=f"EMP-{line:07}", severity=imports_pb2.ISSUE_SEVERITY_REJECTED, code="mail_missing"
        )
        for line in range(2, 2_502)
    ]
    (message,) = _follow_all(notifier, directory)
    whole = notifier.store.get(message.tenant, message.key)
    assert whole.attachment.decode("utf-8-sig").count("mail_missing") == 2_500
    assert "2,450 more rows are in the attached file." in whole.text


def a_run_with_rejected_rows(directory, *chunks):
    run = directory.add_run("refused", reason="too_many_rejects", counts=imports_pb2.ImportCounts(rows=90, rejected=70))
    directory.rejected_files[run] = list(chunks)
    return run


def test_the_rejected_rows_to_be_mended_are_attached_in_the_customer_s_own_form(notifier, directory):
    a_run_with_rejected_rows(directory, b"Namn;Muster\r\n", b"\xc5sa;line 2: id_missing\r\n")
    (message,) = _follow_all(notifier, directory)
    whole = notifier.store.get(message.tenant, message.key)
    assert whole.attachment == b"Namn;Muster\r\n\xc5sa;line 2: id_missing\r\n"
    assert "this file alone would mean that everybody else has left" in " ".join(whole.text.split())
    assert "20 more rows are in the attached file." in whole.text


def test_a_file_that_no_mail_carries_is_attached_in_part_with_the_way_to_the_whole(notifier, directory, monkeypatch):
    monkeypatch.setattr(report, "MOST_ATTACHED_BYTES", 12)
    run = a_run_with_rejected_rows(directory, b"Namn;Muster\n", b"x;line 2\n", b"y;line 3\n")
    (message,) = _follow_all(notifier, directory)
    whole = notifier.store.get(message.tenant, message.key)
    assert whole.attachment == b"Namn;Muster\n"
    assert f"muster runs rejected {run}" in " ".join(whole.text.split())


def test_what_is_attached_goes_when_anybody_of_the_tenant_is_erased(notifier, directory):
    a_run_with_rejected_rows(directory, b"Namn;Muster\n", b"x;line 2\n")
    (message,) = _follow_all(notifier, directory)
    notifier.store.queue([Bundle(message.tenant, "e", "u", erased_user=f"{message.tenant}/users/usr_1")], now=NOW)
    whole = notifier.store.get(message.tenant, message.key)
    assert (whole.attachment, whole.attachment_name) == (b"", "")
    assert "too_many_rejects" in whole.subject


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED])
def test_a_directory_in_trouble_delays_a_report_and_loses_none(notifier, directory, code):
    directory.failing["GetLicense"] = code
    directory.add_run("applied")

    def recovers():
        if directory.calls.count("WatchEvents") > 3:
            directory.failing.clear()
        return bool(notifier.messages())

    notifier.follow_until(recovers)
    (message,) = notifier.messages()
    assert message.state == MessageState.QUEUED


def test_a_run_that_no_longer_exists_is_shown_as_a_failed_message_and_blocks_no_other(notifier, directory):
    directory.add_event("run.applied", "tenants/ten_000017/importRuns/run_gone")
    directory.add_run("applied")
    failed, queued = _follow_all(notifier, directory)
    assert (failed.state, failed.recipient, failed.last_error) == (
        MessageState.FAILED,
        "",
        "the directory answered NOT_FOUND",
    )
    assert queued.state == MessageState.QUEUED


def test_a_report_that_cannot_be_made_is_given_up_after_some_tries_and_blocks_no_other(
    notifier, directory, monkeypatch
):
    monkeypatch.setattr("services.notifier.consume.MOST_TRIES", 3)
    broken = directory.add_run("applied")
    directory.failing[broken] = grpc.StatusCode.INTERNAL
    directory.add_run("held", reason="delete_limit")
    failed, queued = _follow_all(notifier, directory)
    assert directory.calls.count(broken) == 3
    assert failed.state == MessageState.FAILED
    assert queued.state == MessageState.QUEUED


def test_a_report_that_cannot_be_rendered_is_a_failed_message_for_each_address(notifier, directory, monkeypatch):
    def break_down(*_):
        raise ZeroDivisionError

    directory.source.report_to[:] = ["a@x.example", "b@x.example"]
    monkeypatch.setattr("services.notifier.authors.render", break_down)
    directory.add_run("applied")
    messages = _follow_all(notifier, directory)
    assert [(message.recipient, message.state) for message in messages] == [
        ("a@x.example", MessageState.FAILED),
        ("b@x.example", MessageState.FAILED),
    ]
    assert messages[0].last_error == "the mail could not be rendered: ZeroDivisionError"


def test_the_stream_is_followed_again_when_the_directory_comes_back(notifier, directory):
    directory.add_run("applied")
    _follow_all(notifier, directory)
    directory.go_away()
    directory.add_run("applied")
    looks = iter(range(1_000_000))

    def comes_back():
        if next(looks) == 10:
            directory.come_back()
        return len(notifier.messages()) == 2

    notifier.follow_until(comes_back)
