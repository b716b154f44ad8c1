"""Start child processes, see that they are well, start them again when they die, and end them."""

from __future__ import annotations

import enum
import http
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from muster.runtime import client

from cli.errors import CommandError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 10.0
STEADY_S = 30.0
"""A child that lived this long starts again without a back-off."""

_PROBE_TIMEOUT_S = 1.0

# The parent's own settings of the services must not leak into the embedded ones.
_FOREIGN = ("DIRECTORY_", "IMPORTER_", "NOTIFIER_", "SCIM_GATEWAY_", "DROP_", "MUSTER_")


class Speech(enum.Enum):
    """What a child speaks, which says how one knows that it is well."""

    GRPC = enum.auto()
    HTTP = enum.auto()
    SSH = enum.auto()


@dataclass(frozen=True)
class Plan:
    """How to run one child, and how to know that it is well."""

    name: str
    command: Sequence[str]
    address: str
    environment: Mapping[str, str] = field(repr=False)
    speaks: Speech = Speech.GRPC


@dataclass
class Child:
    """One child process and its log."""

    plan: Plan
    log_file: Path
    process: subprocess.Popen[bytes] | None = None
    _started_at: float = 0.0
    _failures: int = 0
    _start_again_at: float | None = None

    @property
    def pid(self) -> int:
        """Id of the process last started."""
        return self.process.pid if self.process is not None else 0

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process, with a stdin that closes when we end, however we end."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.plan.command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=surroundings() | dict(self.plan.environment),
                start_new_session=True,  # Ctrl-C is for us; we end the children in order
            )
        self._started_at = time.monotonic()
        self._start_again_at = None

    def wait_until_well(self, *, wanted: Callable[[], bool] = lambda: True) -> None:
        """Block until the child answers; CommandError with the end of its log when it ends or takes over 60 s."""
        try:
            if self.plan.speaks is Speech.GRPC:
                client.wait_until_serving(
                    self.plan.address, timeout_s=START_TIMEOUT_S, alive=lambda: self.is_alive() and wanted()
                )
            else:
                self._wait_until_answering(wanted)
        except TimeoutError as error:
            said = "was interrupted" if not wanted() else "did not start"
            raise CommandError(f"{self.plan.name} {said}: {self._last_words()}; see {self.log_file}") from error

    def revive(self) -> int | None:
        """Start a dead child again when its back-off is over; return the status with which it ended, else None."""
        if self.process is None or self.process.poll() is None:
            return None
        now = time.monotonic()
        if self._start_again_at is None:
            self._failures = 0 if now - self._started_at > STEADY_S else self._failures + 1
            self._start_again_at = now + min(FIRST_BACKOFF_S * 2**self._failures, MAX_BACKOFF_S)
        if now < self._start_again_at:
            return None
        status = self.process.returncode
        self._close_stdin()
        self.start()
        return status

    def ask_to_end(self) -> None:
        """Send SIGTERM and close its stdin."""
        if self.is_alive():
            assert self.process is not None
            self.process.terminate()
        self._close_stdin()

    def end(self, deadline: float) -> None:
        """Wait until `deadline` (monotonic), then kill."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _close_stdin(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def _wait_until_answering(self, wanted: Callable[[], bool]) -> None:
        is_well = _says_ssh if self.plan.speaks is Speech.SSH else _says_it_is_well
        host, _, port = self.plan.address.rpartition(":")
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.is_alive() and wanted() and time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if is_well(host, int(port)):
                    return
            time.sleep(0.05)
        raise TimeoutError(self.plan.address)

    def _last_words(self) -> str:
        lines = [line for line in self.log_file.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it said nothing"


def _says_ssh(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=_PROBE_TIMEOUT_S) as connection:
        return connection.recv(4) == b"SSH-"


def _says_it_is_well(host: str, port: int) -> bool:
    with closing(http.client.HTTPConnection(host, port, timeout=_PROBE_TIMEOUT_S)) as connection:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK


def stop_all(children: Sequence[Child], *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End all children together within `timeout_s`; who does not end is killed."""
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + timeout_s
    for child in children:
        child.end(deadline)


def describe(status: int) -> str:
    """Write how a process ended."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def surroundings() -> dict[str, str]:
    """Take the environment without what would change a child's settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
