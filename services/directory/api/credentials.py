"""CredentialService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import uuid
from datetime import datetime

import grpc
from muster.directory.v1 import credentials_pb2 as pb
from muster.directory.v1 import credentials_pb2_grpc
from sqlmodel import Session

from services.directory.api import access
from services.directory.api.servicer import Resources, Servicer, timestamp
from services.directory.api.users import user_message
from services.directory.operations import passwords, users
from services.directory.operations.password_checks import PasswordChecks
from services.directory.rules import names
from services.directory.rules.errors import LinkInvalid
from services.directory.rules.tokens import PASSWORD_LINK


class CredentialServicer(Servicer, credentials_pb2_grpc.CredentialServiceServicer):
    """Sets and compares people's passwords."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self._checks = PasswordChecks(self.store, self.passwords)

    def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: grpc.ServicerContext
    ) -> pb.RequestPasswordResetResponse:
        """Begin a link for the user with this mail, if there is one."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        # With a request_id the answer is kept: a write of the same size, whether or not there is such a user.
        attempt = pb.RequestPasswordResetRequest()
        attempt.CopyFrom(request)
        attempt.request_id = request.request_id or str(uuid.uuid4())

        def work(session: Session, now: datetime) -> pb.RequestPasswordResetResponse:
            passwords.request_reset(session, tenant_id, request.email, actor=caller.actor, now=now)
            return pb.RequestPasswordResetResponse()

        return self.write_once(attempt, context, tenant_id, pb.RequestPasswordResetResponse, work)

    def MintPasswordResetLink(
        self, request: pb.MintPasswordResetLinkRequest, context: grpc.ServicerContext
    ) -> pb.MintPasswordResetLinkResponse:
        """Write the link of a user's newest request."""
        tenant_id, user_id = names.parse(names.USER, request.user, field="user")
        access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.MintPasswordResetLinkResponse:
            link = passwords.mint_link(session, tenant_id, user_id, pepper=self.pepper, now=now)
            return pb.MintPasswordResetLinkResponse(url=link.url, expire_time=timestamp(link.expire_time))

        return self.write_once(request, context, tenant_id, pb.MintPasswordResetLinkResponse, work)

    def ResetPassword(
        self, request: pb.ResetPasswordRequest, context: grpc.ServicerContext
    ) -> pb.ResetPasswordResponse:
        """Set the password that somebody chose by a link."""
        caller = access.caller_of(context)
        link = PASSWORD_LINK.read(request.token, pepper=self.pepper)
        if link is None:
            raise LinkInvalid
        password = self.passwords.choose(request.new_password, field="new_password")

        def work(session: Session, now: datetime) -> pb.ResetPasswordResponse:
            user = passwords.reset_password(session, link, password, actor=caller.actor, now=now)
            view = users.get_users(session, link.tenant_id, [user.id])[0]
            return pb.ResetPasswordResponse(user=user_message(view, now))

        return self.write_once(request, context, link.tenant_id, pb.ResetPasswordResponse, work)

    def VerifyPassword(
        self, request: pb.VerifyPasswordRequest, context: grpc.ServicerContext
    ) -> pb.VerifyPasswordResponse:
        """Say whether a password is right."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        user_id = self._checks.verify(tenant_id, request.email, request.password, now=self.clock())
        with self.store.read(tenant_id) as session:
            view = users.get_users(session, tenant_id, [user_id])[0]
            return pb.VerifyPasswordResponse(user=user_message(view, self.clock()))
