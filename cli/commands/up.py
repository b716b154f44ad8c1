"""`muster up`: everything on one machine, in the foreground."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.text import Text

from cli import output
from cli.session import session_of
from cli.up.installation import Installation

_LOOK_EVERY_S = 0.2


def up(
    context: typer.Context,
    *,
    database_url: Annotated[
        str,
        typer.Option(
            envvar="MUSTER_DATABASE_URL",
            help="Directory and notifier on PostgreSQL, postgresql+psycopg://…; SQLite unless said.",
        ),
    ] = "",
    seats: Annotated[int | None, typer.Option(min=0, help="Seats of the tenant `demo`; 10000 at first.")] = None,
) -> None:
    """Start every service on this machine, with data in --data, until Ctrl-C or SIGTERM."""
    session = session_of(context)
    with (
        _ended_by_signals() as ended,
        Installation(
            session.data,
            database_url=database_url,
            seats=seats,
            wanted=lambda: not ended.is_set(),
            tell=session.output.note,
        ) as installation,
    ):
        line = installation.start()
        session.output.show(line, _view(line))
        while not ended.wait(_LOOK_EVERY_S):
            for news in installation.look_after():
                session.output.note(news)


@contextmanager
def _ended_by_signals() -> Iterator[threading.Event]:
    ended = threading.Event()
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in wanted}
    try:
        yield ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _view(line: dict[str, Any]) -> list[Any]:
    sftp = line["sftp"]
    shown = {key: value for key, value in line.items() if key not in ("sftp", "pids", "token")} | {
        "sftp": f"{sftp['username']}@{sftp['host']}:{sftp['port']}{sftp['path']}",
        "sftp password": sftp["password"],
        "processes": line["pids"],
    }
    return [
        Text("Muster is up. Ctrl-C ends it.", style="bold"),
        *output.facts(shown),
        Text(f"Put a CSV at {sftp['path']} on the SFTP server (muster source sample prints one), then, elsewhere:"),
        Text(f"  muster run {line['sftp_source']}"),
        Text(f"An identity provider calls {line['scim']} with the SCIM key as its bearer token."),
    ]
