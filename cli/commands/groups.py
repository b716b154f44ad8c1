"""`muster group`: groups and who is in them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from muster.directory.v1 import groups_pb2

from cli import documents, output
from cli.commands.options import AccountOption, GroupArgument, TenantOption
from cli.errors import CommandError
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Groups and who is in them.", no_args_is_help=True)


@app.command("create")
def create_group(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    account: AccountOption,
    group_id: Annotated[
        str | None, typer.Option(help="Group ID by which syncs find it; without one no sync sees it.")
    ] = None,
) -> None:
    """Make a group: a synced one with a Group ID, else a manual one."""
    if group_id is not None and not group_id.strip():
        raise CommandError("a Group ID cannot be empty: for a manual group, leave --group-id out")
    session = session_of(context)
    with session.connect() as muster:
        made = muster.groups.CreateGroup(
            groups_pb2.CreateGroupRequest(
                account=account,
                display_name=name,
                group_external_id=group_id or "",
                request_id=session.new_request_id(),
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
def list_members(context: typer.Context, group: GroupArgument) -> None:
    """List the people of one group and who put them there: sources, people by hand (`manual`), or several of them."""
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.ListMembershipsRequest(group=group)
        found = every(muster.groups.ListMemberships, request, "memberships")
        members = [documents.member(record) for record in found]
    session.output.show({"members": members}, output.records(members, ["user", "email", "sources"]))


@app.command("update")
def update_group(
    context: typer.Context,
    group: GroupArgument,
    *,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    group_id: Annotated[str | None, typer.Option(help="Group ID by which syncs find it from now on.")] = None,
    no_group_id: Annotated[
        bool, typer.Option("--no-group-id", help="Remove its Group ID: the group and its members are manual then.")
    ] = False,
) -> None:
    """Change a group: its name, its Group ID, or both."""
    if group_id is not None and no_group_id:
        raise CommandError("--group-id and --no-group-id contradict each other: give one of them")
    if group_id is not None and not group_id.strip():
        raise CommandError("a Group ID cannot be empty: to remove it, give --no-group-id")
    given = {"display_name": name, "group_external_id": "" if no_group_id else group_id}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise CommandError("nothing to change: give --name, --group-id or --no-group-id")
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.UpdateGroupRequest(group=groups_pb2.Group(name=group), request_id=session.new_request_id())
        for field, value in changes.items():
            setattr(request.group, field, value)
        request.update_mask.paths.extend(changes)
        document = documents.group(muster.groups.UpdateGroup(request).group)
    session.output.show(document, output.facts(document))


class Members(StrEnum):
    """What happens to the people in a group that moves."""

    ADD = "add"
    REMOVE = "remove"


@app.command("move")
def move_group(
    context: typer.Context,
    group: GroupArgument,
    *,
    to: Annotated[str, typer.Option(help="Resource name of the account that it is to belong to.")],
    members: Annotated[Members, typer.Option(help="Its people join that account, or leave the group.")],
) -> None:
    """Move a group to another account; the old account keeps its people until they are taken out by hand."""
    session = session_of(context)
    choice = {Members.ADD: groups_pb2.MOVED_MEMBERS_ADD, Members.REMOVE: groups_pb2.MOVED_MEMBERS_REMOVE}[members]
    with session.connect() as muster:
        request = groups_pb2.MoveGroupRequest(
            name=group, account=to, members=choice, request_id=session.new_request_id()
        )
        moved = muster.groups.MoveGroup(request)
    document = documents.group(moved.group) | {"added": moved.added, "left": moved.left}
    session.output.show(document, output.facts(document))
    if members is Members.REMOVE:
        session.output.note(
            "An identity provider that syncs this group may believe them still in it and never add them again: "
            "take them out of the group there and put them back, or add them with `muster member add`. A file adds "
            "them again the next night."
        )


@app.command("delete")
def delete_group(context: typer.Context, group: GroupArgument) -> None:
    """Delete a group; its people stay in its account, and a synced one's Group ID stays taken until released."""
    session = session_of(context)
    with session.connect() as muster:
        muster.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=group, request_id=session.new_request_id()))
    document = {"group": group, "state": "deleted"}
    session.output.show(document, output.facts(document))


@app.command("release")
def release_group_id(
    context: typer.Context,
    group_id: Annotated[str, typer.Argument(metavar="GROUP_ID", help="Group ID of a group that was deleted here.")],
    *,
    tenant: TenantOption,
) -> None:
    """Let a group have the Group ID of a deleted one again."""
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.ReleaseGroupIdRequest(
            tenant=tenant, group_external_id=group_id, request_id=session.new_request_id()
        )
        muster.groups.ReleaseGroupId(request)
    document = {"group_id": group_id, "state": "released"}
    session.output.show(document, output.facts(document))


@app.command("reserved")
def list_reserved(context: typer.Context, *, tenant: TenantOption) -> None:
    """List the Group IDs of deleted groups, which no group can have until they are released."""
    session = session_of(context)
    with session.connect() as muster:
        request = groups_pb2.ListReservedGroupIdsRequest(tenant=tenant)
        found = every(muster.groups.ListReservedGroupIds, request, "reserved_group_ids")
        reserved = [documents.reserved_group_id(record) for record in found]
    session.output.show({"reserved": reserved}, output.records(reserved, ["group_id", "group", "source", "deleted"]))
