"""AccountService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import accounts_pb2 as pb
from muster.directory.v1 import accounts_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import accounts
from services.directory.rules import names
from services.directory.rules.etags import etag_of


class AccountServicer(Servicer, accounts_pb2_grpc.AccountServiceServicer):
    """Creates and reads accounts."""

    def CreateAccount(
        self, request: pb.CreateAccountRequest, context: grpc.ServicerContext
    ) -> pb.CreateAccountResponse:
        """Make a sub-account and its main group."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        caller = access.require(context, tenant_id)
        parent_id = 0
        if request.parent:
            parent_id = names.parse_within(names.ACCOUNT, request.parent, tenant_id=tenant_id, field="parent")

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
        """Page through a tenant's accounts."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = accounts.list_accounts(session, tenant_id, after_id=page.after[0], limit=page.limit)
        kept, token = page.cut(found, lambda view: (view.account.id,))
        return pb.ListAccountsResponse(accounts=map(_message, kept), next_page_token=token)


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
