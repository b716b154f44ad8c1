"""Call the directory as other services do, one call a unit of work, and print calls a second: `make bench`."""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from muster.directory.v1 import (
    groups_pb2,
    groups_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    users_pb2,
    users_pb2_grpc,
)
from muster.runtime import client

from bench.system import fresh_database, postgresql

CALLERS: Final = (1, 16)
"""How many call at once."""

WARM_UP_S: Final = 1.5
"""Until each connection of the pool has prepared what the driver prepares: what it has run five times."""

SETS: Final = (("threads", "PostgreSQL"), ("threads", "SQLite"), ("aio", "PostgreSQL"), ("aio", "SQLite"))
"""Server and database of each column; the first is what others are compared with."""


@dataclass(frozen=True)
class Figure:
    """How fast one kind of call was: calls a second, and the time of one, in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Register:
    """A tenant on a directory that serves, and the calls that are measured; each takes a number of its own."""

    def __init__(self, target: str, token: str, people: int) -> None:
        self.channel = client.open_channel(target, token)
        self._users = users_pb2_grpc.UserServiceStub(self.channel)
        self._groups = groups_pb2_grpc.GroupServiceStub(self.channel)
        tenants = tenants_pb2_grpc.TenantServiceStub(self.channel)
        made = tenants.CreateTenant(tenants_pb2.CreateTenantRequest(display_name="Bench", seats_total=1_000_000)).tenant
        self._tenant, self._account = made.name, made.main_account
        self._group = self._groups.CreateGroup(
            groups_pb2.CreateGroupRequest(account=self._account, display_name="Everyone")
        ).group.name
        self._people = [self._create(number).user.name for number in range(people)]
        self._next = people

    def calls(self) -> dict[str, Callable[[int], Any]]:
        """The kinds of call by name."""
        return {
            "GetUser": self._get,
            "ListUsers, by mail": self._find,
            "CreateUser": self._create_next,
            "UpdateUser": self._update,
            "ModifyMemberships, one": self._join,
        }

    def _get(self, number: int) -> Any:
        return self._users.GetUser(users_pb2.GetUserRequest(name=self._person(number)))

    def _find(self, number: int) -> Any:
        request = users_pb2.ListUsersRequest(tenant=self._tenant, email=_email(number % len(self._people)))
        return self._users.ListUsers(request)

    def _create_next(self, number: int) -> Any:
        return self._create(self._next + number)

    def _update(self, number: int) -> Any:
        user = users_pb2.User(name=self._person(number), title=f"Title {secrets.token_hex(4)}")
        request = users_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=["title"]))
        return self._users.UpdateUser(request)

    def _join(self, number: int) -> Any:
        request = groups_pb2.ModifyMembershipsRequest(group=self._group, add=[self._person(number)])
        return self._groups.ModifyMemberships(request)

    def _person(self, number: int) -> str:
        return self._people[number % len(self._people)]

    def _create(self, number: int) -> users_pb2.CreateUserResponse:
        request = users_pb2.CreateUserRequest(
            account=self._account, display_name="Ann Example", email=_email(number), request_id=secrets.token_hex(16)
        )
        return self._users.CreateUser(request)

    def skip(self, calls: int) -> None:
        """Leave numbers of new people behind that have been used."""
        self._next += calls


def _email(number: int) -> str:
    return f"person{number}@example.org"


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each kind of call is made")
    parser.add_argument("--people", type=int, default=1000, help="people of the tenant at the start")
    parser.add_argument("--database-url", default="", help="a PostgreSQL server that may be filled")
    options = parser.parse_args()
    figures: dict[tuple[str, str], dict[tuple[str, int], Figure]] = {}
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder, postgresql(options.database_url, folder) as url:
        for server, database in SETS:
            address = f"sqlite:///{folder}/{server}.db"
            if database == "PostgreSQL":
                address = fresh_database(url, f"directory_{server}").render_as_string(hide_password=False)
            with _serving(server, address) as said:
                register = Register(said["directory"], said["token"], options.people)
                figures[server, database] = _measure(register, options.seconds)
                register.channel.close()
    _print(figures)
    return 0


@contextmanager
def _serving(server: str, database_url: str) -> Iterator[dict[str, str]]:
    environment = os.environ | {
        "DIRECTORY_DATABASE_URL": database_url,
        "DIRECTORY_PEPPER": secrets.token_hex(16),
        "DIRECTORY_SEAL_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    command = [sys.executable, "-m", "bench.directory_server", "--server", server]
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as stages,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"DIRECTORY_STAGE_DIR": stages},
            cwd=Path(__file__).parents[1],
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(timeout=30)


def _measure(register: Register, seconds: float) -> dict[tuple[str, int], Figure]:
    found = {}
    for name, call in register.calls().items():
        for callers in CALLERS:
            found[name, callers] = figure = _run(call, callers, seconds)
            register.skip(int(figure.per_second * (seconds + WARM_UP_S)) + callers * 1000)
    return found


def _run(call: Callable[[int], Any], callers: int, seconds: float) -> Figure:
    """Let `callers` call one after another each, for the time given, after WARM_UP_S that does not count."""
    taken: list[list[float]] = [[] for _ in range(callers)]
    counted_from = time.perf_counter() + WARM_UP_S
    until = counted_from + seconds

    def work(mine: list[float], first: int) -> None:
        number = first
        while (started := time.perf_counter()) < until:
            call(number)
            number += callers
            if started >= counted_from:
                mine.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work, args=(mine, number)) for number, mine in enumerate(taken)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted(each for mine in taken for each in mine)
    if len(times) < 2:
        raise SystemExit("the calls did not succeed")
    percentiles = statistics.quantiles(times, n=100)
    return Figure(len(times) / (until - counted_from), percentiles[49] * 1000, percentiles[98] * 1000)


def _print(figures: dict[tuple[str, str], dict[tuple[str, int], Figure]]) -> None:
    columns = list(figures)
    print("\nDirectory, unary calls: calls a second, and the time of one in ms, median / 99th percentile")
    print("Client and server share the machine. The last columns: asyncio server against threads, same database\n")
    heads = "".join(f"{f'{server}, {database}':>28}" for server, database in columns)
    print(f"{'':34}{heads}{'PostgreSQL':>12}{'SQLite':>9}")
    for key in figures[columns[0]]:
        name, callers = key
        row = "".join(
            f"{each[key].per_second:>12,.0f}{f'{each[key].p50_ms:.1f} / {each[key].p99_ms:.0f}':>16}"
            for each in figures.values()
        )
        ratios = [
            figures["aio", database][key].per_second / figures["threads", database][key].per_second
            for database in ("PostgreSQL", "SQLite")
        ]
        print(f"{f'{name}, {callers} at once':34}{row}{ratios[0]:>11.2f}x{ratios[1]:>8.2f}x")


if __name__ == "__main__":
    sys.exit(main())
