"""Call the SCIM gateway as identity providers do, beside two servers in memory, and print all: `make bench`.

Each kind of request is sent over 8 connections (4 for changes of groups) for a few seconds, and then one after another.
scimmy-routers is fetched for the bench into a folder that goes away; where it cannot be had, the table does without.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.scim_people import person_json
from bench.scim_servers import Server, muster, scim2_server, scimmy
from bench.system import fresh_database, postgresql

SMALL: Final = 100
_MANY: Final = 100_000
"""More requests than are answered."""
_PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass(frozen=True)
class Figure:
    """How fast one kind of request was, with as many connections at once and alone, and what it took of processors."""

    per_second: float
    p50_ms: float
    p99_ms: float
    alone_ms: float
    cpu_ms: dict[str, float]


class Load:
    """The process that sends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.scim_load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def send(self, server: Server, requests: Sequence[str], *, connections: int, seconds: float) -> dict[str, Any]:
        """Send requests and give what came of them. Errors: SystemExit when one is refused."""
        job = {
            "addresses": [urlsplit(url).netloc.split(":") for url in server.urls],
            "connections": connections,
            "seconds": seconds,
            "requests": requests,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        done: dict[str, Any] = json.loads(self._process.stdout.readline())
        if done["refused"]:
            raise SystemExit(f"{server.name} refused {done['refused']}: {done['first_refusal']}")
        return done

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each kind of request is sent")
    parser.add_argument("--sizes", type=int, nargs="+", default=[SMALL, 10_000, 100_000], help="members of the groups")
    parser.add_argument("--peer-sizes", type=int, nargs="+", default=[SMALL, 10_000], help="the same, of the peers")
    parser.add_argument("--database-url", default="", help="a PostgreSQL server that may be filled")
    parser.add_argument("--databases", nargs="+", default=["PostgreSQL", "SQLite"], help="on what Muster is measured")
    options = parser.parse_args()
    servers: list[Server] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-"))
        load = Load()
        stack.callback(load.end)
        for place in options.databases:
            database = None
            if place == "PostgreSQL":
                server_url = stack.enter_context(postgresql(options.database_url, folder))
                database = fresh_database(server_url, "scim")
            with muster(place, Path(folder) / place, database, options.sizes) as both:
                for server in both:
                    _measure(load, server, options.seconds)
                    servers.append(server)
        peers: list[Callable[[], Any]] = [
            lambda: scim2_server(options.peer_sizes),
            lambda: scimmy(Path(folder) / "node", options.peer_sizes),
        ]
        for peer in peers:
            try:
                with peer() as server:
                    _measure(load, server, options.seconds)
                    servers.append(server)
            except (OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
                print(f"A peer is missing: {type(error).__name__}: {error}")
    _print(servers)
    return 0


def _measure(load: Load, server: Server, seconds: float) -> None:
    people, count = server.people, len(server.people)
    some = [people[number % count] for number in range(_MANY)]
    get = [_request(server, "GET", f"/Users/{each}") for each in some]
    eq = "/Users?filter=userName%20eq%20%22person{}@example.org%22"
    named = [_request(server, "GET", eq.format(number % count)) for number in range(_MANY)]
    _row(load, server, "GET user", iter(get), seconds)
    _row(load, server, "filter userName eq", iter(named), seconds)
    _row(load, server, "POST user", _new_people(server), seconds)
    for size, group in server.groups.items():
        head = [_request(server, "GET", f"/Groups/{group}?excludedAttributes=members")] * _MANY
        _row(load, server, f"GET group of {size:,}", iter(head), seconds)
    for size, group in server.groups.items():
        adds = [
            _patch(server, group, {"op": "add", "path": "members", "value": [{"value": each}]}) for each in server.spare
        ]
        removals = [
            _patch(server, group, {"op": "remove", "path": f'members[value eq "{each}"]'}) for each in server.spare
        ]
        is_slow = server.is_peer and size > SMALL
        added = _row(load, server, f"add one of {size:,}", iter(adds), seconds, connections=4, is_slow=is_slow)
        there = iter(removals[:added])
        _row(load, server, f"remove one of {size:,}", there, seconds, connections=4, is_slow=is_slow)


def _row(
    load: Load,
    server: Server,
    name: str,
    requests: Iterator[str],
    seconds: float,
    *,
    connections: int = 8,
    is_slow: bool = False,
) -> int:
    """Measure one kind of request; gives how many were sent. What takes seconds each is sent one after another only."""
    alone = _some(requests, 3 if is_slow else 60)
    quiet = load.send(server, alone, connections=1, seconds=seconds)
    at_once = quiet
    before = server.cpu_ms()
    sent: int = quiet["count"]
    if not is_slow:
        at_once = load.send(server, _some(requests, _MANY), connections=connections, seconds=seconds)
        sent += at_once["count"]
    times = sorted(at_once["times_ms"])
    cpu = {kind: (after - before[kind]) / len(times) for kind, after in server.cpu_ms().items()}
    server.figures[name] = Figure(
        per_second=len(times) / at_once["seconds"],
        p50_ms=statistics.median(times),
        p99_ms=times[min(len(times) - 1, int(len(times) * 0.99))],
        alone_ms=statistics.median(quiet["times_ms"]),
        cpu_ms={} if is_slow else cpu,
    )
    return sent


def _some(requests: Iterator[str], most: int) -> list[str]:
    return [request for _, request in zip(range(most), requests, strict=False)]


def _new_people(server: Server) -> Iterator[str]:
    run = uuid.uuid4().hex[:8]
    return iter(
        [_request(server, "POST", "/Users", person_json(f"new{n}.{run}@example.org")) for n in range(_MANY // 10)]
    )


def _patch(server: Server, group: str, operation: dict[str, Any]) -> str:
    return _request(server, "PATCH", f"/Groups/{group}", {"schemas": [_PATCH], "Operations": [operation]})


def _request(server: Server, method: str, path: str, body: Any = None) -> str:
    parts = urlsplit(server.urls[0])
    said = "" if body is None else json.dumps(body)
    head = [
        f"{method} {parts.path}{path} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: Bearer {server.key}",
        *(["Content-Type: application/scim+json", f"Content-Length: {len(said)}"] if said else []),
    ]
    return "\r\n".join(head) + "\r\n\r\n" + said


def _print(servers: Sequence[Server]) -> None:
    rows = list(servers[0].figures)
    for title, write in _TABLES.items():
        print(f"\n{title}\n{'':26}" + "".join(f"{server.name:>24}" for server in servers))
        for row in rows:
            told = (server.figures.get(row) for server in servers)
            print(f"{row:26}" + "".join(f"{write(each) if each else '-':>24}" for each in told))
    print(f"\nGoals{'':21}" + "".join(f"{server.name:>24}" for server in servers if not server.is_peer))
    peers = [server for server in servers if server.is_peer]
    for row in rows[:3]:
        best = max((peer.figures[row].per_second for peer in peers), default=0.0)
        print(f"{row + ' / best peer':26}" + "".join(_ratio(each, row, best) for each in servers if not each.is_peer))
    for word in ("GET group", "add one", "remove one"):
        sizes = [row for row in rows if row.startswith(word)]
        print(
            f"{word + ', largest/smallest':26}" + "".join(_growth(each, sizes) for each in servers if not each.is_peer)
        )


_TABLES: Final[dict[str, Callable[[Figure], str]]] = {
    "Requests a second, 8 connections (4 for add and remove; 1 for large groups of the peers)": lambda figure: (
        f"{figure.per_second:,.1f}"
    ),
    "p50 / p99 of these, ms": lambda figure: f"{figure.p50_ms:,.1f} / {figure.p99_ms:,.1f}",
    "One after another, median ms": lambda figure: f"{figure.alone_ms:,.1f}",
    "Processor time a request, ms: gateway + directory, or the server": lambda figure: " + ".join(
        f"{each:.2f}" for each in figure.cpu_ms.values()
    ),
}


def _ratio(server: Server, row: str, best: float) -> str:
    return f"{server.figures[row].per_second / best:>23.2f}x" if best else f"{'-':>24}"


def _growth(server: Server, rows: Sequence[str]) -> str:
    return f"{server.figures[rows[-1]].p50_ms / server.figures[rows[0]].p50_ms:>23.2f}x"


if __name__ == "__main__":
    sys.exit(main())
