"""`muster scim`: what identity providers asked of a connection, explained."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer
from muster.directory.v1 import scim_activity_pb2
from rich.console import RenderableType

from cli import documents, output
from cli.commands.options import SourceOption
from cli.connect import Muster
from cli.pages import every
from cli.session import Session, session_of

app = typer.Typer(help="SCIM connections at work.", no_args_is_help=True)

_COLUMNS = ("time", "method", "asked", "status", "problem", "quirks", "effect", "ms")
_LINE = ("time", "method", "path", "shape", "status", "problem", "quirks", "effect", "cure")
_LOOK_EVERY_S = 2.0
_LATE_BY_AT_MOST = timedelta(minutes=1)


@app.callback()
def scim() -> None:
    """Look at SCIM connections at work."""


@app.command("activity")
def activity(
    context: typer.Context,
    *,
    source: SourceOption,
    errors: Annotated[bool, typer.Option("--errors", help="Only what was refused or failed.")] = False,
    since: Annotated[datetime | None, typer.Option(help="Only from this time on, UTC.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on showing requests as they are recorded, the oldest first.")
    ] = False,
) -> None:
    """Show what an identity provider asked, why it was refused, what cures it, and what changed; the newest first."""
    session = session_of(context)
    request = scim_activity_pb2.ListActivityRequest(source=source)
    if errors:
        request.status = scim_activity_pb2.ACTIVITY_STATUS_ERROR
    if since is not None:
        request.since.FromDatetime(since)
    with session.connect() as muster:
        summary = muster.activity.GetActivitySummary(scim_activity_pb2.GetActivitySummaryRequest(source=source))
        cures = {each.quirk.name: each.quirk.cure for each in summary.quirks}
        found = every(muster.activity.ListActivity, request, "requests")
        records = list(itertools.islice(found, limit))
        if follow:
            _follow(session, muster, request, records, cures)
            return
    requests = [documents.scim_request(record, cures) for record in records]
    quirks = [documents.quirk_count(each) for each in summary.quirks]
    document = {"requests": requests, "quirks": quirks, "health": documents.connection_health(summary)}
    session.output.show(document, _view(requests, quirks, document["health"]))


def _view(requests: list[Any], quirks: list[Any], health: Any) -> Iterator[RenderableType]:
    rows = [{**each, "asked": _asked(each), "ms": each["duration_ms"]} for each in requests]
    yield from output.records(rows, _COLUMNS)
    explained = {each["problem"]: each for each in requests if each["problem"]}
    if explained:
        yield from output.records(list(explained.values()), ["problem", "detail", "cure"], title="Problems")
    if quirks:
        yield from output.records(quirks, ["quirk", "count", "cure", "last"], title="Quirks")
    yield from output.facts(health)


def _asked(document: documents.Document) -> str:
    return f"{document['path']}: {document['shape']}" if document["shape"] else str(document["path"])


def _follow(
    session: Session,
    muster: Muster,
    request: scim_activity_pb2.ListActivityRequest,
    records: list[scim_activity_pb2.ScimRequest],
    cures: dict[str, str],
) -> None:
    """Show what is new, again and again until interrupted; each request once."""
    shown: set[str] = set()
    while True:
        for record in reversed(records):
            if record.request_id not in shown:
                _show_line(session, documents.scim_request(record, cures))
        if records:
            # Gateways record in batches: what came a little earlier may be recorded later.
            latest = max(record.time.ToDatetime() for record in records)
            request.since.FromDatetime(latest - _LATE_BY_AT_MOST)
            shown = {record.request_id for record in records}
        time.sleep(_LOOK_EVERY_S)
        request.page_token = ""
        records = list(every(muster.activity.ListActivity, request, "requests"))


def _show_line(session: Session, document: documents.Document) -> None:
    if session.output.as_json:
        session.output.write_line(json.dumps(document))
    else:
        said = (output.clean(document[column]) for column in _LINE if document[column])
        session.output.write_line("  ".join(said))
