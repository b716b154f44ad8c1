"""`muster group`: groups and who is in them."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import groups_pb2

from cli import documents, output
from cli.commands.options import AccountOption, TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Groups and who is in them.", no_args_is_help=True)


@app.command("create")
def create_group(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    account: AccountOption,
    group_id: Annotated[str, typer.Option(help="Group ID by which syncs find it; without one no sync sees it.")] = "",
) -> None:
    """Make a group: a synced one with a Group ID, else a manual one."""
    session = session_of(context)
    with session.connect() as muster:
        made = muster.groups.CreateGroup(
            groups_pb2.CreateGroupRequest(
                account=account, display_name=name, group_external_id=group_id, request_id=session.new_request_id()
            )
        ).group
    document = {"group": made.name}
    session.output.show(document, output.facts(document))


@app.command("list")
def list_groups(context: typer.Context, *, tenant: TenantOption) -> None:
    """List a tenant's groups, main groups too."""
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.ListGroupsRequest(tenant=tenant)
        groups = [documents.group(record) for record in every(muster.groups.ListGroups, request, "groups")]
    columns = ["group", "name", "group_id", "kind", "owner", "member_count"]
    session.output.show({"groups": groups}, output.records(groups, columns))


@app.command("members")
def list_members(
    context: typer.Context,
    group: Annotated[str, typer.Argument(metavar="GROUP", help="Resource name of the group, tenants/…/groups/…")],
) -> None:
    """List the people of one group and who put them there."""
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.ListMembershipsRequest(group=group)
        found = every(muster.groups.ListMemberships, request, "memberships")
        members = [documents.member(record) for record in found]
    session.output.show({"members": members}, output.records(members, ["user", "email", "source"]))
