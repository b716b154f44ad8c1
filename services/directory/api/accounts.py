"""AccountService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime
from typing import Final

import grpc
from muster.directory.v1 import accounts_pb2 as pb
from muster.directory.v1 import accounts_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.masks import changes_of
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import accounts
from services.directory.rules import names
from services.directory.rules.etags import etag_of

_CHANGEABLE: Final = ("display_name",)


class AccountServicer(Servicer, accounts_pb2_grpc.AccountServiceServicer):
    """Creates, changes and reads accounts."""

    def CreateAccount(
        self, request: pb.CreateAccountRequest, context: grpc.ServicerContext
    ) -> pb.CreateAccountResponse:
        """Make a sub-account and its main group."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        parent_id = _parent_id(request.parent, tenant_id)

        def work(session: Session, now: datetime) -> pb.CreateAccountResponse:
            view = accounts.create_account(
                session, tenant_id, request.display_name, parent_id, actor=caller.actor, now=now
            )
            return pb.CreateAccountResponse(account=_message(view))

        return self.write_once(request, context, tenant_id, pb.CreateAccountResponse, work)

    def GetAccount(self, request: pb.GetAccountRequest, context: grpc.ServicerContext) -> pb.GetAccountResponse:
        """Read one account."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetAccountResponse(account=_message(accounts.get_account(session, tenant_id, account_id)))

    def ListAccounts(self, request: pb.ListAccountsRequest, context: grpc.ServicerContext) -> pb.ListAccountsResponse:
        """Page through a tenant's accounts, or those right below one."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        parent_id = _parent_id(request.parent, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = accounts.list_accounts(
                session,
                tenant_id,
                scope=caller.scope,
                after_id=page.after[0],
                limit=page.limit,
                parent_id=parent_id,
            )
        kept, token = page.cut(found, lambda view: (view.account.id,))
        return pb.ListAccountsResponse(accounts=map(_message, kept), next_page_token=token)

    def UpdateAccount(
        self, request: pb.UpdateAccountRequest, context: grpc.ServicerContext
    ) -> pb.UpdateAccountResponse:
        """Change what the mask names."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.account.name, field="account.name")
        caller = access.require(context, tenant_id)
        changes = changes_of(request.account, request.update_mask, _CHANGEABLE)

        def work(session: Session, now: datetime) -> pb.UpdateAccountResponse:
            view = accounts.update_account(
                session, tenant_id, account_id, changes, etag=request.account.etag, actor=caller.actor, now=now
            )
            return pb.UpdateAccountResponse(account=_message(view))

        return self.write_once(request, context, tenant_id, pb.UpdateAccountResponse, work)

    def MoveAccount(self, request: pb.MoveAccountRequest, context: grpc.ServicerContext) -> pb.MoveAccountResponse:
        """Put an account under another one."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.name, field="name")
        caller = access.require(context, tenant_id)
        parent_id = _parent_id(request.parent, tenant_id)

        def work(session: Session, now: datetime) -> pb.MoveAccountResponse:
            view = accounts.move_account(
                session, tenant_id, account_id, parent_id, etag=request.etag, actor=caller.actor, now=now
            )
            return pb.MoveAccountResponse(account=_message(view))

        return self.write_once(request, context, tenant_id, pb.MoveAccountResponse, work)

    def DeleteAccount(
        self, request: pb.DeleteAccountRequest, context: grpc.ServicerContext
    ) -> pb.DeleteAccountResponse:
        """Delete an account with nothing in it but people."""
        tenant_id, account_id = names.parse(names.ACCOUNT, request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteAccountResponse:
            accounts.delete_account(session, tenant_id, account_id, etag=request.etag, actor=caller.actor, now=now)
            return pb.DeleteAccountResponse()

        return self.write_once(request, context, tenant_id, pb.DeleteAccountResponse, work)


def _parent_id(parent: str, tenant_id: int) -> int:
    return names.parse_within(names.ACCOUNT, parent, tenant_id=tenant_id, field="parent") if parent else 0


def _message(view: accounts.AccountView) -> pb.Account:
    account = view.account
    name = names.ACCOUNT.format(account.tenant_id, account.id)
    return pb.Account(
        name=name,
        display_name=account.display_name,
        parent=names.format_optional(names.ACCOUNT, account.tenant_id, account.parent_id),
        main_group=names.GROUP.format(account.tenant_id, account.main_group_id),
        user_count=view.user_count,
        etag=etag_of(name, account.revision),
        create_time=timestamp(account.create_time),
    )
