"""R1, R7: a file is fetched over real SFTP when it is complete, from the pinned server only."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
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
from tests.unit.importer.directory_double import DirectoryDouble, serve

USER, PASSWORD = "customer", "correct horse"
DATA = b"UniqueID,Name,Mail\r\n" + b"EMP-0000001,Anna Berg,anna@example.org\r\n" * 20_000
LONG_AGO = 1_600_000_000


@dataclass
class Server:
    """An SFTP server on a thread; `folder` is what its customer sees as `/`."""

    folder: Path
    port: int
    keys: dict[str, str]
    user_key: asyncssh.SSHKey
    asked: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "users.csv"

    def endpoint(self, **changes: Any) -> sftp.Endpoint:
        endpoint = sftp.Endpoint(
            host="127.0.0.1",
            port=self.port,
            username=USER,
            path="/users.csv",
            host_key=self.keys["ssh-ed25519"],
            password=PASSWORD,
        )
        return replace(endpoint, **changes)


class Login(asyncssh.SSHServer):
    """Lets the one customer in; `connections` are those that are open."""

    def __init__(self, connections):
        self._connections = connections

    def connection_made(self, conn):
        self._connections.add(conn)
        self.connection = conn

    def connection_lost(self, exc):
        self._connections.discard(self.connection)

    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == (USER, PASSWORD)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drop")
    host_keys = [asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-rsa", key_size=2048)]
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    authorized = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    asked: list[str] = []

    connections: set[asyncssh.SSHServerConnection] = set()

    class Drop(asyncssh.SFTPServer):
        def __init__(self, chan):
            super().__init__(chan, chroot=os.fsencode(folder))

        def stat(self, path):
            asked.append("stat " + os.fsdecode(path))
            return super().stat(path)

    loop = asyncio.new_event_loop()

    async def listen():
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Login(connections),
            server_host_keys=host_keys,
            authorized_client_keys=authorized,
            sftp_factory=Drop,
        )

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    keys = {key.algorithm.decode(): key.export_public_key().decode().strip() for key in host_keys}
    keys = {text.split()[0]: text for text in keys.values()}
    yield Server(folder, acceptor.get_port(), keys, user_key, asked)

    async def close():
        acceptor.close()
        await acceptor.wait_closed()
        for connection in tuple(connections):
            connection.abort()
            await connection.wait_closed()
        rest = asyncio.all_tasks() - {asyncio.current_task()}  # those that end with their connections
        await asyncio.gather(*rest, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(autouse=True)
def folder(server):
    for path in server.folder.iterdir():
        path.unlink()
    server.asked.clear()
    return server.folder


class Waits(list[float]):
    """Waits without time passing: remembers for how long, and lets something happen meanwhile."""

    def __init__(self, *meanwhile):
        super().__init__()
        self._meanwhile = list(meanwhile)

    def __call__(self, seconds):
        self.append(seconds)
        if self._meanwhile:
            self._meanwhile.pop(0)()


def fetch(server, wait=None, *, max_bytes=10_000_000, stable_for_s=60, **changes):
    with Spool(None, max_bytes=max_bytes) as spool:
        found = sftp.fetch(
            server.endpoint(**changes),
            spool,
            stable_for_s=stable_for_s,
            max_bytes=max_bytes,
            wait=Waits() if wait is None else wait,
        )
        with spool.open() as file:
            return found, file.read()


def put(path, data=DATA, *, mtime=None):
    path.write_bytes(data)
    if mtime is not None:
        # As a client that keeps times does: the access time goes back with the other.
        os.utime(path, (mtime, mtime))
    return path


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
    with pytest.raises(UnstableFileError):
        fetch(server)


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
        assert found.size_bytes == len(DATA) + 6
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
        assert sftp.fetch(server.endpoint(), spool, stable_for_s=60, max_bytes=10**7, wait=Waits()).size_bytes == 1000
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
    other = asyncssh.generate_private_key(kind).export_public_key().decode()
    with pytest.raises(HostKeyChangedError):
        fetch(server, host_key=other)


def test_a_server_that_is_not_there_fails_the_run(server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionFailedError) as failed:
        fetch(server, port=port)
    assert isinstance(failed.value, RunEndedError)


def test_the_file_is_deleted_only_when_it_is_still_the_fetched_one(server):
    put(server.file)
    found, _ = fetch(server)
    put(server.file, b"newer")
    assert sftp.delete(server.endpoint(), found) is False
    assert server.file.exists()
    found, _ = fetch(server)
    assert sftp.delete(server.endpoint(), found) is True
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
