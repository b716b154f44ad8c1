"""`muster account`: a tenant's main account and its sub-accounts."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import accounts_pb2

from cli import documents, output
from cli.commands.options import TenantOption
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
