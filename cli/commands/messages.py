"""`muster messages`: what was mailed."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from muster.notifier.v1 import messages_pb2

from cli import documents, output
from cli.commands.options import Language, TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Mails that were made.", no_args_is_help=True)

_HEAD = (
    *("kind", "to", "subject", "message_id", "state", "attempts", "possible_repeats", "last_error"),
    *("queued", "next_attempt", "sent", "attachment"),
)
"""What `show` says of a message before its text, where there is something to say."""

MessageArgument = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="Resource name of the message, tenants/…/messages/…")
]


class MessageKindName(enum.StrEnum):
    """What a message is about."""

    REPORT = "report"
    NO_FILE = "no_file"
    LICENSE = "license"
    INVITATION = "invitation"
    LOGIN_AGAIN = "login_again"
    MAIL_CHANGED = "mail_changed"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a mail
    CONNECTION = "connection"
    KEY = "key"


@app.command("list")
def list_messages(context: typer.Context, *, tenant: TenantOption) -> None:
    """List a tenant's messages, newest first.

    possible_repeats counts attempts of which nobody knows whether the mail server took the message: it may have come
    as often besides, under the same Message-ID.
    """
    session = session_of(context)
    with session.connect() as muster:
        request = messages_pb2.ListMessagesRequest(tenant=tenant)
        messages = [documents.message(record) for record in every(muster.messages.ListMessages, request, "messages")]
    columns = ["message", "kind", "to", "subject", "state", "attempts", "possible_repeats"]
    session.output.show({"messages": messages}, output.records(messages, columns))


@app.command("resend")
def resend_message(context: typer.Context, message: MessageArgument) -> None:
    """Send one message once more, under the same Message-ID; one that waits is tried at once."""
    session = session_of(context)
    with session.connect() as muster:
        record = muster.messages.ResendMessage(messages_pb2.ResendMessageRequest(name=message)).message
    document = documents.message(record)
    head = {key: document[key] for key in ("to", "subject", "state", "attempts")}
    session.output.show(document, output.facts(head))


@app.command("preview")
def preview_messages(
    context: typer.Context,
    kind: Annotated[
        MessageKindName | None, typer.Argument(metavar="[KIND]", help="Only mails of this kind: report, invitation, …")
    ] = None,
    *,
    tenant: TenantOption,
    language: Annotated[Language | None, typer.Option(help="Instead of the tenant's.")] = None,
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write each as .txt and .html, to be opened in a browser.")
    ] = None,
) -> None:
    """Show mails as they look, with made-up values, by the templates in use."""
    session = session_of(context)
    request = messages_pb2.PreviewMessagesRequest(
        tenant=tenant,
        kind=messages_pb2.MessageKind.Value(f"MESSAGE_KIND_{kind.value.upper() if kind else 'UNSPECIFIED'}"),
        language=language.value if language else "",
    )
    with session.connect() as muster:
        previews = muster.messages.PreviewMessages(request).previews
    if into:
        _write(previews, into)
    lines = []
    for preview in previews:
        lines.append(output.plain(f"== {preview.name}: {preview.subject}"))
        lines += [] if into else ["", output.plain(preview.text), ""]
    session.output.show({"previews": [documents.preview(preview) for preview in previews]}, lines)


def _write(previews: Iterable[messages_pb2.Preview], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for preview in previews:
        (folder / f"{preview.name}.txt").write_text(preview.text, "utf-8")
        (folder / f"{preview.name}.html").write_text(preview.html, "utf-8")


@app.command("show")
def show_message(context: typer.Context, message: MessageArgument) -> None:
    """Show one message with its text."""
    session = session_of(context)
    with session.connect() as muster:
        record = muster.messages.GetMessage(messages_pb2.GetMessageRequest(name=message)).message
    document = documents.message_bodies(record)
    head = {key: document[key] for key in _HEAD if document[key] not in {None, 0}}
    session.output.show(document, [*output.facts(head), "", output.plain(record.text)])
