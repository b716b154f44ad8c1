"""R1, R7: a file is fetched over real SFTP when it is complete, from the pinned server only."""

from __future__ import annotations

import os
import socket
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from muster.directory.v1 import imports_pb2, sources_pb2
from muster.runtime.client import open_channel

from services.importer import sftp
from services.importer.directory import Directory
from services.importer.errors import (
    ConnectionFailedError,
    FetchFailedError,
    HostKeyChangedError,
    HostKeyMissingError,
    LoginFailedError,
    NoFileError,
    RunEndedError,
    TooLargeError,
    UnstableFileError,
)
from services.importer.run import Importer
from services.importer.spool import Spool
from tests.integration.sftp.customer_server import DATA, LONG_AGO, PASSWORD, QUICK, Waits, fetch, put
from tests.unit.importer.directory_double import DirectoryDouble, serve


def greet(listener, greeting):
    """Take one connection and say only this."""
    connection, _ = listener.accept()
    connection.sendall(greeting)
    return connection


def access_times_are_kept(folder):
    """Whether this file system stamps a file when it is read; where it does not, two looks are taken (R1)."""
    probe = folder / "probe"
    probe.write_bytes(b"x")
    os.utime(probe, (LONG_AGO, LONG_AGO))
    probe.read_bytes()
    kept = probe.stat().st_atime != LONG_AGO
    probe.unlink()
    return kept


def test_r1_a_new_file_is_fetched_whole_after_two_equal_looks(server):
    put(server.file)
    wait = Waits()
    found, data = fetch(server, wait)
    assert data == DATA
    assert (found.size_bytes, found.mtime) == (len(DATA), int(server.file.stat().st_mtime))
    assert wait == [60]


def test_r1_one_look_suffices_when_the_file_is_old_by_the_server_s_clock(server, folder):
    put(server.file, mtime=LONG_AGO)
    wait = Waits()
    assert fetch(server, wait)[1] == DATA
    assert wait == ([] if access_times_are_kept(folder) else [60])


def test_r1_an_old_file_in_the_future_is_looked_at_twice(server):
    put(server.file, mtime=int(time.time()) + 86_400)
    wait = Waits()
    assert fetch(server, wait)[1] == DATA
    assert wait == [60]


def test_r1_a_file_that_grows_between_the_looks_is_tried_again(server):
    put(server.file, b"half")
    wait = Waits(lambda: put(server.file))
    assert fetch(server, wait)[1] == DATA
    assert wait == [60, 60]


def test_r1_a_file_that_never_stands_still_is_refused(server):
    put(server.file, b"a")
    wait = Waits(*(lambda size=size: put(server.file, b"a" * size) for size in (2, 3, 4)))
    with pytest.raises(UnstableFileError):
        fetch(server, wait)
    assert wait == [60, 60, 60]


@pytest.mark.parametrize("ending", [".tmp", ".part", ".filepart"])
def test_r1_a_twin_that_is_being_written_is_waited_for(server, ending):
    put(server.file, mtime=LONG_AGO)
    twin = put(server.folder / f"users.csv{ending}", b"new")
    wait = Waits(lambda: None, lambda: twin.replace(server.file))
    assert fetch(server, wait)[1] == b"new"


def test_r1_a_twin_that_stays_refuses_the_file(server):
    put(server.file, mtime=LONG_AGO)
    put(server.folder / "users.csv.part")
    with pytest.raises(UnstableFileError) as caught:
        fetch(server)
    assert caught.value.message.startswith("users.csv.part was still there")


def test_r1_a_first_upload_under_a_twin_s_name_is_waited_for(server):
    twin = put(server.folder / "users.csv.filepart")
    assert fetch(server, Waits(lambda: twin.replace(server.file)))[1] == DATA


def test_r1_a_file_replaced_while_it_is_copied_is_copied_again(server):
    put(server.file)
    changes = [lambda: put(server.file, DATA + b"more\r\n")]

    class Sink(Spool):
        def write(self, data):
            if changes:
                changes.pop()()
            return super().write(data)

    with Sink(None) as spool:
        found = sftp.fetch(server.endpoint(), spool, stable_for_s=60, max_bytes=10_000_000, wait=Waits())
        assert found.file.size_bytes == len(DATA) + 6
        with spool.open() as file:
            assert file.read() == DATA + b"more\r\n"


