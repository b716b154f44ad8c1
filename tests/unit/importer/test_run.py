"""A run from its beginning to its rest, and the door through which people start it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from datetime import datetime
from hashlib import sha256

import grpc
import pytest
from muster.directory.v1 import imports_pb2, sources_pb2
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime import errors
from muster.runtime.client import open_channel
from muster.runtime.server import Server

from services.importer import csv_file as csv_file_module
from services.importer.api import ImporterApi, translate
from services.importer.directory import Directory
from services.importer.errors import InterruptedRunError
from services.importer.run import Importer
from tests.builders import a_csv, a_row
from tests.unit.importer.directory_double import (
    CALLER,
    RUN,
    SOURCE,
    STRANGER,
    AwayError,
    BrokenError,
    DirectoryDouble,
    RunStateError,
    TenantBusyError,
    TooManyWatchersError,
    serve,
)
from tests.unit.importer.reading import NOW

APPLIED = imports_pb2.IMPORT_RUN_STATUS_APPLIED
REFUSED = imports_pb2.IMPORT_RUN_STATUS_REFUSED
FAILED = imports_pb2.IMPORT_RUN_STATUS_FAILED
FILE = a_csv(*map(a_row, range(12_000)), a_row(Mail=""))


class Door:
    """The importer's API in front of a directory double."""

    def __init__(self, stack: ExitStack) -> None:
        self.directory = DirectoryDouble()  # type: ignore[abstract]  # the methods the importer calls are there
        self.stopping = threading.Event()
        behind = serve(self.directory)
        stack.callback(behind.stop, grace_s=0)
        channel = stack.enter_context(open_channel(f"127.0.0.1:{behind.port}", "mst_svc_importer"))
        client = Directory(channel, wait=self._wait)
        self.calls_when_read: int | None = None
        importer = Importer(client, None, now=self._now, wait=self._wait)
        api = ImporterApi(client, importer, temp_dir=None)
        server = Server(
            lambda grpc_server: importer_pb2_grpc.add_ImporterServiceServicer_to_server(api, grpc_server),
            service_names=[],
            address="127.0.0.1:0",
            threads=4,
            translate=translate,
        )
        server.start()
        stack.callback(server.stop, grace_s=0)
        self.address = f"127.0.0.1:{server.port}"
        self._stack = stack
        self.progress: list[importer_pb2.Progress] = []

    def _now(self) -> datetime:
        """Tell the time, for which the importer asks once it has read the file's shape."""
        self.calls_when_read = self.directory.calls["CreateImportRun"]
        return NOW

    def _wait(self, seconds: float) -> None:
        if self.stopping.wait(min(seconds, 0.01)):
            raise InterruptedRunError

    def stub(self, token: str = CALLER) -> importer_pb2_grpc.ImporterServiceStub:
        channel = self._stack.enter_context(open_channel(self.address, token))
        return importer_pb2_grpc.ImporterServiceStub(channel)

    def import_file(self, data: bytes = FILE, *, token: str = CALLER) -> imports_pb2.ImportRun:
        start = importer_pb2.ImportFileStart(source=SOURCE, file_name="users.csv")
        messages = [importer_pb2.ImportFileRequest(start=start)]
        messages += [importer_pb2.ImportFileRequest(chunk=data[at : at + 65536]) for at in range(0, len(data), 65536)]
        return self._followed(self.stub(token).ImportFile(iter(messages), timeout=60))

    def run_source(self, *, token: str = CALLER) -> imports_pb2.ImportRun:
        return self._followed(self.stub(token).RunSource(importer_pb2.RunSourceRequest(source=SOURCE), timeout=60))

    def _followed(self, updates) -> imports_pb2.ImportRun:
        heard = list(updates)
        self.progress = [update.progress for update in heard]
        assert [update.HasField("import_run") for update in heard] == [False] * (len(heard) - 1) + [True]
        run: imports_pb2.ImportRun = heard[-1].import_run
        return run


@pytest.fixture
def door():
    with ExitStack() as stack:
        yield Door(stack)


