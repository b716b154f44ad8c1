"""GroupService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

import grpc
from muster.directory.v1 import groups_pb2 as pb
from muster.directory.v1 import groups_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.masks import changes_of
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import group_changes, group_moves, groups, memberships
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.etags import etag_of
from services.directory.store.tables import MANUAL

_CHANGEABLE: Final = ("display_name", "group_external_id")
_MOVED_MEMBERS: Final = {
    pb.MOVED_MEMBERS_ADD: group_moves.MovedMembers.ADD,
    pb.MOVED_MEMBERS_REMOVE: group_moves.MovedMembers.REMOVE,
}


class GroupServicer(Servicer, groups_pb2_grpc.GroupServiceServicer):
    """Creates, changes and reads groups, and changes who is in them by hand."""

    def CreateGroup(self, request: pb.CreateGroupRequest, context: grpc.ServicerContext) -> pb.CreateGroupResponse:
        """Make a manual or a synced group."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.account, field="account")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.CreateGroupResponse:
            view = groups.create_group(
                session,
                tenant_id,
                account_id,
                request.display_name,
                request.group_external_id,
                actor=caller.actor,
                now=now,
            )
            return pb.CreateGroupResponse(group=_message(view))

        return self.write_once(request, context, tenant_id, pb.CreateGroupResponse, work)

    def GetGroup(self, request: pb.GetGroupRequest, context: grpc.ServicerContext) -> pb.GetGroupResponse:
        """Read one group."""
        tenant_id, group_id = names.parse(names.GROUP, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetGroupResponse(group=_message(groups.get_group(session, tenant_id, group_id)))

    def ListGroups(self, request: pb.ListGroupsRequest, context: grpc.ServicerContext) -> pb.ListGroupsResponse:
        """Page through a tenant's groups."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = groups.list_groups(session, tenant_id, scope=caller.scope, after_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda view: (view.group.id,))
        return pb.ListGroupsResponse(groups=map(_message, kept), next_page_token=token)

    def ListMemberships(
        self, request: pb.ListMembershipsRequest, context: grpc.ServicerContext
    ) -> pb.ListMembershipsResponse:
        """Page through the people of one group."""
        tenant_id, group_id = names.parse(names.GROUP, request.group, field="group")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = groups.list_members(session, tenant_id, group_id, after_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda member: (member.user_id,))
        people = [_membership(tenant_id, member) for member in kept]
        return pb.ListMembershipsResponse(memberships=people, next_page_token=token)

    def ModifyMemberships(
        self, request: pb.ModifyMembershipsRequest, context: grpc.ServicerContext
    ) -> pb.ModifyMembershipsResponse:
        """Add and remove people by hand."""
        tenant_id, group_id = names.parse(names.GROUP, request.group, field="group")
        caller = access.require(context, tenant_id)
        add = _user_ids(request.add, tenant_id, "add")
        remove = _user_ids(request.remove, tenant_id, "remove")

        def work(session: Session, now: datetime) -> pb.ModifyMembershipsResponse:
            changed = memberships.modify_memberships(
                session, tenant_id, group_id, add, remove, actor=caller.actor, now=now
            )
            left = [names.USER.format(tenant_id, user_id) for user_id in changed.left_users]
            return pb.ModifyMembershipsResponse(added=changed.added, removed=changed.removed, left_users=left)

        return self.write_once(request, context, tenant_id, pb.ModifyMembershipsResponse, work)

    def ReplaceMemberships(
        self, request_iterator: Iterator[pb.ReplaceMembershipsRequest], context: grpc.ServicerContext
    ) -> pb.ReplaceMembershipsResponse:
        """Make a group's hand-made members exactly those of the stream."""
        first = next(request_iterator, pb.ReplaceMembershipsRequest())
        tenant_id, group_id = names.parse(names.GROUP, first.group, field="group")
        caller = access.require(context, tenant_id)
        whole = _whole(first, request_iterator)
        user_ids = _user_ids(whole.users, tenant_id, "users")

        def work(session: Session, now: datetime) -> pb.ReplaceMembershipsResponse:
            changed = memberships.replace_memberships(
                session, tenant_id, group_id, user_ids, actor=caller.actor, now=now
            )
            return pb.ReplaceMembershipsResponse(added=changed.added, removed=changed.removed)

        return self.write_once(whole, context, tenant_id, pb.ReplaceMembershipsResponse, work)

    def UpdateGroup(self, request: pb.UpdateGroupRequest, context: grpc.ServicerContext) -> pb.UpdateGroupResponse:
        """Change what the mask names."""
        tenant_id, group_id = names.parse(names.GROUP, request.group.name, field="group.name")
        caller = access.require(context, tenant_id)
        changes = changes_of(request.group, request.update_mask, _CHANGEABLE)

        def work(session: Session, now: datetime) -> pb.UpdateGroupResponse:
            view = group_changes.update_group(
                session, tenant_id, group_id, changes, etag=request.group.etag, actor=caller.actor, now=now
            )
            return pb.UpdateGroupResponse(group=_message(view))

        return self.write_once(request, context, tenant_id, pb.UpdateGroupResponse, work)

    def DeleteGroup(self, request: pb.DeleteGroupRequest, context: grpc.ServicerContext) -> pb.DeleteGroupResponse:
        """Delete a group."""
        tenant_id, group_id = names.parse(names.GROUP, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteGroupResponse:
            group_changes.delete_group(session, tenant_id, group_id, etag=request.etag, actor=caller.actor, now=now)
            return pb.DeleteGroupResponse()

        return self.write_once(request, context, tenant_id, pb.DeleteGroupResponse, work)

    def MoveGroup(self, request: pb.MoveGroupRequest, context: grpc.ServicerContext) -> pb.MoveGroupResponse:
        """Put a group into another account."""
        tenant_id, group_id = names.parse(names.GROUP, request.name, field="name")
        caller = access.require(context, tenant_id)
        account_id = names.parse_within(names.ACCOUNT, request.account, tenant_id=tenant_id, field="account")
        members = _MOVED_MEMBERS.get(request.members)
        if members is None:
            raise InvalidArgument([("members", "must be ADD or REMOVE: say what happens to the people in the group")])

        def work(session: Session, now: datetime) -> pb.MoveGroupResponse:
            moved = group_moves.move_group(
                session, tenant_id, group_id, account_id, members, etag=request.etag, actor=caller.actor, now=now
            )
            return pb.MoveGroupResponse(group=_message(moved.group), added=moved.added, left=moved.left)

        return self.write_once(request, context, tenant_id, pb.MoveGroupResponse, work)

    def ReleaseGroupId(
        self, request: pb.ReleaseGroupIdRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseGroupIdResponse:
        """Free the Group ID of a deleted group."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.ReleaseGroupIdResponse:
            group_changes.release_group_id(session, tenant_id, request.group_external_id, actor=caller.actor, now=now)
            return pb.ReleaseGroupIdResponse()

        return self.write_once(request, context, tenant_id, pb.ReleaseGroupIdResponse, work)

    def ListReservedGroupIds(
        self, request: pb.ListReservedGroupIdsRequest, context: grpc.ServicerContext
    ) -> pb.ListReservedGroupIdsResponse:
        """Page through Group IDs that wait to be released."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = group_changes.list_reserved(session, tenant_id, after_group_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda reserved: (reserved.group_id,))
        reserved_ids = [
            pb.ReservedGroupId(
                group_external_id=reserved.external_id,
                group=names.GROUP.format(tenant_id, reserved.group_id),
                source=names.format_optional(names.SOURCE, tenant_id, reserved.source_id),
                create_time=timestamp(reserved.create_time),
            )
            for reserved in kept
        ]
        return pb.ListReservedGroupIdsResponse(reserved_group_ids=reserved_ids, next_page_token=token)


def _whole(
    first: pb.ReplaceMembershipsRequest, rest: Iterator[pb.ReplaceMembershipsRequest]
) -> pb.ReplaceMembershipsRequest:
    """Read a stream to its end as one message, however it was cut. Errors: InvalidArgument."""
    whole = pb.ReplaceMembershipsRequest(group=first.group, request_id=first.request_id)
    for message in chain((first,), rest):
        if message.group not in {"", first.group}:
            raise InvalidArgument([("group", "is another one than in the first message")])
        if len(message.users) > memberships.MOST_CHANGES:
            raise InvalidArgument([("users", f"at most {memberships.MOST_CHANGES} users a message")])
        whole.users.extend(message.users)
        if len(whole.users) > memberships.MOST_MEMBERS:
            raise InvalidArgument([("users", f"at most {memberships.MOST_MEMBERS:,} users in all")])
    return whole


def _user_ids(users: Sequence[str], tenant_id: int, field: str) -> list[int]:
    return [names.parse_within(names.USER, user, tenant_id=tenant_id, field=field) for user in users]


def _membership(tenant_id: int, member: groups.Member) -> pb.Membership:
    sources = [names.SOURCE.format(tenant_id, origin) for origin in member.origins if origin != MANUAL]
    return pb.Membership(
        user=names.USER.format(tenant_id, member.user_id),
        email=member.email,
        source=sources[-1] if sources else "",
        sources=sources,
        is_by_hand=MANUAL in member.origins,
    )


def _message(view: groups.GroupView) -> pb.Group:
    group = view.group
    name = names.GROUP.format(group.tenant_id, group.id)
    kind = pb.GROUP_KIND_SYNCED if groups.is_synced(group) else pb.GROUP_KIND_MANUAL
    return pb.Group(
        name=name,
        display_name=group.display_name,
        group_external_id=group.external_id or "",
        account=names.ACCOUNT.format(group.tenant_id, group.account_id),
        kind=pb.GROUP_KIND_MAIN if group.is_main else kind,
        owner=names.format_optional(names.SOURCE, group.tenant_id, group.owner_source_id),
        member_count=view.member_count,
        etag=etag_of(name, group.revision),
        create_time=timestamp(group.create_time),
    )