def test_r1_a_file_cut_short_while_it_is_copied_is_copied_again(server):
    put(server.file)
    changes = [lambda: put(server.file, DATA[:1000])]

    class Sink(Spool):
        def write(self, data):
            if changes:
                changes.pop()()
            return super().write(data)

    with Sink(None) as spool:
        found = sftp.fetch(server.endpoint(), spool, stable_for_s=60, max_bytes=10**7, wait=Waits())
        assert found.file.size_bytes == 1000
        assert spool.size_bytes == 1000


def test_r5_a_missing_file_is_no_file(server):
    with pytest.raises(NoFileError):
        fetch(server)


def test_r5_a_file_that_goes_away_between_the_looks_is_no_file(server):
    put(server.file)
    with pytest.raises(NoFileError):
        fetch(server, Waits(server.file.unlink))


def test_r7_a_file_that_is_too_large_is_not_downloaded(server):
    put(server.file)
    wait = Waits()
    with pytest.raises(TooLargeError):
        fetch(server, wait, max_bytes=1000)
    assert wait == []


def test_a_folder_at_the_path_cannot_be_fetched(server):
    with pytest.raises(FetchFailedError):
        fetch(server, path="/")


def test_an_empty_file_is_fetched_for_its_reader_to_refuse(server):
    put(server.file, b"")
    assert fetch(server)[1] == b""


def test_a_login_by_key_works(server):
    put(server.file)
    key = server.user_key.export_private_key().decode()
    assert fetch(server, password="", private_key=key)[1] == DATA


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem"])
def test_a_key_is_read_in_each_form_with_any_line_ends(server, form):
    put(server.file)
    key = server.user_key.export_private_key(form).decode().replace("\n", "\r\n")
    assert fetch(server, password="", private_key=f"\n{key}")[1] == DATA


@pytest.mark.parametrize(
    ("form", "locked"),
    [
        (PrivateFormat.OpenSSH, PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(b"secret")),
        (PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
    ],
    ids=["openssh", "pem"],
)
def test_a_key_with_a_passphrase_says_so(server, form, locked):
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, form, locked)
    with pytest.raises(LoginFailedError) as failed:
        fetch(server, private_key=key.decode())
    assert "passphrase" in failed.value.message
    assert server.logins == []


@pytest.mark.parametrize(
    ("kind", "form"), [("ssh-rsa", "pkcs1-pem"), ("ecdsa-sha2-nistp256", "pkcs1-pem"), ("ssh-rsa", "openssh")]
)
def test_an_unknown_key_falls_back_to_the_password(server, kind, form):
    put(server.file)
    key = asyncssh.generate_private_key(kind).export_private_key(form).decode()
    assert fetch(server, private_key=key)[1] == DATA
    with pytest.raises(LoginFailedError):
        fetch(server, private_key=key, password="")


@pytest.mark.parametrize(
    "changes", [{"password": "wrong"}, {"password": ""}, {"password": "", "private_key": "no key"}]
)
def test_a_refused_login_fails_the_run(server, changes):
    with pytest.raises(LoginFailedError):
        fetch(server, **changes)
    assert len(server.logins) == (1 if changes.get("password") else 0)  # never tried again


