"""`muster events`: every committed change, in order."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import events_pb2

from cli import documents, output
from cli.commands.options import TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="The audit log.", no_args_is_help=True)


@app.command("list")
def list_events(
    context: typer.Context,
    *,
    tenant: TenantOption,
    kind: Annotated[
        str,
        typer.Option(help="Only this kind, such as user.created, or these, such as user.* (docs/api.md lists them)."),
    ] = "",
    resource: Annotated[str, typer.Option(help="Only those of this resource, such as tenants/…/users/…")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Those past the log's retention instead.")] = False,
    newest_first: Annotated[
        bool, typer.Option("--newest-first/--oldest-first", help="From the newest back, or in commit order.")
    ] = False,
) -> None:
    """List a tenant's events in commit order."""
    session = session_of(context)
    with session.connect() as muster:
        request = events_pb2.ListEventsRequest(
            tenant=tenant, kind=kind, resource=resource, archived=archived, newest_first=newest_first
        )
        events = [documents.event(record) for record in every(muster.events.ListEvents, request, "events")]
    session.output.show({"events": events}, output.records(events, ["time", "kind", "actor", "resource", "fields"]))
