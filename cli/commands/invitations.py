"""`muster invite` and `muster invitations`: how people come to their first password."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from muster.directory.v1 import invitations_pb2, users_pb2

from cli import documents, output
from cli.commands.options import TenantOption
from cli.pages import every
from cli.session import session_of, tenant_of

app = typer.Typer(help="Invitations.", no_args_is_help=True)

_COLUMNS = ("invitation", "user", "email", "state", "expires")


class State(StrEnum):
    """Where an invitation can be."""

    PENDING = "pending"
    SENT = "sent"
    ACCEPTED = "accepted"
    EXPIRED = "expired"
    REVOKED = "revoked"


def invite(
    context: typer.Context,
    users: Annotated[
        list[str], typer.Argument(metavar="USER...", help="Resource names of users of one tenant, tenants/…/users/…")
    ],
) -> None:
    """Invite users, all or none; who was invited before gets it again, with 30 new days."""
    session = session_of(context)
    with session.connect() as muster:
        request = invitations_pb2.BatchCreateInvitationsRequest(
            tenant=tenant_of(users[0]), users=users, request_id=session.new_request_id()
        )
        made = [
            documents.invitation(record) for record in muster.invitations.BatchCreateInvitations(request).invitations
        ]
    session.output.show({"invitations": made}, output.records(made, _COLUMNS))


@app.command("list")
def list_invitations(
    context: typer.Context,
    *,
    tenant: TenantOption,
    state: Annotated[list[State] | None, typer.Option(help="Only those in this state; may be repeated.")] = None,
) -> None:
    """List a tenant's invitations."""
    session = session_of(context)
    states = [users_pb2.InvitationState.Value(f"INVITATION_STATE_{each.name}") for each in state or []]
    with session.connect() as muster:
        request = invitations_pb2.ListInvitationsRequest(tenant=tenant, states=states)
        pages = every(muster.invitations.ListInvitations, request, "invitations")
        found = [documents.invitation(record) for record in pages]
    session.output.show({"invitations": found}, output.records(found, _COLUMNS))


@app.command("revoke")
def revoke(
    context: typer.Context,
    invitation: Annotated[
        str, typer.Argument(metavar="INVITATION", help="Resource name of the invitation, tenants/…/invitations/…")
    ],
) -> None:
    """Take an invitation back: its links are dead."""
    session = session_of(context)
    with session.connect() as muster:
        request = invitations_pb2.RevokeInvitationRequest(name=invitation, request_id=session.new_request_id())
        document = documents.invitation(muster.invitations.RevokeInvitation(request).invitation)
    session.output.show(document, output.facts(document))
