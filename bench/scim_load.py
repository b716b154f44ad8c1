"""Send HTTP requests over a few connections that stay open, and time each: one job a line in, one result a line out.

It runs in a process of its own and parses no more of an answer than where it ends, so that it takes little of the
machine that serves: `cpu_ms` says how much.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CHUNKED = b"\r\ntransfer-encoding: chunked"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_LONGEST_S = 60.0


@dataclass
class _Connection:
    socket: socket.socket
    started_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, request: bytes) -> None:
        self.received.clear()
        self.started_s = time.perf_counter()
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Read what has come. Errors: ConnectionError when the server hung up."""
        part = self.socket.recv(262_144)
        if not part:
            raise ConnectionError("the server hung up")
        self.received += part
        head = self.received.find(_END_OF_HEAD)
        if head < 0:
            return False
        said = bytes(self.received[:head]).lower()
        if _CHUNKED in said:
            return self.received.endswith(_LAST_CHUNK)
        place = said.find(_LENGTH)
        length = int(said[place + len(_LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        return len(self.received) >= head + len(_END_OF_HEAD) + length

    @property
    def status(self) -> int:
        return int(self.received[9:12])


def main() -> None:
    """Do the jobs that come on stdin."""
    for line in sys.stdin:
        print(json.dumps(_done(json.loads(line))), flush=True)


def _done(job: dict[str, Any]) -> dict[str, Any]:
    """Send `requests` in order, each once, over `connections` until `seconds` are over or none is left.

    `addresses` take turns. One request at least is waited for on each connection, however long it takes.
    """
    requests = iter([request.encode() for request in job["requests"]])
    with selectors.DefaultSelector() as selector:
        for number in range(job["connections"]):
            host, port = job["addresses"][number % len(job["addresses"])]
            opened = socket.create_connection((host, port), timeout=_LONGEST_S * 2)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(opened, selectors.EVENT_READ, _Connection(opened))
        try:
            return _timed(selector, requests, job["seconds"])
        finally:
            for key in list(selector.get_map().values()):
                key.data.socket.close()


def _timed(selector: selectors.BaseSelector, requests: Any, seconds: float) -> dict[str, Any]:
    times_ms: list[float] = []
    refused: dict[int, int] = {}
    first_refusal = ""
    cpu_s, started_s = time.process_time(), time.perf_counter()
    under_way = 0
    for key in list(selector.get_map().values()):
        request = next(requests, None)
        if request is not None:
            key.data.send(request)
            under_way += 1
    ended_s = started_s
    while under_way:
        ready = selector.select(_LONGEST_S)
        if not ready:
            break  # what has not been answered by now is not counted
        for key, _ in ready:
            connection: _Connection = key.data
            if not connection.is_answered():
                continue
            ended_s = time.perf_counter()
            times_ms.append((ended_s - connection.started_s) * 1000)
            if connection.status >= 300:
                refused[connection.status] = refused.get(connection.status, 0) + 1
                first_refusal = first_refusal or bytes(connection.received[-300:]).decode("utf-8", "replace")
            request = next(requests, None) if ended_s - started_s < seconds else None
            if request is None:
                under_way -= 1
            else:
                connection.send(request)
    return {
        "count": len(times_ms),
        "seconds": ended_s - started_s,
        "times_ms": [round(each, 3) for each in times_ms],
        "refused": refused,
        "first_refusal": first_refusal,
        "cpu_ms": (time.process_time() - cpu_s) * 1000,
    }


if __name__ == "__main__":
    main()
