"""Do something again and again on a thread beside the server, until told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import structlog
from muster.runtime.telemetry import fault_of

log = structlog.get_logger()


class RepeatingWorker:
    """Does `work` after each of `waits` (seconds); a fault is logged as `NAME.failed`, and the next turn comes.

    `work` is given what says whether it is to end early. Several replicas may do so at once.
    """

    def __init__(self, name: str, work: Callable[[Callable[[], bool]], object], waits: Iterator[float]) -> None:
        self._fault = f"{name}.failed"
        self._work = work
        self._waits = waits
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is under way."""
        self._ended.set()
        self._thread.join(timeout=5.0)

    def _loop(self) -> None:
        while not self._ended.wait(next(self._waits)):
            try:
                self._work(self._ended.is_set)
            except Exception as error:  # noqa: BLE001 - the outermost loop: log and go on
                log.error(self._fault, **fault_of(error))
