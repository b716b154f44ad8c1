"""UserService's methods on a person's data as a whole: to hand it out, and to erase it."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import users_pb2 as pb
from sqlmodel import Session

from services.directory.api import access
from services.directory.api.users import UserServicer, user_message
from services.directory.operations import erasure, personal_data, users
from services.directory.operations.imports import Imports
from services.directory.rules import names


class PersonServicer(UserServicer):
    """Serves UserService whole: to UserServicer's methods it adds export and erasure."""

    def ExportUser(self, request: pb.ExportUserRequest, context: grpc.ServicerContext) -> pb.ExportUserResponse:
        """Write down all that is kept about a person."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            document = personal_data.export_user(session, self.seal, tenant_id, user_id, now=self.clock())
        return pb.ExportUserResponse(document=document)

    def EraseUser(self, request: pb.EraseUserRequest, context: grpc.ServicerContext) -> pb.EraseUserResponse:
        """Erase a person's data at once."""
        tenant_id, user_id = names.parse(names.USER, request.name, field="name")
        caller = access.require(context, tenant_id)
        imports = Imports(self.store, self.stages, clock=self.clock)
        ended: list[int] = []

        def work(session: Session, now: datetime) -> pb.EraseUserResponse:
            ended.extend(
                erasure.erase_user(session, imports, self.seal, tenant_id, user_id, actor=caller.actor, now=now)
            )
            return pb.EraseUserResponse(user=user_message(users.get_users(session, tenant_id, [user_id])[0], now))

        answer = self.write_once(request, context, tenant_id, pb.EraseUserResponse, work)
        for run_id in ended:
            imports.space(run_id).drop()
        return answer
