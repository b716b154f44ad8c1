"""Choose loopback ports, and keep to the ones chosen before while they are free."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"
# Below the range from which systems give ports to outgoing connections, so that none of those takes a child's port
# while it restarts.
_RANGE = range(20_000, 32_000)


def choose(names: Iterable[str], before: Mapping[str, int], *, wait_s: float = 0.0) -> dict[str, int]:
    """Give each name its port of `before`, waiting up to `wait_s` for it to become free, else another one."""
    deadline = time.monotonic() + wait_s
    chosen: dict[str, int] = {}
    for name in names:
        port = before.get(name)
        while port is not None and not is_free(port):
            if time.monotonic() > deadline:
                port = None
            else:
                time.sleep(0.1)
        chosen[name] = port if port is not None else _another({*chosen.values(), *before.values()})
    return chosen


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _another(taken: set[int]) -> int:
    while True:
        port = random.choice(_RANGE)  # noqa: S311 - a port is no secret
        if port not in taken and is_free(port):
            return port
