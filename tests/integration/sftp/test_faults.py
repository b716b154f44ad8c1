"""A line to the server that breaks or stalls is tried again; a login is not."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from services.importer.errors import ConnectionLostError, FetchFailedError, TooLargeError
from tests.integration.sftp.customer_server import DATA, LONG_AGO, QUICK, fetch, put

BROKEN, STALLED = "cut", "stall"


class Line:
    """A line to the server on which the first `broken` connections end, or go silent, within the file."""

    def __init__(self, port, *, broken, how):
        self._server = port
        self._broken = broken
        self._how = how
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = [self._listener]
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                most = len(DATA) // 2 if self.connections <= self._broken else None
                threading.Thread(target=self._carry, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._carry, args=(server, client, most), daemon=True).start()

    def _carry(self, source, target, most):
        carried = 0
        with suppress(OSError):
            while piece := source.recv(16 * 1024):
                carried += len(piece)
                if most is not None and carried > most:
                    if self._how == STALLED:
                        return
                    break
                target.sendall(piece)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def line_to(server, *, broken, how=BROKEN):
    line = Line(server.port, broken=broken, how=how)
    try:
        yield line
    finally:
        line.close()


@pytest.mark.parametrize("how", [BROKEN, STALLED])
def test_a_transfer_that_breaks_or_stalls_begins_again(server, how):
    put(server.file, mtime=LONG_AGO)
    patience = replace(QUICK, stall_s=0.2)
    with line_to(server, broken=1, how=how) as line:
        assert fetch(server, port=line.port, patience=patience)[1] == DATA
    assert line.connections == 2


@pytest.mark.parametrize(
    ("how", "tries", "said"), [(BROKEN, 3, "cut the connection"), (STALLED, 1, "stopped answering")]
)
def test_a_transfer_that_never_gets_through_fails_the_run(server, how, tries, said):
    put(server.file, mtime=LONG_AGO)
    patience = replace(QUICK, stall_s=0.2, tries=tries)
    with line_to(server, broken=9, how=how) as line, pytest.raises(ConnectionLostError) as failed:
        fetch(server, port=line.port, patience=patience)
    assert line.connections == tries
    assert failed.value.code == "fetch_failed"
    assert said in failed.value.message


def test_a_server_that_trickles_is_given_up(server):
    put(server.file, mtime=LONG_AGO)
    patience = replace(QUICK, transfer_s=0.2)
    with line_to(server, broken=9, how=STALLED) as line, pytest.raises(FetchFailedError) as failed:
        fetch(server, port=line.port, patience=patience)
    assert line.connections == 1
    assert "too slowly" in failed.value.message


def test_a_file_that_may_not_be_read_is_not_tried_again(server):
    put(server.file).chmod(0)
    try:
        server.file.read_bytes()
    except PermissionError:
        with line_to(server, broken=0) as line, pytest.raises(FetchFailedError) as failed:
            fetch(server, port=line.port)
        assert line.connections == 1
        assert "does not let this user read" in failed.value.message
    else:  # who runs the tests may read everything
        assert fetch(server)[1] == DATA


def test_r7_a_file_that_is_too_large_is_not_tried_again(server):
    put(server.file)
    with line_to(server, broken=0) as line, pytest.raises(TooLargeError):
        fetch(server, port=line.port, max_bytes=10)
    assert line.connections == 1
