"""`TestSource`: the way to a source's file step by step, over real SFTP."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import asyncssh
import pytest
from muster.directory.v1 import sources_pb2
from muster.importer.v1 import importer_pb2 as pb

from services.importer.source_check import SAMPLE_BYTES, SourceTest
from tests.integration.sftp.customer_server import LONG_AGO, QUICK, Waits, put

GOOD = "UniqueID,Name,Mail,Shoe size\r\nEMP-0000001,Åsa Berg,asa@example.org,37\r\n".encode()
LARGE = b"UniqueID,Name,Mail\r\n" + b'EMP-0000001,"Anna\nBerg",anna@example.org\r\n' * 3000
STEPS = ["NAME", "CONNECTION", "HOST_KEY", "LOGIN", "FOLDER", "FILE", "READ", "STABLE", "END_MARKER", "HEADER"]


def checked(server, wait=None, *, settings=None, **changes):
    """Test a source, and return what each step said."""
    endpoint = server.endpoint(**changes)
    source = sources_pb2.Source(stable_for_seconds=60, **(settings or {}))
    source.sftp.host = endpoint.host
    wait = Waits() if wait is None else wait
    test = SourceTest(source, endpoint, wait=wait, now=lambda: datetime.now(UTC), patience=QUICK)
    return {pb.SourceCheckStep.Name(check.step).removeprefix("SOURCE_CHECK_STEP_"): check for check in test.checks()}


def failed_at(checks):
    """The step that failed, its word, cause and cure; all steps before it work."""
    *before, last = checks.items()
    assert all(check.outcome != pb.SOURCE_CHECK_OUTCOME_FAILED for _, check in before)
    step, check = last
    assert check.outcome == pb.SOURCE_CHECK_OUTCOME_FAILED
    return step, check.reason, check.message, check.cure


def test_each_step_of_a_source_that_works_says_what_it_found(server):
    put(server.file, GOOD)
    checks = checked(server)
    assert list(checks) == [step for step in STEPS if step != "END_MARKER"]
    assert checks["HOST_KEY"].host_key.standing == pb.HOST_KEY_STANDING_PINNED
    assert checks["FILE"].file.size_bytes == len(GOOD)
    assert checks["FILE"].file.modify_time.seconds == int(server.file.stat().st_mtime)
    header = checks["HEADER"].header
    assert list(header.columns) == ["UniqueID", "Name", "Mail"]
    assert (header.encoding, header.delimiter, list(header.unknown_columns)) == ("utf-8", ",", ["Shoe size"])
    others = [check for step, check in checks.items() if step != "HEADER"]
    assert {(check.outcome, check.reason, check.cure) for check in others} == {(pb.SOURCE_CHECK_OUTCOME_PASSED, "", "")}
    assert checks["HEADER"].reason == "unknown_column:Shoe size"


def test_a_key_that_is_not_pinned_is_shown_and_nobody_logs_in(server):
    checks = checked(server, host_key="")
    step, reason, message, _ = failed_at(checks)
    shown = checks["HOST_KEY"].host_key
    assert (step, reason) == ("HOST_KEY", "host_key_missing")
    assert shown.standing == pb.HOST_KEY_STANDING_NEW
    assert shown.pinnable
    assert shown.fingerprint == asyncssh.import_public_key(shown.host_key).get_fingerprint()
    assert shown.fingerprint in message
    assert server.logins == []
    put(server.file, GOOD)
    assert "HEADER" in checked(server, host_key=shown.host_key)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_changed_key_is_shown_beside_the_pinned_one_and_nobody_logs_in(server, kind):
    pinned = asyncssh.generate_private_key(kind)
    checks = checked(server, host_key=pinned.export_public_key().decode())
    step, reason, message, cure = failed_at(checks)
    shown = checks["HOST_KEY"].host_key
    assert (step, reason, shown.standing) == ("HOST_KEY", "host_key_changed", pb.HOST_KEY_STANDING_CHANGED)
    assert shown.pinned_fingerprint == pinned.get_fingerprint()
    assert shown.fingerprint in message
    assert shown.pinned_fingerprint in message
    assert cure
    assert server.logins == []


@pytest.mark.parametrize(
    ("changes", "step", "reason", "said"),
    [
        ({"host": "nowhere.invalid"}, "NAME", "connection_failed", "has no address"),
        ({"port": 1}, "CONNECTION", "connection_failed", "refuses connections"),
        ({"password": "wrong"}, "LOGIN", "login_failed", "did not accept the password"),
        ({"path": "/out/users.csv"}, "FOLDER", "no_file", "There is no folder /out"),
        ({"path": "/users.csv"}, "FILE", "no_file", "one called Users.CSV"),
        ({"path": "/payroll"}, "FILE", "no_file", "no file at the path"),
    ],
)
def test_each_failure_names_its_step_its_cause_and_a_cure(server, changes, step, reason, said):
    put(server.folder / "Users.CSV", GOOD)
    found = failed_at(checked(server, **changes))
    assert found[:2] == (step, reason)
    assert said in found[2]
    assert found[3][0].isupper()


@pytest.mark.parametrize(
    ("data", "settings", "reason"),
    [
        (b"Email;Namn\r\na@example.org;Anna\r\n", {}, "missing_column:UniqueID"),
        (b"", {}, "empty_file"),
        (
            "UniqueID,Name,Mail\nEMP-0000001,Åsa,a@example.org\n".encode("cp1252"),
            {"strict_encoding": True},
            "encoding_invalid",
        ),
        (GOOD, {"end_marker": sources_pb2.END_MARKER_EOF}, "truncated"),
    ],
)
def test_what_a_run_would_refuse_in_the_file_is_said(server, data, settings, reason):
    put(server.file, data)
    assert failed_at(checked(server, settings=settings))[:2] == ("HEADER", reason)


def test_a_large_file_of_one_line_is_not_called_empty(server):
    put(server.file, b"<html>" + b"<p>Log in" * SAMPLE_BYTES)
    assert failed_at(checked(server))[:2] == ("HEADER", "no_header")


def test_r7_a_file_that_is_too_large_is_said_before_it_is_read(server):
    put(server.file, GOOD)
    assert failed_at(checked(server, settings={"max_file_bytes": 10}))[:2] == ("FILE", "too_large")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "cp1252"])
def test_of_a_large_file_the_first_lines_are_read(server, encoding):
    data = LARGE.decode().replace("Anna", "Åsa").encode(encoding)
    assert len(data) > SAMPLE_BYTES
    put(server.file, data)
    checks = checked(server)
    assert checks["READ"].message == f"The file can be read: its first {SAMPLE_BYTES} bytes."
    assert list(checks["HEADER"].header.columns) == ["UniqueID", "Name", "Mail"]
    assert checks["HEADER"].header.encoding == {"utf-16": "utf-16-le"}.get(encoding, encoding)


def test_r1_a_file_under_way_is_said_and_one_beside_its_twin_fails(server):
    put(server.file, GOOD)
    uploading = checked(server, Waits(lambda: put(server.file, GOOD + b"EMP-0000002,Bo,b@example.org,\r\n")))
    assert uploading["STABLE"].outcome == pb.SOURCE_CHECK_OUTCOME_ATTENTION
    put(server.folder / "users.csv.part")
    assert failed_at(checked(server))[:2] == ("STABLE", "unstable_file")


def test_an_old_file_is_to_be_looked_at(server):
    put(server.file, GOOD, mtime=LONG_AGO)
    check = checked(server)["FILE"]
    assert check.outcome == pb.SOURCE_CHECK_OUTCOME_ATTENTION
    assert "2020-09-13" in check.message
    assert "export" in check.cure


def test_r2_the_end_marker_is_looked_at(server):
    put(server.file, GOOD)
    settings = {"end_marker": sources_pb2.END_MARKER_SHA256}
    assert failed_at(checked(server, settings=settings))[:2] == ("END_MARKER", "truncated")
    put(server.folder / "users.csv.sha256", hashlib.sha256(GOOD).hexdigest().encode())
    assert list(checked(server, settings=settings)) == STEPS
    put(server.folder / "users.csv.sha256", b"0" * 64)
    assert failed_at(checked(server, settings=settings))[:2] == ("END_MARKER", "truncated")


def test_a_test_leaves_the_server_as_it_was(server):
    put(server.file, GOOD)
    checked(server)
    assert [path.name for path in server.folder.iterdir()] == ["users.csv"]
    assert server.file.read_bytes() == GOOD