@pytest.mark.parametrize("host_key", ["", "SHA256:abcdef", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M="])
def test_without_a_pinned_key_nothing_is_sent(server, host_key):
    with pytest.raises(HostKeyMissingError):
        fetch(server, host_key=host_key)


def test_any_of_the_server_s_keys_may_be_the_pinned_one(server):
    put(server.file)
    for host_key in (server.keys["ssh-rsa"], f"[127.0.0.1]:{server.port} {server.keys['ssh-ed25519']} comment"):
        assert fetch(server, host_key=host_key)[1] == DATA


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_another_key_than_the_pinned_one_refuses_the_run(server, kind):
    other = asyncssh.generate_private_key(kind)
    with pytest.raises(HostKeyChangedError) as changed:
        fetch(server, host_key=other.export_public_key().decode())
    shown = asyncssh.import_public_key(server.keys["ssh-ed25519"])
    assert f"{kind} {other.get_fingerprint()} is pinned" in changed.value.message
    assert f"shows the key ssh-ed25519 {shown.get_fingerprint()}" in changed.value.message
    assert server.logins == []


def test_a_server_that_is_not_there_fails_the_run(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionFailedError) as failed:
        fetch(server, port=port)
    assert isinstance(failed.value, RunEndedError)
    assert "refuses connections" in failed.value.message


def test_a_name_without_an_address_fails_the_run(server):
    with pytest.raises(ConnectionFailedError) as failed:
        fetch(server, host="nowhere.invalid")
    assert "has no address" in failed.value.message


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-Silent\r\n"])
def test_a_server_that_falls_silent_fails_the_run_in_time(server, greeting):
    patience = replace(QUICK, connect_s=0.1, tries=1)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as thread:
        greeted = thread.submit(greet, silent, greeting)
        with pytest.raises(ConnectionFailedError) as failed:
            fetch(server, port=silent.getsockname()[1], patience=patience)
        greeted.result(10).close()
    assert "does not speak SSH" in failed.value.message


def test_the_file_is_deleted_only_when_it_is_still_the_fetched_one(server):
    put(server.file)
    found, _ = fetch(server)
    put(server.file, b"newer")
    assert sftp.delete(server.endpoint(), sftp.Fetched(found)) is False
    assert server.file.exists()
    found, _ = fetch(server)
    assert sftp.delete(server.endpoint(), sftp.Fetched(found)) is True
    assert not server.file.exists()


@pytest.fixture
def directory(server):
    double = DirectoryDouble()
    there = server.endpoint()
    double.source.sftp.path = there.path
    double.source.stable_for_seconds = 1
    double.secret.endpoint.CopyFrom(
        sources_pb2.SftpEndpoint(
            host=there.host, port=there.port, username=there.username, path=there.path, host_key=there.host_key
        )
    )
    double.secret.credentials.password = there.password
    return double


def run_source(double):
    behind = serve(double)
    with open_channel(f"127.0.0.1:{behind.port}", "mst_svc_importer") as channel:
        client = Directory(channel, wait=Waits())
        importer = Importer(client, None, now=lambda: datetime.now(UTC), wait=Waits())
        ended = importer.run_source(double.source, dry_run=False, publish=lambda _: None)
    behind.stop(grace_s=0)
    return ended


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_source_is_fetched_and_taken_through(server, directory, is_deleted):
    put(server.file)
    directory.source.delete_after_processing = is_deleted
    assert run_source(directory).status == imports_pb2.IMPORT_RUN_STATUS_APPLIED
    assert len(directory.lines) == 20_000
    assert server.file.exists() is not is_deleted


def test_a_file_that_is_held_is_not_deleted(server, directory):
    put(server.file)
    directory.source.delete_after_processing = True
    directory.planned.status = imports_pb2.IMPORT_RUN_STATUS_HELD
    assert run_source(directory).status == imports_pb2.IMPORT_RUN_STATUS_HELD
    assert server.file.exists()


def test_r5_a_run_without_a_file_ends_as_no_file(directory):
    assert run_source(directory).status == imports_pb2.IMPORT_RUN_STATUS_NO_FILE
    assert (directory.refusal.reason, directory.refusal.file.file_name) == ("", "users.csv")


def test_what_is_fetched_has_no_name_on_disk(tmp_path):
    with Spool(tmp_path) as spool:
        spool.write(b"personal")
        assert list(tmp_path.iterdir()) == []
        assert stat.S_IMODE(os.fstat(spool._file.fileno()).st_mode) == 0o600


def test_an_endpoint_s_secrets_are_not_shown(server):
    assert PASSWORD not in repr(server.endpoint())
