"""Start notifiers fast: a process that has imported everything forks one for each line of settings it reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self


class Replicas:
    """Starts notifiers and kills them, each under a name of the test's."""

    def __init__(self, log: Path, **settings: str) -> None:
        self._log = log
        self._settings = settings
        self._pids: dict[str, int] = {}
        self._own: dict[str, dict[str, str]] = {}
        self.killed = 0

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.notifier.replicas"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._pids):
            self.kill(name)
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.close()
        self._nursery.wait(timeout=10)
        self._nursery.stdout.close()

    def start(self, name: str, **settings: str) -> None:
        """Start one, with settings of its own or those it had."""
        own = self._own.setdefault(name, settings)
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps(self._settings | own) + "\n")
        self._nursery.stdin.flush()
        self._pids[name] = int(self._nursery.stdout.readline())

    def kill(self, name: str) -> None:
        """SIGKILL one that runs."""
        pid = self._pids.pop(name, None)
        if pid is not None:
            self.killed += 1
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def runs(self, name: str) -> bool:
        """Say whether one was started and not killed since."""
        return name in self._pids


def _be_the_nursery() -> None:
    from services.notifier import app  # noqa: PLC0415 - imported once, for all that are forked

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ.update(json.loads(line))
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, 0)
            os.dup2(nowhere, 1)
            try:
                app.main()
            finally:
                os._exit(1)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _be_the_nursery()
