"""UserService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import json
from datetime import datetime

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from muster.directory.v1 import users_pb2 as pb
from muster.directory.v1 import users_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.filter_messages import optional_filter
from services.directory.api.masks import changes_of
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import user_lists, user_updates, users
from services.directory.operations.invitations import state_of
from services.directory.operations.returning import restore_user
from services.directory.operations.scope import Scope
from services.directory.operations.user_views import UserView
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.etags import etag_of
from services.directory.rules.leaving import RESTORABLE_FOR
from services.directory.store.tables import UserState

_MOST_IN_BATCH = 1000


class UserServicer(Servicer, users_pb2_grpc.UserServiceServicer):
    """Creates, changes, deletes and reads users."""

    def CreateUser(self, request: pb.CreateUserRequest, context: grpc.ServicerContext) -> pb.CreateUserResponse:
        """Make a manual user."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.account, field="account")
        caller = access.require(context, tenant_id)
        new = users.NewUser(
            account_id=account_id,
            display_name=request.display_name,
            email=request.email,
            title=request.title,
            phone=request.phone,
            secondary_phone=request.secondary_phone,
            group_ids=[
                names.parse_within(names.GROUP, group, tenant_id=tenant_id, field="groups") for group in request.groups
            ],
        )

        def work(session: Session, now: datetime) -> pb.CreateUserResponse:
            view = users.create_user(session, tenant_id, new, actor=caller.actor, now=now)
            return pb.CreateUserResponse(user=user_message(view, now))

        return self.write_once(request, context, tenant_id, pb.CreateUserResponse, work)

    def GetUser(self, request: pb.GetUserRequest, context: grpc.ServicerContext) -> pb.GetUserResponse:
        """Read one user."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetUserResponse(user=user_message(users.get_user(session, tenant_id, user_id), self.clock()))

    def BatchGetUsers(
        self, request: pb.BatchGetUsersRequest, context: grpc.ServicerContext
    ) -> pb.BatchGetUsersResponse:
        """Read up to 1000 users."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        if len(request.names) > _MOST_IN_BATCH:
            raise InvalidArgument([("names", f"at most {_MOST_IN_BATCH} users a call")])
        user_ids = [names.parse_within(names.USER, name, tenant_id=tenant_id, field="names") for name in request.names]
        with self.store.read(tenant_id) as session:
            views, now = users.get_users(session, tenant_id, user_ids), self.clock()
            return pb.BatchGetUsersResponse(users=[user_message(view, now) for view in views])

    def ListUsers(self, request: pb.ListUsersRequest, context: grpc.ServicerContext) -> pb.ListUsersResponse:
        """Page through a tenant's users."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        page = pages.page_of(request, start=user_lists.FIRST)
        wanted = _query(request, tenant_id, caller.scope)
        with self.store.read(tenant_id) as session:
            found = user_lists.list_users(
                session, tenant_id, wanted, after=(page.after[0], page.after[1]), limit=page.limit
            )
        kept, token = page.cut(found, lambda each: each.place)
        now = self.clock()
        return pb.ListUsersResponse(users=[user_message(each.view, now) for each in kept], next_page_token=token)

    def UpdateUser(self, request: pb.UpdateUserRequest, context: grpc.ServicerContext) -> pb.UpdateUserResponse:
        """Change the attributes that the mask names."""
        tenant_id, user_id = names.parse(names.USER, request.user.name, field="user.name")
        caller = access.require(context, tenant_id)
        changes = changes_of(request.user, request.update_mask, users.PARSERS)

        def work(session: Session, now: datetime) -> pb.UpdateUserResponse:
            view = user_updates.update_user(
                session, tenant_id, user_id, changes, etag=request.user.etag, actor=caller.actor, now=now
            )
            return pb.UpdateUserResponse(user=user_message(view, now))

        return self.write_once(request, context, tenant_id, pb.UpdateUserResponse, work)

    def DeleteUser(self, request: pb.DeleteUserRequest, context: grpc.ServicerContext) -> pb.DeleteUserResponse:
        """Take a user out."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteUserResponse:
            view = user_updates.delete_user(session, tenant_id, user_id, etag=request.etag, actor=caller.actor, now=now)
            return pb.DeleteUserResponse(user=user_message(view, now))

        return self.write_once(request, context, tenant_id, pb.DeleteUserResponse, work)

    def UndeleteUser(self, request: pb.UndeleteUserRequest, context: grpc.ServicerContext) -> pb.UndeleteUserResponse:
        """Bring a deleted user back."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.UndeleteUserResponse:
            restore_user(session, tenant_id, user_id, actor=caller.actor, now=now)
            return pb.UndeleteUserResponse(user=user_message(users.get_user(session, tenant_id, user_id), now))

        return self.write_once(request, context, tenant_id, pb.UndeleteUserResponse, work)


def _query(request: pb.ListUsersRequest, tenant_id: int, scope: Scope) -> user_lists.UserQuery:
    states = list(UserState) if request.show_deleted else [UserState.ACTIVE]
    if request.states:
        known = {int(state) for state in UserState}
        if not set(request.states) <= known:
            raise InvalidArgument([("states", "must be active, deleted or dormant")])
        states = sorted({UserState(state) for state in request.states})
    places = {"account": names.ACCOUNT, "group": names.GROUP}
    ids = {
        field: names.parse_within(pattern, getattr(request, field), tenant_id=tenant_id, field=field)
        for field, pattern in places.items()
        if getattr(request, field)
    }
    return user_lists.UserQuery(
        states=states,
        email=request.email,
        filter=optional_filter(request, "filter"),
        account_id=ids.get("account", 0),
        group_id=ids.get("group", 0),
        order_by=request.order_by,
        scope=scope,
    )


def user_message(view: UserView, now: datetime) -> pb.User:
    """Write a user as the contract has it, as it is now: an invitation expires by itself."""
    user, tenant_id = view.user, view.user.tenant_id
    name = names.USER.format(tenant_id, user.id)
    is_to_be_erased = user.state == UserState.DELETED and user.erase_time is None
    erase_due = user.leave_time + RESTORABLE_FOR if user.leave_time is not None and is_to_be_erased else None
    return pb.User(
        name=name,
        display_name=user.display_name,
        email=user.email,
        title=user.title,
        phone=user.phone,
        secondary_phone=user.secondary_phone,
        external_id=view.external_id,
        owner=names.format_optional(names.SOURCE, tenant_id, user.owner_source_id),
        owner_display_name=view.owner_display_name,
        state=pb.UserState.ValueType(user.state),
        password_reset_required=user.password_reset_required,
        groups=[names.GROUP.format(tenant_id, group.id) for group in view.groups],
        group_display_names=[group.display_name for group in view.groups],
        accounts=[names.ACCOUNT.format(tenant_id, account.id) for account in view.accounts],
        account_display_names=[account.display_name for account in view.accounts],
        etag=etag_of(name, user.revision),
        create_time=timestamp(user.create_time),
        update_time=timestamp(user.update_time),
        leave_time=_optional_timestamp(user.leave_time),
        erase_due_time=_optional_timestamp(erase_due),
        erase_time=_optional_timestamp(user.erase_time),
        invitation=pb.InvitationState.ValueType(state_of(view.invitation, now) if view.invitation else 0),
        scim_attributes=_attributes(view.scim_document),
    )


def _optional_timestamp(moment: datetime | None) -> Timestamp | None:
    return timestamp(moment) if moment is not None else None


def _attributes(document: str) -> Struct | None:
    return json_format.ParseDict(json.loads(document), Struct()) if document else None
