"""`muster messages`: what was mailed."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.notifier.v1 import messages_pb2

from cli import documents, output
from cli.commands.options import TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Mails that were made.", no_args_is_help=True)


@app.command("list")
def list_messages(context: typer.Context, *, tenant: TenantOption) -> None:
    """List a tenant's messages, newest first."""
    session = session_of(context)
    with session.connect() as muster:
        request = messages_pb2.ListMessagesRequest(tenant=tenant)
        messages = [documents.message(record) for record in every(muster.messages.ListMessages, request, "messages")]
    columns = ["message", "kind", "to", "subject", "state", "attempts"]
    session.output.show({"messages": messages}, output.records(messages, columns))


@app.command("show")
def show_message(
    context: typer.Context,
    message: Annotated[
        str, typer.Argument(metavar="MESSAGE", help="Resource name of the message, tenants/…/messages/…")
    ],
) -> None:
    """Show one message with its text."""
    session = session_of(context)
    with session.connect() as muster:
        record = muster.messages.GetMessage(messages_pb2.GetMessageRequest(name=message)).message
    document = documents.message_bodies(record)
    head = {key: document[key] for key in ("to", "subject", "state", "sent")}
    session.output.show(document, [*output.facts(head), "", output.plain(record.text)])
