"""Import two nights through the whole system, and by raw SQL on the same server, and print both: `make bench`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from muster.directory.v1 import groups_pb2, groups_pb2_grpc, imports_pb2
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime.client import open_channel
from sqlalchemy.engine import URL

from bench.people import first_night, group_ids, second_night, write_csv
from bench.raw import RawRegister
from bench.system import MUSTER, conninfo, fresh_database, muster_up, postgresql


@dataclass(frozen=True)
class Night:
    """One line of the table."""

    name: str
    seconds: float
    raw_seconds: float


def main() -> int:
    """Run the bench; exit status 1 when a run did not apply what it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument(
        "--database-url", default="", help="a PostgreSQL server that may be filled; else one is started"
    )
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        postgresql(options.database_url, folder) as server,
    ):
        nights, memory = _measure(Path(folder), server, options.rows)
    _print(options.rows, nights, memory)
    return 0


def _measure(folder: Path, server: URL, rows: int) -> tuple[list[Night], dict[str, int]]:
    files = {"first": folder / "first.csv", "second": folder / "second.csv"}
    write_csv(files["first"], first_night(rows))
    write_csv(files["second"], second_night(rows))
    system_url, raw_url = fresh_database(server, "system"), fresh_database(server, "raw")
    with muster_up(folder / "data", system_url, seats=rows * 2) as up:
        # The system migrates its own database; the raw one gets the same tables, indexes and foreign keys.
        _migrate(raw_url)
        raw = RawRegister(conninfo(raw_url))
        _create_groups(up)
        raw_seconds = [raw.run(first_night(rows))]
        seconds = [_import(up, files["first"], created=rows)]
        raw_seconds.append(raw.run(second_night(rows)))
        seconds.append(_import(up, files["second"], created=rows // 100))
        raw_seconds.append(raw_seconds[-1])  # what the second night would have cost again
        seconds.append(_import(up, files["second"], created=0, status=imports_pb2.IMPORT_RUN_STATUS_UNCHANGED))
        raw.close()
        memory = {name: _peak_mib(pid) for name, pid in up["pids"].items()}
    names = ("first night", "second night", "the same file again")
    return [Night(*night) for night in zip(names, seconds, raw_seconds, strict=True)], memory


def _import(
    up: dict[str, Any],
    file: Path,
    *,
    created: int,
    status: imports_pb2.ImportRunStatus.ValueType = imports_pb2.IMPORT_RUN_STATUS_APPLIED,
) -> float:
    """Take a file in by the importer's own door, from its first byte to the run at rest."""
    with open_channel(up["importer"], up["token"]) as channel:
        started = time.perf_counter()
        answers = importer_pb2_grpc.ImporterServiceStub(channel).ImportFile(_pieces(up["sftp_source"], file))
        run = [answer.import_run for answer in answers][-1]
        seconds = time.perf_counter() - started
    if run.status != status or run.counts.created != created:
        raise SystemExit(f"the import did not do what it should: {run}")
    return seconds


def _pieces(source: str, file: Path) -> Iterator[importer_pb2.ImportFileRequest]:
    yield importer_pb2.ImportFileRequest(start=importer_pb2.ImportFileStart(source=source, file_name=file.name))
    with file.open("rb") as data:
        while piece := data.read(1024 * 1024):
            yield importer_pb2.ImportFileRequest(chunk=piece)


def _create_groups(up: dict[str, Any]) -> None:
    with open_channel(up["directory"], up["token"]) as channel:
        groups = groups_pb2_grpc.GroupServiceStub(channel)
        for name in group_ids():
            groups.CreateGroup(
                groups_pb2.CreateGroupRequest(account=up["account"], display_name=name, group_external_id=name)
            )


def _migrate(database_url: URL) -> None:
    environment = os.environ | {
        "DIRECTORY_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "DIRECTORY_PEPPER": "p" * 43,
        "DIRECTORY_SEAL_KEY": "c2VhbHNlYWxzZWFsc2VhbHNlYWxzZWFsc2VhbHNlYWw=",
        "DIRECTORY_LISTEN": "127.0.0.1:0",
    }
    subprocess.run([MUSTER.with_name("muster-directory"), "migrate"], check=True, env=environment)


def _peak_mib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _print(rows: int, nights: list[Night], memory: dict[str, int]) -> None:
    print(f"\n{rows:,} rows, PostgreSQL, from the file to the register at rest, against raw COPY and set-based SQL\n")
    print(f"{'':22}{'muster':>10}{'raw SQL':>10}{'ratio':>8}")
    for night in nights:
        ratio = night.seconds / night.raw_seconds
        print(f"{night.name:22}{night.seconds:>9.1f}s{night.raw_seconds:>9.1f}s{ratio:>8.2f}")
    print("\npeak memory: " + ", ".join(f"{name} {mib} MiB" for name, mib in memory.items()))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except grpc.RpcError as error:
        sys.exit(f"the system refused: {error}")
