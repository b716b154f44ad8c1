"""GroupService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import grpc
from muster.directory.v1 import groups_pb2 as pb
from muster.directory.v1 import groups_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import groups, memberships
from services.directory.rules import names
from services.directory.rules.etags import etag_of
from services.directory.store.tables import MANUAL


class GroupServicer(Servicer, groups_pb2_grpc.GroupServiceServicer):
    """Creates and reads groups, and changes who is in them by hand."""

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
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = groups.list_groups(session, tenant_id, after_id=page.after[0], limit=page.limit)
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
        people = [
            pb.Membership(
                user=names.USER.format(tenant_id, member.user_id),
                email=member.email,
                source=names.format_optional(names.SOURCE, tenant_id, member.source_id),
            )
            for member in kept
        ]
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
            return pb.ModifyMembershipsResponse(added=changed.added, removed=changed.removed)

        return self.write_once(request, context, tenant_id, pb.ModifyMembershipsResponse, work)


def _user_ids(users: Sequence[str], tenant_id: int, field: str) -> list[int]:
    return [names.parse_within(names.USER, user, tenant_id=tenant_id, field=field) for user in users]


def _message(view: groups.GroupView) -> pb.Group:
    group = view.group
    name = names.GROUP.format(group.tenant_id, group.id)
    is_synced = group.external_id is not None or group.owner_source_id != MANUAL
    kind = pb.GROUP_KIND_SYNCED if is_synced else pb.GROUP_KIND_MANUAL
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
