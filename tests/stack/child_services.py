"""Run the services as child processes, with all their files in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.stack.service import START_TIMEOUT_S, Service
from tests.stack.waiting import wait_until


class ChildServices:
    """The children of one system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[Service, subprocess.Popen[bytes]] = {}
        self._addresses: dict[Service, str] = {}

    def start(self, service: Service, environment: Mapping[str, str]) -> None:
        """Start a child, the second time on its old address, and wait until it says where it listens."""
        out = self._folder / f"{service}.out"
        with out.open("wb") as stdout, self._log(service).open("ab") as stderr:
            process = subprocess.Popen(
                [_script(service), *(["serve"] if service is Service.DIRECTORY else [])],
                env=_environment(dict(environment) | self._environment_of(service)),
                stdin=subprocess.PIPE,  # closed with us, so that no child outlives the tests
                stdout=stdout,
                stderr=stderr,
            )
        self._processes[service] = process

        def listening() -> str | None:
            assert process.poll() is None, f"{service} ended: {self.log_of(service)[-3000:]}"
            line = out.read_text().partition("\n")
            return str(json.loads(line[0])["listening"]) if line[1] else None

        said = wait_until(listening, timeout_s=START_TIMEOUT_S, what=f"{service} to say where it listens")
        self._addresses[service] = str(said)

    def kill(self, service: Service) -> None:
        """SIGKILL a child."""
        process = self._processes[service]
        process.kill()
        process.wait(10)
        _close_pipes(process)

    def end(self, services: Sequence[Service]) -> None:
        """SIGTERM them, then SIGKILL who has not ended after 20 s."""
        processes = [self._processes[service] for service in services if service in self._processes]
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close_pipes(process)

    def has_ended(self, service: Service) -> bool:
        """Whether a child that was started runs no more."""
        return service in self._processes and self._processes[service].poll() is not None

    def address(self, service: Service) -> str:
        """Where a child listens."""
        return self._addresses[service]

    address_inside = address

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """The same address: children are on this machine."""
        return host, port

    def log_of(self, service: Service) -> str:
        """What a child has logged."""
        return self._log(service).read_text()

    def _log(self, service: Service) -> Path:
        return self._folder / f"{service}.log"

    def _environment_of(self, service: Service) -> dict[str, str]:
        """Where it listens, and where it keeps what."""
        prefix = service.upper()
        own = {f"{prefix}_LISTEN": self._addresses.get(service, "127.0.0.1:0"), f"{prefix}_EXIT_WITH_STDIN": "true"}
        match service:
            case Service.DIRECTORY:
                return own | {"DIRECTORY_STAGE_DIR": str(self._folder / "stage")}
            case Service.IMPORTER:
                incoming = self._folder / "incoming"
                incoming.mkdir(exist_ok=True)
                return own | {"IMPORTER_TEMP_DIR": str(incoming)}
            case Service.NOTIFIER:
                return own | {"NOTIFIER_MAIL_DIR": str(self._folder / "mail")}
            case Service.SCIM_GATEWAY:
                return own


def _script(service: str) -> str:
    """The console script beside this Python."""
    return str(Path(sys.executable).parent / f"muster-{service.replace('_', '-')}")


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """Our environment without settings of services that may stand in it."""
    prefixes = tuple(f"{service.upper()}_" for service in Service)
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)} | dict(own)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
