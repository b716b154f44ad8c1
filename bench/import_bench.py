"""Import two nights and the second one's file again, through the whole system and by raw SQL, and print both.

`make bench` runs it with 100,000 rows on both databases; `--rows 1000000 --database postgresql` is its long form.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import psycopg
from muster.directory.v1 import groups_pb2, groups_pb2_grpc, imports_pb2
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime.client import open_channel
from sqlalchemy.engine import URL

from bench.narrow import NarrowRegister
from bench.people import Person, first_night, group_ids, second_night, write_csv
from bench.raw import RawRegister
from bench.system import MUSTER, conninfo, fresh_database, muster_up, postgresql
from bench.usage import cpu_s, family_cpu_s, parent_of, peak_mib

NAMES: Final = ("first night", "second night", "the same file again")
GOALS: Final = (1.2, 0.8, 0.1)
"""At most so many times as long as raw SQL on the same tables."""
MOST_MIB: Final = {"importer": 150, "directory": 300}
SQLITE_FIRST_NIGHT_S: Final = 4.0
"""At most, of 100,000 rows."""


@dataclass(frozen=True)
class Spent:
    """One night: seconds by the clock, and CPU seconds by process."""

    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all processes."""
        return sum(self.cpu.values())


@dataclass(frozen=True)
class Measured:
    """What one database took: a figure for each of NAMES, and each process's peak memory in MiB."""

    muster: list[Spent]
    memory: dict[str, int]
    raw: list[Spent] = field(default_factory=list)
    narrow: list[Spent] = field(default_factory=list)


