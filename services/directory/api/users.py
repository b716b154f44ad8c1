"""UserService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import users_pb2 as pb
from muster.directory.v1 import users_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import users
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.etags import etag_of
from services.directory.store.tables import UserState

_MOST_IN_BATCH = 1000


class UserServicer(Servicer, users_pb2_grpc.UserServiceServicer):
    """Creates and reads users."""

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
            return pb.CreateUserResponse(user=_message(view))

        return self.write_once(request, context, tenant_id, pb.CreateUserResponse, work)

    def GetUser(self, request: pb.GetUserRequest, context: grpc.ServicerContext) -> pb.GetUserResponse:
        """Read one user."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetUserResponse(user=_message(users.get_users(session, tenant_id, [user_id])[0]))

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
            return pb.BatchGetUsersResponse(users=map(_message, users.get_users(session, tenant_id, user_ids)))

    def ListUsers(self, request: pb.ListUsersRequest, context: grpc.ServicerContext) -> pb.ListUsersResponse:
        """Page through a tenant's users."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        states = list(UserState) if request.show_deleted else [UserState.ACTIVE]
        with self.store.read(tenant_id) as session:
            found = users.list_users(
                session, tenant_id, email=request.email, states=states, after_id=page.after[0], limit=page.limit
            )
        kept, token = page.cut(found, lambda view: (view.user.id,))
        return pb.ListUsersResponse(users=map(_message, kept), next_page_token=token)


def _message(view: users.UserView) -> pb.User:
    user, tenant_id = view.user, view.user.tenant_id
    name = names.USER.format(tenant_id, user.id)
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
    )
