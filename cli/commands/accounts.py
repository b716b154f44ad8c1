"""`muster account`: a tenant's main account and its sub-accounts."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import accounts_pb2

from cli import documents, output
from cli.commands.options import AccountArgument, TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Main accounts and sub-accounts.", no_args_is_help=True)


@app.command("create")
def create_account(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    tenant: TenantOption,
    parent: Annotated[str, typer.Option(help="The account above; the main account unless said.")] = "",
) -> None:
    """Make a sub-account with its main group."""
    session = session_of(context)
    with session.connect() as muster:
        made = muster.accounts.CreateAccount(
            accounts_pb2.CreateAccountRequest(
                tenant=tenant, display_name=name, parent=parent, request_id=session.new_request_id()
            )
        ).account
    document = {"account": made.name, "main_group": made.main_group}
    session.output.show(document, output.facts(document))


@app.command("list")
def list_accounts(context: typer.Context, *, tenant: TenantOption) -> None:
    """List a tenant's accounts, the main account first."""
    session = session_of(context)
    with session.connect() as muster:
        request = accounts_pb2.ListAccountsRequest(tenant=tenant)
        accounts = [documents.account(record) for record in every(muster.accounts.ListAccounts, request, "accounts")]
    columns = ["account", "name", "parent", "user_count"]
    session.output.show({"accounts": accounts}, output.records(accounts, columns))


@app.command("update")
def update_account(
    context: typer.Context,
    account: AccountArgument,
    *,
    name: Annotated[str, typer.Option(help="What people call it; its main group is called so, too.")],
) -> None:
    """Rename an account."""
    session = session_of(context)
    with session.connect() as muster:
        request = accounts_pb2.UpdateAccountRequest(
            account=accounts_pb2.Account(name=account, display_name=name), request_id=session.new_request_id()
        )
        request.update_mask.paths.append("display_name")
        document = documents.account(muster.accounts.UpdateAccount(request).account)
    session.output.show(document, output.facts(document))


@app.command("move")
def move_account(
    context: typer.Context,
    account: AccountArgument,
    *,
    to: Annotated[str, typer.Option(help="Resource name of the account that is to be above.")],
) -> None:
    """Put an account, with all below it, under another one."""
    session = session_of(context)
    with session.connect() as muster:
        request = accounts_pb2.MoveAccountRequest(name=account, parent=to, request_id=session.new_request_id())
        document = documents.account(muster.accounts.MoveAccount(request).account)
    session.output.show(document, output.facts(document))


@app.command("delete")
def delete_account(context: typer.Context, account: AccountArgument) -> None:
    """Delete an account with nothing in it but people, who leave it and stay users."""
    session = session_of(context)
    with session.connect() as muster:
        request = accounts_pb2.DeleteAccountRequest(name=account, request_id=session.new_request_id())
        muster.accounts.DeleteAccount(request)
    document = {"account": account, "state": "deleted"}
    session.output.show(document, output.facts(document))
