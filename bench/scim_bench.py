"""Call the SCIM gateway as an identity provider does, beside scim2-server in memory, and print both: `make bench`."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.system import fresh_database, muster_up, postgresql
from services.directory.operations.provisioning import groups, users
from services.directory.operations.provisioning.call import begin
from services.directory.rules import names
from services.directory.rules.provisioned import GroupFacts, UserFacts
from services.directory.store.session import Store

SMALL, LARGE = 100, 10_000
SPARE = 50
"""People who are in no group at first: who comes and goes."""

_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Server:
    """A SCIM server that is filled: its address, people in order, and a group of each size."""

    name: str
    url: str
    key: str
    people: list[str]
    groups: dict[int, str]
    group_rounds: int
    medians_ms: dict[str, float] = field(default_factory=dict)

    def measure(self, operation: str, rounds: int, call: Callable[[int], None]) -> None:
        """Call one after another and keep the median, in milliseconds."""
        taken = []
        for number in range(rounds):
            started = time.perf_counter()
            call(number)
            taken.append((time.perf_counter() - started) * 1000)
        self.medians_ms[operation] = statistics.median(taken)


class Caller:
    """One connection that stays open."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.url)
        assert parts.hostname is not None
        self._path = parts.path
        self._connection = HTTPConnection(parts.hostname, parts.port, timeout=120)
        self._headers = {"Content-Type": "application/scim+json", "Authorization": f"Bearer {server.key}"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call and read the answer; SystemExit when it is no success."""
        data = None if body is None else json.dumps(body)
        self._connection.request(method, self._path + path, data, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise SystemExit(f"{method} {path} answered {response.status}: {text[:300]!r}")
        return json.loads(text) if text else None

    def patch(self, path: str, *operations: dict[str, Any]) -> None:
        """Send a PATCH."""
        self.call("PATCH", path, {"schemas": [_PATCH], "Operations": operations})


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="calls of each kind; a tenth on a peer's large group")
    parser.add_argument("--database-url", default="", help="a PostgreSQL server that may be filled")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder, postgresql(options.database_url, folder) as url:
        servers = []
        for place, database in (("PostgreSQL", fresh_database(url, "scim")), ("SQLite", None)):
            data = Path(folder) / place
            with muster_up(data, database, seats=LARGE * 2) as up:
                where = database.render_as_string(hide_password=False) if database else f"sqlite:///{data}/directory.db"
                server = _filled(f"muster, {place}", up, where, options.rounds)
                _measure(server, options.rounds)
                servers.append(server)
        with _peer(max(2, options.rounds // 20)) as server:
            _measure(server, options.rounds)
            servers.append(server)
    _print(servers)
    return 0


def _filled(name: str, up: dict[str, Any], database_url: str, rounds: int) -> Server:
    """Provision people and groups by the directory's own operations: over HTTP that alone would take minutes."""
    tenant_id, source_id = names.parse(names.SOURCE, up["scim_source"], field="source")
    store = Store(database_url)

    people: list[int] = []
    for start in range(0, LARGE + SPARE, 1000):
        with store.write(tenant_id, wait_s=60) as session:
            call = begin(session, tenant_id, source_id, now=datetime.now(UTC))
            numbers = range(start, min(start + 1000, LARGE + SPARE))
            people += [users.create_user(call, _facts(number)).id for number in numbers]
    made: dict[int, str] = {}
    for size in (SMALL, LARGE):
        with store.write(tenant_id, wait_s=60) as session:
            call = begin(session, tenant_id, source_id, now=datetime.now(UTC))
            facts = GroupFacts(external_id="", display_name=f"Group {size}", attributes=b"{}")
            made[size] = names.short_name("grp", groups.create_group(call, facts, people[:size]).id)
    store.close()
    return Server(name, up["scim"], up["scim_key"], [names.short_name("usr", each) for each in people], made, rounds)


def _facts(number: int) -> UserFacts:
    said = _person(f"person{number}@example.org")
    return UserFacts(
        user_name=said["userName"],
        external_id="",
        active=True,
        display_name=said["displayName"],
        email=said["userName"],
        title="",
        phone="",
        secondary_phone="",
        attributes=json.dumps(said).encode(),
    )


@contextmanager
def _peer(rounds: int) -> Iterator[Server]:
    command = [
        sys.executable,
        "-m",
        "bench.scim_peer",
        "--people",
        str(LARGE + SPARE),
        "--groups",
        str(SMALL),
        str(LARGE),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            groups = {int(size): group for size, group in said["groups"].items()}
            yield Server("scim2-server, memory", said["url"], "", said["people"], groups, group_rounds=rounds)
        finally:
            process.kill()


def _measure(server: Server, rounds: int) -> None:
    caller = Caller(server)
    people = server.people
    server.measure("GET user", rounds, lambda number: caller.call("GET", f"/Users/{people[number]}"))
    eq = "/Users?filter=userName%20eq%20%22person{}@example.org%22"
    server.measure("filter userName eq", rounds, lambda number: caller.call("GET", eq.format(number)))
    server.measure(
        "POST user", rounds, lambda number: caller.call("POST", "/Users", _person(f"new{number}@example.org"))
    )
    for size, group in server.groups.items():
        many = server.group_rounds if size == LARGE else rounds
        server.measure(f"GET group of {size:,}, no members", many, _reader(caller, group))
    for word, operation in (("add", _added), ("remove", _removed)):
        for size, group in server.groups.items():
            many = min(SPARE, server.group_rounds if size == LARGE else rounds)
            server.measure(f"{word} one of {size:,}", many, _patcher(caller, group, operation, people[LARGE:]))


def _reader(caller: Caller, group: str) -> Callable[[int], None]:
    def read(_: int) -> None:
        caller.call("GET", f"/Groups/{group}?excludedAttributes=members")

    return read


def _patcher(
    caller: Caller, group: str, operation: Callable[[str], dict[str, Any]], people: list[str]
) -> Callable[[int], None]:
    def patch(number: int) -> None:
        caller.patch(f"/Groups/{group}", operation(people[number]))

    return patch


def _person(user_name: str) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
        "displayName": "Ann Example",
        "emails": [{"type": "work", "primary": True, "value": user_name}],
        "active": True,
    }


def _added(person: str) -> dict[str, Any]:
    return {"op": "add", "path": "members", "value": [{"value": person}]}


def _removed(person: str) -> dict[str, Any]:
    return {"op": "remove", "path": f'members[value eq "{person}"]'}


def _print(servers: list[Server]) -> None:
    print(f"\nSCIM, one call after another, median in ms; groups of {SMALL:,} and {LARGE:,} members\n")
    print(f"{'':32}" + "".join(f"{server.name:>22}" for server in servers))
    for operation in servers[0].medians_ms:
        print(f"{operation:32}" + "".join(f"{server.medians_ms[operation]:>22.1f}" for server in servers))
    for word in ("add", "remove"):
        ratios = [
            server.medians_ms[f"{word} one of {LARGE:,}"] / server.medians_ms[f"{word} one of {SMALL:,}"]
            for server in servers
        ]
        print(f"{word + f', {LARGE:,} against {SMALL:,}':32}" + "".join(f"{ratio:>21.2f}x" for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
