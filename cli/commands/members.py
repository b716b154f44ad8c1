"""`muster member`: who is in a group, or in an account, by hand."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import groups_pb2

from cli import output
from cli.commands.options import GroupArgument
from cli.session import Session, session_of

app = typer.Typer(help="Who is in a group, or with a main group in an account, by hand.", no_args_is_help=True)

_Users = Annotated[list[str], typer.Argument(metavar="USER...", help="Resource names of users, tenants/…/users/…")]


@app.command("add")
def add_members(context: typer.Context, group: GroupArgument, users: _Users) -> None:
    """Add people to a group and its account; all or none."""
    _change(session_of(context), groups_pb2.ModifyMembershipsRequest(group=group, add=users))


@app.command("remove")
def remove_members(context: typer.Context, group: GroupArgument, users: _Users) -> None:
    """Take people out of a group, or with a main group out of its account; what a source put there stays."""
    _change(session_of(context), groups_pb2.ModifyMembershipsRequest(group=group, remove=users))


def _change(session: Session, request: groups_pb2.ModifyMembershipsRequest) -> None:
    request.request_id = session.new_request_id()
    with session.connect() as muster:
        changed = muster.groups.ModifyMemberships(request)
    document = {"added": changed.added, "removed": changed.removed, "left_users": list(changed.left_users)}
    session.output.show(document, output.facts(document))
    if request.remove and changed.removed == 0:
        session.output.note("Nobody was in it by hand; whom a source put there, that source takes out.")
    if changed.left_users:
        session.output.note(
            "Those who left are in no account any more and keep their seats; `muster user delete USER` frees them."
        )