def main() -> int:
    """Run the bench; exit status 1 when a run did not apply what it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--database", choices=("postgresql", "sqlite", "both"), default="both")
    parser.add_argument(
        "--database-url", default="", help="a PostgreSQL server that may be filled; else one is started"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        files = Path(folder) / "first.csv", Path(folder) / "second.csv"
        write_csv(files[0], first_night(options.rows))
        write_csv(files[1], second_night(options.rows))
        if options.database != "sqlite":
            with postgresql(options.database_url, folder) as server:
                measured = _measure_on_postgresql(Path(folder), files, server, options.rows)
            _print_ratios(options.rows, measured)
        if options.database != "postgresql":
            _print_sqlite(options.rows, _measure_on_sqlite(Path(folder), files, options.rows))
    return 0


def _measure_on_postgresql(folder: Path, files: tuple[Path, Path], server: URL, rows: int) -> Measured:
    """Run each night by raw SQL, by raw SQL on the narrow schema and by Muster, one after the other."""
    urls = {name: fresh_database(server, name) for name in ("system", "raw", "narrow")}
    with muster_up(folder / "postgresql-data", urls["system"], seats=rows * 2) as up:
        # The system migrates its own database; the raw one gets the same tables, indexes and foreign keys.
        _migrate(urls["raw"])
        raw, narrow = RawRegister(conninfo(urls["raw"])), NarrowRegister(conninfo(urls["narrow"]))
        muster, raws, narrows = _System(up, rows, _server_pid(server)), [], []
        for make, file in ((first_night, files[0]), (second_night, files[1])):
            raws.append(_timed(raw.run, make(rows), muster.server_pid))
            narrows.append(_timed(narrow.run, make(rows), muster.server_pid))
            muster.take_in(file)
            _let_a_day_pass(urls.values())
        muster.take_in(files[1])
        raw.close()
        narrow.close()
        # What the second night would have cost again.
        return Measured(muster.spent, muster.memory(), [*raws, raws[-1]], [*narrows, narrows[-1]])


def _measure_on_sqlite(folder: Path, files: tuple[Path, Path], rows: int) -> Measured:
    with muster_up(folder / "sqlite-data", None, seats=rows * 2) as up:
        muster = _System(up, rows, server_pid=None)
        for file in (*files, files[1]):
            muster.take_in(file)
        return Measured(muster.spent, muster.memory())


def _let_a_day_pass(urls: Iterable[URL]) -> None:
    """Do at once what the server does by itself between two nights, for every register alike."""
    for url in urls:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")


def _timed(run: Callable[[Iterator[Person]], float], people: Iterator[Person], server_pid: int | None) -> Spent:
    before = family_cpu_s(server_pid) if server_pid else 0.0
    seconds = run(people)
    return Spent(seconds, {"postgresql": family_cpu_s(server_pid) - before} if server_pid else {})


class _System:
    """Muster with the customer's groups, and files that are taken in by the importer's own door."""

    def __init__(self, up: dict[str, Any], rows: int, server_pid: int | None) -> None:
        self._up = up
        self._expected = [
            (imports_pb2.IMPORT_RUN_STATUS_APPLIED, rows),
            (imports_pb2.IMPORT_RUN_STATUS_APPLIED, rows // 100),
            (imports_pb2.IMPORT_RUN_STATUS_UNCHANGED, 0),
        ]
        self.server_pid = server_pid
        self.spent: list[Spent] = []
        _create_groups(up)

    def take_in(self, file: Path) -> None:
        """Take the next night in, from its first byte to the run at rest, and note what that took."""
        before = self._cpu()
        with open_channel(self._up["importer"], self._up["token"]) as channel:
            started = time.perf_counter()
            pieces = _pieces(self._up["sftp_source"], file)
            run = [answer.import_run for answer in importer_pb2_grpc.ImporterServiceStub(channel).ImportFile(pieces)][
                -1
            ]
            seconds = time.perf_counter() - started
        after = self._cpu()
        status, created = self._expected[len(self.spent)]
        if run.status != status or run.counts.created != created:
            raise SystemExit(f"the import did not do what it should: {run}")
        self.spent.append(Spent(seconds, {name: after[name] - before[name] for name in after}))

    def memory(self) -> dict[str, int]:
        """The peak memory of every process of Muster, in MiB."""
        return {name: peak_mib(pid) for name, pid in self._up["pids"].items()}

    def _cpu(self) -> dict[str, float]:
        used = {name: cpu_s(self._up["pids"][name]) for name in MOST_MIB}
        return used | ({"postgresql": family_cpu_s(self.server_pid)} if self.server_pid else {})


def _pieces(source: str, file: Path) -> Iterator[importer_pb2.ImportFileRequest]:
    yield importer_pb2.ImportFileRequest(start=importer_pb2.ImportFileStart(source=source, file_name=file.name))
    with file.open("rb") as data:
        while piece := data.read(1024 * 1024):
            yield importer_pb2.ImportFileRequest(chunk=piece)


def _create_groups(up: dict[str, Any]) -> None:
    with open_channel(up["directory"], up["token"]) as channel, ThreadPoolExecutor(16) as several:
        groups = groups_pb2_grpc.GroupServiceStub(channel)
        requests = (
            groups_pb2.CreateGroupRequest(account=up["account"], display_name=name, group_external_id=name)
            for name in group_ids()
        )
        for _ in several.map(groups.CreateGroup, requests):
            pass


def _migrate(database_url: URL) -> None:
    environment = os.environ | {
        "DIRECTORY_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "DIRECTORY_PEPPER": "p" * 43,
        "DIRECTORY_SEAL_KEY": "c2VhbHNlYWxzZWFsc2VhbHNlYWxzZWFsc2VhbHNlYWw=",
        "DIRECTORY_LISTEN": "127.0.0.1:0",
    }
    subprocess.run([MUSTER.with_name("muster-directory"), "migrate"], check=True, env=environment)


def _server_pid(server: URL) -> int | None:
    """The process of a PostgreSQL server on this machine; None of one elsewhere, whose CPU seconds nobody can read."""
    with psycopg.connect(conninfo(server)) as connection:
        backend = connection.info.backend_pid
        try:
            is_here = Path(f"/proc/{backend}/comm").read_text(encoding="ascii") == "postgres\n"
            return parent_of(backend) if is_here else None
        except FileNotFoundError:
            return None


def _print_ratios(rows: int, found: Measured) -> None:
    print(f"\n{rows:,} rows, PostgreSQL, from the file to the register at rest; raw is COPY and set-based SQL\n")
    print(f"{'':22}{'muster':>9}{'raw':>9}{'ratio':>7}{'goal':>6}{'reached':>14}{'narrow':>9}{'ratio':>7}")
    for name, goal, muster, raw, narrow in zip(NAMES, GOALS, found.muster, found.raw, found.narrow, strict=True):
        ratio = muster.seconds / raw.seconds
        figures = f"{muster.seconds:>8.2f}s{raw.seconds:>8.2f}s{ratio:>7.2f}{goal:>6}{_judge(ratio, goal):>14}"
        print(f"{name:22}{figures}{narrow.seconds:>8.2f}s{muster.seconds / narrow.seconds:>7.2f}")
    _print_cpu(found)
    _print_memory(found)


def _print_sqlite(rows: int, found: Measured) -> None:
    print(f"\n{rows:,} rows, SQLite, from the file to the register at rest\n")
    for number, (name, muster) in enumerate(zip(NAMES, found.muster, strict=True)):
        has_goal = number == 0 and rows == 100_000
        reached = (
            f"   goal {SQLITE_FIRST_NIGHT_S} s: {_judge(muster.seconds, SQLITE_FIRST_NIGHT_S)}" if has_goal else ""
        )
        print(f"{name:22}{muster.seconds:>8.2f}s{reached}")
    _print_cpu(found)
    _print_memory(found)


def _print_cpu(found: Measured) -> None:
    """Print CPU seconds, too: on a machine that others use they say more than seconds by the clock."""
    if not all(muster.cpu_s for muster in found.muster[:2]):
        return
    print("\nCPU seconds")
    for place, (name, muster) in enumerate(zip(NAMES, found.muster, strict=True)):
        parts = ", ".join(f"{process} {used:.2f}" for process, used in muster.cpu.items())
        raw = found.raw[place].cpu_s if found.raw else 0.0
        compared = f"; raw {raw:.2f}, ratio {muster.cpu_s / raw:.2f}" if raw else ""
        print(f"{name:22}{muster.cpu_s:>8.2f}  ({parts}){compared}")


def _print_memory(found: Measured) -> None:
    print("\npeak memory")
    for name, mib in found.memory.items():
        goal = f"   goal {MOST_MIB[name]} MiB: {_judge(mib, MOST_MIB[name])}" if name in MOST_MIB else ""
        print(f"{name:22}{mib:>5} MiB{goal}")


def _judge(value: float, goal: float) -> str:
    return "yes" if value <= goal else f"no, by {value - goal:.2f}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as error:
        sys.exit(f"the system refused: {error}")
