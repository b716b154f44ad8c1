"""AdministratorService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime
from typing import Final

import grpc
from muster.directory.v1 import administrators_pb2 as pb
from muster.directory.v1 import administrators_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.masks import changes_of
from services.directory.api.servicer import Resources, Servicer, timestamp
from services.directory.operations import administrators, sign_in
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.etags import etag_of
from services.directory.store.administrator_tables import Administrator

_CHANGEABLE: Final = frozenset({"email", "display_name"})


class AdministratorServicer(Servicer, administrators_pb2_grpc.AdministratorServiceServicer):
    """Keeps administrators and their sessions; tenant 0 stands for vendor support's."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self._sign_ins = sign_in.SignIns(self.store, self.passwords, self.seal, self.pepper)

    def CreateAdministrator(
        self, request: pb.CreateAdministratorRequest, context: grpc.ServicerContext
    ) -> pb.CreateAdministratorResponse:
        """Make an administrator with a random password."""
        tenant_id, account_id = _parent(request.parent)
        _check_role(request, tenant_id, account_id)
        caller = access.require(context, tenant_id)
        new = administrators.NewAdministrator(account_id, request.email, request.display_name)
        password = self.passwords.make()

        def work(session: Session, now: datetime) -> pb.CreateAdministratorResponse:
            made = administrators.create_administrator(session, tenant_id, new, password, actor=caller.actor, now=now)
            return pb.CreateAdministratorResponse(administrator=_message(made), password=password.text)

        return self.write_once(request, context, tenant_id or None, pb.CreateAdministratorResponse, work)

    def GetAdministrator(
        self, request: pb.GetAdministratorRequest, context: grpc.ServicerContext
    ) -> pb.GetAdministratorResponse:
        """Read one administrator."""
        tenant_id, administrator_id = names.parse_administrator(request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id or None) as session:
            found = administrators.get_administrator(session, tenant_id, administrator_id)
            return pb.GetAdministratorResponse(administrator=_message(found))

    def ListAdministrators(
        self, request: pb.ListAdministratorsRequest, context: grpc.ServicerContext
    ) -> pb.ListAdministratorsResponse:
        """Page through a tenant's administrators, or vendor support's."""
        tenant_id = names.parse_tenant(request.parent, field="parent") if request.parent else 0
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id or None) as session:
            found = administrators.list_administrators(session, tenant_id, after_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda administrator: (administrator.id,))
        return pb.ListAdministratorsResponse(administrators=map(_message, kept), next_page_token=token)

    def UpdateAdministrator(
        self, request: pb.UpdateAdministratorRequest, context: grpc.ServicerContext
    ) -> pb.UpdateAdministratorResponse:
        """Change the mail address or the name."""
        given = request.administrator
        tenant_id, administrator_id = names.parse_administrator(given.name, field="administrator.name")
        caller = access.require(context, tenant_id)
        changes = changes_of(given, request.update_mask, _CHANGEABLE)

        def work(session: Session, now: datetime) -> pb.UpdateAdministratorResponse:
            changed = administrators.update_administrator(
                session, tenant_id, administrator_id, changes, etag=given.etag, actor=caller.actor, now=now
            )
            return pb.UpdateAdministratorResponse(administrator=_message(changed))

        return self.write_once(request, context, tenant_id or None, pb.UpdateAdministratorResponse, work)

    def DeleteAdministrator(
        self, request: pb.DeleteAdministratorRequest, context: grpc.ServicerContext
    ) -> pb.DeleteAdministratorResponse:
        """Remove an administrator, and end its sessions."""
        tenant_id, administrator_id = names.parse_administrator(request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteAdministratorResponse:
            administrators.delete_administrator(session, tenant_id, administrator_id, actor=caller.actor, now=now)
            return pb.DeleteAdministratorResponse()

        return self.write_once(request, context, tenant_id or None, pb.DeleteAdministratorResponse, work)

    def ResetAdministratorPassword(
        self, request: pb.ResetAdministratorPasswordRequest, context: grpc.ServicerContext
    ) -> pb.ResetAdministratorPasswordResponse:
        """Give an administrator a random password."""
        tenant_id, administrator_id = names.parse_administrator(request.name, field="name")
        caller = access.require(context, tenant_id)
        password = self.passwords.make()

        def work(session: Session, now: datetime) -> pb.ResetAdministratorPasswordResponse:
            changed = administrators.reset_password(
                session, tenant_id, administrator_id, password, actor=caller.actor, now=now
            )
            return pb.ResetAdministratorPasswordResponse(administrator=_message(changed), password=password.text)

        return self.write_once(request, context, tenant_id or None, pb.ResetAdministratorPasswordResponse, work)

    def SignIn(self, request: pb.SignInRequest, context: grpc.ServicerContext) -> pb.SignInResponse:
        """Open a session."""
        access.require(context, 0)
        signed_in = self._sign_ins.sign_in(request.email, request.password, request.totp_code, now=self.clock())
        return pb.SignInResponse(
            token=signed_in.token,
            expire_time=timestamp(signed_in.expire_time),
            administrator=_message(signed_in.administrator),
        )

    def SignOut(
        self,
        request: pb.SignOutRequest,  # noqa: ARG002 - the token says it all
        context: grpc.ServicerContext,
    ) -> pb.SignOutResponse:
        """End the caller's session."""
        caller = access.require_administrator(context)
        with self.store.write(None) as session:
            sign_in.sign_out(session, caller.token_id)
        return pb.SignOutResponse()

    def GetSession(
        self,
        request: pb.GetSessionRequest,  # noqa: ARG002 - the token says it all
        context: grpc.ServicerContext,
    ) -> pb.GetSessionResponse:
        """Say who has signed in."""
        caller = access.require_administrator(context)
        with self.store.read(None) as session:
            found = administrators.get_administrator(session, caller.tenant_id, caller.administrator_id)
            end = sign_in.session_end(session, caller.token_id)
            return pb.GetSessionResponse(administrator=_message(found), expire_time=timestamp(end))

    def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: grpc.ServicerContext
    ) -> pb.ChangePasswordResponse:
        """Set the caller's own password."""
        caller = access.require_administrator(context)
        key = (caller.tenant_id, caller.administrator_id)
        self._sign_ins.change_password(key, request.old_password, request.new_password, now=self.clock())
        return pb.ChangePasswordResponse()

    def BeginTotp(
        self,
        request: pb.BeginTotpRequest,  # noqa: ARG002 - the token says it all
        context: grpc.ServicerContext,
    ) -> pb.BeginTotpResponse:
        """Make a secret for an authenticator app."""
        caller = access.require_administrator(context)
        secret, uri = self._sign_ins.begin_totp((caller.tenant_id, caller.administrator_id))
        return pb.BeginTotpResponse(secret=secret, otpauth_uri=uri)

    def ConfirmTotp(self, request: pb.ConfirmTotpRequest, context: grpc.ServicerContext) -> pb.ConfirmTotpResponse:
        """Turn codes on."""
        caller = access.require_administrator(context)
        key = (caller.tenant_id, caller.administrator_id)
        changed = self._sign_ins.confirm_totp(key, request.code, now=self.clock())
        return pb.ConfirmTotpResponse(administrator=_message(changed))

    def EndTotp(self, request: pb.EndTotpRequest, context: grpc.ServicerContext) -> pb.EndTotpResponse:
        """Turn codes off."""
        caller = access.require_administrator(context)
        key = (caller.tenant_id, caller.administrator_id)
        changed = self._sign_ins.end_totp(key, request.password, now=self.clock())
        return pb.EndTotpResponse(administrator=_message(changed))