def told(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return errors.failure_of(caught.value).reason


def test_a_file_by_hand_is_staged_planned_and_applied(door):
    run = door.import_file()
    assert (run.name, run.status) == (RUN, APPLIED)
    assert len(door.directory.lines) == 12_001
    assert [(issue.line, issue.code) for issue in door.directory.issues] == [(12_002, "mail_missing")]
    assert door.directory.applied_hash == "h4sh"
    assert door.directory.refusal is None


def test_progress_counts_rows_sent_and_then_applied(door):
    door.import_file()
    sent = [progress.rows_sent for progress in door.progress]
    assert sent == sorted(sent)
    assert len(set(sent)) >= 3
    last = door.progress[-1]
    assert (last.rows_sent, last.rows_total, last.rows_applied, last.rows_to_apply) == (12_001, 12_001, 4, 4)


def test_the_directory_hears_the_file_s_facts(door):
    door.import_file(a_csv(a_row(), delimiter=";"))
    assert door.directory.end is not None
    assert not door.directory.end.HasField("newest_timestamp")
    door.import_file(a_csv(a_row(TimeStamp="2026-03-01")))
    assert door.directory.end.newest_timestamp.ToJsonString() == "2026-03-01T00:00:00Z"


@pytest.mark.parametrize(
    "status", [imports_pb2.IMPORT_RUN_STATUS_HELD, REFUSED, FAILED, imports_pb2.IMPORT_RUN_STATUS_PLANNED]
)
def test_a_run_at_rest_after_its_plan_is_not_applied(door, status):
    door.directory.planned.status = status
    door.directory.planned.plan_only = status == imports_pb2.IMPORT_RUN_STATUS_PLANNED
    assert door.import_file().status == status
    assert door.directory.calls["ApplyImport"] == 0


def test_a_torn_file_is_refused_with_what_was_read_of_it(door):
    torn = a_csv(a_row(1), a_row(2, Mail=""), a_row(3)) + b"EMP-0000004"
    run = door.import_file(torn)
    refusal = door.directory.refusal
    assert (run.status, run.reason, refusal.counts.rows, refusal.counts.rejected) == (REFUSED, "truncated", 3, 1)
    assert [(number, issue.code) for number, issue in door.directory.added_issues.items()] == [(1, "mail_missing")]
    assert door.directory.rejected_rows == {3: [b"EMP-0000002", b"Cia Ek", b""]}
    assert refusal.message
    assert (refusal.file.file_name, refusal.file.encoding, list(refusal.file.columns)) == (
        "users.csv",
        "utf-8",
        ["UniqueID", "Name", "Mail"],
    )
    assert refusal.file.size_bytes == len(torn)
    assert len(refusal.file.sha256) == 32
    assert door.directory.calls["StageImportRows"] == 0


@pytest.mark.parametrize("tail", [b"", b"EMP-0000004"])
def test_r44_a_file_is_read_before_its_run_takes_the_tenant_s_turn(door, tail):
    """A run that sends nothing for longer than its lease is ended as interrupted, and a large file takes its time."""
    door.import_file(FILE + tail)
    assert (door.calls_when_read, door.directory.calls["CreateImportRun"]) == (0, 1)


def test_r7_a_file_with_too_many_rows_is_refused_without_judging_them(door, monkeypatch):
    monkeypatch.setattr(csv_file_module, "MAX_ROWS", 3)
    run = door.import_file(a_csv(*(a_row(number, Mail="") for number in range(4))))
    refusal = door.directory.refusal
    assert (run.status, run.reason, refusal.counts.rows) == (REFUSED, "too_large", 3)
    assert (refusal.counts.rejected, door.directory.added_issues) == (0, {})


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty_file"), (b"UniqueID,Mail\n1,2\n", "missing_column:Name")])
def test_a_file_without_a_usable_header_is_refused(door, data, reason):
    assert (door.import_file(data).reason, door.directory.refusal.counts.rows) == (reason, 0)


def test_r7_a_file_beyond_the_source_s_limit_is_refused(door):
    door.directory.source.max_file_bytes = 100_000
    run = door.import_file()
    assert (run.status, run.reason) == (REFUSED, "too_large")


@pytest.mark.parametrize("method", ["StageImportRows", "PlanImport", "ApplyImport", "WatchImportRun"])
def test_a_directory_that_restarts_is_waited_for(door, method):
    door.directory.faults[method] = [AwayError("restarting")]
    assert door.import_file().status == APPLIED
    assert len(door.directory.lines) == 12_001


def test_rows_are_staged_again_whole_when_the_stream_breaks_in_its_middle(door):
    real, seen = door.directory._called, []

    def break_at_the_second_block(method):
        seen.append(method)
        if seen.count("StageImportRows") == 2:
            raise AwayError("gone")
        real(method)

    door.directory._called = break_at_the_second_block
    assert door.import_file().status == APPLIED
    assert len(door.directory.lines) == 12_001


def settle_all(door):
    """Let every row of FILE be settled, as after a night that took full effect."""
    door.import_file()
    joined = b"".join(door.directory.row_hashes)
    door.directory.settled = {joined[place : place + 16] for place in range(0, len(joined), 16)} - {bytes(16)}
    door.directory.row_hashes = []


def test_settled_rows_travel_by_their_hashes(door):
    settle_all(door)
    assert door.import_file().status == APPLIED
    assert len(door.directory.settled_lines) == 12_001
    assert door.directory.lines == []
    assert door.progress[-1].rows_sent == 12_001


@pytest.mark.parametrize("method", ["PlanImport", "ApplyImport", "WatchImportRun"])
def test_all_rows_are_sent_when_the_run_wants_them(door, method):
    settle_all(door)
    door.directory.wants_all_rows_from = method
    assert door.import_file().status == APPLIED
    assert (len(door.directory.lines), door.directory.settled_lines) == (12_001, [])


def test_without_a_free_watcher_the_run_is_asked_for(door):
    door.directory.faults["WatchImportRun"] = [TooManyWatchersError("eight")]
    assert door.import_file().status == APPLIED
    assert door.directory.calls["GetImportRun"] >= 2


def test_a_run_that_went_on_without_us_is_followed(door):
    door.directory.faults["ApplyImport"] = [RunStateError("applying")]
    assert door.import_file().status == APPLIED


def test_a_fault_ends_the_run_as_interrupted(door):
    door.directory.faults["PlanImport"] = [BrokenError("oh")]
    run = door.import_file()
    assert (run.status, run.reason) == (FAILED, "interrupted")


def test_an_importer_that_stops_ends_its_run_as_interrupted(door):
    door.stopping.set()
    run = door.import_file()
    assert (run.status, run.reason) == (FAILED, "interrupted")


@pytest.mark.parametrize(
    ("endpoint", "status", "reason"),
    [
        (sources_pb2.SftpEndpoint(host="127.0.0.1", port=1, path="/users.csv"), REFUSED, "host_key_missing"),
        (
            sources_pb2.SftpEndpoint(
                host="127.0.0.1",
                port=1,
                path="/users.csv",
                host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGn7o+m2lb75sbhTYvQO2z5Y61nKToGOw6zkw0hl+Hn5",
            ),
            FAILED,
            "connection_failed",
        ),
    ],
)
def test_a_source_that_cannot_be_fetched_ends_its_run(door, endpoint, status, reason):
    door.directory.secret = sources_pb2.GetSourceSecretResponse(endpoint=endpoint)
    run = door.run_source()
    assert (run.status, run.reason) == (status, reason)


def test_a_caller_without_a_token_or_a_right_is_turned_away(door):
    assert told(lambda: door.import_file(token="")) == "UNAUTHENTICATED"
    assert told(lambda: door.import_file(token=STRANGER)) == "PERMISSION_DENIED"
    assert told(lambda: door.run_source(token=STRANGER)) == "PERMISSION_DENIED"
    assert door.directory.calls["CreateImportRun"] == 0


def test_what_the_directory_says_to_a_new_run_is_told_on(door):
    door.directory.faults["CreateImportRun"] = [TenantBusyError("busy")] * 4
    assert told(door.run_source) == "TENANT_BUSY"


def test_a_stream_that_does_not_begin_with_its_start_is_invalid(door):
    chunk = importer_pb2.ImportFileRequest(chunk=b"x")
    start = importer_pb2.ImportFileRequest(start=importer_pb2.ImportFileStart(source=SOURCE, file_name="users.csv"))
    for messages in ([], [chunk], [start, start]):
        assert told(lambda sent=messages: list(door.stub().ImportFile(iter(sent), timeout=10))) == "INVALID_ARGUMENT"
    request = importer_pb2.RunSourceRequest()
    assert told(lambda: list(door.stub().RunSource(request, timeout=10))) == "INVALID_ARGUMENT"


def test_r5_the_last_applied_file_again_is_not_even_read(door):
    door.directory.last_applied_sha256 = sha256(FILE).digest()
    run = door.import_file()
    assert (run.status, door.calls_when_read) == (imports_pb2.IMPORT_RUN_STATUS_UNCHANGED, None)
    assert door.directory.calls == {"GetSource": 1, "RecordUnchangedFile": 1}


def test_r5_a_directory_that_cannot_say_whether_the_file_changed_gets_it_whole(door):
    door.directory.last_applied_sha256 = sha256(FILE).digest()
    door.directory.faults["RecordUnchangedFile"] = [BrokenError("once")]
    assert door.import_file().status == APPLIED


def test_a_source_is_tested_for_those_who_may_see_it(door):
    request = importer_pb2.TestSourceRequest(source=SOURCE)
    (answer,) = door.stub().TestSource(request, timeout=10)
    assert answer.check.step == importer_pb2.SOURCE_CHECK_STEP_NAME
    assert answer.check.reason == "connection_failed"
    assert told(lambda: list(door.stub(STRANGER).TestSource(request, timeout=10))) == "PERMISSION_DENIED"
    assert door.directory.calls["CreateImportRun"] == 0


def test_r2_the_end_marker_inside_a_file_by_hand_is_asked_for(door):
    door.directory.source.end_marker = sources_pb2.END_MARKER_EOF
    run = door.import_file()
    assert (run.status, run.reason) == (REFUSED, "truncated")
    assert "#EOF" in door.directory.refusal.message
    door.directory.source.end_marker = sources_pb2.END_MARKER_SHA256
    assert door.import_file().status == imports_pb2.IMPORT_RUN_STATUS_APPLIED