def _parent(parent: str) -> tuple[int, int]:
    """Read (tenant, account) of whom an administrator is made for; 0 where there is none."""
    if not parent:
        return 0, 0
    if parent.count("/") == 1:
        return names.parse_tenant(parent, field="parent"), 0
    return names.parse(names.ACCOUNT, parent, field="parent")


def _check_role(request: pb.CreateAdministratorRequest, tenant_id: int, account_id: int) -> None:
    """Require that the role is the one that the parent gives."""
    given = pb.ADMINISTRATOR_ROLE_ACCOUNT if account_id else pb.ADMINISTRATOR_ROLE_TENANT
    if request.role not in {pb.ADMINISTRATOR_ROLE_UNSPECIFIED, given if tenant_id else pb.ADMINISTRATOR_ROLE_SUPPORT}:
        raise InvalidArgument(
            [("role", "must be SUPPORT without a parent, TENANT with a tenant, ACCOUNT with an account")]
        )


def _message(administrator: Administrator) -> pb.Administrator:
    tenant_id = administrator.tenant_id
    name = names.format_administrator(tenant_id, administrator.id)
    last = administrator.last_sign_in_time
    return pb.Administrator(
        name=name,
        email=administrator.email,
        display_name=administrator.display_name,
        role=pb.AdministratorRole.ValueType(administrator.role),
        account=names.format_optional(names.ACCOUNT, tenant_id, administrator.account_id),
        totp=administrator.is_totp_on,
        last_sign_in_time=timestamp(last) if last else None,
        create_time=timestamp(administrator.create_time),
        etag=etag_of(name, administrator.revision),
    )
